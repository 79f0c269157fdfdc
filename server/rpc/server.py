"""A gRPC server in front of a service: its calls, health and reflection."""

from __future__ import annotations

import math

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import aio as health
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_reflection.v1alpha import reflection

from server.auth import TokenCheck
from server.rpc.gate import Gate
from server.rpc.servicer import Planning
from server.service import PlanningService
from server.settings import Settings
from vjepa2_ac.errors import ConfigError
from vjepa2_ac.pb import planning_pb2, planning_pb2_grpc

NAME = planning_pb2.DESCRIPTOR.services_by_name["Planning"].full_name


class RpcServer:
    """Listens, answers health checks, and stops without dropping calls that it accepted."""

    def __init__(self, service: PlanningService, token_check: TokenCheck) -> None:
        self.service = service
        self._health = health.HealthServicer()
        patience_ms = math.ceil(1e3 * service.settings.idle_connection_s)
        self._server = grpc.aio.server(
            interceptors=[Gate(token_check, service.settings.idle_connection_s, service.metrics, service.traces)],
            options=[
                ("grpc.max_receive_message_length", service.settings.max_body_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),  # a second service on this port is a mistake
                ("grpc.server_handshake_timeout_ms", patience_ms),
                ("grpc.keepalive_time_ms", patience_ms),  # a caller who is gone without a word does not answer pings
                ("grpc.keepalive_timeout_ms", patience_ms),
                ("grpc.keepalive_permit_without_calls", 1),
                # Else callers who ping in a long call, to see whether the connection lives, would be cut off for it.
                ("grpc.http2.min_ping_interval_without_data_ms", 100),
            ],
        )
        planning_pb2_grpc.add_PlanningServicer_to_server(Planning(service), self._server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((NAME, "grpc.health.v1.Health", reflection.SERVICE_NAME), self._server)

    async def start(self) -> int:
        """Begin to listen, and return the port. Raises ConfigError where that is not possible."""
        settings = self.service.settings
        await self.tell_health()
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"{host}:{settings.grpc_port}"
        try:
            if settings.uses_tls:
                port = self._server.add_secure_port(address, _credentials(settings))
            else:
                port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise ConfigError(f"gRPC cannot listen on {address}: {error}; choose another --grpc-port") from None
        await self._server.start()
        return port

    async def tell_health(self) -> None:
        """Let health checks report whether the service is ready."""
        status = HealthCheckResponse.SERVING if self.service.unready is None else HealthCheckResponse.NOT_SERVING
        for name in ("", NAME):
            await self._health.set(name, status)

    async def stop(self, patience_s: float) -> None:
        """Finish the accepted calls, for at most `patience_s`."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(patience_s)


def _credentials(settings: Settings) -> grpc.ServerCredentials:
    assert settings.tls_certificate is not None
    assert settings.tls_key is not None
    authority = settings.tls_client_ca.read_bytes() if settings.tls_client_ca else None
    pair = (settings.tls_key.read_bytes(), settings.tls_certificate.read_bytes())
    return grpc.ssl_server_credentials([pair], authority, require_client_auth=authority is not None)
