from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sim.tasks import Goal, Judge, TaskName, task_name
from sim.truth import Truth
from vjepa2_ac.errors import ConfigError

GOAL = Goal(
    hand=np.array([0.5, 0.1, 0.1]),
    object=np.array([0.5, 0.1, 0.03]),
    poses=np.zeros((1, 7)),
    frames=np.zeros((0, 1, 1, 3), np.uint8),
)
LYING = Truth(
    hand=np.array([0.45, -0.1, 0.15]),
    object=np.array([0.45, -0.1, 0.025]),
    object_quaternion=np.array([1.0, 0, 0, 0]),
    object_size=np.array([0.05, 0.05, 0.05]),
    object_speed=0.0,
    object_spin=0.0,
    target=np.array([0.5, 0.1, 0.03]),
    left_force=0.0,
    right_force=0.0,
    is_supported=True,
)
HELD = replace(LYING, hand=LYING.object, left_force=20.0, right_force=20.0, is_supported=False)
PLACED = replace(LYING, object=np.array([0.52, 0.11, 0.03]), hand=np.array([0.52, 0.11, 0.12]))


def judge(task: TaskName) -> Judge:
    return Judge(task, GOAL)


def test_reach_is_within_four_centimetres() -> None:
    watching = judge("reach")
    assert not watching.watch(replace(LYING, hand=GOAL.hand + np.array([0.041, 0, 0]))).success
    assert watching.watch(replace(LYING, hand=GOAL.hand + np.array([0.039, 0, 0]))).success


def test_a_grasp_counts_after_one_second() -> None:
    watching = judge("grasp")
    assert [watching.watch(HELD).success for _ in range(6)] == [False] * 4 + [True] * 2


@pytest.mark.parametrize(
    "spoilt", [{"left_force": 0.4}, {"right_force": 0.4}, {"is_supported": True}], ids=["left", "right", "supported"]
)
def test_what_is_not_held_by_both_fingers_in_the_air_is_no_grasp(spoilt: dict[str, float]) -> None:
    watching = judge("grasp")
    assert not any(watching.watch(replace(HELD, **spoilt)).lifted for _ in range(8))  # type: ignore[arg-type]


def test_losing_the_object_starts_the_second_again() -> None:
    watching = judge("grasp")
    for truth in (HELD, HELD, HELD, HELD, LYING, HELD, HELD, HELD, HELD):
        assert not watching.watch(truth).success


def test_success_at_any_time_is_remembered_and_success_now_is_not() -> None:
    watching = judge("reach")
    watching.watch(replace(LYING, hand=GOAL.hand))
    later = watching.watch(LYING)
    assert later.success_any
    assert not later.success


def test_the_carried_object_has_to_be_held_at_its_goal() -> None:
    there = replace(HELD, object=GOAL.object + np.array([0, 0.03, 0]))
    assert judge("reach_with_object").watch(there).success
    assert not judge("reach_with_object").watch(replace(there, left_force=0.0)).success
    assert not judge("reach_with_object").watch(replace(HELD, object=GOAL.object + np.array([0, 0.05, 0]))).success


def test_an_object_on_its_spot_left_alone_is_placed() -> None:
    assert judge("pick_and_place").watch(PLACED).success


@pytest.mark.parametrize(
    "spoilt",
    [
        {"object": np.array([0.545, 0.11, 0.03])},
        {"object_speed": 0.05},
        {"object_spin": 0.5},
        {"left_force": 0.2},
        {"is_supported": False},
        {"hand": np.array([0.52, 0.11, 0.05])},
    ],
    ids=["beside", "moving", "rolling", "touched", "flying", "hand not withdrawn"],
)
def test_anything_less_is_not_placed(spoilt: dict[str, object]) -> None:
    assert not judge("pick_and_place").watch(replace(PLACED, **spoilt)).success  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("hand", "is_clear"),
    [
        ((0.52, 0.11, 0.066), True),
        ((0.52, 0.11, 0.063), False),
        ((0.52, 0.225, 0.02), False),
        ((0.52, 0.235, 0.02), True),
    ],
    ids=["fingers above it", "fingers below its top", "beside it", "well beside it"],
)
def test_the_hand_has_withdrawn_above_the_object_or_well_beside_it(
    hand: tuple[float, float, float], is_clear: bool
) -> None:
    assert judge("pick_and_place").watch(replace(PLACED, hand=np.array(hand))).placed == is_clear


@pytest.mark.parametrize(
    ("task", "first_stop"), [("reach", "hand"), ("reach_with_object", "hand"), ("grasp", "object")]
)
def test_reached_is_where_the_task_first_sends_the_hand(task: TaskName, first_stop: str) -> None:
    at_goal, at_object = (judge(task).watch(replace(LYING, hand=place)) for place in (GOAL.hand, LYING.object))
    assert (at_goal.reached, at_object.reached) == (first_stop == "hand", first_stop == "object")


def test_grasped_is_pressed_from_both_sides() -> None:
    stages = [judge("grasp").watch(replace(LYING, left_force=0.6, right_force=right)) for right in (0.6, 0.4)]
    assert [each.grasped for each in stages] == [True, False]


def test_a_copy_has_seen_the_same_and_watches_on_alone() -> None:
    watching = judge("grasp")
    for truth in (HELD, HELD, HELD, HELD, HELD, LYING, HELD, HELD, HELD, HELD):
        watching.watch(truth)
    other = watching.copy()
    assert other.stages == watching.stages
    assert other.watch(HELD).success
    assert not watching.stages.success


@pytest.mark.parametrize(("degrees", "is_upright"), [(19, True), (21, False)])
def test_upright_is_within_twenty_degrees(degrees: float, is_upright: bool) -> None:
    half = np.deg2rad(degrees) / 2
    for axis in ((1.0, 0.0), (0.0, 1.0)):
        turned = np.array([np.cos(half), *np.multiply(axis, np.sin(half)), 0.0])
        assert replace(LYING, object_quaternion=turned).is_upright == is_upright


def test_an_unknown_task_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="reach, grasp"):
        task_name("juggle")
