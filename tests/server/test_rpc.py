"""What is special about gRPC: its status details, streams, health, reflection and the token."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from server.run import Listening, Running
from tests.planner.worlds import HOME, moved
from tests.server import pictures
from tests.server.running import running
from vjepa2_ac.client import PlannerClient
from vjepa2_ac.client.rpc import refusal_of
from vjepa2_ac.pb import planning_pb2 as pb
from vjepa2_ac.pb import planning_pb2_grpc
from vjepa2_ac.wire import to_message

GOAL = moved(0.04, 0.0, 0.0)
TOKEN = "correct-horse-battery"


@pytest.fixture
def stub(point: Listening) -> Iterator[Any]:
    with grpc.insecure_channel(point.grpc) as channel:
        yield planning_pb2_grpc.PlanningStub(channel)


def observation(**changes: Any) -> pb.StreamObservation:
    return to_message({"observation": {"picture": pictures.of(HOME), "pose": HOME, **changes}}, pb.StreamObservation)


def opening() -> pb.PlanStreamRequest:
    return pb.PlanStreamRequest(open=to_message({"goal": {"pictures": [pictures.of(GOAL)]}}, pb.OpenSessionRequest))


def test_a_refusal_carries_its_reason_and_field_as_details(stub: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Plan(pb.PlanRequest(), timeout=5)
    error: Any = caught.value
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    status = Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    assert status.message == error.details()
    info, bad = ErrorInfo(), BadRequest()
    assert any(detail.Unpack(info) for detail in status.details)
    assert any(detail.Unpack(bad) for detail in status.details)
    assert (info.reason, info.domain) == ("INVALID_FIELD", "vjepa2-ac")
    assert bad.field_violations[0].field == "observation.pose"


def test_a_stream_opens_a_session_and_answers_each_observation(stub: Any, point: Listening) -> None:
    asked: queue.Queue[pb.PlanStreamRequest | None] = queue.Queue()
    asked.put(opening())
    answers = stub.PlanStream(iter(asked.get, None), timeout=20)
    session = next(answers).opened
    assert session.status == "going"
    asked.put(pb.PlanStreamRequest(step=observation(id="one")))
    step = next(answers).step
    assert (step.observation_id, len(step.plan.actions)) == ("one", 1)
    asked.put(pb.PlanStreamRequest(step=observation(id="two", pose=[0.0] * 6)))
    problem = next(answers).problem
    assert (problem.code, problem.field, problem.observation_id) == ("invalid_field", "observation.pose", "two")
    asked.put(opening())
    assert next(answers).problem.code == "malformed_request"
    asked.put(pb.PlanStreamRequest(step=observation()))
    assert next(answers).step.status == "going"
    asked.put(None)
    assert list(answers) == []
    assert session.session_id not in [each.session_id for each in stub.ListSessions(pb.ListSessionsRequest()).sessions]


def test_a_stream_that_does_not_open_a_session_is_refused(stub: Any) -> None:
    with pytest.raises(grpc.RpcError, match="first message of a stream opens a session"):
        list(stub.PlanStream(iter([pb.PlanStreamRequest(step=observation())]), timeout=5))


def test_the_last_observation_of_a_closed_stream_is_still_answered(stub: Any) -> None:
    answers = list(stub.PlanStream(iter([opening(), pb.PlanStreamRequest(step=observation(id="last"))]), timeout=20))
    assert answers[-1].step.observation_id == "last"


def test_health_says_serving(point: Listening) -> None:
    with grpc.insecure_channel(point.grpc) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", "vjepa2_ac.v1.Planning"):
            status = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5).status
            assert status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_knows_the_service(point: Listening) -> None:
    with grpc.insecure_channel(point.grpc) as channel:
        assert "vjepa2_ac.v1.Planning" in ProtoReflectionDescriptorDatabase(channel).get_services()


def test_everything_but_health_needs_the_token() -> None:
    with running(token=TOKEN) as (_, where), grpc.insecure_channel(where.grpc) as channel:
        stub = planning_pb2_grpc.PlanningStub(channel)
        for metadata in ((), (("authorization", "Bearer wrong"),)):
            with pytest.raises(grpc.RpcError) as caught:
                stub.GetServerInfo(pb.GetServerInfoRequest(), metadata=metadata, timeout=5)
            assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED  # type: ignore[attr-defined]
            with pytest.raises(grpc.RpcError) as caught:
                list(stub.PlanStream(iter([opening()]), metadata=metadata, timeout=5))
            assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED  # type: ignore[attr-defined]
            with pytest.raises(grpc.RpcError):
                ProtoReflectionDescriptorDatabase(channel).get_services()
        right = (("authorization", f"Bearer {TOKEN}"),)
        assert stub.GetServerInfo(pb.GetServerInfoRequest(), metadata=right, timeout=5).api == "vjepa2_ac.v1"
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)


def counted(program: Running) -> dict[tuple[str, str], float]:
    """Calls by method and code."""
    samples = [each for metric in program.service.metrics.requests.collect() for each in metric.samples]
    return {(s.labels["method"], s.labels["code"]): s.value for s in samples if s.name.endswith("_total")}


def timed(program: Running) -> set[str]:
    """The methods of which times to answer are known."""
    return {s.labels["method"] for metric in program.service.metrics.durations.collect() for s in metric.samples}


def test_calls_that_do_not_pass_the_gate_are_counted_and_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="server")
    nothing: queue.Queue[bytes | None] = queue.Queue()
    right = (("authorization", f"Bearer {TOKEN}"),)
    with (
        running(token=TOKEN, idle_connection_s=0.3) as (program, where),
        grpc.insecure_channel(where.grpc) as channel,
    ):
        calls: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
            ("GetServerInfo", channel.unary_unary("/vjepa2_ac.v1.Planning/GetServerInfo"), (b"",)),
            ("PlanStream", channel.stream_stream("/vjepa2_ac.v1.Planning/PlanStream"), (iter([]),)),
        )
        for _, call, sent in calls:
            with pytest.raises(grpc.RpcError):
                list(call(*sent, timeout=10))
        with pytest.raises(grpc.RpcError):
            channel.unary_unary("/vjepa2_ac.v1.Planning/Plan")(b"\xff", metadata=right, timeout=10)
        with pytest.raises(grpc.RpcError):
            channel.stream_unary("/vjepa2_ac.v1.Planning/Plan")(iter(nothing.get, None), metadata=right, timeout=10)
        nothing.put(None)
        wanted = {
            ("GetServerInfo", "UNAUTHENTICATED"),
            ("PlanStream", "UNAUTHENTICATED"),
            ("Plan", "INVALID_ARGUMENT"),
            ("Plan", "DEADLINE_EXCEEDED"),
        }
        assert counted(program) == dict.fromkeys(wanted, 1.0)
        assert timed(program) == {"GetServerInfo", "Plan"}
    logged = {(line.method, line.status) for line in caplog.records if line.message == "answered"}  # type: ignore[attr-defined]
    assert logged == wanted


def test_how_long_a_stream_was_open_is_no_time_to_answer() -> None:
    with running() as (program, where), grpc.insecure_channel(where.grpc) as channel:
        list(planning_pb2_grpc.PlanningStub(channel).PlanStream(iter([opening()]), timeout=10))
        assert within(5, lambda: counted(program) == {("PlanStream", "OK"): 1.0})
        assert timed(program) == set()


def test_messages_beyond_the_limit_are_refused() -> None:
    with running(max_body_bytes=10_000) as (_, where), grpc.insecure_channel(where.grpc) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            planning_pb2_grpc.PlanningStub(channel).RegisterGoal(pb.RegisterGoalRequest(pictures=[b" " * 20_000]))
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("method", "kind"), [("Plan", "stream_unary"), ("PlanStream", "stream_stream"), ("ListGoals", "stream_unary")]
)
def test_a_call_whose_message_does_not_come_is_refused(method: str, kind: str) -> None:
    nothing: queue.Queue[bytes | None] = queue.Queue()
    with running(idle_connection_s=0.3) as (_, where), grpc.insecure_channel(where.grpc) as channel:
        call = getattr(channel, kind)(f"/vjepa2_ac.v1.Planning/{method}")
        with pytest.raises(grpc.RpcError) as caught:
            list(call(iter(nothing.get, None), timeout=10))
        nothing.put(None)
    assert refusal_of(caught.value).code == "too_slow"


def test_a_stream_on_which_nothing_comes_ends() -> None:
    asked: queue.Queue[pb.PlanStreamRequest | None] = queue.Queue()
    asked.put(opening())
    with running(session_idle_s=0.5) as (program, where), grpc.insecure_channel(where.grpc) as channel:
        answers = planning_pb2_grpc.PlanningStub(channel).PlanStream(iter(asked.get, None), timeout=10)
        assert next(answers).opened.session_id
        with pytest.raises(grpc.RpcError) as caught:
            next(answers)
        asked.put(None)
        assert refusal_of(caught.value).code == "too_slow"
        assert program.service.streams == 0


def test_a_caller_who_never_reads_keeps_neither_stream_nor_session() -> None:
    done = threading.Event()

    def observing() -> Iterator[pb.PlanStreamRequest]:
        yield opening()
        while not done.wait(0.005):
            yield pb.PlanStreamRequest(step=observation())

    def kept(program: Running) -> tuple[int, int]:
        return program.service.streams, len(program.service.sessions.items())

    small = [("grpc.http2.bdp_probe", 0)]  # or megabytes are taken on the caller's behalf
    with running(idle_connection_s=0.5) as (program, where), grpc.insecure_channel(where.grpc, small) as channel:
        call = planning_pb2_grpc.PlanningStub(channel).PlanStream(observing(), timeout=60)
        assert within(20, lambda: kept(program) == (1, 1))
        assert within(40, lambda: kept(program) == (0, 0))
        done.set()
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
        assert refusal_of(caught.value).code == "too_slow"


def within(patience_s: float, holds: Callable[[], bool]) -> bool:
    ends = time.monotonic() + patience_s
    while not holds() and time.monotonic() < ends:
        time.sleep(0.02)
    return holds()


def test_who_waits_until_a_stream_is_open_always_reads_why_it_is_not() -> None:
    """Who writes on instead may lose that to grpcio: see benchmarks/soak.py."""

    async def refused(address: str) -> str:
        async with grpc.aio.insecure_channel(address) as channel:
            call = planning_pb2_grpc.PlanningStub(channel).PlanStream()
            await call.write(opening())
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            return refusal_of(caught.value).code

    with running(max_sessions=1) as (_, where), PlannerClient(where.url) as client:
        client.session(pictures.of(GOAL))
        assert {asyncio.run(refused(where.grpc)) for _ in range(20)} == {"too_many_kept"}
