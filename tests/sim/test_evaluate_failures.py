"""Failure modes of episodes that are written down here by hand, and the record of a real one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sim.env import FrankaEnv
from sim.evaluate.failures import MODES, Moment, failure, moment
from sim.tasks import HOLD_STEPS, TaskName

SPOT = np.array([0.6, 0.1, 0.03])
GOAL = {"hand": SPOT, "object": SPOT}
FAR = Moment(
    hand=(0.4, 0.0, 0.2),
    object=(0.5, 0.0, 0.03),
    closedness=0.0,
    is_pressed=False,
    is_held=False,
    is_upright=True,
    hand_in_view=True,
    object_in_view=True,
)
AT = replace(FAR, hand=(0.5, 0.0, 0.04))
SHUT = replace(AT, closedness=1.0)
HELD = replace(AT, closedness=0.4, is_pressed=True, is_held=True, object=(0.5, 0.0, 0.15), hand=(0.5, 0.0, 0.15))
CARRIED = [FAR, AT, *[HELD] * 6]


def mode(task: TaskName, *moments: Moment, was_done: bool = False, **others: Any) -> str:
    found = failure(task, moments, GOAL, was_done=was_done, **others)
    assert found in MODES
    return found


def test_a_hand_that_stays_away_was_never_near() -> None:
    assert mode("reach", FAR, FAR) == "never near"
    assert mode("grasp", FAR, FAR) == "never near"
    assert mode("reach_with_object", HELD, HELD) == "never near"


def test_a_hand_that_comes_close_ran_out_of_time() -> None:
    almost = replace(FAR, hand=(0.6, 0.1, 0.09))
    assert mode("reach", FAR, almost) == "timed out near the goal"
    assert mode("reach", FAR, almost, FAR) == "timed out near the goal"
    assert mode("reach", FAR, replace(FAR, hand=(0.6, 0.1, 0.12))) == "never near"
    assert mode("grasp", FAR, replace(FAR, hand=(0.5, 0.0, 0.09))) == "timed out near the goal"


def test_what_the_gripper_did_before_the_grasp() -> None:
    early = replace(FAR, closedness=1.0)
    assert mode("grasp", FAR, early, SHUT) == "closed early"
    assert mode("grasp", FAR, early, early) == "closed early"  # before it is never near
    assert mode("grasp", FAR, early, AT, SHUT) == "closed early"  # opened and closed again: the first time counts
    assert mode("grasp", FAR, AT, AT) == "at the object, never closed"
    assert mode("grasp", FAR, AT, SHUT) == "closed beside the object"
    assert mode("grasp", FAR, AT, SHUT, replace(FAR, closedness=1.0)) == "closed beside the object"
    assert mode("grasp", FAR, AT, replace(AT, closedness=0.28)) == "closed beside the object"  # as far as a cup lets it
    assert mode("grasp", FAR, AT, replace(AT, is_upright=False)) == "knocked over"
    assert mode("grasp", FAR, AT, replace(SHUT, is_upright=False)) == "knocked over"
    assert mode("grasp", FAR, replace(AT, is_upright=False), AT) == "at the object, never closed"


def test_what_happened_between_grasp_and_lift() -> None:
    assert mode("grasp", FAR, replace(SHUT, is_pressed=True), AT) == "grasped, not lifted"
    assert mode("pick_and_place", FAR, AT, HELD, HELD, AT) == "lost while lifting"
    a_second = [HELD] * HOLD_STEPS
    assert mode("pick_and_place", FAR, AT, *a_second, AT, *a_second, AT) == "lost while lifting"
    assert mode("pick_and_place", FAR, AT, *a_second, HELD, AT) == "dropped in transit"


def test_where_a_carried_object_ended() -> None:
    assert mode("pick_and_place", *CARRIED, FAR) == "dropped in transit"
    low = replace(HELD, object=(0.5, 0.0, 0.04))
    assert mode("pick_and_place", *CARRIED, low, FAR) == "placed wrong"
    assert mode("pick_and_place", *CARRIED, replace(low, object=(0.5, 0.0, 0.07)), FAR) == "dropped in transit"
    beside = replace(AT, object=(0.6, 0.16, 0.03))
    assert mode("pick_and_place", *CARRIED, low, beside) == "placed wrong"  # by more than 4 cm
    assert mode("pick_and_place", *CARRIED) == "carried, never let go"
    above = replace(HELD, object=(0.6, 0.1, 0.08))
    assert mode("pick_and_place", *CARRIED, above) == "timed out near the goal"
    there = replace(HELD, object=(0.6, 0.1, 0.03))
    assert mode("pick_and_place", *CARRIED, there) == "carried, never let go"
    assert mode("pick_and_place", *CARRIED, replace(AT, object=(0.6, 0.1, 0.03))) == "let go, not withdrawn"


def test_an_object_that_is_carried_from_the_start() -> None:
    assert mode("reach_with_object", HELD, FAR) == "dropped in transit"
    slipped = replace(HELD, hand=(0.6, 0.1, 0.04), object=(0.6, 0.1, 0.09))
    assert mode("reach_with_object", HELD, slipped) == "near, but the object was not"
    assert mode("reach_with_object", HELD, slipped, HELD) == "near, but the object was not"


def test_what_hides_everything_else_comes_first() -> None:
    assert mode("grasp", FAR, replace(FAR, hand_in_view=False)) == "drove out of view"
    assert mode("grasp", FAR, replace(FAR, object_in_view=False)) == "pushed out of view"
    assert mode("reach", FAR, replace(FAR, object_in_view=False)) == "never near"
    assert mode("grasp", replace(FAR, hand_in_view=False, object_in_view=False), FAR) == "never near"
    assert mode("grasp", *CARRIED, was_done=True) == "done, then lost"
    assert mode("grasp", FAR, FAR, FAR, without_plan=1) == "no plan"


@pytest.mark.parametrize("frame_size", [64, (32, 128)])
def test_a_moment_of_a_real_cell(frame_size: Any) -> None:
    env = FrankaEnv("reach_with_object", split="test", kind="box", frame_size=frame_size, goal_frames=False)
    env.reset(seed=3)
    found = moment(env)
    env.close()
    assert found.is_held
    assert found.apart < 0.04
    assert found.closedness > 0.2
    assert (found.hand_in_view, found.object_in_view) == (True, True)
