"""What is special about REST: bodies, headers, the token, the page that documents it, and the WebSocket."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from planner.limits import LimitsConfig
from server.run import Listening
from tests.planner.worlds import HOME, PointWorld, moved, paint
from tests.server import pictures
from tests.server.running import SlowWorld, running, served
from vjepa2_ac.client import PlannerClient

GOAL = moved(0.04, 0.0, 0.0)
TOKEN = "correct-horse-battery"


@pytest.fixture
def http(point: Listening) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=point.url) as client:
        yield client


def plan_json(**changes: Any) -> dict[str, Any]:
    def b64(pose: Any) -> str:
        return base64.b64encode(pictures.of(pose)).decode()

    return {"observation": {"picture": b64(HOME), "pose": HOME}, "goal": {"pictures": [b64(GOAL)]}, **changes}


def socket_of(where: Listening, session_id: str) -> ClientConnection:
    return connect(where.url.replace("http", "ws") + f"/v1/sessions/{session_id}/stream")


def problem_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    return problem


def test_json_with_base64_and_multipart_give_the_same_plan(http: httpx.Client) -> None:
    as_json = http.post("/v1/plan", json=plan_json()).json()
    files = {"observation": pictures.of(HOME), "goal": pictures.of(GOAL)}
    request = json.dumps({"observation": {"pose": HOME}})
    as_parts = http.post("/v1/plan", data={"request": request}, files=files).json()
    assert as_json["actions"] == as_parts["actions"]
    encoded = http.build_request("POST", "/v1/plan", data={"request": request}, files=files)
    kind = encoded.headers["content-type"].replace("multipart/form-data", "Multipart/Form-Data")
    in_capitals = http.post("/v1/plan", content=encoded.read(), headers={"content-type": kind}).json()
    assert in_capitals["actions"] == as_json["actions"]


def test_a_data_url_is_base64_too(http: httpx.Client) -> None:
    asked = plan_json()
    asked["observation"]["picture"] = "data:image/png;base64," + asked["observation"]["picture"]
    assert http.post("/v1/plan", json=asked).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "code", "words"),
    [
        (b"{", 400, "malformed_request", "the body is not JSON"),
        (b"[1]", 400, "malformed_request", "expected fields by name"),
        (b"[" * 100_000, 400, "malformed_request", "the body is not JSON"),
        (b'{"observation": 3}', 422, "invalid_field", "observation: 3"),
        (b'{"sede": 3}', 422, "invalid_field", "sede: there is no such field"),
        (b'{"observation": {"picture": "%%%"}}', 422, "invalid_field", "this is not base64"),
        (b'{"observation": {"pose": "home"}}', 422, "invalid_field", "observation.pose: 'home'"),
        (b'{"deadline_ms": -5}', 422, "invalid_field", "deadline_ms: -5; expected greater than 0"),
    ],
)
def test_bodies_that_cannot_be_used_say_why(
    http: httpx.Client, body: bytes, status: int, code: str, words: str
) -> None:
    answer = http.post("/v1/plan", content=body, headers={"content-type": "application/json"})
    problem = problem_of(answer)
    assert (answer.status_code, problem["code"]) == (status, code)
    assert words in problem["detail"]


@pytest.mark.parametrize(("count", "words"), [(1, "there is 1 part 'image';"), (2, "there are 2 parts 'image';")])
def test_a_part_of_another_name_is_refused(http: httpx.Client, count: int, words: str) -> None:
    answer = http.post("/v1/plan", data={"request": "{}"}, files=[("image", pictures.of(HOME))] * count)
    detail = problem_of(answer)["detail"]
    assert words in detail
    assert "'request' (JSON) and, as PNG or JPEG, 'observation' and 'goal'" in detail


def test_a_request_that_comes_twice_is_refused(http: httpx.Client) -> None:
    answer = http.post("/v1/plan", files=[("request", (None, "{}"))] * 2)
    assert answer.status_code == 400
    assert "there are 2 parts 'request';" in problem_of(answer)["detail"]


def test_many_candidates_fit_into_a_part(http: httpx.Client) -> None:
    candidates = [[[0.001 * n, 0.123456789012345, 0.0, 0.0, 0.0, 0.0, 0.0]] for n in range(1000)] * 20
    request = json.dumps({"observation": {"pose": HOME}, "candidates": candidates})
    assert len(request) > 1 << 20
    files = {"observation": pictures.of(HOME), "goal": pictures.of(GOAL)}
    answer = http.post("/v1/energy", data={"request": request}, files=files)
    assert len(answer.json()["energies"]) == 20_000


def test_routes_and_methods_that_do_not_exist_are_problems_too(http: httpx.Client) -> None:
    assert problem_of(http.get("/v1/nothing"))["code"] == "no_such_route"
    assert problem_of(http.get("/v1/plan"))["code"] == "method_not_allowed"


def test_a_request_id_is_kept_where_it_is_harmless(http: httpx.Client) -> None:
    assert http.get("/livez", headers={"x-request-id": "arm-7:42"}).headers["x-request-id"] == "arm-7:42"
    strange = http.get("/livez", headers={"x-request-id": "a b<script>"}).headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", strange)


@pytest.mark.parametrize(
    ("path", "part", "request_part", "twice"),
    [
        ("plan", "observation", {"observation": {"picture": "AAAA"}}, "picture"),
        ("plan", "goal", {"goal": {"pictures": ["AAAA"]}}, "pictures"),
        ("goals", "pictures", {"pictures": ["AAAA"]}, "pictures"),
        ("sessions/none/calibration", "after", {"moves": [{"after": "AAAA"}]}, "after"),
    ],
)
def test_a_picture_that_comes_in_the_request_and_as_a_part_is_refused(
    http: httpx.Client, path: str, part: str, request_part: dict[str, Any], twice: str
) -> None:
    files = [(part, pictures.of(HOME))]
    answer = http.post(f"/v1/{path}", data={"request": json.dumps(request_part)}, files=files)
    assert (answer.status_code, problem_of(answer)["code"]) == (400, "malformed_request")
    assert f"'{twice}' came twice" in problem_of(answer)["detail"]


def test_bodies_beyond_the_limit_are_refused_with_and_without_a_length() -> None:
    with running(max_body_bytes=10_000) as (_, where):
        with_length = httpx.post(where.url + "/v1/plan", content=b" " * 20_000)
        without_length = httpx.post(where.url + "/v1/plan", content=(b" " * 1000 for _ in range(20)))
    for answer in (with_length, without_length):
        assert (answer.status_code, problem_of(answer)["code"]) == (413, "too_large")


def test_as_many_moves_as_may_be_fit_into_a_form_beside_the_request_as_a_file(http: httpx.Client) -> None:
    pictures_of_moves = [(name, ("x.png", b"x")) for name in ("before", "after") for _ in range(32)]
    request = ("request", ("request.json", json.dumps({"moves": [{}] * 32})))
    answer = http.post("/v1/sessions/none/calibration", files=[request, *pictures_of_moves])
    assert (answer.status_code, problem_of(answer)["code"]) == (404, "not_found")


def test_a_body_that_does_not_end_is_given_up() -> None:
    import socket

    with running(idle_connection_s=0.3) as (_, where):
        host, port = where.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as line:
            line.sendall(b"POST /v1/plan HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
            assert b" 408 " in line.recv(4096)


def test_the_documentation_loads_nothing_from_elsewhere(http: httpx.Client) -> None:
    page = http.get("/docs")
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert linked
    for link in linked:
        assert not link.startswith(("http", "//")), link
        if link.startswith("/"):
            assert http.get(link).status_code == 200
    for path in (Path(__file__).parents[2] / "server" / "http" / "static").iterdir():
        assert "http://" not in path.read_text()
        assert "https://" not in path.read_text()


def test_every_reference_of_the_openapi_document_leads_somewhere(http: httpx.Client) -> None:
    api = http.get("/openapi.json").json()
    for name in re.findall(r"#/components/schemas/(\w+)", json.dumps(api)):
        assert name in api["components"]["schemas"], name
    assert {"/v1/plan", "/v1/goals", "/v1/sessions/{session_id}/step", "/v1/energy", "/v1/rollout"} <= set(api["paths"])


def test_metrics_count_what_happened(http: httpx.Client) -> None:
    http.post("/v1/plan", json=plan_json())
    text = http.get("/metrics").text
    for name in (
        'vjepa2_ac_requests_total{code="200",method="/v1/plan",wire="rest"}',
        "vjepa2_ac_request_seconds_bucket",
        "vjepa2_ac_queue_wait_seconds_count",
        'vjepa2_ac_stage_seconds_count{stage="search"}',
        "vjepa2_ac_plan_iterations_count",
        "vjepa2_ac_model_ready 1.0",
        "vjepa2_ac_build_info",
        "process_resident_memory_bytes",
    ):
        assert name in text, name


def test_cors_is_off_unless_asked_for(http: httpx.Client) -> None:
    assert "access-control-allow-origin" not in http.get("/livez", headers={"origin": "http://a.example"}).headers
    with running(allowed_origins=("http://a.example",)) as (_, where):
        answer = httpx.get(where.url + "/livez", headers={"origin": "http://a.example"})
        assert answer.headers["access-control-allow-origin"] == "http://a.example"
        answer = httpx.get(where.url + "/livez", headers={"origin": "http://b.example"})
        assert "access-control-allow-origin" not in answer.headers


def test_a_page_whose_origin_was_written_with_a_slash_at_its_end_may_ask() -> None:
    with running(allowed_origins=("http://a.example/",)) as (_, where):
        answer = httpx.post(where.url + "/v1/plan", json=plan_json(), headers={"origin": "http://a.example"})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "http://a.example"


def test_pages_of_other_origins_may_not_ask(point: Listening, http: httpx.Client) -> None:
    answer = http.post("/v1/plan", json=plan_json(), headers={"origin": "http://evil.example"})
    assert (answer.status_code, problem_of(answer)["code"]) == (403, "foreign_origin")
    assert http.post("/v1/plan", json=plan_json(), headers={"origin": point.url}).status_code == 200
    with pytest.raises(InvalidStatus) as caught:
        connect(point.url.replace("http", "ws") + "/v1/sessions/x/stream", origin="http://evil.example")  # type: ignore[arg-type]
    assert caught.value.response.status_code == 403


@pytest.mark.parametrize("name", ["evil.example:8000", "127.0.0.1.evil.example", "", "[::2]:8000"])
def test_a_page_whose_name_was_made_to_lead_here_may_not_ask(http: httpx.Client, name: str) -> None:
    headers = {"host": name, "origin": f"http://{name}"}
    answer = http.post("/v1/plan", json=plan_json(), headers=headers)
    assert (answer.status_code, problem_of(answer)["code"]) == (403, "foreign_origin")
    assert http.get("/v1/info", headers={"host": name}).status_code == 403


def test_a_service_on_loopback_goes_by_the_names_of_loopback_and_of_allowed_pages() -> None:
    with running(allowed_origins=("http://lab.example:3000",)) as (_, where):
        for name in ("localhost:8000", "LOCALHOST", "127.0.0.1", "[::1]:8000", "lab.example"):
            assert httpx.get(where.url + "/v1/info", headers={"host": name}).status_code == 200, name
    with running(allowed_origins=("*",)) as (_, where):
        assert httpx.get(where.url + "/v1/info", headers={"host": "robot.example"}).status_code == 200
    with running(token=TOKEN) as (_, where):
        headers = {"host": "robot.example", "authorization": f"Bearer {TOKEN}"}
        assert httpx.get(where.url + "/v1/info", headers=headers).status_code == 200


def test_everything_but_health_and_documentation_needs_the_token() -> None:
    with running(token=TOKEN) as (_, where):
        for path in ("/v1/info", "/v1/models", "/v1/goals", "/v1/sessions", "/metrics"):
            for headers in (
                {},
                {"authorization": "Bearer wrong"},
                {"authorization": TOKEN},
                {"authorization": "Bearer"},
            ):
                answer = httpx.get(where.url + path, headers=headers)
                assert (answer.status_code, problem_of(answer)["code"]) == (401, "unauthenticated")
                assert answer.headers["www-authenticate"] == "Bearer"
            assert httpx.get(where.url + path, headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert httpx.post(where.url + "/v1/plan", json=plan_json()).status_code == 401
        for path in ("/livez", "/readyz", "/docs", "/openapi.json"):
            assert httpx.get(where.url + path).status_code == 200
        with pytest.raises(InvalidStatus) as caught:
            socket_of(where, "x")
        assert caught.value.response.status_code == 401


def test_a_socket_answers_each_observation_and_goes_on_after_a_bad_one(point: Listening) -> None:
    with (
        PlannerClient(point.url) as client,
        client.session(paint(GOAL)) as session,
        socket_of(point, session.id) as line,
    ):
        line.send(json.dumps({"observation": {**plan_json()["observation"], "id": "one"}}))
        first = json.loads(line.recv(10))
        assert first["observation_id"] == "one"
        assert len(first["plan"]["actions"]) == 1
        line.send(json.dumps({"observation": {"pose": [0] * 6, "id": "two"}}))
        problem = json.loads(line.recv(10))["problem"]
        assert (problem["code"], problem["field"]) == ("invalid_field", "observation.pose")
        assert problem["observation_id"] == "two"
        line.send(b"\x00")
        assert json.loads(line.recv(10))["problem"]["code"] == "malformed_request"
        line.send(json.dumps({"observation": plan_json()["observation"]}))
        assert json.loads(line.recv(10))["status"] == "going"


def test_a_socket_of_no_session_is_closed_with_the_reason_which_is_no_fault(
    point: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    with socket_of(point, "gone") as line:
        with pytest.raises(ConnectionClosed) as caught:
            line.recv(10)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1008
        assert "no session 'gone'" in caught.value.rcvd.reason
    assert not [line.message for line in caplog.records if line.exc_info]


def test_a_fault_closes_a_socket_with_its_code(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(PointWorld):
        fails = False

        def score(self, *arguments: Any, **more: Any) -> Any:
            if self.fails:
                raise RuntimeError("secret path /home/somebody")
            return super().score(*arguments, **more)

    world = Broken()
    with running(served(world)) as (_, where), PlannerClient(where.url) as client:
        session = client.session(paint(GOAL))
        world.fails = True
        with socket_of(where, session.id) as line:
            line.send(json.dumps({"observation": plan_json()["observation"]}))
            with pytest.raises(ConnectionClosed) as caught:
                line.recv(10)
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason[:20]) == (1011, "something went wrong")
    assert [line.message for line in caplog.records if line.exc_info] == ["a fault while answering a stream"]


def test_a_socket_on_which_nothing_comes_is_closed() -> None:
    with running(session_idle_s=0.5) as (program, where), PlannerClient(where.url) as client:
        session = client.session(paint(GOAL))
        with socket_of(where, session.id) as line, pytest.raises(ConnectionClosed) as caught:
            line.recv(10)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.reason == "nothing came on this stream for 0.5 s"
        assert program.service.streams == 0


def test_the_newest_observation_wins() -> None:
    world = SlowWorld()
    with running(served(world)) as (program, where), PlannerClient(where.url) as client:
        session = client.session(paint(GOAL))
        first, second = _answers_to_six_observations_in_a_row(world, where, session.id)
        _, problem = _answers_to_six_observations_in_a_row(world, where, session.id, pose=[0.0])
    assert (first["observation_id"], first["dropped"]) == ("0", 0)
    assert (second["observation_id"], second["dropped"]) == ("5", 4)
    assert (problem["problem"]["observation_id"], problem["problem"]["dropped"]) == ("5", 4)
    assert program.service.metrics.stale._value.get() == 8


def test_an_observation_that_waited_too_long_on_its_stream_is_refused() -> None:
    world = SlowWorld()
    with running(served(world), limits=LimitsConfig(oldest=0.3)) as (_, where), PlannerClient(where.url) as client:
        session = client.session(paint(GOAL))
        world.gate.clear()
        world.scoring.clear()
        observation = plan_json()["observation"]
        with socket_of(where, session.id) as line:
            line.send(json.dumps({"observation": observation}))
            assert world.scoring.wait(10)
            for more in (
                {"observation": {**observation, "age_ms": 0}},
                {"observation": observation, "deadline_ms": 200},
            ):
                line.send(json.dumps(more))
                line.ping().wait(5)
                threading.Event().wait(0.5)
                world.gate.set()
                line.recv(10)
                code = json.loads(line.recv(10))["problem"]["code"]
                assert code == ("stale_observation" if "age_ms" in more["observation"] else "deadline_exceeded")
                world.gate.clear()
                world.scoring.clear()
                line.send(json.dumps({"observation": observation}))
                assert world.scoring.wait(10)
            world.gate.set()
            line.recv(10)


def _answers_to_six_observations_in_a_row(
    world: SlowWorld, where: Listening, session_id: str, **others: Any
) -> list[dict[str, Any]]:
    """The `others` come while the first is planned for."""
    world.gate.clear()
    world.scoring.clear()
    observation = plan_json()["observation"]
    with socket_of(where, session_id) as line:
        line.send(json.dumps({"observation": {**observation, "id": "0"}}))
        assert world.scoring.wait(10)
        for number in range(1, 6):
            line.send(json.dumps({"observation": {**observation, **others, "id": str(number)}}))
        line.ping().wait(5)
        world.gate.set()
        return [json.loads(line.recv(10)) for _ in range(2)]


def test_answers_leave_at_once(http: httpx.Client) -> None:
    """Nagle's algorithm would hold each of them back for 40 ms."""
    body = json.dumps(plan_json(options={"samples": 6, "iterations": 1}))
    answers = [http.post("/v1/plan", content=body) for _ in range(10)]
    assert min(1e3 * a.elapsed.total_seconds() - a.json()["timings_ms"]["total"] for a in answers) < 25
