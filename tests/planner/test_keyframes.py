from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.keyframes import AT_MOST, Keyframes
from planner.plan import Plan
from planner.planning import Planner, Request
from tests.planner.worlds import HOME, PointWorld, moved, paint
from vjepa2_ac.poses import Array

SOME = Planner(PointWorld())


def plan(grip: float, move: float = 0.0) -> Plan:
    seen_ND = SOME.world.encode(paint(HOME))[0]
    made = SOME.plan(Request(latents_ND=seen_ND, pose=HOME, goal_ND=seen_ND))
    actions_H7 = made.actions_H7.copy()
    actions_H7[0] = [move, 0.0, 0.0, 0.0, 0.0, 0.0, grip]
    return replace(made, actions_H7=actions_H7)


def closed_by(closedness: float, *at: float) -> Array:
    return moved(*(at or (0.0, 0.0, 0.0)), gripper=closedness)


def directions(closedness: list[float], grip: float) -> list[float]:
    """What is unfinished at each step; the gripper is told to change at the first, and while it is unfinished."""
    keyframes, found = Keyframes(), []
    for at, closed in enumerate(closedness):
        found.append(keyframes.unfinished(closed))
        keyframes.follow(plan(grip if at == 0 or found[-1] else 0.0), closed_by(closed))
    return found


@pytest.mark.parametrize(
    ("closedness", "grip", "unfinished"),
    [
        ([0.0, 0.5, 1.0, 1.0], 0.5, [0, 1, 0, 0]),  # around nothing: until the end
        ([0.0, 0.5, 0.6, 0.62], 0.5, [0, 1, 1, 0]),  # around something: until it stops the fingers
        ([0.0, 0.04, 0.14, 0.15], 0.5, [0, 1, 1, 0]),  # fingers that are slow to begin
        ([0.6, 0.1, 0.0, 0.0], -0.5, [0, -1, 0, 0]),
        ([0.6, 0.1, 0.04, 0.04], -0.5, [0, -1, 0, 0]),  # as good as open
        ([0.9, 0.8, 0.7, 0.68], -0.1, [0, -1, -1, 0]),  # held back by what they hold
        ([0.0, 0.1, 0.2, 0.3, 0.4, 0.5], 0.1, [0, 1, 1, 1, 0, 0]),  # but not for ever
    ],
)
def test_fingers_end_what_they_have_begun(closedness: list[float], grip: float, unfinished: list[float]) -> None:
    assert directions(closedness, grip) == unfinished
    assert sum(map(abs, unfinished)) < AT_MOST


def test_fingers_that_are_told_to_go_on_for_longer_are_not_held_to_it() -> None:
    keyframes = Keyframes()
    for step in range(AT_MOST + 2):
        keyframes.follow(plan(0.1), closed_by(0.1 * step))
    assert keyframes.unfinished(0.1 * (AT_MOST + 2)) == 0.0


def test_fingers_that_turn_back_have_as_long_as_any() -> None:
    keyframes = Keyframes()
    for _ in range(AT_MOST):
        keyframes.follow(plan(0.1), closed_by(0.6))
    keyframes.follow(plan(-0.1), closed_by(0.6))
    assert keyframes.unfinished(0.5) == -1.0


def test_a_keyframe_is_passed_where_the_gripper_begins_to_change() -> None:
    keyframes = Keyframes()
    told = [0.0, 0.5, 0.5, 0.0, 0.5, 0.0, -0.5, -0.1, 0.5]
    assert [keyframes.follow(plan(grip), closed_by(0.3)) for grip in told] == [
        *(False, True, False, False, False, False, True, False, True)
    ]


@pytest.mark.parametrize(("grip", "move", "arrived"), [(0.0, 0.004, True), (0.0, 0.02, False), (0.5, 0.0, False)])
def test_a_hand_has_arrived_once_nothing_is_left_to_do(grip: float, move: float, arrived: bool) -> None:
    keyframes = Keyframes()
    assert not keyframes.has_arrived
    keyframes.follow(plan(grip, move), closed_by(0.0))
    assert keyframes.has_arrived == arrived


def test_a_hand_that_goes_on_later_has_not_arrived() -> None:
    keyframes, rests = Keyframes(), plan(0.0)
    later_H7 = np.concatenate((rests.actions_H7[:1], rests.actions_H7[:1]))
    later_H7[1, 0] = 0.05
    keyframes.follow(replace(rests, actions_H7=later_H7), closed_by(0.0))
    assert not keyframes.has_arrived


@pytest.mark.parametrize(("closedness", "sets_down"), [(0.45, True), (1.0, False), (0.02, False)])
def test_what_fingers_open_around_is_set_down_there(closedness: float, sets_down: bool) -> None:
    keyframes, pose = Keyframes(), closed_by(closedness, 0.1, 0.0, -0.1)
    keyframes.follow(plan(-0.3), pose)
    keyframes.follow(plan(-0.1), closed_by(0.1))  # they go on opening
    keyframes.follow(plan(0.0, 0.05), closed_by(0.0))  # and the hand withdraws
    assert (keyframes.set_down_7 is not None) == sets_down
    if sets_down:
        np.testing.assert_array_equal(keyframes.set_down_7, pose)
        keyframes.follow(plan(0.5), closed_by(0.0, 0.2, 0.0, 0.0))
        assert keyframes.set_down_7 is None  # it takes up another thing
