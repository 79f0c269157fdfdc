"""Traces reach a collector by OTLP, tied to the caller's own and to the log; unasked for, there is nothing of them."""

from __future__ import annotations

import http.server
import json
import logging
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from websockets.sync.client import connect

from server import traces
from server.logs import JSONLines
from server.run import Listening
from tests.planner.worlds import HOME, moved, paint
from tests.server import pictures
from tests.server.running import running
from vjepa2_ac.client import PlannerClient
from vjepa2_ac.errors import ConfigError
from vjepa2_ac.pb import planning_pb2 as pb
from vjepa2_ac.pb import planning_pb2_grpc

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADERS = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "mine-1"}
STAGES = {"decode", "queue", "goal", "encode", "search", "safety"}
GOAL = moved(0.04, 0.0, 0.0)


class Collector:
    """Keeps every span that it is sent."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.resource: dict[str, str] = {}

    def take(self, request: Any) -> None:
        for each in request.resource_spans:
            self.resource |= {item.key: item.value.string_value for item in each.resource.attributes}
            self.spans += [span for scope in each.scope_spans for span in scope.spans]

    def named(self, name: str) -> Any:
        (span,) = [span for span in self.spans if span.name == name]
        return span

    def below(self, span: Any) -> set[str]:
        return {each.name for each in self.spans if each.parent_span_id == span.span_id}


def attributes_of(span: Any) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in span.attributes}


@contextmanager
def over_http() -> Iterator[tuple[Collector, dict[str, str]]]:
    collector = Collector()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.take(trace_service_pb2.ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield collector, {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{listening.server_port}"}
    listening.shutdown()
    listening.server_close()


@contextmanager
def over_grpc() -> Iterator[tuple[Collector, dict[str, str]]]:
    collector = Collector()

    class Servicer(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
            collector.take(request)
            return trace_service_pb2.ExportTraceServiceResponse()

    listening = grpc.server(ThreadPoolExecutor(1))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Servicer(), listening)
    port = listening.add_insecure_port("127.0.0.1:0")
    listening.start()
    endpoint = f"http://127.0.0.1:{port}"
    yield collector, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    listening.stop(None)


@contextmanager
def traced(monkeypatch: pytest.MonkeyPatch, collecting: Any = over_http) -> Iterator[tuple[Collector, Listening]]:
    """A service that sends its spans to a collector, all of which is there once this has ended."""
    with collecting() as (collector, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with running() as (_, where):
            yield collector, where


def rest_plan(where: Listening) -> httpx.Response:
    files = {"observation": pictures.of(HOME), "goal": pictures.of(GOAL)}
    request = json.dumps({"observation": {"pose": HOME}})
    return httpx.post(f"{where.url}/v1/plan", data={"request": request}, files=files, headers=HEADERS)


def rpc_plan(where: Listening, **changes: Any) -> pb.PlanResponse:
    request = pb.PlanRequest(
        observation=pb.Observation(picture=pictures.of(HOME), pose=pb.Pose(values=HOME)),
        goal=pb.GoalReference(pictures=[pictures.of(GOAL)]),
    )
    with grpc.insecure_channel(str(where.grpc)) as channel:
        stub = planning_pb2_grpc.PlanningStub(channel)  # type: ignore[no-untyped-call]
        answer: pb.PlanResponse = stub.Plan(request, metadata=tuple(HEADERS.items()), **changes)
        return answer


def check_plan(collector: Collector, name: str) -> dict[str, Any]:
    """What the span of a plan says; it is a child of the caller's, and its stages are below it."""
    span = collector.named(name)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert collector.below(span) == STAGES
    for each in collector.spans:
        assert span.start_time_unix_nano <= each.start_time_unix_nano <= each.end_time_unix_nano
        assert each.end_time_unix_nano <= span.end_time_unix_nano
    return attributes_of(span)


def test_a_plan_over_rest_is_a_child_of_the_caller_s_span(monkeypatch: pytest.MonkeyPatch) -> None:
    with traced(monkeypatch) as (collector, where):
        plan = rest_plan(where).json()
        httpx.get(f"{where.url}/readyz")
    found = check_plan(collector, "POST /v1/plan")
    assert found["vjepa2_ac.request_id"] == "mine-1"
    assert found["vjepa2_ac.plan_id"] == plan["plan_id"]
    assert (found["http.route"], found["http.response.status_code"]) == ("/v1/plan", 200)
    assert collector.resource["service.name"] == "vjepa2-ac"
    assert len(collector.spans) == 1 + len(STAGES) + 1  # two pictures are decoded; health checks are not traced


@pytest.mark.parametrize("collecting", [over_http, over_grpc])
def test_a_plan_over_grpc_is_too_whatever_the_collector_speaks(
    monkeypatch: pytest.MonkeyPatch, collecting: Any
) -> None:
    with traced(monkeypatch, collecting) as (collector, where):
        rpc_plan(where)
    found = check_plan(collector, "vjepa2_ac.v1.Planning/Plan")
    assert found["vjepa2_ac.request_id"] == "mine-1"
    assert (found["rpc.system"], found["rpc.grpc.status_code"]) == ("grpc", 0)


def test_steps_of_streams_are_spans_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with traced(monkeypatch) as (collector, where):
        with PlannerClient(where.url) as client, client.session(paint(GOAL)) as session:
            address = where.url.replace("http", "ws") + f"/v1/sessions/{session.id}/stream"
            with connect(address, additional_headers=HEADERS) as socket:
                step = {"observation": {"picture": pictures.base64_of(HOME), "pose": HOME}}
                socket.send(json.dumps(step))
                assert "plan" in json.loads(socket.recv())
        with grpc.insecure_channel(str(where.grpc)) as channel:
            opened = pb.OpenSessionRequest(goal=pb.GoalReference(pictures=[pictures.of(GOAL)]))
            stub = planning_pb2_grpc.PlanningStub(channel)  # type: ignore[no-untyped-call]
            answers = stub.PlanStream(iter([pb.PlanStreamRequest(open=opened)]), metadata=tuple(HEADERS.items()))
            assert next(answers).opened.sub_goals == 1
            list(answers)
    stream = collector.named("GET /v1/sessions/{session_id}/stream")
    assert stream.trace_id.hex() == TRACE
    assert collector.below(stream) == {"step"}
    assert STAGES - collector.below(collector.named("step")) == set()
    assert collector.named("vjepa2_ac.v1.Planning/PlanStream").trace_id.hex() == TRACE


def test_a_grpc_call_that_does_not_pass_the_gate_says_its_status_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with traced(monkeypatch) as (collector, where):
        channel = grpc.insecure_channel(str(where.grpc))
        with channel, pytest.raises(grpc.RpcError):
            channel.unary_unary("/vjepa2_ac.v1.Planning/Plan")(b"\xff", timeout=10)
    found = attributes_of(collector.named("vjepa2_ac.v1.Planning/Plan"))
    assert (found["error.type"], found["rpc.grpc.status_code"]) == ("malformed_request", 3)


def test_refusals_say_their_code_and_blame_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with traced(monkeypatch) as (collector, where):
        assert httpx.post(f"{where.url}/v1/plan", json={}).status_code == 422
        with pytest.raises(grpc.RpcError), grpc.insecure_channel(str(where.grpc)) as channel:
            planning_pb2_grpc.PlanningStub(channel).Plan(pb.PlanRequest())  # type: ignore[no-untyped-call]
    for name in ("POST /v1/plan", "vjepa2_ac.v1.Planning/Plan"):
        span = collector.named(name)
        assert attributes_of(span)["error.type"] == "invalid_field"
        assert span.status.code == 0
        assert not span.parent_span_id  # no traceparent came: a trace begins here


def test_log_lines_carry_the_ids_of_request_and_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines: list[dict[str, Any]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(JSONLines().format(record)))

    logger, keep = logging.getLogger("server"), Keep()
    logger.addHandler(keep)
    before = logger.level
    logger.setLevel(logging.INFO)
    with traced(monkeypatch) as (_, where):
        rest_plan(where)
        rpc_plan(where)
    logger.removeHandler(keep)
    logger.setLevel(before)
    answered = [line for line in lines if line["message"] == "answered"]
    assert [(line["request_id"], line["trace_id"]) for line in answered] == [("mine-1", TRACE)] * 2


def test_nothing_is_traced_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = [name for name in sys.modules if name == "server.otlp"]
    for name in ours:
        monkeypatch.delitem(sys.modules, name)
    with running() as (program, where):
        assert program.service.traces is None
        assert rest_plan(where).status_code == 200
    assert "server.otlp" not in sys.modules
    assert traces.stage("search") is traces.NOTHING
    assert traces.trace_id() is None


@pytest.mark.parametrize(
    ("environment", "is_wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, False),
    ],
)
def test_the_standard_variables_ask_for_traces(environment: dict[str, str], is_wanted: bool) -> None:
    assert traces.wanted(environment) == is_wanted


def test_traces_that_cannot_be_made_are_said_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "server.otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(ConfigError, match=r"install vjepa2-ac\[telemetry\], or say --no-traces"):
        traces.open_traces(True)
    assert traces.open_traces(False) is None
    assert traces.open_traces(None, {}) is None


def test_a_protocol_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigError, match="http/protobuf or grpc, not 'http/json'"):
        traces.open_traces(True, {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"})
