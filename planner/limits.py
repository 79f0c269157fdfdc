"""The safety envelope: no plan leaves the planner without having gone through it.

Actions are clipped, in this order, to the step limits, to the workspace, to the distance that a whole plan may go and
to the gripper's range; whatever was changed is reported, in words and numbers. A hand that starts outside of the
workspace may only come back. Numbers that are not finite are refused, and so is an observation that is too old.

Shapes: H steps, 7 numbers of a pose or an action. Everything is float64 numpy: this is the last step before the robot.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from vjepa2_ac.config import require
from vjepa2_ac.errors import PlanningError, StaleObservationError
from vjepa2_ac.poses import GRIPPER, PARTS, POSITION, ROTATION, Array, integrate, pose_difference, vector

Corner = tuple[float, float, float]
NOTICED = 1e-7  # differences below this are rounding
CLOCKS_APART = 0.1  # [s] by which a picture may seem to come from the future: clocks of cameras and robots differ


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsConfig:
    """What a plan may ask of the robot. The workspace suits a Franka on a table; set it to yours."""

    lowest: Corner = (0.2, -0.6, 0.0)  # [m] of the workspace, robot base frame
    highest: Corner = (0.9, 0.6, 0.9)  # [m]
    step: float = 0.075  # [m] along each axis in one action
    turn: float = 0.3  # [rad] about each axis in one action
    grip: float = 1.0  # change of closedness in one action
    distance: float = 0.4  # [m] from the start of the plan, any direction
    gripper: tuple[float, float] = (0.0, 1.0)  # closedness
    oldest: float = 1.0  # [s] age of an observation that may still be acted on
    dry_run: bool = False  # plan and report, but ask the robot to stay where it is

    def __post_init__(self) -> None:
        for axis, low, high in zip("xyz", self.lowest, self.highest, strict=True):
            require(low < high, f"the workspace is empty: {axis} from {low} to {high} m")
        for name in ("step", "turn", "grip", "distance", "oldest"):
            require(getattr(self, name) > 0, f"limits.{name} must be positive, got {getattr(self, name)}")
        low, high = self.gripper
        require(0 <= low < high <= 1, f"limits.gripper lies within 0…1, got {self.gripper}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clipping:
    """One number that was changed for safety."""

    step: int  # of the plan, counted from 0
    part: str  # x, y, z, roll, pitch, yaw or gripper
    rule: str  # step limit, distance, workspace or gripper range
    asked: float  # the action as planned [m, rad, closedness]
    allowed: float

    def __str__(self) -> str:
        return f"step {self.step}: {self.part} {self.asked:+.4f} became {self.allowed:+.4f} ({self.rule})"


@dataclass(frozen=True, slots=True)
class Safe:
    """Actions within the envelope, the poses they lead to, and what was changed."""

    actions_H7: Array
    targets_H7: Array
    clipped: tuple[Clipping, ...]


def make_safe(pose: ArrayLike, actions: ArrayLike, limits: LimitsConfig) -> Safe:
    """`actions` [H, 7] from `pose` [7], held to the limits. Raises PlanningError where they are not finite."""
    start = here = vector(pose, "pose")
    if not np.isfinite(actions).all():
        raise PlanningError("the plan holds numbers that are not finite; the robot must not move on them")
    clipped: list[Clipping] = []
    allowed_actions, targets = [], []
    for step, asked in enumerate(vector(actions, "actions")):
        action = asked
        for rule, clip in _RULES.items():
            allowed = clip(start, here, action, limits)
            clipped += _differences(step, rule, action, allowed)
            action = allowed
        target = integrate(here, action)
        allowed_actions.append(action)
        targets.append(target)
        here = target
    return Safe(np.array(allowed_actions), np.array(targets), tuple(clipped))


def too_far_from_hand(commanded: ArrayLike, measured: ArrayLike, limits: LimitsConfig) -> str | None:
    """How far the hand [7] is from its commanded pose [7], in words; None where one action may make up for it.

    Limits count from the commanded pose, so they hold for the hand only if that pose is near it. Grippers are not
    compared: one may be told to close farther than it can.
    """
    offset = np.abs(pose_difference(measured, commanded))
    if offset[POSITION].max() <= limits.step + NOTICED and offset[ROTATION].max() <= limits.turn + NOTICED:
        return None
    far, turned = float(np.linalg.norm(offset[POSITION])), float(offset[ROTATION].max())
    return f"{100 * far:.1f} cm and {turned:.2f} rad from where the hand is"


def refuse_stale(taken_at: float, now: float, limits: LimitsConfig) -> None:
    """Raise StaleObservationError when an observation of `taken_at` [s] is too old `now`, or from the future."""
    age = now - taken_at
    if not -CLOCKS_APART <= age <= limits.oldest:
        raise StaleObservationError(
            f"the observation is {age:.2f} s old; at most {limits.oldest:.2f} s may be acted on"
        )


def _within_steps(start: Array, here: Array, action: Array, limits: LimitsConfig) -> Array:
    bounds = np.array([limits.step] * 3 + [limits.turn] * 3 + [limits.grip])
    return np.clip(action, -bounds, bounds)


def _within_workspace(start: Array, here: Array, action: Array, limits: LimitsConfig) -> Array:
    # From outside, the bound is where the hand is already: it may come back but not go further.
    low = np.minimum(limits.lowest, here[POSITION])
    high = np.maximum(limits.highest, here[POSITION])
    asked = here[POSITION] + action[POSITION]
    inside = np.clip(asked, low, high)
    return action if np.array_equal(asked, inside) else _going_to(here, action, inside)


def _within_distance(start: Array, here: Array, action: Array, limits: LimitsConfig) -> Array:
    # A shorter move in the same direction breaks none of the earlier rules, because both ends of the move keep them.
    offset, move = here[POSITION] - start[POSITION], action[POSITION]
    a, b, c = float(move @ move), float(offset @ move), min(0.0, float(offset @ offset) - limits.distance**2)
    if a == 0 or np.linalg.norm(offset + move) <= limits.distance:
        return action
    # The share t of the move that ends at the distance: |offset + t · move|² = distance².
    share = (math.sqrt(b * b - a * c) - b) / a
    share = min(1.0, max(0.0, share))  # else a tiny move inwards from the edge would end at the far one
    return _going_to(here, action, here[POSITION] + share * move)


def _within_gripper(start: Array, here: Array, action: Array, limits: LimitsConfig) -> Array:
    low, high = (min(limits.gripper[0], here[6]), max(limits.gripper[1], here[6]))
    action = action.copy()
    action[GRIPPER] = np.clip(here[GRIPPER] + action[GRIPPER], low, high) - here[GRIPPER]
    return action


_RULES = {
    "step limit": _within_steps,
    "workspace": _within_workspace,
    "distance": _within_distance,
    "gripper range": _within_gripper,
}


def _going_to(here: Array, action: Array, position: Array) -> Array:
    return np.concatenate((position - here[POSITION], action[POSITION.stop :]))


def _differences(step: int, rule: str, asked: Array, allowed: Array) -> list[Clipping]:
    return [
        Clipping(step=step, part=part, rule=rule, asked=float(before), allowed=float(after))
        for part, before, after in zip(PARTS, asked, allowed, strict=True)
        if abs(before - after) > NOTICED
    ]
