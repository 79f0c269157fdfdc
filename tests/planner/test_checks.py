"""What a request must be, to the very edge: what is just within passes, what is just outside names field and reason."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from planner.checks import (
    LARGEST_ACTION,
    LARGEST_COORDINATE,
    ROUNDING,
    check_camera_turn,
    check_candidates,
    check_near,
    check_point,
    check_pose,
    read_pose,
)
from planner.limits import LimitsConfig
from tests.planner.worlds import HOME, moved
from vjepa2_ac.errors import FieldError

LIMITS = LimitsConfig(lowest=(0.3, -0.2, 0.1), highest=(0.5, 0.2, 0.6))
TURN = 2 * math.pi
JUST = 1e-9
Sides = tuple[Callable[[float], Any], float, str]


def posed(place: int, value: float) -> list[float]:
    pose = list(HOME)
    pose[place] = value
    return pose


def acted(place: int, value: float) -> list[list[list[float]]]:
    action = [0.0] * 7
    action[place] = value
    return [[[0.0] * 7], [action]]


def read(place: int) -> Callable[[float], Any]:
    return lambda value: read_pose(posed(place, value), "pose")


def inside(place: int) -> Callable[[float], Any]:
    return lambda value: check_pose(posed(place, value), "pose", LIMITS, margin=0.05)


def made(place: int) -> Callable[[float], Any]:
    return lambda value: check_candidates(acted(place, value), "candidates", 2)


def turned(value: float) -> Any:
    return check_camera_turn([0.0, value, 0.0], "turn")


def placed(value: float) -> Any:
    return check_point([0.0, 0.0, value], "about")


AT_BOTH_ENDS: dict[str, Sides] = {
    "position": (read(1), LARGEST_COORDINATE, r"^pose: a position of .*; expected metres \(are these millimetres\?\)"),
    "angle": (read(4), TURN, r"^pose: angles of .*; expected radians within ± 2π \(are these degrees\?\)"),
    "move": (made(2), LARGEST_ACTION, r"^candidates\[1\]\[0\]: a move of .*; expected at most 1 m an axis"),
    "turn": (made(3), TURN, r"^candidates\[1\]\[0\]: angles of"),
    "gripper's change": (made(6), 1 + ROUNDING, r"^candidates\[1\]\[0\]: Δgripper .* within -1 … 1"),
    "camera": (turned, TURN, r"^turn: angles of"),
    "point": (placed, LARGEST_COORDINATE, r"^about: a position of"),
    "workspace, y": (
        inside(1),
        0.25,
        r"^pose: y = .* m is outside of the workspace; expected -0.25 … 0.25 m, its 0.05",
    ),
}


@pytest.mark.parametrize("way", [1, -1])
@pytest.mark.parametrize(("ask", "most", "complaint"), AT_BOTH_ENDS.values(), ids=AT_BOTH_ENDS)
def test_what_is_just_within_passes_and_what_is_just_outside_does_not(
    ask: Callable[[float], Any], most: float, complaint: str, way: int
) -> None:
    ask(way * most)
    with pytest.raises(FieldError, match=complaint):
        ask(way * most * (1 + JUST))


@pytest.mark.parametrize(("axis", "low", "high"), [(0, 0.25, 0.55), (2, 0.05, 0.65)])
def test_a_hand_may_be_as_far_outside_of_the_workspace_as_the_margin(axis: int, low: float, high: float) -> None:
    for value in (low + JUST, high - JUST):
        assert inside(axis)(value)[axis] == value
    for value in (low - JUST, high + JUST):
        with pytest.raises(FieldError, match="outside of the workspace"):
            inside(axis)(value)


def test_a_closedness_may_be_off_by_rounding_and_is_brought_back() -> None:
    assert (read(6)(-ROUNDING)[6], read(6)(1 + ROUNDING)[6]) == (0.0, 1.0)
    for value in (-1.1 * ROUNDING, 1 + 1.1 * ROUNDING):
        with pytest.raises(FieldError, match="expected a closedness from 0 open to 1 closed"):
            read(6)(value)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("ask", "part"),
    [(read(3), "roll"), (made(5), "yaw"), (turned, "pitch"), (placed, "z")],
    ids=["read", "made", "turn", "point"],
)
def test_what_is_no_number_is_named(ask: Callable[[float], Any], part: str, number: float) -> None:
    with pytest.raises(FieldError, match=f"{part} is not a finite number"):
        ask(number)


@pytest.mark.parametrize(
    ("candidates", "complaint"),
    [
        ([], "^candidates: no candidates; expected at least one"),
        ([[]], r"^candidates\[0\]: 0 actions; expected from 1 to 2 actions"),
        ([[[0.0] * 7] * 3], r"^candidates\[0\]: 3 actions; expected from 1 to 2 actions"),
        ([[[0.0] * 7] * 2] * 3, "^candidates: 6 actions in all; expected at most 5"),
        ([[[0.0] * 7], [[0.0] * 7] * 2], r"^candidates\[1\]: 2 actions; expected 1 actions, as in the first"),
        ([[[0.0] * 7], [[0.0] * 6]], r"^candidates\[1\]\[0\]: 6 numbers; expected 7 numbers"),
        ([[[0.0] * 6], [[0.0] * 6]], r"^candidates\[0\]\[0\]: 6 numbers; expected 7 numbers"),
    ],
)
def test_candidates_are_sequences_of_one_length_and_not_too_many(candidates: Any, complaint: str) -> None:
    with pytest.raises(FieldError, match=complaint):
        check_candidates(candidates, "candidates", 2, most=5)
    assert check_candidates([[[0.0] * 7]] * 5, "candidates", 2, most=5).shape == (5, 1, 7)


def test_the_first_of_several_bad_actions_is_named() -> None:
    values = [[[0.0] * 7, [0.0] * 7], [[0.0] * 7, [2.0] + [0.0] * 6], [[3.0] * 7] * 2]
    with pytest.raises(FieldError, match=r"candidates\[1\]\[1\]: a move of 2, 0, 0"):
        check_candidates(values, "candidates", 2)


def test_a_hand_may_be_as_far_from_where_it_was_told_to_be_as_one_action_goes() -> None:
    near, far = moved(0.0, LIMITS.step, 0.0), moved(0.0, LIMITS.step + 1e-6, 0.0)
    check_near(near, np.array(HOME), "commanded", LIMITS)
    with pytest.raises(
        FieldError, match=r"^commanded: a pose 7\.5 cm and 0\.00 rad from where the hand is; expected at most 0\.075"
    ):
        check_near(far, np.array(HOME), "commanded", LIMITS)
