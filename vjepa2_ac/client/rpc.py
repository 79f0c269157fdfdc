"""The gRPC wire."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.json_format import ParseError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status

from vjepa2_ac.client.calls import Call
from vjepa2_ac.client.errors import PlannerError, PlannerUnavailableError
from vjepa2_ac.errors import InputError
from vjepa2_ac.pb import planning_pb2, planning_pb2_grpc
from vjepa2_ac.wire import to_message, to_plain

DETAILS = "grpc-status-details-bin"
OPTIONS = (
    ("grpc.max_receive_message_length", 256 * 1024 * 1024),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),  # or a service that is back would be called unreachable for minutes
    # A line that died without a word is given up for a new one; or call after call would time out on it.
    ("grpc.keepalive_time_ms", 5000),
    ("grpc.keepalive_timeout_ms", 5000),
    ("grpc.http2.ping_timeout_ms", 5000),
)
GENERIC = {
    grpc.StatusCode.UNAVAILABLE: "connection_lost",
    grpc.StatusCode.DEADLINE_EXCEEDED: "timeout",
    grpc.StatusCode.CANCELLED: "cancelled",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "too_large",
    grpc.StatusCode.UNIMPLEMENTED: "not_a_planning_service",
}
UNREACHED = ("failed to connect", "connection refused", "dns resolution failed", "connect failed")


class RpcWire:
    """Calls over one channel."""

    def __init__(self, address: str, token: str | None, credentials: grpc.ChannelCredentials | None) -> None:
        self._metadata = _metadata(token)
        if credentials is None:
            self._channel = grpc.insecure_channel(address, OPTIONS)
        else:
            self._channel = grpc.secure_channel(address, credentials, OPTIONS)
        self._stub = planning_pb2_grpc.PlanningStub(self._channel)  # type: ignore[no-untyped-call]

    def send(self, call: Call, timeout_s: float) -> Any:
        """The answer to a call. Raises PlannerError."""
        try:
            answer = getattr(self._stub, call.method.rpc)(_message(call), timeout=timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise refusal_of(error) from error
        return to_plain(answer)

    def close(self) -> None:
        """Hang up."""
        self._channel.close()


class AsyncRpcWire:
    """The same for asyncio."""

    def __init__(self, address: str, token: str | None, credentials: grpc.ChannelCredentials | None) -> None:
        self._metadata = _metadata(token)
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(address, OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(address, credentials, OPTIONS)
        self._stub = planning_pb2_grpc.PlanningStub(self._channel)  # type: ignore[no-untyped-call]

    async def send(self, call: Call, timeout_s: float) -> Any:
        """The answer to a call. Raises PlannerError."""
        method = getattr(self._stub, call.method.rpc)
        try:
            answer = await method(_message(call), timeout=timeout_s, metadata=self._metadata)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            raise PlannerUnavailableError("the client was closed during the call", code="closed") from None
        except grpc.RpcError as error:
            raise refusal_of(error) from error
        return to_plain(answer)

    async def close(self) -> None:
        """Hang up."""
        await self._channel.close()


def credentials_of(ca: Path | None, certificate: tuple[Path, Path] | None) -> grpc.ChannelCredentials:
    """For TLS: whom to trust, and what to show."""
    show = [path.read_bytes() for path in certificate] if certificate else [None, None]
    return grpc.ssl_channel_credentials(ca.read_bytes() if ca else None, show[1], show[0])


def _metadata(token: str | None) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),) if token else ()


def _message(call: Call) -> Any:
    method = planning_pb2.DESCRIPTOR.services_by_name["Planning"].methods_by_name[call.method.rpc]
    try:
        return to_message(call.fields, getattr(planning_pb2, method.input_type.name))
    except (TypeError, ValueError, ParseError) as error:
        raise InputError(f"the request cannot be sent: {error}") from None


def refusal_of(error: Any) -> PlannerError:
    """What the service said in a gRPC error, or gRPC's own words where there was no answer."""
    trailing = dict(error.trailing_metadata() or ())
    if DETAILS not in trailing:
        words = error.details() or error.code().name
        code = GENERIC.get(error.code(), error.code().name.lower())
        if code == "connection_lost" and any(sign in words.lower() for sign in UNREACHED):
            code = "unreachable"
        return PlannerUnavailableError(f"no answer from the planning service: {words}", code=code)
    status = Status.FromString(trailing[DETAILS])
    told: dict[str, Any] = {"code": error.code().name.lower()}
    for detail in status.details:
        told |= _told(detail)
    return PlannerError(status.message, **told)


def _told(detail: Any) -> dict[str, Any]:
    """What one detail of a status says."""
    info, request, retry, bad = ErrorInfo(), RequestInfo(), RetryInfo(), BadRequest()
    if detail.Unpack(info):
        return {"code": info.reason.lower()}
    if detail.Unpack(request):
        return {"request_id": request.request_id}
    if detail.Unpack(retry):
        return {"retry_after_s": retry.retry_delay.ToNanoseconds() / 1e9}
    if detail.Unpack(bad) and bad.field_violations:
        return {"field": bad.field_violations[0].field}
    return {}
