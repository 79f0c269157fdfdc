"""Callers who hang up in the middle, ask in a way that is not known, or write numbers and truths as they please."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import socket
import threading
from collections.abc import AsyncIterator
from types import SimpleNamespace

import grpc
import httpx
import pytest
from starlette.types import Message
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from server.http.socket import stream
from server.logs import set_up
from server.rpc.gate import _patient
from server.run import Listening
from tests.planner.worlds import HOME
from tests.server import pictures
from tests.server.running import running
from vjepa2_ac.client import PlannerClient, PlannerError

HEAD = "POST /v1/plan HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: 500\r\n\r\n"
KINDS = ("application/json", "multipart/form-data; boundary=b")


@pytest.mark.parametrize("kind", KINDS)
def test_hanging_up_within_a_body_is_no_fault(point: Listening, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    caplog.set_level(logging.ERROR, logger="server")
    host, _, port = point.url.removeprefix("http://").rpartition(":")
    for body in ("", '{"observation": ', "--b\r\nContent-Disp"):
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall((HEAD.format(kind=kind) + body).encode())
            threading.Event().wait(0.1)
    threading.Event().wait(0.2)
    assert httpx.get(point.url + "/v1/info").status_code == 200
    assert not caplog.records


def test_hanging_up_before_a_stream_is_refused_is_no_fault() -> None:
    sent: list[str] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message["type"])
        if message["type"] == "websocket.close":
            raise OSError("the caller is gone")

    with running() as (service, _):
        app = SimpleNamespace(state=SimpleNamespace(service=service.service))
        asyncio.run(stream(WebSocket({"type": "websocket", "app": app}, receive, send), "none"))
    assert sent == ["websocket.accept", "websocket.close"]


def test_hanging_up_while_an_answer_is_written_to_a_stream_is_no_fault() -> None:
    heard: list[dict[str, object]] = []

    async def answers(requests: object, context: object) -> AsyncIterator[str]:
        yield "an answer"

    async def hang_up() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: heard.append(fault))
        begun, gone = asyncio.Event(), asyncio.Event()

        async def write(answer: str) -> None:
            begun.set()
            await gone.wait()
            raise RuntimeError("nobody takes it any more")

        handler = _patient(grpc.stream_stream_rpc_method_handler(answers), 60, lambda *_: pytest.fail("it was refused"))
        call = asyncio.create_task(handler.stream_stream(None, SimpleNamespace(write=write)))
        await begun.wait()
        call.cancel()
        await asyncio.wait({call})
        gone.set()
        await asyncio.sleep(0.01)

    asyncio.run(hang_up())
    gc.collect()
    assert not heard


def test_what_the_event_loop_says_is_a_line_of_the_log_too(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("info", "json")
    logging.getLogger("asyncio").error("something was lost")
    assert json.loads(capsys.readouterr().err)["message"] == "something was lost"


def test_what_callers_write_stays_in_the_line_that_tells_of_it(
    point: Listening, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up("info", "text")
    httpx.get(point.url + "/v1/%0A12:00:00 info    all is well%1b[2J")
    (line,) = log_lines(capsys, 1)
    assert r"path=/v1/\n12:00:00 info    all is well\x1b[2J status=404" in line


def test_a_socket_that_is_refused_is_no_error(point: Listening, capsys: pytest.CaptureFixture[str]) -> None:
    set_up("info", "json")
    with pytest.raises(InvalidStatus):
        connect(point.url.replace("http", "ws") + "/v1/sessions/x/stream", origin=Origin("http://evil.example"))
    httpx.get(point.url + "/v1/nothing")  # whatever was to be said of the socket is said before
    lines = [json.loads(line) for line in log_lines(capsys, 2)]
    assert [(line["level"], line.get("status")) for line in lines] == [("info", 403), ("info", 404)]


def log_lines(capsys: pytest.CaptureFixture[str], count: int) -> list[str]:
    """The lines of the log, once there are so many: a request has its own only after its answer."""
    log = ""
    for _ in range(500):
        log += capsys.readouterr().err
        if log.count("\n") >= count:
            break
        threading.Event().wait(0.01)
    return log.splitlines()


def test_a_wrong_method_is_told_every_right_one(point: Listening) -> None:
    for path, methods in (("/v1/goals", "GET, POST"), ("/v1/sessions/x", "DELETE, GET"), ("/v1/plan", "POST")):
        answer = httpx.request("PATCH", point.url + path)
        assert (answer.status_code, answer.headers["allow"]) == (405, methods)


@pytest.mark.parametrize(
    ("field", "value"),
    [("dry_run", 0), ("dry_run", "no"), ("samples", "50"), ("seed", True), ("budget_ms", "100"), ("horizon", 1.5)],
)
def test_numbers_and_truths_are_not_guessed(point: Listening, field: str, value: object) -> None:
    refused = httpx.post(point.url + "/v1/plan", json={"options": {field: value}}).json()
    assert (refused["code"], refused["field"]) == ("invalid_field", f"options.{field}")


def test_whole_numbers_may_be_written_with_a_point(point: Listening) -> None:
    refused = httpx.post(point.url + "/v1/plan", json={"options": {"samples": 50.0, "horizon": 1.0}}).json()
    assert refused["field"] == "observation.pose"


@pytest.mark.parametrize("wire", ["rest", "grpc"])
def test_a_budget_without_end_is_refused(point: Listening, wire: str) -> None:
    url = point.url if wire == "rest" else f"grpc://{point.grpc}"
    picture = pictures.of(HOME)
    with PlannerClient(url, retries=0) as client, pytest.raises(PlannerError, match="less than or equal to") as caught:
        client.plan(picture, HOME, picture, budget_ms=1e308)
    assert (caught.value.code, caught.value.field) == ("invalid_field", "options.budget_ms")
