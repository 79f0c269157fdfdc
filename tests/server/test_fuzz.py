"""Whatever comes, the answer is an answer or a refusal; never a fault, never silence."""

from __future__ import annotations

import json
from typing import Any

import grpc
import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.run import Listening
from tests.planner.worlds import HOME, moved
from tests.server import pictures
from vjepa2_ac.pb import planning_pb2 as pb
from vjepa2_ac.pb import planning_pb2_grpc

QUICK = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
NUMBERS = st.one_of(st.floats(), st.integers(-(2**70), 2**70), st.booleans(), st.none(), st.text(max_size=5))
PICTURES = st.one_of(st.binary(max_size=64), st.just(pictures.of(HOME)), st.just(pictures.jpeg(pictures.noise())))
POSES = st.one_of(st.just(list(HOME)), st.lists(NUMBERS, max_size=9), NUMBERS)
OPTIONS = st.dictionaries(
    st.sampled_from(("preset", "samples", "iterations", "horizon", "budget_ms", "seed", "dry_run", "camera_turn", "x")),
    st.one_of(NUMBERS, st.integers(1, 20), st.just("fast"), st.lists(NUMBERS, max_size=4)),
    max_size=3,
)
JSON = st.recursive(NUMBERS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))
ROUTES = st.sampled_from(("/v1/plan", "/v1/energy", "/v1/rollout", "/v1/goals", "/v1/sessions", "/v1/sessions/x/step"))


@st.composite
def plan_requests(draw: st.DrawFn) -> dict[str, Any]:
    """Requests that are nearly right."""
    picture = draw(st.sampled_from(("", "AAAA", "%", "data:;base64,AAAA")))
    return {
        "observation": {"pose": draw(POSES), "picture": picture, "age_ms": draw(NUMBERS)},
        "goal": {"id": draw(st.text(max_size=5))} if draw(st.booleans()) else {"pictures": [picture]},
        "options": draw(OPTIONS),
        "deadline_ms": draw(NUMBERS),
    }


@QUICK
@given(route=ROUTES, body=st.one_of(JSON, plan_requests()))
def test_no_json_makes_a_fault(point: Listening, route: str, body: Any) -> None:
    _refused_or_answered(httpx.post(point.url + route, content=json.dumps(body), timeout=20))


@QUICK
@given(
    route=ROUTES,
    body=st.binary(max_size=200),
    kind=st.sampled_from(("application/json", "multipart/form-data; boundary=b")),
)
def test_no_bytes_make_a_fault(point: Listening, route: str, body: bytes, kind: str) -> None:
    _refused_or_answered(httpx.post(point.url + route, content=body, headers={"content-type": kind}, timeout=20))


@QUICK
@given(request=plan_requests(), observed=PICTURES, wanted=PICTURES)
def test_no_parts_make_a_fault(point: Listening, request: dict[str, Any], observed: bytes, wanted: bytes) -> None:
    request["observation"].pop("picture")
    request.pop("goal")
    files = {"observation": observed, "goal": wanted}
    answer = httpx.post(point.url + "/v1/plan", data={"request": json.dumps(request)}, files=files, timeout=20)
    _refused_or_answered(answer)


@QUICK
@given(
    observed=PICTURES,
    wanted=st.lists(PICTURES, max_size=2),
    pose=st.lists(st.floats(), max_size=9),
    samples=st.integers(0, 2**32 - 1),
    seed=st.integers(0, 2**64 - 1),
    deadline_ms=st.floats(),
    junk=st.binary(max_size=30),
)
def test_no_message_makes_a_fault(
    point: Listening,
    observed: bytes,
    wanted: list[bytes],
    pose: list[float],
    samples: int,
    seed: int,
    deadline_ms: float,
    junk: bytes,
) -> None:
    request = pb.PlanRequest(
        observation=pb.Observation(picture=observed, pose=pb.Pose(values=pose)),
        goal=pb.GoalReference(pictures=wanted),
        options=pb.PlanOptions(samples=samples, seed=seed),
        deadline_ms=deadline_ms,
    )
    with grpc.insecure_channel(point.grpc) as channel:
        _not_a_fault(lambda: planning_pb2_grpc.PlanningStub(channel).Plan(request, timeout=20))
        raw = channel.unary_unary("/vjepa2_ac.v1.Planning/Energy")
        _not_a_fault(lambda: raw(junk, timeout=20))


def test_the_fuzzed_service_still_plans(point: Listening) -> None:
    files = {"observation": pictures.of(HOME), "goal": pictures.of(moved(0.04, 0.0, 0.0))}
    request = json.dumps({"observation": {"pose": HOME}})
    assert httpx.post(point.url + "/v1/plan", data={"request": request}, files=files).status_code == 200


def _refused_or_answered(answer: httpx.Response) -> None:
    assert answer.status_code < 500 or answer.json()["code"] == "deadline_exceeded", answer.text
    assert answer.status_code < 400 or answer.json()["detail"]


def _not_a_fault(call: Any) -> None:
    try:
        call()
    except grpc.RpcError as error:
        refused: Any = error
        assert refused.code() not in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN), refused.details()
