"""The client: light to import, numpy in and out, and never asking twice where once is right."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import inspect
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import grpc
import httpx
import numpy as np
import pytest

from tests.planner.worlds import HOME, moved, paint
from tests.server.pictures import noise, png
from tests.server.running import SlowWorld, running, served
from vjepa2_ac.client import (
    AsyncPlannerClient,
    Exploration,
    Goal,
    Plan,
    PlannerClient,
    PlannerError,
    PlannerUnavailableError,
    SessionState,
    calls,
    rest,
)
from vjepa2_ac.client.aio import AsyncSession
from vjepa2_ac.client.calls import METHODS, Call
from vjepa2_ac.client.errors import Attempts
from vjepa2_ac.client.pictures import picture_bytes
from vjepa2_ac.client.rpc import refusal_of
from vjepa2_ac.client.sync import Session
from vjepa2_ac.client.wires import Address
from vjepa2_ac.errors import InputError
from vjepa2_ac.pb import planning_pb2

GOAL = moved(0.04, 0.0, 0.0)
OPENED = SessionState("s", "going", 0, 1, 0, 9.0)


def test_it_imports_nothing_heavy_and_adds_less_than_numpy_takes() -> None:
    # Processor time beside numpy's in the same process, because how fast this machine is is not the client's doing.
    code = (
        "import sys, time; begun = time.process_time(); import numpy; there = time.process_time(); "
        "import vjepa2_ac.client; added = time.process_time() - there; "
        "print(sorted({'torch', 'scipy', 'cv2', 'grpc', 'httpx', 'fastapi'} & set(sys.modules)), added < there - begun)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] True\n"


def test_talking_over_either_wire_needs_no_torch() -> None:
    code = (
        "import sys; from vjepa2_ac.client import PlannerClient; "
        "PlannerClient('http://localhost:1').close(); PlannerClient('grpc://localhost:1').close(); "
        "print('torch' in sys.modules, 'fastapi' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_every_method_exists_on_grpc() -> None:
    known = planning_pb2.DESCRIPTOR.services_by_name["Planning"].methods_by_name
    for name, method in METHODS.items():
        assert known[method.rpc].output_type.name == method.answer, name


@pytest.mark.parametrize(("plain", "awaited"), [(PlannerClient, AsyncPlannerClient), (Session, AsyncSession)])
def test_the_async_client_offers_the_same(plain: type, awaited: type) -> None:
    def offered(kind: type) -> dict[str, inspect.Signature]:
        methods = inspect.getmembers(kind, inspect.isfunction)
        return {name: inspect.signature(method) for name, method in methods if not name.startswith("_")}

    ours, theirs = offered(plain), offered(awaited)
    assert {name: list(each.parameters) for name, each in ours.items()} == {
        name: list(each.parameters) for name, each in theirs.items()
    }


def test_frames_become_the_png_that_others_read() -> None:
    frame = noise(17, 23)
    decoded = cv2.imdecode(np.frombuffer(picture_bytes(frame), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    np.testing.assert_array_equal(decoded[..., ::-1], frame)


def test_bytes_and_files_pass_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(noise()))
    assert picture_bytes(b"jpeg") == b"jpeg"
    assert picture_bytes(tmp_path / "a.png") == png(noise())
    with pytest.raises(InputError, match="no picture at"):
        picture_bytes(tmp_path / "b.png")
    with pytest.raises(InputError, match="cannot be read: File name too long"):
        picture_bytes(tmp_path / (300 * "b"))


@pytest.mark.parametrize("wrong", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8)])
def test_an_array_that_is_no_frame_is_refused(wrong: Any) -> None:
    with pytest.raises(InputError, match="a frame is uint8"):
        picture_bytes(wrong)


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000",
        "ftp://a",
        "http://",
        "http://[::1",
        "http://host:port",
        "http://a b:80",
        "http://a:80\n",
        "http://a:0",
        "grpc://a:80/path",
        "grpc://a:80?query",
        "grpc://a:80#part",
        "http://a..b",
        f"http://{64 * 'a'}.b",
        "http://xn--0:80",
        "http://💩.lab:80",
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="is no address of a service"):
        PlannerClient(url)


@pytest.mark.parametrize("host", ["my_planner", "röbot.lab", "xn--fa-hia.lab", "robot.lab.", "[fe80::1%eth0]"])
def test_an_odd_name_of_a_host_is_one(host: str) -> None:
    PlannerClient(f"http://{host}:8000").close()


@pytest.mark.parametrize("wire", ["http", "grpc"])
@pytest.mark.parametrize("token", ["correct\nhorse", "hörse-horse"])
def test_a_token_that_no_header_can_hold_is_refused(wire: str, token: str) -> None:
    with pytest.raises(InputError, match="the token holds what no header can"):
        PlannerClient(f"{wire}://127.0.0.1:9", token=token)


def test_the_end_of_a_line_is_no_part_of_a_token_nor_a_slash_of_an_address() -> None:
    address = Address("grpc://lab:80/", token=" correct-horse\n")
    assert (address._target, address._shown) == ("lab:80", "correct-horse")


@pytest.mark.parametrize("wire", ["https", "grpcs"])
def test_files_that_tls_cannot_use_are_named(wire: str, tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("hello")
    for name in ("none.pem", "missing.pem"):
        with pytest.raises(InputError, match=f"{name}: not to be used for TLS"):
            PlannerClient(f"{wire}://127.0.0.1:9", ca=tmp_path / name)
        with pytest.raises(InputError, match=f"{name}: not to be used for TLS"):
            PlannerClient(f"{wire}://127.0.0.1:9", certificate=(tmp_path / name, tmp_path / name))


@pytest.mark.parametrize("wire", ["http", "grpc"])
def test_files_for_tls_are_refused_where_there_is_none(wire: str, tmp_path: Path) -> None:
    files = tmp_path / "authority.pem", tmp_path / "key.pem"
    for kind in (PlannerClient, AsyncPlannerClient):
        with pytest.raises(InputError, match="are for https and grpcs"):
            kind(f"{wire}://127.0.0.1:9", ca=files[0])
        with pytest.raises(InputError, match="are for https and grpcs"):
            kind(f"{wire}://127.0.0.1:9", certificate=files)


@pytest.mark.parametrize("wire", ["http", "grpc"])
def test_a_service_that_is_not_there_is_said_so(wire: str) -> None:
    client = PlannerClient(f"{wire}://127.0.0.1:9", retries=1, timeout_s=5)
    with client, pytest.raises(PlannerError) as caught:
        client.info()
    assert caught.value.code == "unreachable"


def test_an_option_that_does_not_exist_is_refused_here() -> None:
    with PlannerClient("http://127.0.0.1:9") as client, pytest.raises(InputError, match="no option sede"):
        client.plan(paint(HOME), HOME, paint(GOAL), sede=1)  # type: ignore[call-arg]


def test_what_would_be_left_out_of_an_observation_is_refused() -> None:
    with (
        PlannerClient("http://127.0.0.1:9") as client,
        pytest.raises(InputError, match="no detail of an observation age_ms"),
    ):
        client.plan(paint(HOME), HOME, paint(GOAL), details={"age_ms": 5000})  # type: ignore[arg-type]


@pytest.mark.parametrize("wire", ["http", "grpc"])
def test_what_cannot_be_sent_is_said_so(wire: str) -> None:
    with PlannerClient(f"{wire}://127.0.0.1:9") as client:
        with pytest.raises(InputError, match="the request cannot be sent"):
            client.plan(paint(HOME), HOME, "goal", preset=Path("fast"))  # type: ignore[arg-type]
        with pytest.raises(InputError, match="the request cannot be sent"):
            client.session("goal", preset=Path("fast"))  # type: ignore[arg-type]
        with pytest.raises(InputError, match="what was given as candidates is not made of numbers"):
            client.energy(paint(HOME), HOME, "goal", [[[0.0] * 7], [[0.0] * 7] * 2])
        with pytest.raises(InputError, match="or one that was registered; got None"):
            client.plan(paint(HOME), HOME, None)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="or one that was registered; got array"):
            client.plan(paint(HOME), HOME, np.array(0))
        with pytest.raises(InputError, match="age_s is not made of numbers"):
            client.plan(paint(HOME), HOME, "goal", details={"age_s": "old"})  # type: ignore[typeddict-item]


def test_a_files_name_as_text_is_no_id_and_no_picture() -> None:
    wanted = re.escape("a picture's file is given as a Path, not as text: Path('goal.jpg')")
    name: Any = "goal.jpg"
    with PlannerClient("http://127.0.0.1:9") as client:
        for ask in (
            lambda: client.plan(paint(HOME), HOME, name),
            lambda: client.plan(name, HOME, paint(GOAL)),
            lambda: client.session([paint(HOME), name]),
            lambda: client.register_goal(name),
        ):
            with pytest.raises(InputError, match=wanted):
                ask()


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"seed": 2**64}, {"samples": "9"}, {"preset": 7}, {"dry_run": "no"}])
def test_what_a_message_cannot_hold_is_named(wrong: dict[str, Any]) -> None:
    ((name, value),) = wrong.items()
    words = re.escape(f"the request cannot be sent: {name} cannot be {value!r}")
    with PlannerClient("grpc://127.0.0.1:9") as client, pytest.raises(InputError, match=words):
        client.plan(paint(HOME), HOME, "goal", **wrong)


@pytest.mark.parametrize("wrong", [np.zeros(7), np.zeros((2, 7)), np.zeros((1, 2, 6)), np.zeros((1, 1, 2, 7))])
def test_moves_of_another_shape_are_refused_here(wrong: Any) -> None:
    with pytest.raises(InputError, match=r"candidates have shape \[.*\]; expected \[candidates, horizon, 7\]"):
        calls.candidates(wrong)


@pytest.mark.parametrize("wrong", [0.4, [HOME]])
def test_what_is_no_row_of_numbers_is_refused_here(wrong: Any) -> None:
    with pytest.raises(InputError, match=r"pose has shape .* expected one row of numbers"):
        calls.observation(b"now", wrong, {})
    with pytest.raises(InputError, match=r"camera_turn has shape .* expected one row of numbers"):
        calls.options({"camera_turn": wrong})


def test_a_goal_is_a_picture_or_several_or_one_that_was_registered(tmp_path: Path) -> None:
    frames_THW3 = np.stack([paint(HOME), paint(GOAL)])
    told = [picture_bytes(frame_HW3) for frame_HW3 in frames_THW3]
    (tmp_path / "a.png").write_bytes(told[0])
    for one in (frames_THW3[0], told[0], tmp_path / "a.png", [told[0]]):
        assert calls.goal(one) == {"pictures": told[:1]}
    for several in (frames_THW3, list(frames_THW3), (tmp_path / "a.png", told[1])):
        assert calls.goal(several) == {"pictures": told}
    assert calls.goal("g") == calls.goal(GOAL_KEPT) == {"id": "g"}


def test_numbers_of_numpy_are_numbers() -> None:
    assert calls.options({"camera_turn": np.zeros(3), "camera_about": (1, 2, 3), "preset": None}) == {
        "camera_turn": [0.0, 0.0, 0.0],
        "camera_about": [1.0, 2.0, 3.0],
    }
    said = calls.options({"seed": np.int64(3), "budget_ms": np.float32(200.0), "dry_run": np.bool_(True)})
    assert json.loads(json.dumps(said)) == {"seed": 3, "budget_ms": 200.0, "dry_run": True}


SEEN = {"picture": b"now", "pose": list(HOME), "id": "7", "age_ms": 200.0, "commanded": list(HOME)}
BARE = {"picture": b"now", "pose": list(HOME)}
DETAILS: Any = {"observation_id": "7", "age_s": 0.2, "commanded": HOME}
MOVES = [[[0.01 * h] * 7 for h in range(2)] for _ in range(3)]
EXPLORED = [Exploration(before=b"a", after=b"b", pose_before=HOME, pose_after=HOME)]
TOLD_MOVES = [{"before": b"a", "after": b"b", "pose_before": list(HOME), "pose_after": list(HOME)}]
ASKED: dict[str, tuple[Callable[[Any, Any], Any], str, dict[str, Any], float]] = {  # what is sent, and for how long
    "plan": (
        lambda client, _: client.plan(
            b"now", HOME, [b"b", b"c"], sub_goal=1, deadline_ms=500, timeout_s=3, details=DETAILS, seed=4
        ),
        "plan",
        {
            "observation": SEEN,
            "goal": {"pictures": [b"b", b"c"]},
            "sub_goal": 1,
            "deadline_ms": 500,
            "options": {"seed": 4},
        },
        3,
    ),
    "session": (
        lambda client, _: client.session(b"b", seed=4),
        "open_session",
        {"goal": {"pictures": [b"b"]}, "options": {"seed": 4}},
        30,
    ),
    "energy": (
        lambda client, _: client.energy(b"now", HOME, "g", MOVES, sub_goal=1, timeout_s=3),
        "energy",
        {"observation": BARE, "goal": {"id": "g"}, "sub_goal": 1, "candidates": MOVES},
        3,
    ),
    "rollout": (
        lambda client, _: client.rollout(b"now", HOME, MOVES, goal=GOAL_KEPT, with_latents=True, timeout_s=3),
        "rollout",
        {"observation": BARE, "goal": {"id": "g"}, "candidates": MOVES, "with_latents": True},
        3,
    ),
    "register_goal": (lambda client, _: client.register_goal(b"b"), "register_goal", {"pictures": [b"b"]}, 30),
    "goals": (lambda client, _: client.goals(), "list_goals", {}, 30),
    "delete_goal": (lambda client, _: client.delete_goal(GOAL_KEPT), "delete_goal", {"goal_id": "g"}, 30),
    "delete_goal by its id": (lambda client, _: client.delete_goal("g"), "delete_goal", {"goal_id": "g"}, 30),
    "info": (lambda client, _: client.info(), "info", {}, 30),
    "models": (lambda client, _: client.models(), "models", {}, 30),
    "step": (
        lambda _, session: session.step(b"now", HOME, deadline_ms=500, timeout_s=3, details=DETAILS),
        "step",
        {"session_id": "s", "observation": SEEN, "deadline_ms": 500},
        3,
    ),
    "state": (lambda _, session: session.state(), "get_session", {"session_id": "s"}, 30),
    "calibrate": (
        lambda _, session: session.calibrate(EXPLORED, yaw_only=False, timeout_s=3),
        "calibrate",
        {"session_id": "s", "moves": TOLD_MOVES, "yaw_only": False},
        3,
    ),
    "calibration": (lambda _, session: session.calibration(), "get_calibration", {"session_id": "s"}, 30),
    "forget_calibration": (
        lambda _, session: session.forget_calibration(),
        "delete_calibration",
        {"session_id": "s"},
        30,
    ),
    "close": (lambda _, session: session.close(), "close_session", {"session_id": "s"}, 30),
}
GOAL_KEPT = Goal("g", 1, 9.0)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("name", ASKED)
def test_all_that_a_call_was_told_is_sent(name: str, is_async: bool) -> None:
    ask, called, fields, timeout_s = ASKED[name]
    sent: list[tuple[Call, float]] = []

    def send(call: Call, time_left_s: float) -> Any:
        sent.append((call, time_left_s))
        raise PlannerError("enough", code="internal")

    async def send_async(call: Call, time_left_s: float) -> Any:
        send(call, time_left_s)

    async def main() -> None:
        async with AsyncPlannerClient("http://127.0.0.1:9") as client:
            client._wire.send = send_async
            await ask(client, AsyncSession(client, OPENED))

    client = PlannerClient("http://127.0.0.1:9")
    client._wire.send = send
    with client, pytest.raises(PlannerError, match="enough"):
        asyncio.run(main()) if is_async else ask(client, Session(client, OPENED))
    ((call, time_left_s),) = sent
    said = call.fields
    if "age_ms" in said.get("observation", {}):
        assert said["observation"]["age_ms"] > 200  # a little older than when the call began
        said = {**said, "observation": {**said["observation"], "age_ms": 200.0}}
    assert (call.name, said) == (called, fields)
    assert 0.5 * timeout_s < time_left_s <= timeout_s


SLOW = b'{"goal_id": "'
ZIPPED = b"\x1f\x8b"


class Scripted(http.server.BaseHTTPRequestHandler):
    """Answers with what its script says, one line for each request."""

    script: list[tuple[int, Any]]
    asked: list[str]
    bodies: list[bytes]

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.asked.append(self.path)
        status, body = self.script.pop(0)
        if status == 0:
            self.connection.close()
            return
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        if data.startswith(ZIPPED):
            self.send_header("content-encoding", "gzip")
        self.end_headers()
        for at in range(0, len(data), 8 if data.startswith(SLOW) else len(data) or 1):
            with contextlib.suppress(OSError):  # a client that has had enough
                self.wfile.write(data[at : at + 8] if data.startswith(SLOW) else data)
                time.sleep(0.2 if data.startswith(SLOW) else 0)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def scripted() -> Iterator[tuple[str, type[Scripted]]]:
    handler = type("Script", (Scripted,), {"script": [], "asked": [], "bodies": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler
    server.shutdown()


BUSY = (429, {"code": "queue_full", "detail": "busy", "retry_after_s": 0.01})
FAULT = (500, {"code": "internal", "detail": "oh"})
BROKEN = (0, {})
ENERGY = (200, {"model": {}, "energies": [0.5], "idle_energy": 1.0, "timings_ms": {}})
STEP = (200, {"session_id": "s", "status": "done", "sub_goal": 1, "cost": 0.1, "passed": [], "dropped": 0})
SESSION = {"session_id": "s", "status": "going", "sub_goal": 0, "sub_goals": 2, "steps": 0, "expires_in_s": 9}


def test_a_busy_service_is_asked_again(scripted: tuple[str, type[Scripted]]) -> None:
    url, handler = scripted
    handler.script += [BUSY, BUSY, ENERGY]
    with PlannerClient(url) as client:
        assert client.energy(paint(HOME), HOME, paint(GOAL), np.zeros((1, 1, 7))) == [0.5]
    assert len(handler.asked) == 3


def test_what_is_seen_ages_while_a_busy_service_is_asked_again(scripted: tuple[str, type[Scripted]]) -> None:
    url, handler = scripted
    handler.script += [(429, {**BUSY[1], "retry_after_s": 0.3}), FAULT]
    with PlannerClient(url) as client, pytest.raises(PlannerError, match="oh"):
        client.plan(paint(HOME), HOME, paint(GOAL), details={"age_s": 0.2})
    first, second = (float(re.findall(rb'"age_ms": ([0-9.]+)', body)[0]) for body in handler.bodies)
    assert 200 <= first < 300
    assert 500 <= second < 3000


@pytest.mark.parametrize("is_async", [False, True])
def test_an_endless_answer_ends_with_the_time_out(scripted: tuple[str, type[Scripted]], is_async: bool) -> None:
    url, handler = scripted
    handler.script += [(200, SLOW * 20)]
    began = time.monotonic()
    register = _register_async if is_async else _register
    with pytest.raises(PlannerError) as caught:
        register(url)
    assert caught.value.code == "timeout"
    assert time.monotonic() - began < 3


def _register(url: str) -> None:
    with PlannerClient(url, timeout_s=0.5) as client:
        client.register_goal(paint(GOAL))


def _register_async(url: str) -> None:
    async def register() -> None:
        async with AsyncPlannerClient(url, timeout_s=0.5) as client:
            await client.register_goal(paint(GOAL))

    asyncio.run(register())


@pytest.mark.parametrize(
    "body", [b"<html>log in first</html>", b"[1]", b'{"status": "ok"}', 100_000 * b"[", ZIPPED + b"cut off"]
)
def test_an_answer_of_something_else_is_said_to_be_one(scripted: tuple[str, type[Scripted]], body: bytes) -> None:
    url, handler = scripted
    handler.script += [(200, body)]
    with PlannerClient(url) as client, pytest.raises(PlannerError, match="no planning service") as caught:
        client.register_goal(paint(GOAL))
    assert caught.value.code == "not_a_planning_service"


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("name", ["plan", "session", "energy", "rollout", "register_goal", "step", "calibrate"])
def test_an_answer_that_is_not_a_services_is_said_to_be_something_elses(
    scripted: tuple[str, type[Scripted]], name: str, is_async: bool
) -> None:
    url, handler = scripted
    handler.script += [(200, {"status": "ok"})]
    ask = ASKED[name][0]

    async def answered() -> None:
        async with AsyncPlannerClient(url) as client:
            await ask(client, AsyncSession(client, OPENED))

    said = pytest.raises(PlannerUnavailableError, match=r"no planning service .* but: \{'status': 'ok'\}")
    with PlannerClient(url) as client, said as caught:
        asyncio.run(answered()) if is_async else ask(client, Session(client, OPENED))
    assert caught.value.code == "not_a_planning_service"


@pytest.mark.parametrize("problem", [b'{"code": 1, "detail": "oh"}', b'{"code": "c", "detail": [1]}', 100_000 * b"["])
def test_a_refusal_that_is_not_a_services_is_told_with_its_words(problem: bytes) -> None:
    with pytest.raises(PlannerError, match="the service answered 422: ") as caught:
        rest._answer(httpx.Response(422), problem)
    assert caught.value.code == "http_error"


def test_what_else_answers_there_is_told_with_its_words_and_the_id_of_the_request() -> None:
    with pytest.raises(PlannerError) as caught:
        rest._answer(httpx.Response(502, headers={"x-request-id": "r1"}), b"<html>bad gateway</html>")
    assert str(caught.value) == "the service answered 502: <html>bad gateway</html>"
    assert (caught.value.code, caught.value.request_id) == ("http_error", "r1")


@pytest.mark.parametrize(
    ("status", "words", "code"),
    [
        ("UNAVAILABLE", "failed to connect to all addresses; last error: …", "unreachable"),
        ("UNAVAILABLE", "DNS resolution failed for lab:1: …", "unreachable"),
        ("UNAVAILABLE", "Socket closed", "connection_lost"),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", "timeout"),
        ("CANCELLED", "CANCELLED", "cancelled"),
        ("RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (2 vs. 1)", "too_large"),
        ("UNIMPLEMENTED", "Method not found!", "not_a_planning_service"),
        ("INTERNAL", "", "internal"),
    ],
)
def test_where_no_service_answered_grpcs_own_words_are_told(status: str, words: str, code: str) -> None:
    error = grpc.aio.AioRpcError(grpc.StatusCode[status], grpc.aio.Metadata(), grpc.aio.Metadata(), details=words)
    refused = refusal_of(error)
    assert isinstance(refused, PlannerUnavailableError)
    assert (refused.code, str(refused)) == (code, f"no answer from the planning service: {words or status}")


def test_what_an_older_service_does_not_say_is_not_known() -> None:
    """Nor does it mean that a robot may not move, or may."""
    signs = {"elite_spread": 0.0, "gain": 0.5, "flatness": 0.1, "gripper_contrast": 0.0}
    said = {"plan_id": "p", "model": {}, "dt_s": 0.25, "cost": 0.1, "stop_reason": "deadline", "seed": 3}
    rows = {name: [[0.0] * 7] for name in ("actions", "targets", "wanted")}
    signs |= {"goal_reached": False, "goal_out_of_reach": False, "colour": "blue"}
    plan = Plan.of({**said, **rows, "trace": [0.2], "iterations": 1, "evaluations": 9, "confidence": signs, "new": 1})
    assert np.isnan(plan.idle_cost)
    assert (plan.failure_probability, plan.observation_id, plan.dry_run) == (None, None, False)
    assert (plan.gripper_costs, plan.clipped, plan.warnings, plan.timings_ms) == ({}, [], [], {})
    trust = plan.confidence
    assert (trust.view_unfamiliar, trust.goal_uncertainty, trust.cycle_error) == (False, None, None)


def test_what_a_newer_service_says_besides_is_left_out(scripted: tuple[str, type[Scripted]]) -> None:
    url, handler = scripted
    handler.script += [(201, {"goal_id": "g", "sub_goals": 1, "expires_in_s": 9.0, "colour": "blue"})]
    with PlannerClient(url) as client:
        assert client.register_goal(paint(GOAL)).goal_id == "g"


def test_a_fault_is_not_asked_again(scripted: tuple[str, type[Scripted]]) -> None:
    url, handler = scripted
    handler.script += [FAULT]
    with PlannerClient(url) as client, pytest.raises(PlannerError, match="oh"):
        client.energy(paint(HOME), HOME, paint(GOAL), np.zeros((1, 1, 7)))
    assert len(handler.asked) == 1


def test_a_lost_connection_is_asked_again_only_where_twice_is_harmless(scripted: tuple[str, type[Scripted]]) -> None:
    url, handler = scripted
    handler.script += [BROKEN, ENERGY, BROKEN, (201, SESSION), BROKEN]
    with PlannerClient(url) as client:
        client.energy(paint(HOME), HOME, paint(GOAL), np.zeros((1, 1, 7)))
        with pytest.raises(PlannerError):  # nobody would close the first of two
            client.session(paint(GOAL))
        session = client.session(paint(GOAL))
        with pytest.raises(PlannerError) as caught:
            session.step(paint(HOME), HOME)
    assert caught.value.code == "connection_lost"
    assert handler.asked[-1] == "/v1/sessions/s/step"
    assert len(handler.asked) == 5


def test_a_busy_service_is_asked_for_a_step_again(scripted: tuple[str, type[Scripted]]) -> None:
    url, handler = scripted
    handler.script += [(201, SESSION), BUSY, STEP]
    with PlannerClient(url) as client:
        session = client.session(paint(GOAL))
        assert session.step(paint(HOME), HOME).status == "done"
    assert (session.status, session.sub_goal) == ("done", 1)


def test_a_session_of_asyncio_knows_how_far_it_is(scripted: tuple[str, type[Scripted]]) -> None:
    async def main() -> AsyncSession:
        async with AsyncPlannerClient(url) as client:
            session = await client.session(paint(GOAL))
            await session.step(paint(HOME), HOME)
            return session

    url, handler = scripted
    handler.script += [(201, SESSION), STEP]
    session = asyncio.run(main())
    assert (session.status, session.sub_goal) == ("done", 1)


@pytest.mark.parametrize("ending", [KeyboardInterrupt, EOFError])
def test_what_ends_a_session_is_not_covered_by_a_service_that_is_gone(
    scripted: tuple[str, type[Scripted]], ending: type[BaseException]
) -> None:
    url, handler = scripted
    handler.script += [(201, SESSION), (201, SESSION)]  # and no answer to its end
    with PlannerClient(url, retries=0) as client, pytest.raises(ending), client.session(paint(GOAL)):
        raise ending

    async def main() -> None:
        async with AsyncPlannerClient(url, retries=0) as client, await client.session(paint(GOAL)):
            raise ending

    with pytest.raises(ending):
        asyncio.run(main())


def test_a_session_that_could_not_be_closed_is_said_so(scripted: tuple[str, type[Scripted]]) -> None:
    url, handler = scripted
    handler.script += [(201, SESSION)]
    with PlannerClient(url, retries=0) as client, pytest.raises(PlannerError), client.session(paint(GOAL)):
        pass


def test_each_pause_before_asking_again_is_twice_as_long_or_as_long_as_the_service_says() -> None:
    attempts, busy = Attempts(30.0, 4, False, clock=lambda: 0.0), PlannerError("busy", code="queue_full")
    told = PlannerError("busy", code="queue_full", retry_after_s=2.5)
    assert [attempts.pause_after(error) for error in (busy, busy, told, busy)] == pytest.approx([0.1, 0.2, 2.5, 0.8])
    with pytest.raises(PlannerError):
        attempts.pause_after(busy)  # four times were enough


@pytest.mark.parametrize("code", ["invalid_field", "unauthenticated", "not_found", "no_such_route", "closed"])
def test_what_no_later_observation_changes_does_not_pass(code: str) -> None:
    assert not PlannerError("no", code=code).may_pass


@pytest.mark.parametrize("code", ["queue_full", "no_plan", "unreachable", "late", "internal", "of a later version"])
def test_what_a_later_observation_may_find_otherwise_may_pass(code: str) -> None:
    assert PlannerError("no", code=code).may_pass


NOTHING_DONE = ["queue_full", "too_many_kept", "not_ready", "draining", "unreachable"]


@pytest.mark.parametrize("is_repeatable", [False, True])
@pytest.mark.parametrize(
    ("code", "again"),
    [
        *((code, (True, True)) for code in NOTHING_DONE),
        ("connection_lost", (False, True)),
        *((code, (False, False)) for code in ("timeout", "internal", "invalid_field", "out_of_memory", "closed")),
    ],
)
def test_a_call_is_made_again_only_where_nothing_was_done_or_twice_is_harmless(
    code: str, again: tuple[bool, bool], is_repeatable: bool
) -> None:
    attempts = Attempts(30.0, 3, is_repeatable, clock=lambda: 0.0)
    with nullcontext() if again[is_repeatable] else pytest.raises(PlannerError):
        attempts.pause_after(PlannerError("no", code=code))


def test_asking_again_ends_with_the_time_out() -> None:
    now = [0.0]
    attempts = Attempts(1.0, retries=9, is_repeatable=True, clock=lambda: now[0])
    busy = PlannerError("busy", code="queue_full", retry_after_s=0.4)
    assert attempts.pause_after(busy) == 0.4
    now[0] = 0.7
    with pytest.raises(PlannerError, match="busy"):
        attempts.pause_after(busy)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_time_out_of_nothing_is_not_taken_for_none(scripted: tuple[str, type[Scripted]], is_async: bool) -> None:
    url, handler = scripted
    handler.script += [(200, SLOW * 20)]  # takes seconds

    plan = _plan_async if is_async else _plan
    with pytest.raises(PlannerError, match="did not answer in time"):
        plan(url)


def _plan(url: str) -> None:
    with PlannerClient(url) as client:
        client.plan(paint(HOME), HOME, "goal", timeout_s=0)


def _plan_async(url: str) -> None:
    async def plan() -> None:
        async with AsyncPlannerClient(url) as client:
            await client.plan(paint(HOME), HOME, "goal", timeout_s=0)

    asyncio.run(plan())


@pytest.mark.parametrize("wire", ["http", "grpc"])
@pytest.mark.parametrize("timeout_s", [float("inf"), float("nan")])
def test_a_call_without_an_end_is_refused(wire: str, timeout_s: float) -> None:
    with PlannerClient(f"{wire}://127.0.0.1:9") as client, pytest.raises(InputError, match="a call must end"):
        client.plan(paint(HOME), HOME, "goal", timeout_s=timeout_s)


@pytest.mark.parametrize("wire", ["http", "grpc"])
def test_a_closed_client_says_that_it_is_closed(wire: str) -> None:
    client = PlannerClient(f"{wire}://127.0.0.1:9")
    for _ in range(2):
        client.close()
    with pytest.raises(PlannerError, match="the client has been closed"):
        client.info()

    async def main() -> None:
        client = AsyncPlannerClient(f"{wire}://127.0.0.1:9")
        for _ in range(2):
            await client.close()
        await client.info()

    with pytest.raises(PlannerError, match="the client has been closed"):
        asyncio.run(main())


@pytest.mark.parametrize("wire", ["rest", "grpc"])
def test_a_client_that_is_closed_during_a_call_says_so_and_cancels_nobody(wire: str) -> None:
    async def main(url: str) -> None:
        client = AsyncPlannerClient(url, retries=0)
        asking = asyncio.create_task(client.plan(paint(HOME), HOME, paint(GOAL)))
        try:
            assert await asyncio.to_thread(world.scoring.wait, 20)
            await client.close()
            with pytest.raises(PlannerError, match="the client has been closed"):
                await asking
        finally:
            world.gate.set()

    world = SlowWorld()
    with running(served(world)) as (_, where):
        world.gate.clear()
        world.scoring.clear()  # which getting ready has set
        asyncio.run(main(where.url if wire == "rest" else f"grpc://{where.grpc}"))


def test_a_call_that_waits_for_a_connection_ends_when_its_client_is_closed() -> None:
    async def main(port: int) -> None:
        client = AsyncPlannerClient(f"https://127.0.0.1:{port}", timeout_s=60)
        asking = asyncio.create_task(client.info())
        line, _ = await asyncio.to_thread(listener.accept)  # and TLS is never spoken
        with line:
            await client.close()
            with pytest.raises(PlannerError, match="the client has been closed"):
                await asyncio.wait_for(asking, 20)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        asyncio.run(main(listener.getsockname()[1]))


def test_a_call_of_a_client_that_another_thread_closes_says_so() -> None:
    def close() -> None:
        world.scoring.wait(20)
        client.close()
        world.gate.set()

    world = SlowWorld()
    with running(served(world)) as (_, where):
        world.gate.clear()
        world.scoring.clear()  # which getting ready has set
        client = PlannerClient(f"grpc://{where.grpc}")
        threading.Thread(target=close).start()
        with pytest.raises(PlannerError, match="the client has been closed"):
            client.plan(paint(HOME), HOME, paint(GOAL))


@pytest.mark.parametrize("wire", ["http", "grpc"])
def test_a_client_that_another_thread_closes_just_before_a_call_says_so(wire: str) -> None:
    def send(call: Call, timeout_s: float) -> Any:
        client.close()
        return wire_send(call, timeout_s)

    client = PlannerClient(f"{wire}://127.0.0.1:9")
    wire_send, client._wire.send = client._wire.send, send
    with pytest.raises(PlannerError, match="the client has been closed"):
        client.info()


@pytest.mark.parametrize("wire", ["rest", "grpc"])
def test_an_id_is_no_path(wire: str) -> None:
    with running() as (_, where), PlannerClient(where.url if wire == "rest" else f"grpc://{where.grpc}") as client:
        goal, session = client.register_goal(paint(GOAL)), client.session(paint(GOAL))
        for name in (f"{goal.goal_id}?", f"{goal.goal_id}#1", f"../sessions/{session.id}"):
            with pytest.raises(PlannerError):
                client.delete_goal(name)
        assert [kept.goal_id for kept in client.goals()] == [goal.goal_id]
        assert session.state().status == "going"


@pytest.mark.parametrize("wire", ["rest", "grpc"])
def test_the_async_client_plans_many_at_once(wire: str) -> None:
    async def main(url: str) -> None:
        async with AsyncPlannerClient(url) as client:
            plans = await asyncio.gather(*(client.plan(paint(HOME), HOME, paint(GOAL), seed=s) for s in range(8)))
            assert [plan.seed for plan in plans] == list(range(8))
            async with await client.session(paint(GOAL)) as session:
                step = await session.step(paint(HOME), HOME)
                assert step.plan is not None
            with pytest.raises(PlannerError, match="7 numbers"):
                await client.plan(paint(HOME), [0.0] * 6, paint(GOAL))

    with running() as (_, where):
        asyncio.run(main(where.url if wire == "rest" else f"grpc://{where.grpc}"))


@pytest.mark.parametrize("wire", ["rest", "grpc"])
def test_a_token_is_shown_on_every_call(wire: str) -> None:
    with running(token="correct-horse\n") as (_, where):  # as secrets are that were read from a file
        url = where.url if wire == "rest" else f"grpc://{where.grpc}"
        for token in ("correct-horse", "correct-horse\n"):
            with PlannerClient(url, token=token) as client:
                assert client.info()["api"] == "vjepa2_ac.v1"
        with PlannerClient(url, token="wrong-horse") as client, pytest.raises(PlannerError) as caught:
            client.info()
    assert caught.value.code == "unauthenticated"
