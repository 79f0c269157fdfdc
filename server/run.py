"""Puts a service together and runs it until it is told to stop: REST and gRPC over one model, in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import uvicorn

from server.auth import TokenCheck
from server.http.app import create_app
from server.http.connection import connections
from server.rpc.server import RpcServer
from server.service import PlanningService
from server.settings import Settings
from vjepa2_ac.errors import ConfigError

log = logging.getLogger(__name__)
LAST_S = 1.0  # [s] an idle worker's thread may take to end, even after `drain_s`


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a running service can be reached."""

    url: str
    grpc: str | None


class Running:
    """A service on its ports. `stop` may be called from any thread."""

    def __init__(self, service: PlanningService) -> None:
        self.service, self.settings = service, service.settings
        self.token_check = TokenCheck(self.settings.tokens())
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, on_listening: Callable[[Listening], None] = lambda where: None) -> bool:
        """Serve until told to stop or the device is lost; False if it was lost, or accepted requests were given up."""
        self._stop, self._loop = asyncio.Event(), asyncio.get_running_loop()
        web = _WebServer(_uvicorn_config(self.settings, self.service, self.token_check))
        listener = _bind(self.settings.host, self.settings.port)
        rpc = RpcServer(self.service, self.token_check) if self.settings.grpc else None
        try:
            grpc_port = await rpc.start() if rpc else None
        except ConfigError:
            listener.close()
            raise
        with self._signals():
            serving = asyncio.create_task(web._serve([listener]))
            loading = asyncio.create_task(self._load(rpc))
            if self.settings.stop_with_stdin:
                threading.Thread(target=self._stop_with_stdin, name="stdin", daemon=True).start()
            on_listening(self._where(listener, grpc_port))
            stopping = asyncio.create_task(self._stop.wait())
            losing = asyncio.create_task(self.service.lost.wait())
            await asyncio.wait((serving, stopping, losing), return_when=asyncio.FIRST_COMPLETED)
            log.info("stopping; accepted requests are finished first")
            ends_at = self._loop.time() + self.settings.drain_s
            self.service.refuse_new()
            web.should_exit = True
            await asyncio.gather(serving, *([rpc.stop(self.settings.drain_s)] if rpc else []))
            left_s = ends_at - self._loop.time()
            finished = await self.service.drain(max(LAST_S, left_s)) and left_s > 0
            for task in (loading, stopping, losing):
                task.cancel()
        log.info("stopped" if finished else "stopped, with requests given up")
        return finished and not self.service.lost.is_set()

    def stop(self) -> None:
        """Begin to drain; no effect on a service that is not running."""
        if self._loop and self._stop:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._stop.set)

    def _stop_with_stdin(self) -> None:
        # Read past Python's buffer, whose lock a thread must not hold when the interpreter ends.
        while os.read(sys.stdin.fileno(), 4096):
            pass
        log.info("standard input has ended")
        self.stop()

    async def _load(self, rpc: RpcServer | None) -> None:
        await self.service.start()
        if rpc:
            await rpc.tell_health()

    def _where(self, listener: socket.socket, grpc_port: int | None) -> Listening:
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        scheme = "https" if self.settings.uses_tls else "http"
        return Listening(
            url=f"{scheme}://{host}:{listener.getsockname()[1]}",
            grpc=f"{host}:{grpc_port}" if grpc_port is not None else None,
        )

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Let SIGTERM and SIGINT begin to drain within the block, if this runs in the main thread."""
        loop = asyncio.get_running_loop()
        caught = []
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(RuntimeError, ValueError):  # another thread than the main one
                loop.add_signal_handler(number, self.stop)
                caught.append(number)
        try:
            yield
        finally:
            for number in caught:
                loop.remove_signal_handler(number)


class _WebServer(uvicorn.Server):
    """uvicorn without signal handlers of its own: `Running` has them, because gRPC and the model have to stop too."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _uvicorn_config(settings: Settings, service: PlanningService, token_check: TokenCheck) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(service, token_check),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        http=connections(settings.idle_connection_s),
        timeout_keep_alive=math.ceil(settings.idle_connection_s),
        timeout_graceful_shutdown=math.ceil(settings.drain_s),
        ws_max_size=settings.max_body_bytes,
        ws_max_queue=4,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        ssl_ca_certs=str(settings.tls_client_ca) if settings.tls_client_ca else None,
        ssl_cert_reqs=ssl.CERT_REQUIRED if settings.tls_client_ca else ssl.CERT_NONE,
    )


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Without the protocol's name asyncio leaves Nagle's algorithm on, which costs 40 ms an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # whoever is told the address may come before uvicorn is up
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from None
    return listener
