"""The four tasks and their judges: what counts as done, decided by physics alone.

| task | starts with | done when |
|---|---|---|
| reach | an open hand | the hand is within 4 cm of where the goal picture shows it |
| grasp | an open hand | the object hangs between both fingers for 1 s |
| reach_with_object | the object in the hand | still held, and within 4 cm of where the goal picture shows it |
| pick_and_place | an open hand | the object rests within 4 cm of its spot, released, the hand withdrawn |

A task is given as a sequence of goal pictures, near enough to each other to be pursued one by one: a grasp as grasped
and raised, pick-and-place as grasped, near, released and withdrawn. The paper's robot was given fewer (`PAPER_GOALS`).
*Grasped* shows the object gripped where it stands, so a hand that goes where the picture shows it has the object
between its fingers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sim.control import STEP_SECONDS
from sim.truth import Truth
from vjepa2_ac.errors import ConfigError

Array = NDArray[np.float64]

TaskName = Literal["reach", "grasp", "reach_with_object", "pick_and_place"]
TASKS: tuple[TaskName, ...] = get_args(TaskName)
NEAR = 0.04  # [m], the paper's tolerance
HOLD_STEPS = round(1.0 / STEP_SECONDS)  # a grasp counts after one second

MAX_STEPS: dict[TaskName, int] = {"reach": 20, "grasp": 30, "reach_with_object": 20, "pick_and_place": 60}
GOAL_NAMES: dict[TaskName, tuple[str, ...]] = {
    "reach": ("reached",),
    "grasp": ("grasped", "raised"),
    "reach_with_object": ("reached",),
    "pick_and_place": ("grasped", "near", "released", "withdrawn"),
}
PAPER_GOALS: dict[TaskName, tuple[str, ...]] = GOAL_NAMES | {  # V-JEPA 2, section 4: one picture, or three sub-goals
    "grasp": ("raised",),
    "pick_and_place": ("grasped", "near", "withdrawn"),
}


def task_name(name: str) -> TaskName:
    """`name` as a task. Raises ConfigError if there is none of that name."""
    for known in TASKS:
        if name == known:
            return known
    raise ConfigError(f"no task {name!r}; there are {', '.join(TASKS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What should be true at the end, and the pictures that show it, as reached by the expert."""

    hand: Array  # [3], where the expert left it
    object: Array  # [3], where the expert left it; for pick_and_place, the target spot
    poses: Array  # [K, 7], of the hand in each picture
    frames: NDArray[np.uint8]  # [K, H, W, 3]; K = 0 without pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """How far an episode has come at this instant; only `success_any` also covers the steps before."""

    reached: bool = False  # the hand is within 4 cm of where the task first sends it
    grasped: bool = False  # both fingers press the object
    lifted: bool = False  # held, touching nothing else, for 1 s
    placed: bool = False  # at rest within 4 cm of the spot, released, hand withdrawn
    success: bool = False
    success_any: bool = False


@dataclass(slots=True)
class Judge:
    """Judges one episode step by step, from the true state."""

    task: TaskName
    goal: Goal
    held_steps: int = 0
    stages: Stages = field(default_factory=Stages)

    def watch(self, truth: Truth) -> Stages:
        """The stages that hold now; call once per control step."""
        self.held_steps = self.held_steps + 1 if truth.is_held else 0
        stages = Stages(
            reached=_distance(truth.hand, self._first_stop(truth)) <= NEAR,
            grasped=min(truth.left_force, truth.right_force) > 0.5,
            lifted=self.held_steps > HOLD_STEPS,
            placed=self._is_placed(truth),
        )
        success = self._is_done(stages, truth)
        self.stages = replace(stages, success=success, success_any=success or self.stages.success_any)
        return self.stages

    def copy(self) -> Judge:
        """An independent judge with the same history."""
        return Judge(self.task, self.goal, self.held_steps, self.stages)

    def _first_stop(self, truth: Truth) -> Array:
        goes_to_a_place = self.task in ("reach", "reach_with_object")
        return self.goal.hand if goes_to_a_place else truth.object

    def _is_placed(self, truth: Truth) -> bool:
        return (
            _distance(truth.object, self.goal.object if self.task == "pick_and_place" else truth.target) <= NEAR
            and truth.is_supported
            and truth.is_at_rest
            and not truth.is_touched
            and truth.is_clear
        )

    def _is_done(self, stages: Stages, truth: Truth) -> bool:
        if self.task == "reach":
            return stages.reached
        if self.task == "grasp":
            return stages.lifted
        if self.task == "reach_with_object":
            return truth.is_held and _distance(truth.object, self.goal.object) <= NEAR
        return stages.placed


def _distance(a: Array, b: Array) -> float:
    return float(np.linalg.norm(a - b))
