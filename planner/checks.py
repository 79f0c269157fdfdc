"""Checks of a request's numbers before anything is computed with them.

Each refusal names the field, what came, and what would have been right.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import numpy as np

from planner.limits import LimitsConfig, too_far_from_hand
from vjepa2_ac.config import settings_named
from vjepa2_ac.errors import FieldError
from vjepa2_ac.poses import LARGEST_COORDINATE, PARTS, Array

POSE = f"7 numbers: {' '.join(PARTS)} in metres, radians and 0 open … 1 closed"
ACTION = "7 numbers: Δx Δy Δz in metres, three angles in radians, Δgripper"
LARGEST_ACTION = 1.0  # [m]
MARGIN = 0.1  # [m] around the workspace, from where a hand may still come back
BUDGETED = {"search.samples", "search.iterations"}  # what a budget chooses; horizon and elites bound and shape it
ROUNDING = 1e-6  # a gripper may be this much outside of 0…1


def size_among(given: Sequence[str]) -> str | None:
    """The first of some settings `NAME=VALUE` that says what a budget would choose; None where none does."""
    return next((text for text in given if not BUDGETED.isdisjoint(settings_named(text))), None)


def check_pose(values: Sequence[float], field: str, limits: LimitsConfig, margin: float = MARGIN) -> Array:
    """The pose [7] of a hand that is in the workspace or within `margin` [m] of it, or a FieldError."""
    pose = read_pose(values, field)
    low, high = np.array(limits.lowest) - margin, np.array(limits.highest) + margin
    for axis, value, lowest, highest in zip("xyz", pose[:3], low, high, strict=True):
        if not lowest <= value <= highest:
            raise FieldError(
                field,
                f"{axis} = {value:g} m is outside of the workspace",
                f"{lowest:g} … {highest:g} m, its {margin:g} m of margin included",
            )
    return pose


def check_near(commanded: Array, pose: Array, field: str, limits: LimitsConfig) -> None:
    """Raise FieldError where the hand [7] is farther from where it was told to be [7] than one action may go."""
    if far := too_far_from_hand(commanded, pose, limits):
        raise FieldError(field, f"a pose {far}", f"at most {limits.step:g} m along an axis and {limits.turn:g} rad")


def read_pose(values: Sequence[float], field: str) -> Array:
    """The pose [7] that the values make, wherever the workspace is, or a FieldError."""
    pose = _vector(values, field, POSE)
    if (np.abs(pose[:3]) > LARGEST_COORDINATE).any():
        raise FieldError(field, f"a position of {_numbers(pose[:3])}", "metres (are these millimetres?)")
    _check_angles(pose[3:6], field)
    if not -ROUNDING <= pose[6] <= 1 + ROUNDING:
        raise FieldError(field, f"gripper {pose[6]:g}", "a closedness from 0 open to 1 closed")
    pose[6] = np.clip(pose[6], 0.0, 1.0)
    return pose


def check_candidates(
    values: Sequence[Sequence[Sequence[float]]], field: str, max_horizon: int, most: int = sys.maxsize
) -> Array:
    """Action sequences [S, H, 7] of one length, at most `most` actions in all, or a FieldError."""
    if not values:
        raise FieldError(field, "no candidates", "at least one action sequence, [candidates][horizon][7]")
    horizon = len(values[0])
    if not 1 <= horizon <= max_horizon:
        raise FieldError(f"{field}[0]", f"{horizon} actions", f"from 1 to {max_horizon} actions")
    if len(values) * horizon > most:
        raise FieldError(field, f"{len(values) * horizon} actions in all", f"at most {most}")
    try:
        actions_SH7 = np.array(values, dtype=np.float64)
    except ValueError:  # they are not all of one length
        actions_SH7 = np.zeros(0)
    if actions_SH7.shape == (len(values), horizon, len(PARTS)) and _are_actions(actions_SH7):
        return actions_SH7
    for s, candidate in enumerate(values):
        if len(candidate) != horizon:
            raise FieldError(f"{field}[{s}]", f"{len(candidate)} actions", f"{horizon} actions, as in the first")
        for h, action in enumerate(candidate):
            _check_action(action, f"{field}[{s}][{h}]")
    raise AssertionError("one of the actions is none, but which?")


def check_camera_turn(values: Sequence[float], field: str) -> Array:
    """Roll, pitch, yaw [3] of a camera, or a FieldError."""
    turn = _vector(values, field, "3 numbers: roll pitch yaw in radians", parts=PARTS[3:6])
    _check_angles(turn, field)
    return turn


def check_point(values: Sequence[float], field: str) -> Array:
    """A point [3] of the robot's base frame, or a FieldError."""
    point = _vector(values, field, "3 numbers: x y z in metres", parts=PARTS[:3])
    if (np.abs(point) > LARGEST_COORDINATE).any():
        raise FieldError(field, f"a position of {_numbers(point)}", "metres (are these millimetres?)")
    return point


def _are_actions(actions_SH7: Array) -> bool:
    """Whether `_check_action` would let all of them pass."""
    largest = np.array([LARGEST_ACTION] * 3 + [2 * math.pi] * 3 + [1 + ROUNDING])
    return bool((np.abs(actions_SH7) <= largest).all())  # false for NaN


def _check_action(values: Sequence[float], field: str) -> None:
    action = _vector(values, field, ACTION)
    if (np.abs(action[:3]) > LARGEST_ACTION).any():
        raise FieldError(field, f"a move of {_numbers(action[:3])}", f"at most {LARGEST_ACTION:g} m an axis")
    _check_angles(action[3:6], field)
    if not -1 - ROUNDING <= action[6] <= 1 + ROUNDING:
        raise FieldError(field, f"Δgripper {action[6]:g}", "a change of closedness within -1 … 1")


def _vector(values: Sequence[float], field: str, expected: str, parts: Sequence[str] = PARTS) -> Array:
    if len(values) != len(parts):
        raise FieldError(field, f"{len(values)} numbers", expected)
    vector = np.array(values, dtype=np.float64)
    if not np.isfinite(vector).all():
        bad = next(part for part, value in zip(parts, vector, strict=True) if not math.isfinite(value))
        raise FieldError(field, f"{bad} is not a finite number", expected)
    return vector


def _check_angles(angles: Array, field: str) -> None:
    if (np.abs(angles) > 2 * math.pi).any():
        raise FieldError(field, f"angles of {_numbers(angles)}", "radians within ± 2π (are these degrees?)")


def _numbers(values: Array) -> str:
    return ", ".join(f"{value:g}" for value in values)
