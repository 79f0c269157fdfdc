"""Which wire a URL means: http:// and https:// are REST, grpc:// and grpcs:// are gRPC; libraries load when used."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vjepa2_ac.errors import InputError

SCHEMES = ("http", "https", "grpc", "grpcs")


def _is_url(text: str) -> bool:
    """Whether host and port can be told, and nothing stands behind them that gRPC would take for a part of them."""
    try:
        parts = urlsplit(text)
        has_place = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        (parts.hostname or "").encode("idna")  # or looking it up ends in a UnicodeError
        goes_on = text.startswith("grpc") and (parts.path.strip("/") or parts.query or parts.fragment)
        return has_place and text.isprintable() and " " not in text and not goes_on
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Address:
    """Where a service is, and what to show there."""

    url: str
    token: str | None = None
    ca: Path | None = None  # whom to trust instead of the system's authorities
    certificate: tuple[Path, Path] | None = None  # certificate and key, where the service asks for them

    def __post_init__(self) -> None:
        scheme, separator, rest = self.url.partition("://")
        if scheme not in SCHEMES or not separator or not rest or not _is_url(self.url):
            raise InputError(f"{self.url!r} is no address of a service; expected one like http://127.0.0.1:8000")
        if (self.ca or self.certificate) and scheme not in ("https", "grpcs"):
            raise InputError(f"authorities and certificates are for https and grpcs; {self.url!r} encrypts nothing")
        if self._shown and not (self._shown.isascii() and self._shown.isprintable()):
            raise InputError("the token holds what no header can: a line's end, perhaps, or a letter with an accent")

    def open(self) -> Any:
        """A wire with `send` and `close`."""
        if self._is_rpc:
            from vjepa2_ac.client.rpc import RpcWire

            return RpcWire(self._target, self._shown, self._credentials())
        from vjepa2_ac.client.rest import RestWire

        return RestWire(self.url, self._shown, self._verify())

    def open_async(self) -> Any:
        """The same for asyncio."""
        if self._is_rpc:
            from vjepa2_ac.client.rpc import AsyncRpcWire

            return AsyncRpcWire(self._target, self._shown, self._credentials())
        from vjepa2_ac.client.rest import AsyncRestWire

        return AsyncRestWire(self.url, self._shown, self._verify())

    @property
    def _is_rpc(self) -> bool:
        return self.url.startswith("grpc")

    @property
    def _shown(self) -> str | None:
        """The token without the end of the line that it was read from; a service does not count that either."""
        return self.token and self.token.strip()

    @property
    def _target(self) -> str:
        return self.url.partition("://")[2].rstrip("/")

    def _credentials(self) -> Any:
        if not self.url.startswith("grpcs"):
            return None
        from vjepa2_ac.client.rpc import credentials_of

        self._trust()  # else files that cannot be used would pass for a service that is not there
        return credentials_of(self.ca, self.certificate)

    def _verify(self) -> Any:
        if not self.url.startswith("https"):
            return False  # there is nothing to verify, and loading the authorities takes a tenth of a second
        return self._trust()

    def _trust(self) -> ssl.SSLContext:
        """Whom to trust, and what to show. Raises InputError for files that cannot be used."""
        files = ", ".join(map(str, (*filter(None, [self.ca]), *(self.certificate or ()))))
        try:
            context = ssl.create_default_context(cafile=str(self.ca) if self.ca else None)
            if self.certificate:
                context.load_cert_chain(*self.certificate)
        except OSError as error:  # those of TLS are such, too
            raise InputError(f"{files}: not to be used for TLS: {error}") from None
        return context
