"""Failure modes: how an episode failed, read off the true state after every step.

A mode says what the hand did, and so where to look for the cause: at a goal that is not pursued, at a gripper that
closes too early, at an object that is lost on the way. Costs play no part in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.cameras import project
from sim.env import FrankaEnv
from sim.tasks import HOLD_STEPS, NEAR, TaskName

Array = NDArray[np.float64]

CLOSED = 0.2  # closedness from which on the gripper counts as closed; the widest object stops it at 0.28
ALMOST = 2 * NEAR  # [m]
FALL = 0.03  # [m]: an object that falls further was dropped; to set one down, the hand opens nearer to the support

REDRAWN = "scene drawn again"
MODES: dict[str, str] = {
    REDRAWN: "the expert failed in the first scene of the seed, so that another was drawn",
    "no plan": "at half of the steps and more there was no plan that would have been safe to follow",
    "done, then lost": "was done at some time, and not at the end",
    "drove out of view": "at the end the hand is outside of the camera's picture",
    "pushed out of view": "at the end the object is outside of the camera's picture",
    "never near": f"the hand never came within {100 * ALMOST:.0f} cm of where it should go",
    "timed out near the goal": f"the hand, or what it carries, came within {100 * ALMOST:.0f} cm, not all the way",
    "near, but the object was not": "the hand was where it should be; the object had slipped in it",
    "closed early": "the gripper closed before the hand was at the object, and never held it",
    "at the object, never closed": "the hand was at the object and the gripper stayed open",
    "knocked over": "the hand was at the object, which fell over and was never between the fingers",
    "closed beside the object": "the gripper closed at the object, and never held it",
    "grasped, not lifted": "both fingers pressed the object; it never hung between them",
    "lost while lifting": "the object hung between the fingers, for a second at most",
    "dropped in transit": f"the object was carried and then fell by more than {100 * FALL:.0f} cm",
    "placed wrong": f"the object was set down more than {100 * NEAR:.0f} cm from its spot",
    "carried, never let go": "the object is still in the hand at the end",
    "let go, not withdrawn": "the object is at its spot, and the hand is still at it or it does not rest",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The true state after a step."""

    hand: tuple[float, ...]  # [3] m
    object: tuple[float, ...]  # [3] m, its middle
    closedness: float
    is_pressed: bool  # both fingers press the object
    is_held: bool  # it hangs between them, off everything else
    is_upright: bool
    hand_in_view: bool
    object_in_view: bool

    @property
    def apart(self) -> float:
        """Distance from the hand to the object [m]."""
        return _distance(self.hand, self.object)


def moment(env: FrankaEnv) -> Moment:
    """The true state of the cell now; for the record alone, no driver sees it."""
    truth, scene = env.truth(), env.cell.scene
    width, height = (round(2 * middle) for middle in env.intrinsics()[:2, 2])  # the optical axis is in the middle
    pixels_22 = project(scene.model, scene.data, "left", np.stack([truth.hand, truth.object]), width, height)
    hand_in_view, object_in_view = (0 <= x < width and 0 <= y < height for x, y in pixels_22.tolist())
    return Moment(
        hand=_rounded(truth.hand),
        object=_rounded(truth.object),
        closedness=round(float(env.cell.controller.measured_pose()[6]), 4),
        is_pressed=env.stages.grasped,
        is_held=truth.is_held,
        is_upright=truth.is_upright,
        hand_in_view=hand_in_view,
        object_in_view=object_in_view,
    )


def failure(
    task: TaskName, moments: Sequence[Moment], goal: Mapping[str, Array], *, was_done: bool, without_plan: int = 0
) -> str:
    """The mode of an episode that failed, by how far it came.

    `moments` are the states at its start and after each step, `goal` holds where `hand` and `object` should end,
    `was_done` says whether the task ever was done, and `without_plan` in how many steps there was no plan.
    """
    last = moments[-1]
    if 2 * without_plan >= len(moments) - 1 > 0:
        return "no plan"
    if was_done:
        return "done, then lost"
    if task != "reach" and not last.object_in_view:
        return "pushed out of view"
    if not last.hand_in_view:
        return "drove out of view"
    if task == "reach":
        return _on_the_way([_distance(each.hand, goal["hand"]) for each in moments])
    if task == "reach_with_object":
        return _while_carrying(moments, goal)
    if not any(each.is_pressed for each in moments):
        return _before_the_grasp(moments)
    if not _was_lifted(moments):
        return "lost while lifting" if any(each.is_held for each in moments) else "grasped, not lifted"
    return _after_the_lift(moments, goal)


def _on_the_way(distances: Sequence[float]) -> str:
    return "timed out near the goal" if min(distances) <= ALMOST else "never near"


def _while_carrying(moments: Sequence[Moment], goal: Mapping[str, Array]) -> str:
    if not moments[-1].is_held:
        return "dropped in transit"
    distances = [_distance(each.hand, goal["hand"]) for each in moments]
    return "near, but the object was not" if min(distances) <= NEAR else _on_the_way(distances)


def _before_the_grasp(moments: Sequence[Moment]) -> str:
    closing = [now for before, now in pairwise(moments) if _closes(before, now)]
    if closing and closing[0].apart > NEAR:
        return "closed early"
    if min(each.apart for each in moments) > NEAR:
        return _on_the_way([each.apart for each in moments])
    if not moments[-1].is_upright:
        return "knocked over"
    return "closed beside the object" if closing else "at the object, never closed"


def _after_the_lift(moments: Sequence[Moment], goal: Mapping[str, Array]) -> str:
    last = moments[-1]
    away = _distance(last.object, goal["object"])
    if last.is_held:
        return "timed out near the goal" if NEAR < away <= ALMOST else "carried, never let go"
    if away <= NEAR:
        return "let go, not withdrawn"
    held = [each for each in moments if each.is_held][-1]
    return "dropped in transit" if held.object[2] - last.object[2] > FALL else "placed wrong"


def _was_lifted(moments: Sequence[Moment]) -> bool:
    """Whether the object ever hung between the fingers for more than a second, as the judge counts it."""
    steps = 0
    for each in moments:
        steps = steps + 1 if each.is_held else 0
        if steps > HOLD_STEPS:
            return True
    return False


def _closes(before: Moment, now: Moment) -> bool:
    return before.closedness < CLOSED <= now.closedness


def _rounded(point_3: Array) -> tuple[float, ...]:
    return tuple(round(float(number), 4) for number in point_3)


def _distance(a: Any, b: Any) -> float:
    return float(np.linalg.norm(np.asarray(a) - np.asarray(b)))
