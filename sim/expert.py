"""A scripted expert that solves every task with ordinary actions, from the true state of the scene.

Each task is a list of waypoints; at every step the expert heads for the current one with at most `STEP_LIMIT` per axis,
the planner's own limit, so that a planner could have found what it does. It never turns the hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim import workspace
from sim.arm import TIP_BELOW_TOOL
from sim.control import LIMIT
from sim.objects import BOWL_HEIGHT
from sim.tasks import TaskName
from sim.truth import Truth
from vjepa2_ac.errors import ConfigError

Array = NDArray[np.float64]

STEP_LIMIT = 0.05  # [m] per axis and step
CLOSE_ENOUGH = 0.006  # [m] to go on to the next waypoint
PALM_ABOVE_TOOL = 0.036  # [m], of the palm above the tool point; a tall object must fit below it
RAISED = 0.015  # [m] between table and object at the end of a grasp
PATIENCE = 8  # steps at one waypoint before going on anyway


@dataclass(frozen=True, slots=True)
class Waypoint:
    """A name, where the hand should be, the gripper's change in each step, and for how many steps at least."""

    name: str
    where: Callable[[Truth], Array]
    grip: float = 0.0
    steps: int = 1
    tolerance: float = CLOSE_ENOUGH


class Expert:
    """Plays one task from start to end. `act` gives the next action; `done` says that all waypoints are passed."""

    def __init__(self, task: TaskName, hand: Array | None = None) -> None:
        """`hand` [3] is where the hand should end in the two reaching tasks."""
        if hand is None and task in ("reach", "reach_with_object"):
            raise ConfigError(f"{task} needs the place to reach")
        self.task = task
        self._waypoints = _WAYPOINTS[task](np.zeros(3) if hand is None else np.asarray(hand, dtype=np.float64))
        self._index = self._steps = 0

    @property
    def done(self) -> bool:
        """Whether all waypoints are passed."""
        return self._index >= len(self._waypoints)

    @property
    def stage(self) -> str:
        """The name of the current waypoint, `done` after the last."""
        return "done" if self.done else self._waypoints[self._index].name

    def act(self, truth: Truth) -> Array:
        """The next action [7]; zeros (stay) once all waypoints are passed."""
        action = np.zeros(7)
        while not self.done:
            waypoint = self._waypoints[self._index]
            away = np.clip(waypoint.where(truth), workspace.LOW, workspace.HIGH) - truth.hand
            arrived = self._steps >= waypoint.steps and float(np.abs(away).max()) <= waypoint.tolerance
            if arrived or self._steps >= waypoint.steps + PATIENCE:
                self._index, self._steps = self._index + 1, 0
                continue
            self._steps += 1
            action[:3] = _straight(away)
            action[6] = waypoint.grip
            break
        return action


def grasp_height(truth: Truth) -> float:
    """The height [m] at which to take the object: its middle, or higher where the palm would meet its top."""
    bottom = truth.object[2] - truth.object_size[2] / 2
    if not truth.is_upright:
        return float(truth.object[2])
    return float(max(truth.object[2], bottom + truth.object_size[2] - PALM_ABOVE_TOOL + 0.008))


def _straight(away: Array) -> Array:
    """The way to go, shortened where an axis exceeds `STEP_LIMIT`; its direction stays."""
    largest = float(np.abs(away).max())
    return np.asarray(away * min(1.0, STEP_LIMIT / max(largest, 1e-9)))


def _above(truth: Truth) -> Array:
    top = truth.object[2] + truth.object_size[2] / 2
    return np.array([*truth.object[:2], top + TIP_BELOW_TOOL + 0.022])


def _at_object(truth: Truth) -> Array:
    return np.array([*truth.object[:2], grasp_height(truth)])


def _stay(truth: Truth) -> Array:
    return truth.hand


def _carry(truth: Truth, place: Array) -> Array:
    """Where the hand has to be for the object to be at `place`."""
    return np.asarray(truth.hand + place - truth.object)


def _off_the_table(truth: Truth, clearance: float) -> Array:
    rise = clearance - (truth.object[2] - truth.object_size[2] / 2)
    return np.asarray(truth.hand + np.array([0.0, 0.0, rise]))


def _raised(truth: Truth) -> Array:
    return _off_the_table(truth, RAISED)


def _lifted(truth: Truth) -> Array:
    return _off_the_table(truth, 0.055)


def _over_target(truth: Truth) -> Array:
    return _carry(truth, truth.target + np.array([0.0, 0.0, BOWL_HEIGHT + 0.022]))


def _on_target(truth: Truth) -> Array:
    return _carry(truth, truth.target + np.array([0.0, 0.0, 0.002]))


def _withdrawn(truth: Truth) -> Array:
    return np.array([*truth.hand[:2], truth.object[2] + truth.object_size[2] / 2 + 0.065])


def _grasp(_: Array) -> list[Waypoint]:
    return [
        Waypoint("above", _above, grip=-LIMIT[6], tolerance=0.010),
        Waypoint("down", _at_object),
        Waypoint("close", _stay, grip=LIMIT[6], steps=2),
        Waypoint("raise", _raised),
    ]


def _pick_and_place(_: Array) -> list[Waypoint]:
    return [
        *_grasp(_),
        Waypoint("lift", _lifted, tolerance=0.010),
        Waypoint("over", _over_target, tolerance=0.008),
        Waypoint("lower", _on_target, tolerance=0.004),
        Waypoint("open", _stay, grip=-LIMIT[6], steps=2),
        Waypoint("up", _withdrawn, tolerance=0.010),
    ]


def _reach(hand: Array) -> list[Waypoint]:
    return [Waypoint("reach", lambda _: hand)]


_WAYPOINTS: dict[TaskName, Callable[[Array], list[Waypoint]]] = {
    "reach": _reach,
    "grasp": _grasp,
    "reach_with_object": _reach,
    "pick_and_place": _pick_and_place,
}

# The waypoints after which the goal pictures are taken.
GOAL_WAYPOINTS: dict[TaskName, tuple[str, ...]] = {
    "reach": ("reach",),
    "grasp": ("close", "raise"),
    "reach_with_object": ("reach",),
    "pick_and_place": ("close", "over", "open", "up"),
}
