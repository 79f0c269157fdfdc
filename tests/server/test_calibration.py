"""A robot whose camera stands elsewhere finds out through the service, and its session plans accordingly."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx
import numpy as np
import pytest

from planner.calibration import exploratory_actions
from server.replay import replay
from server.run import Listening
from tests.planner.worlds import HOME, PointWorld, moved, paint
from tests.server import pictures
from tests.server.conftest import WIRES, url_of
from tests.server.running import running, served
from vjepa2_ac.client import AsyncPlannerClient, Exploration, PlannerClient, PlannerError
from vjepa2_ac.poses import integrate

YAW = 30  # [deg] that the camera is turned
GOAL = moved(0.05, 0.0, 0.0)


@pytest.fixture(scope="module")
def turned() -> Iterator[Listening]:
    """A service whose model takes what the camera sees for a turned scene."""
    with running(served(PointWorld(tokens=1, yaw=math.radians(YAW)))) as (_, where):
        yield where


@pytest.fixture(params=WIRES)
def client(request: pytest.FixtureRequest, turned: Listening) -> Iterator[PlannerClient]:
    with PlannerClient(url_of(turned, request.param), retries=0) as client:
        yield client


def explored(actions: Any = None) -> list[Exploration]:
    poses = [np.array(HOME)]
    for action in exploratory_actions() if actions is None else actions:
        poses.append(integrate(poses[-1], action))
    return [
        Exploration(before=paint(start), after=paint(end), pose_before=start, pose_after=end)
        for start, end in pairwise(poses)
    ]


def planned_move(session: Any) -> np.ndarray[Any, Any]:
    plan = session.step(paint(HOME), HOME).plan
    assert plan is not None
    return np.asarray(plan.actions[0][:3])


def test_a_session_plans_straight_once_it_is_calibrated(client: PlannerClient) -> None:
    with client.session(paint(GOAL), seed=1) as session:
        before = planned_move(session)
        assert math.degrees(math.atan2(before[1], before[0])) == pytest.approx(YAW, abs=4)
        found = session.calibrate(explored())
        assert math.degrees(found.camera_turn[2]) == pytest.approx(-YAW, abs=2)
        assert found.residual < 0.05
        assert found.warnings == []
        assert found.moves == 6
        np.testing.assert_allclose(found.about, HOME[:3], atol=0.02)
        assert session.calibration() == found
        np.testing.assert_allclose(planned_move(session), (0.05, 0.0, 0.0), atol=0.005)


def test_what_was_found_serves_single_plans_too(client: PlannerClient) -> None:
    with client.session(paint(GOAL)) as session:
        found = session.calibrate(explored())
    plan = client.plan(paint(HOME), HOME, paint(GOAL), camera_turn=found.camera_turn, camera_about=found.about)
    np.testing.assert_allclose(plan.actions[0][:3], (0.05, 0.0, 0.0), atol=0.005)


def test_what_a_session_found_goes_before_the_turn_it_was_opened_with(client: PlannerClient) -> None:
    straight = {"camera_turn": [0.0, 0.0, math.radians(-YAW)], "camera_about": HOME[:3]}
    with client.session(paint(GOAL), seed=1, **straight) as session:
        np.testing.assert_allclose(planned_move(session), (0.05, 0.0, 0.0), atol=0.005)
    with client.session(paint(GOAL), seed=1, camera_turn=[0.0, 0.0, 1.0]) as session:
        session.calibrate(explored())
        np.testing.assert_allclose(planned_move(session), (0.05, 0.0, 0.0), atol=0.005)
        session.forget_calibration()
        assert abs(planned_move(session)[1]) > 0.02


def test_a_calibration_can_be_forgotten(client: PlannerClient) -> None:
    with client.session(paint(GOAL), seed=1) as session:
        with pytest.raises(PlannerError, match="has no calibration") as caught:
            session.calibration()
        assert caught.value.code == "not_found"
        session.calibrate(explored())
        session.forget_calibration()
        assert abs(planned_move(session)[1]) > 0.02
        with pytest.raises(PlannerError, match="has no calibration"):
            session.forget_calibration()


def test_a_view_that_shows_nothing_is_warned_of_now_and_with_every_plan() -> None:
    with (
        running(served(PointWorld(tokens=1, blind=(0, 1, 2)))) as (_, where),
        PlannerClient(where.url) as client,
        client.session(paint(moved(0.0, 0.0, 0.0, gripper=1.0))) as session,
    ):
        found = session.calibrate(explored())
        assert found.residual > 0.5
        assert "of the motion unexplained" in found.warnings[0]
        plan = session.step(paint(HOME), HOME).plan
        assert plan is not None
        assert found.warnings[0] in plan.warnings


REFUSALS: dict[str, tuple[Any, str, str | None, str]] = {
    "no moves": ([], "invalid_input", None, "at least 2 moves"),
    "one line": (exploratory_actions()[:2], "invalid_input", None, "both horizontal directions"),
    "a long move": (exploratory_actions(0.2)[:4], "invalid_field", "moves[0]", "at most 0.1 m"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_moves_that_tell_nothing_are_refused(client: PlannerClient, case: str) -> None:
    actions, code, field, words = REFUSALS[case]
    with client.session(paint(GOAL)) as session, pytest.raises(PlannerError, match=words) as caught:
        session.calibrate(explored(actions))
    assert (caught.value.code, caught.value.field) == (code, field)


def test_a_bad_picture_or_pose_is_named(client: PlannerClient) -> None:
    moves = explored()
    with client.session(paint(GOAL)) as session:
        broken = Exploration(before=b"no picture", after=moves[1].after, pose_before=HOME, pose_after=HOME)
        with pytest.raises(PlannerError) as caught:
            session.calibrate([moves[0], broken])
        assert caught.value.field == "moves[1].before"
        short = Exploration(before=moves[1].before, after=moves[1].after, pose_before=HOME[:6], pose_after=HOME)
        with pytest.raises(PlannerError) as caught:
            session.calibrate([moves[0], short])
        assert caught.value.field == "moves[1].pose_before"


def test_too_much_searching_is_refused() -> None:
    with (
        running(max_candidate_steps=3000) as (_, where),
        PlannerClient(where.url) as client,
        client.session(paint(GOAL), samples=20, iterations=2) as session,
        pytest.raises(PlannerError, match="6 moves; expected at most"),
    ):
        session.calibrate(explored())


def test_json_with_base64_and_multipart_find_the_same(turned: Listening) -> None:
    with (
        httpx.Client(base_url=turned.url) as http,
        PlannerClient(turned.url) as client,
        client.session(paint(GOAL)) as session,
    ):
        as_parts = session.calibrate(explored())
        moves = [
            {
                "before": pictures.base64_of(move.pose_before),
                "after": pictures.base64_of(move.pose_after),
                "pose_before": list(np.asarray(move.pose_before)),
                "pose_after": list(np.asarray(move.pose_after)),
            }
            for move in explored()
        ]
        path = f"/v1/sessions/{session.id}/calibration"
        as_json = http.post(path, json={"moves": moves}).json()
        assert as_json["camera_turn"] == as_parts.camera_turn
        uneven = http.post(path, data={"request": json.dumps({"moves": [{}]})}, files=[("before", b"a")] * 2)
        assert uneven.status_code == 400
        assert "'moves' needs one object for each" in uneven.json()["detail"]


def test_any_turn_is_found_when_asked_for(client: PlannerClient) -> None:
    ahead_and_up = explored(exploratory_actions()[[0, 1, 4, 5]])
    with client.session(paint(GOAL)) as session:
        with pytest.raises(PlannerError, match="both horizontal directions"):
            session.calibrate(ahead_and_up)
        found = session.calibrate(ahead_and_up, yaw_only=False)
    assert math.degrees(found.camera_turn[2]) == pytest.approx(-YAW, abs=3)


def test_plans_of_a_calibrated_session_can_be_made_again(tmp_path: Any) -> None:
    world = served(PointWorld(tokens=1, yaw=math.radians(YAW)))
    log = tmp_path / "plans.jsonl"
    with (
        running(world, plan_log=log, log_pictures=True) as (_, where),
        PlannerClient(where.url) as client,
        client.session(paint(GOAL), seed=1) as session,
    ):
        session.calibrate(explored())
        planned_move(session)
    (outcome,) = replay(log, world())
    assert outcome.is_same
    assert json.loads(log.read_text())["camera"]["about"] != [0.0, 0.0, 0.0]


def test_asyncio_calibrates_too(turned: Listening) -> None:
    async def calibrated() -> float:
        async with AsyncPlannerClient(turned.url) as client, await client.session(paint(GOAL)) as session:
            found = await session.calibrate(explored())
            assert await session.calibration() == found
            await session.forget_calibration()
            return found.camera_turn[2]

    assert math.degrees(asyncio.run(calibrated())) == pytest.approx(-YAW, abs=2)
