"""A service under way: it is not ready too early, refuses what is too much, and drops nothing when it is stopped."""

from __future__ import annotations

import asyncio
import json
import queue
import socket
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import torch
from grpc_health.v1 import health_pb2, health_pb2_grpc
from torch import Tensor
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from server.model import Served
from server.run import Listening, Running
from server.service import PlanningService
from server.settings import Settings
from tests.planner.worlds import HOME, PointWorld, moved, paint
from tests.server import pictures
from tests.server.conftest import WIRES, url_of
from tests.server.running import SlowWorld, point_world, running, served
from vjepa2_ac.client import Plan, PlannerClient, PlannerError
from vjepa2_ac.errors import CheckpointError

GOAL = moved(0.04, 0.0, 0.0)
STEP = json.dumps({"observation": {"pose": HOME, "picture": pictures.base64_of(HOME)}})


def plan(where: Listening, wire: str, **more: Any) -> Plan:
    with PlannerClient(url_of(where, wire), retries=0, **more) as client:
        return client.plan(paint(HOME), HOME, paint(GOAL))


def _stream_of(where: Listening, session_id: str) -> str:
    return where.url.replace("http", "ws") + f"/v1/sessions/{session_id}/stream"


def health_of(where: Listening) -> int:
    with grpc.insecure_channel(where.grpc) as channel:
        return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5).status


def test_whoever_is_told_the_addresses_is_let_in() -> None:
    program, open_ports = Running(PlanningService(Settings(port=0, grpc_port=0), point_world)), []

    def visit(where: Listening) -> None:
        for address in (where.url.removeprefix("http://"), where.grpc):
            host, _, port = address.rpartition(":")
            with socket.create_connection((host, int(port)), timeout=5):
                open_ports.append(port)
        program.stop()

    assert asyncio.run(program.run(visit))
    assert len(open_ports) == 2


def test_a_model_that_cannot_be_loaded_keeps_the_service_alive_and_unready() -> None:
    def fails() -> Served:
        raise CheckpointError("there is no file or folder weights.pt")

    with running(fails, model="weights.pt") as (_, where):
        assert httpx.get(where.url + "/livez").status_code == 200
        ready = httpx.get(where.url + "/readyz")
        assert (ready.status_code, ready.text) == (
            503,
            "the model weights.pt is failed: there is no file or folder weights.pt\n",
        )
        assert httpx.get(where.url + "/v2/health/ready").status_code == 503
        assert health_of(where) == health_pb2.HealthCheckResponse.NOT_SERVING
        for wire in WIRES:
            with pytest.raises(PlannerError, match=r"no file or folder weights.pt") as caught:
                plan(where, wire)
            assert caught.value.code == "not_ready"
            assert caught.value.retry_after_s
        with PlannerClient(where.url) as client:
            assert client.models()[0]["state"] == "failed"


@pytest.mark.parametrize("wire", WIRES)
def test_nothing_is_planned_with_a_model_of_another_rate(wire: str) -> None:
    with (
        running(served(PointWorld(fps=2.0))) as (_, where),
        pytest.raises(PlannerError, match="learned from 2 pictures a second") as caught,
    ):
        plan(where, wire)
    assert caught.value.code == "not_ready"


def test_a_service_told_to_stop_while_it_loads_does_not_wait_for_its_model() -> None:
    may_load, places = threading.Event(), queue.Queue[Listening]()

    def loads_for_long() -> Served:
        may_load.wait(60)
        return point_world()

    program = Running(PlanningService(Settings(port=0, grpc_port=0), loads_for_long))
    with ThreadPoolExecutor(1) as thread:
        ended = thread.submit(lambda: asyncio.run(program.run(places.put)))
        places.get(timeout=20)
        program.stop()
        assert ended.result(20) is True
        assert program.service.worker.is_alive
        may_load.set()


class LosingWorld(PointWorld):
    """A point world on a device that fails once it is told to."""

    fails = False

    def score(self, *arguments: Any, **more: Any) -> Tensor:
        if self.fails:
            raise torch.AcceleratorError("CUDA error: an illegal memory access\nCompile with …")
        return super().score(*arguments, **more)


@pytest.mark.parametrize("wire", WIRES)
def test_a_service_that_lost_its_device_ends_so_that_it_can_be_started_anew(wire: str) -> None:
    world, places = LosingWorld(), queue.Queue[Listening]()
    program = Running(PlanningService(Settings(port=0, grpc_port=0), served(world)))
    with ThreadPoolExecutor(1) as thread:
        ended = thread.submit(lambda: asyncio.run(program.run(places.put)))
        where = places.get(timeout=20)
        while program.service.unready is not None:
            threading.Event().wait(0.01)
        assert plan(where, wire).actions.shape == (1, 7)
        world.fails = True
        with pytest.raises(PlannerError, match=r"device was lost: CUDA error: an illegal memory access$"):
            plan(where, wire)
        assert ended.result(20) is False


def test_it_is_ready_only_after_the_model_is() -> None:
    may_load = threading.Event()

    def slow() -> Served:
        may_load.wait(10)
        return point_world()

    threading.Timer(0.5, may_load.set).start()
    with running(slow) as (program, where):
        assert program.service.unready is None
        assert httpx.get(where.url + "/readyz").text == "ready\n"


@pytest.mark.parametrize("wire", WIRES)
def test_a_full_queue_refuses_with_a_hint(wire: str) -> None:
    world = SlowWorld()
    with running(served(world), queue_size=1) as (program, where), ThreadPoolExecutor(2) as callers:
        answers = _fill(program, where, wire, world, callers)
        with pytest.raises(PlannerError, match="1 requests are waiting") as caught:
            plan(where, wire)
        world.gate.set()
        assert all(answer.result(10).actions.shape == (1, 7) for answer in answers)
    assert caught.value.code == "queue_full"
    assert caught.value.retry_after_s is not None
    assert caught.value.retry_after_s > 0


def _fill(
    program: Running, where: Listening, wire: str, world: SlowWorld, callers: ThreadPoolExecutor
) -> list[Future[Plan]]:
    """One request under way and one waiting, until the world's gate is opened."""
    world.gate.clear()
    world.scoring.clear()
    first = callers.submit(plan, where, wire)
    assert world.scoring.wait(10)
    second = callers.submit(plan, where, wire)
    while program.service.worker.depth < 1:
        threading.Event().wait(0.01)
    return [first, second]


def test_a_full_queue_is_429_with_retry_after() -> None:
    world = SlowWorld()
    with running(served(world), queue_size=1) as (program, where), ThreadPoolExecutor(2) as callers:
        waiting = _fill(program, where, "rest", world, callers)
        answer = httpx.post(where.url + "/v1/goals", files={"pictures": pictures.of(GOAL)})
        world.gate.set()
        assert all(each.result(10) for each in waiting)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_full_queue_refuses_before_anything_is_read() -> None:
    world = SlowWorld()
    with running(served(world), queue_size=1) as (program, where), ThreadPoolExecutor(2) as callers:
        waiting = _fill(program, where, "rest", world, callers)
        with closing(HTTPConnection(where.url.removeprefix("http://"), timeout=10)) as line:
            line.putrequest("POST", "/v1/plan")
            line.putheader("Content-Length", "1000")
            line.endheaders()
            with line.getresponse() as answer:
                assert (answer.status, answer.getheader("retry-after")) == (429, "1")
                answer.read()
            line.send(b" " * 1000)
            line.request("GET", "/livez")  # the connection is as good as before
            assert line.getresponse().status == 200
        for wire in WIRES:
            with PlannerClient(url_of(where, wire), retries=0) as client:
                with pytest.raises(PlannerError, match="1 requests are waiting"):
                    client.plan(b"no picture", [], b"none")
                assert client.session(pictures.of(GOAL)).status == "going"  # needs no turn of the model
        world.gate.set()
        assert all(each.result(10) for each in waiting)


@pytest.mark.parametrize("wire", WIRES)
def test_stopping_finishes_what_was_accepted(wire: str) -> None:
    world = SlowWorld()
    with running(served(world)) as (program, where), ThreadPoolExecutor(2) as callers:
        answers = _fill(program, where, wire, world, callers)
        program.stop()
        while not program.service.draining.is_set():
            threading.Event().wait(0.01)
        assert program.service.unready == "the service is shutting down"
        world.gate.set()
        assert all(answer.result(10).actions.shape == (1, 7) for answer in answers)


def test_stopping_again_afterwards_does_nothing() -> None:
    with running() as (program, _):
        pass
    program.stop()


@pytest.mark.parametrize("wire", WIRES)
def test_a_caller_who_hangs_up_stops_the_search(wire: str) -> None:
    world = SlowWorld()
    with running(served(world)) as (_, where):
        world.gate.clear()
        world.scored.clear()
        with pytest.raises(PlannerError, match=r"in time|Deadline"):
            plan(where, wire, timeout_s=0.3)
        threading.Event().wait(0.3)
        world.gate.set()
        assert plan(where, wire).actions.shape == (1, 7)
        assert len(world.scored) < 8, "the abandoned search went on to its end"


@pytest.mark.parametrize("way", ["step", "stream", "stream that breaks"])
def test_a_caller_who_hangs_up_leaves_a_session_as_it_was(way: str, tmp_path: Path) -> None:
    world, plan_log = SlowWorld(), tmp_path / "plans.jsonl"
    with running(served(world), plan_log=plan_log) as (program, where), PlannerClient(where.url) as client:
        session = client.session(paint(GOAL))
        world.gate.clear()
        world.scoring.clear()  # which getting ready has set
        if way == "step":
            with pytest.raises(PlannerError, match="in time"):
                session.step(paint(HOME), HOME, timeout_s=0.5)
        else:
            with connect(_stream_of(where, session.id)) as line:
                line.send(STEP)
                assert world.scoring.wait(10)
                line.send(STEP)  # nor is it planned for
                if way == "stream that breaks":
                    line.socket.shutdown(socket.SHUT_RDWR)
        job = program.service.host.world.job
        assert job is not None
        for _ in range(500):
            if job.gone:
                break
            threading.Event().wait(0.01)
        world.gate.set()
        session.step(paint(HOME), HOME)
        assert session.state().steps == 1
        assert "vjepa2_ac_plan_iterations_count 1.0" in httpx.get(where.url + "/metrics").text
        assert program.service.streams == 0
    assert len(plan_log.read_text().splitlines()) == 1


def test_no_more_streams_are_open_than_may_be() -> None:
    with running(max_streams=1) as (program, where), PlannerClient(where.url) as client:
        address = _stream_of(where, client.session(paint(GOAL)).id)
        with connect(address) as line:
            line.send(STEP)
            line.recv(10)
            with connect(address) as another, pytest.raises(ConnectionClosed) as caught:
                another.recv(10)
            assert caught.value.rcvd is not None
            assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1013, "1 streams are open; no more can be")
            assert program.service.streams == 1


@pytest.mark.parametrize(("x", "margin", "is_refused"), [(0.95, 0.1, False), (0.95, 0.0, True), (1.05, 0.2, False)])
def test_the_operator_says_how_far_outside_a_hand_may_come_back_from(x: float, margin: float, is_refused: bool) -> None:
    pose = [x, *HOME[1:]]
    with running(workspace_margin=margin) as (_, where), PlannerClient(where.url) as client:
        if is_refused:
            with pytest.raises(PlannerError, match="outside of the workspace"):
                client.plan(paint(pose), pose, paint(GOAL))
        else:
            assert client.plan(paint(pose), pose, paint(GOAL)).targets[0][0] <= x


def test_goals_and_sessions_are_kept_within_bounds_and_expire() -> None:
    with (
        running(max_sessions=2, max_goals=1, session_idle_s=0.5) as (_, where),
        PlannerClient(where.url, retries=0) as c,
    ):
        c.session(paint(GOAL))
        c.session(paint(GOAL))
        with pytest.raises(PlannerError, match="room for 2 sessions") as caught:
            c.session(paint(GOAL))
        assert caught.value.code == "too_many_kept"
        assert caught.value.retry_after_s is not None
        threading.Event().wait(0.6)
        assert c.session(paint(GOAL)).status == "going"
        c.register_goal(paint(GOAL))
        with pytest.raises(PlannerError, match="room for 1 goals"):
            c.register_goal(paint(HOME))


def test_a_goal_takes_the_room_of_its_pictures() -> None:
    with running(max_goals=3) as (_, where), PlannerClient(where.url, retries=0) as c:
        c.register_goal([paint(HOME), paint(GOAL)])
        with pytest.raises(PlannerError, match="room for 3 goals, and 2 are kept"):
            c.register_goal([paint(GOAL), paint(HOME)])
        c.register_goal(paint(GOAL))


def test_a_goal_is_kept_once_it_is_encoded_and_not_before() -> None:
    world = SlowWorld()
    with running(served(world)) as (_, where), PlannerClient(where.url, retries=0) as c:
        world.gate.clear()
        world.scoring.clear()
        with ThreadPoolExecutor(2) as pool:
            planned = pool.submit(plan, where, "rest")
            assert world.scoring.wait(10)
            registered = pool.submit(c.register_goal, paint(GOAL))
            threading.Event().wait(0.3)
            with PlannerClient(where.url, retries=0) as other:
                assert other.goals() == []
            world.gate.set()
            assert registered.result(10).sub_goals == 1
            planned.result(10)
        assert len(c.goals()) == 1


def test_pictures_that_wait_to_be_encoded_wait_as_files() -> None:
    with running() as (program, where), PlannerClient(where.url, retries=0) as c:
        c.session(paint(GOAL))
        (goal,) = program.service.goals.recent.values()
        assert not [kept for kept in vars(goal).values() if isinstance(kept, list) and _arrays(kept)]


def _arrays(kept: list[Any]) -> list[Any]:
    return [each for each in kept if isinstance(each, np.ndarray)]


def test_a_fault_of_ours_shows_no_traceback() -> None:
    class Broken(SlowWorld):
        def score(self, *arguments: Any, **more: Any) -> Any:
            if self.scoring.is_set():
                raise RuntimeError("secret path /home/somebody")
            return super(SlowWorld, self).score(*arguments, **more)

    world = Broken()
    with running(served(world)) as (_, where):
        world.scoring.set()
        for wire in WIRES:
            with pytest.raises(PlannerError) as caught:
                plan(where, wire)
            assert caught.value.code == "internal"
            assert "secret" not in str(caught.value)
            assert caught.value.request_id
