"""Everything an operator can set, in the environment (VJEPA2_AC_PORT=…) or by options of `vjepa2-ac serve`.

Settings of a group are written with two underscores: VJEPA2_AC_LIMITS__STEP=0.05. A setting that does not exist is an
error, because a safety limit with a spelling mistake is no limit.
"""

from __future__ import annotations

import ipaddress
import json
import os
import ssl
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from planner.checks import MARGIN
from planner.limits import LimitsConfig
from planner.mpc import ControlConfig
from planner.presets import PRESETS
from vjepa2_ac.config import nearest
from vjepa2_ac.errors import ConfigError
from vjepa2_ac.precision import Precision

PREFIX = "VJEPA2_AC_"
NOT_OURS = {"HOME"}  # VJEPA2_AC_HOME says where weights are kept
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
MIB = 1024 * 1024
IMPLIED_PORTS = {"http": ":80", "https": ":443"}  # which browsers leave out


def _with_lists(group: Any) -> Any:
    """A group whose lists, which come from the environment as text, are lists."""
    if not isinstance(group, dict):
        return group
    return {name: _list_of(value) if isinstance(value, str) else value for name, value in group.items()}


def _list_of(text: str) -> Any:
    try:
        return json.loads(text) if text.lstrip().startswith("[") else text
    except ValueError:
        return text  # which is refused as what it is


def _origin(text: str) -> str:
    """An origin as a browser says it, or its words would never match; any page's is *, that of a file null."""
    if text in ("*", "null"):
        return text
    origin = text.strip().rstrip("/").lower()
    parts = urlsplit(origin)
    if not (parts.netloc and parts.hostname and origin.isascii()) or origin != f"{parts.scheme}://{parts.netloc}":
        raise ValueError("no origin of a page, which is like http://lab.example:3000")
    return origin.removesuffix(IMPLIED_PORTS.get(parts.scheme, ""))


class Settings(BaseSettings):
    """What an operator sets; every field has a default that is safe on a workstation."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, protected_namespaces=()
    )

    # where
    host: str = "127.0.0.1"
    port: Port = 8000  # for REST; 0 picks a free one
    grpc_port: Port = 8001  # for gRPC; 0 picks a free one
    grpc: bool = True

    # who may ask
    token: SecretStr | None = None
    token_file: Path | None = None  # one token per line
    insecure: bool = False  # listen beyond this machine without a token
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None  # clients must show a certificate signed by it
    allowed_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = ()  # of browser pages; none: CORS is off

    # what answers
    model: str = "default"
    precision: Precision = "auto"
    device: str | None = None
    preset: str = "balanced"
    confidence: Path | None = None  # written by `evaluate-confidence`; plans then report their probability of failure
    limits: Annotated[LimitsConfig, BeforeValidator(_with_lists)] = LimitsConfig()
    control: ControlConfig = ControlConfig()  # when a session's sub-goals are passed, and what it remembers
    workspace_margin: float = Field(MARGIN, ge=0, allow_inf_nan=False)  # [m] around the workspace, to come back from

    # how much
    max_body_bytes: PositiveInt = 16 * MIB
    max_picture_side: PositiveInt = 4096  # [pixels]
    max_candidate_steps: PositiveInt = 200_000  # samples x iterations x horizon
    max_rollout_steps: PositiveInt = 512  # candidates x horizon, whose latents are held at the same time
    max_horizon: PositiveInt = 16
    queue_size: PositiveInt = 16
    max_sessions: PositiveInt = 64
    session_idle_s: Seconds = 600.0
    max_goals: PositiveInt = 256
    goal_idle_s: Seconds = 3600.0
    max_streams: PositiveInt = 64
    idle_connection_s: Seconds = 60.0  # for each part of a request to arrive, and for its answer to be taken
    drain_s: Seconds = 30.0  # for accepted requests to finish once the service is told to stop
    stop_with_stdin: bool = False  # stop when standard input ends, as when the program at its other end is gone
    decode_threads: PositiveInt = 2

    # what is written down
    plan_log: Path | None = None  # one JSON line per served plan
    log_pictures: bool = False  # keep the pictures beside the plan log, so that plans can be replayed
    traces: bool | None = None  # by OTLP; if not set, the standard OTEL_* variables decide
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "text"] = "auto"  # auto: text on a terminal

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def uses_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.tls_certificate is not None

    def tokens(self) -> tuple[str, ...]:
        """Every token that lets a caller in; none means that all callers are let in."""
        found = [self.token.get_secret_value().strip()] if self.token else []  # a secret often ends with a line's end
        if self.token_file:
            try:
                lines = self.token_file.read_text().splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"the token file {self.token_file} cannot be read: {error}") from None
            found += [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
            if not found:
                raise ConfigError(f"the token file {self.token_file} holds no token")
        if short := [token for token in found if len(token) < 8]:
            raise ConfigError(f"{len(short)} of the tokens have fewer than 8 characters, which is too easily guessed")
        return tuple(found)

    def refuse_nonsense(self) -> None:
        """Raise ConfigError for settings that would be unsafe or cannot work."""
        if not (self.is_loopback or self.tokens() or self.insecure):
            raise ConfigError(
                f"refusing to listen on {self.host} without a token: anybody on the network could plan for the robot. "
                f"Set {PREFIX}TOKEN or {PREFIX}TOKEN_FILE, or say --insecure"
            )
        if self.preset not in PRESETS:
            raise ConfigError(f"no preset {self.preset!r}; there are {', '.join(PRESETS)}")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigError("TLS needs both a certificate and its key")
        if self.tls_client_ca and not self.uses_tls:
            raise ConfigError("client certificates need TLS: set a certificate and its key too")
        for path in (self.tls_certificate, self.tls_key, self.tls_client_ca):
            if path and not path.is_file():
                raise ConfigError(f"there is no file {path}")
        if self.tls_certificate:
            self._refuse_unreadable()
        if self.log_pictures and not self.plan_log:
            raise ConfigError("pictures are kept beside the plan log; set a plan log too")

    def _refuse_unreadable(self) -> None:
        """Raise ConfigError for PEM files that hold no certificate, or not its key."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(str(self.tls_certificate), self.tls_key)
            if self.tls_client_ca:
                context.load_verify_locations(self.tls_client_ca)
        except (ssl.SSLError, OSError) as error:
            files = ", ".join(str(path) for path in (self.tls_certificate, self.tls_key, self.tls_client_ca) if path)
            raise ConfigError(f"these are no PEM files that can be used, {files}: {error}") from None


def read_settings(**options: Any) -> Settings:
    """Settings of the environment, with `options` that are not None going first. Raises ConfigError."""
    _refuse_unknown(os.environ)
    try:
        settings = Settings(**{name: value for name, value in options.items() if value is not None})
    except SettingsError as error:  # a group or a list that is no JSON
        raise ConfigError(f"{error}; groups and lists are written as JSON") from None
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise ConfigError(f"setting {name}: {first['msg']}; got {first['input']!r:.80}") from None
    settings.refuse_nonsense()
    return settings


def _refuse_unknown(environment: Any) -> None:
    known = {PREFIX + name.upper(): field for name, field in Settings.model_fields.items()}
    groups = {name for name, field in known.items() if is_dataclass(field.annotation)}
    for name in map(str.upper, environment):  # settings are read in either case
        if not name.startswith(PREFIX) or name.removeprefix(PREFIX) in NOT_OURS:
            continue
        setting, underscores, _ = name.partition("__")
        if setting not in (groups if underscores else known):
            meant = nearest(name, known)
            raise ConfigError(f"there is no setting {name}" + (f"; did you mean {meant}?" if meant else ""))
