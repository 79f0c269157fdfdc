"""The gate that every HTTP request passes: it gives it an id, checks its token and size, and counts and logs it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.auth import TokenCheck
from server.errors import DrainingError, ForeignOriginError, TooLargeError, UnauthenticatedError, problem_of
from server.http.problems import problem_response
from server.intake import head_came_at
from server.logs import new_request_id, request_id
from server.metrics import Metrics
from server.settings import Settings
from server.traces import Span, Traces, failed, set_current_span

log = logging.getLogger(__name__)
OPEN = {"/livez", "/readyz", "/v2/health/live", "/v2/health/ready", "/openapi.json", "/docs", "/console"}
OPEN_FOLDERS = ("/docs/", "/console/")  # like the paths above, they hold nothing secret
QUIET = OPEN | {"/metrics"}  # polled; logged only at the level debug
SECURITY = {
    b"content-security-policy": b"default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
}


class Gate:
    """ASGI middleware around every request."""

    def __init__(
        self, app: ASGIApp, token_check: TokenCheck, metrics: Metrics, settings: Settings, traces: Traces | None = None
    ) -> None:
        self.app, self.token_check, self.metrics, self.traces = app, token_check, metrics, traces
        self.max_body_bytes, self.allowed_origins = settings.max_body_bytes, settings.allowed_origins
        goes_by_any_name = not settings.is_loopback or bool(settings.tokens()) or "*" in settings.allowed_origins
        self.own_names = None if goes_by_any_name else _own_names(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        given = new_request_id(headers.get(b"x-request-id"))
        token = request_id.set(given)
        visit = _Visit(scope, send, given)
        came = head_came_at.set(visit.started)
        span = self._span(scope, headers, given)
        try:
            self._admit(scope, headers)
            await self.app(scope, self._limited(receive), visit.send)
        except (UnauthenticatedError, ForeignOriginError, TooLargeError) as error:
            failed(error)
            await visit.refuse(error)
        except asyncio.CancelledError:  # by uvicorn, whose time to drain is over
            await visit.refuse(DrainingError("the service has shut down before there was an answer", 5.0))
        except Exception:
            log.exception("a fault outside of every route")
        finally:
            self._count(scope, visit)
            if span is not None:
                _finish(span, scope, visit)
            request_id.reset(token)
            head_came_at.reset(came)
            set_current_span(None)

    def _admit(self, scope: Scope, headers: dict[bytes, str]) -> None:
        self._refuse_foreign(headers)
        path = scope["path"]
        if path not in OPEN and not path.startswith(OPEN_FOLDERS) and scope.get("method") != "OPTIONS":
            self.token_check.refuse_unknown(headers.get(b"authorization"))
        length = headers.get(b"content-length", "0")
        if length.isdigit() and int(length) > self.max_body_bytes:
            raise TooLargeError(f"the body has {length} bytes; at most {self.max_body_bytes} are accepted")

    def _span(self, scope: Scope, headers: dict[bytes, str], given: str) -> Span | None:
        """The span of a request, as a child of the caller's own; None for what is polled, or without traces."""
        if self.traces is None or scope["path"] in QUIET or scope["path"].startswith(OPEN_FOLDERS):
            return None
        carrier = {name.decode("latin-1"): value for name, value in headers.items()}
        attributes = {"url.path": scope["path"], "vjepa2_ac.request_id": given, "http.request.method": _method(scope)}
        span = self.traces.begin(_method(scope), carrier, attributes)
        set_current_span(span)
        return span

    def _refuse_foreign(self, headers: dict[bytes, str]) -> None:
        """Refuse a browser's request from a page of another origin, unless that is allowed. Raises ForeignOriginError.

        Any page in the operator's browser can send requests to loopback. A page whose own name was made to lead to
        loopback, too (DNS rebinding), would pass for one of ours; so a service on loopback without a token answers only
        to its own names.
        """
        host = headers.get(b"host")  # which every browser sends
        if self.own_names is not None and host is not None and _name(host) not in self.own_names:
            raise ForeignOriginError(f"this service is not called {host:.100}; see the setting allowed_origins")
        origin = headers.get(b"origin")
        if origin is None or origin in self.allowed_origins or "*" in self.allowed_origins:
            return
        if origin.partition("://")[2] != host:
            raise ForeignOriginError(f"pages of {origin:.100} may not ask; see the setting allowed_origins")

    def _limited(self, receive: Receive) -> Receive:
        """`receive` with the limit on bodies: a body without a stated length is counted while it comes."""
        came = 0

        async def limited() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b"")) if message["type"] == "http.request" else 0
            if came > self.max_body_bytes:
                raise TooLargeError(f"the body goes on beyond {self.max_body_bytes} bytes, the most that is accepted")
            return message

        return limited

    def _count(self, scope: Scope, visit: _Visit) -> None:
        route = scope.get("route")
        path = getattr(route, "path", "") or "unknown"  # the template: with ids each would be a series
        wire = "rest" if scope["type"] == "http" else "websocket"
        took_s = time.monotonic() - visit.started
        self.metrics.requests.labels(wire, path, str(visit.status)).inc()
        if wire == "rest":
            self.metrics.durations.labels(wire, path).observe(took_s)
        level = logging.DEBUG if scope["path"] in QUIET else logging.INFO
        facts = {"method": scope.get("method", "WS"), "path": scope["path"], "status": visit.status}
        log.log(level, "answered", extra=facts | {"took_ms": round(1e3 * took_s, 1)})


def _own_names(settings: Settings) -> set[str]:
    """The host names of a service that only this machine can reach."""
    allowed = (origin.partition("://")[2] for origin in settings.allowed_origins)
    return {"localhost", "127.0.0.1", "[::1]", _name(settings.host), *map(_name, allowed)}


def _name(host: str) -> str:
    """The name of a host, in lower case and without its port; IPv6 addresses in brackets."""
    if host.count(":") > 1 and not host.startswith("["):
        return f"[{host}]"
    return (host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]).lower()


def _finish(span: Span, scope: Scope, visit: _Visit) -> None:
    if route := getattr(scope.get("route"), "path", ""):
        span.rename(f"{_method(scope)} {route}")
        span.note({"http.route": route})
    span.note({"http.response.status_code": visit.status})
    span.end()


def _method(scope: Scope) -> str:
    return str(scope.get("method", "GET"))  # a WebSocket begins as a GET


class _Visit:
    """One request on its way out: its status, and the headers that every answer carries."""

    def __init__(self, scope: Scope, send: Send, given: str) -> None:
        self.scope, self._send, self.id = scope, send, given
        self.status = 0  # nothing was sent: the caller went away
        self.started = time.monotonic()

    async def send(self, message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            self.status = message["status"]
            headers = list(message.get("headers", []))
            known = {name.lower() for name, _ in headers}
            added: Iterable[tuple[bytes, bytes]] = {b"x-request-id": self.id.encode(), **SECURITY}.items()
            message = {**message, "headers": headers + [(name, value) for name, value in added if name not in known]}
        elif message["type"] == "websocket.accept":
            self.status = 101
        await self._send(message)

    async def refuse(self, error: Exception) -> None:
        if self.status:
            return  # the answer is on its way already
        response = problem_response(problem_of(error))
        if self.scope["type"] == "websocket":
            await self.send(
                {
                    "type": "websocket.http.response.start",
                    "status": response.status_code,
                    "headers": response.raw_headers,
                }
            )
            await self._send({"type": "websocket.http.response.body", "body": bytes(response.body)})
            return
        await self.send(
            {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
        )
        await self._send({"type": "http.response.body", "body": bytes(response.body)})
