"""Bearer tokens: who may send requests. They are compared in constant time, the same over REST and gRPC."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from server.errors import UnauthenticatedError


class TokenCheck:
    """Lets in callers with a known token, of which it keeps only the hash; without tokens, everybody."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._known = [_hash(token) for token in tokens]

    def refuse_unknown(self, authorization: str | None) -> None:
        """Raise UnauthenticatedError unless the value of an `Authorization` header holds a known token."""
        if not self._known:
            return
        scheme, _, token = (authorization or "").strip().partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise UnauthenticatedError("no token came; send the header 'Authorization: Bearer TOKEN'")
        shown = _hash(token.strip())
        # Every known token is compared, so that the time taken does not tell which was nearly right.
        if not any([hmac.compare_digest(shown, known) for known in self._known]):  # noqa: C419
            raise UnauthenticatedError("the token is not one that this service knows")


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
