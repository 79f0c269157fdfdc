"""What a robot's network does to a client: services that go and come back, and lines that die without a word."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.planner.worlds import HOME, moved, paint
from tests.server.conftest import WIRES, url_of
from tests.server.running import SlowWorld, running, served
from vjepa2_ac.client import PlannerClient, PlannerError, rpc


class Line:
    """Passes bytes between callers and a port; what was connected before `cut` hears nothing any more."""

    def __init__(self, port: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.cuts = port, 0
        self.ends: list[socket.socket] = []
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    def cut(self) -> None:
        self.cuts += 1

    def tear(self) -> None:
        for end in tuple(self.ends):  # a caller may already be coming by a new line
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                ends = self.listener.accept()[0], socket.create_connection(("127.0.0.1", self.port))
                self.ends += ends
                for one, other in (ends, ends[::-1]):
                    threading.Thread(target=self._pass, args=(one, other, self.cuts), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket, cuts: int) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                if self.cuts == cuts:
                    other.sendall(data)
            other.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def line_to(port: int) -> Iterator[Line]:
    line = Line(port)
    try:
        yield line
    finally:
        line.listener.close()


def seconds_until_answered(client: PlannerClient, at_most: float) -> float:
    began = time.monotonic()
    while time.monotonic() - began < at_most:
        with contextlib.suppress(PlannerError):
            client.info()
            break
        time.sleep(0.05)
    return time.monotonic() - began


@pytest.mark.parametrize("wire", WIRES)
def test_a_service_that_was_away_is_found_as_soon_as_it_is_back(wire: str) -> None:
    with running() as (_, where):
        url = url_of(where, wire)
    ports = {"port": int(where.url.rpartition(":")[2]), "grpc_port": int(str(where.grpc).rpartition(":")[2])}
    with PlannerClient(url, retries=0) as client:
        away_s = 6.0 if wire == "grpc" else 0.5  # gRPC asks less and less often
        assert seconds_until_answered(client, at_most=away_s) >= away_s
        with running(**ports):
            assert seconds_until_answered(client, at_most=10.0) < 2.0


@pytest.mark.parametrize("wire", WIRES)
def test_a_line_that_died_without_a_word_is_given_up_for_a_new_one(wire: str) -> None:
    with running(drain_s=1) as (_, where), line_to(int(url_of(where, wire).rpartition(":")[2])) as line:
        scheme = "http" if wire == "rest" else "grpc"
        with PlannerClient(f"{scheme}://{line.address}", retries=0, timeout_s=1.0) as client:
            client.info()
            line.cut()
            assert seconds_until_answered(client, at_most=30.0) < 20.0


def test_a_long_call_outlives_the_clients_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    world = SlowWorld()
    hurry = {"grpc.keepalive_time_ms": 250, "grpc.http2.max_pings_without_data": 0}  # one a second, no matter what
    monkeypatch.setattr(rpc, "OPTIONS", tuple({**dict(rpc.OPTIONS), **hurry}.items()))
    with running(served(world)) as (_, where), PlannerClient(f"grpc://{where.grpc}", timeout_s=30, retries=0) as client:
        world.gate.clear()
        threading.Timer(7.0, world.gate.set).start()
        client.plan(paint(HOME), HOME, paint(moved(0.04, 0.0, 0.0)))


@pytest.mark.parametrize("wire", WIRES)
def test_a_step_whose_line_tears_is_not_made_twice(wire: str) -> None:
    world = SlowWorld()
    with running(served(world)) as (_, where), line_to(int(url_of(where, wire).rpartition(":")[2])) as line:
        scheme = "http" if wire == "rest" else "grpc"
        with PlannerClient(f"{scheme}://{line.address}", timeout_s=10.0) as client:
            session = client.session(paint(moved(0.04, 0.0, 0.0)))
            world.gate.clear()
            world.scoring.clear()  # which getting ready has set
            tearing = threading.Thread(target=lambda: (world.scoring.wait(10), line.tear()))
            tearing.start()
            with pytest.raises(PlannerError) as caught:
                session.step(paint(HOME), HOME)
            tearing.join()
            world.gate.set()
            assert caught.value.code == "connection_lost"
            client.info()  # which is asked again where a line still breaks
            assert session.step(paint(HOME), HOME).plan is not None  # the session goes on, by a new line
