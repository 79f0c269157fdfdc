"""How an episode begins: the scene is dressed, the hand placed, and the goal found by letting the expert reach it.

The goal is never computed. The expert plays the task from the very start state, the pictures are taken of what it
really reached, and the cell is put back as it was. A scene the expert cannot solve is drawn again, and counted.

Shapes: W points along a path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from sim import workspace
from sim.control import HandController
from sim.expert import GOAL_WAYPOINTS, Expert
from sim.objects import BOWL_HEIGHT, BOWL_RIM
from sim.scene import Scene
from sim.tasks import HOLD_STEPS, MAX_STEPS, Goal, Judge, TaskName
from sim.truth import Truth, measure_truth
from sim.variation import Draw
from vjepa2_ac.errors import VJEPA2ACError

Array = NDArray[np.float64]
Frame = NDArray[np.uint8]

EDITION = 2  # one more whenever a seed begins another episode than before; an evaluation has one edition
GRAZE = 0.003  # [m], margin to the bowl, because the hand strays a little from its straight line

_STATE = mujoco.mjtState.mjSTATE_INTEGRATION


class UnsolvableError(VJEPA2ACError):
    """The expert did not solve this scene, or there is no scene yet."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The complete state of the cell at one instant; `Cell.restore` goes back to it, in this process or another."""

    draw: Draw
    physics: Array
    control: dict[str, Any]


class Cell:
    """Scene and controller together, with the draw that dressed them."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.controller = HandController(scene)
        self._draw: Draw | None = None

    @property
    def draw(self) -> Draw:
        """The draw that the scene was dressed by. Raises UnsolvableError before the first."""
        if self._draw is None:
            raise UnsolvableError("the scene is still empty; call reset() first")
        return self._draw

    def dress(self, draw: Draw) -> None:
        """Set up the scene of `draw` with the open hand at its place, and let the object settle."""
        self.scene.apply(draw)
        self._draw = draw
        self.controller.place(np.asarray(draw.hand))
        self.controller.wait(0.1)

    def truth(self) -> Truth:
        """The true state now."""
        return measure_truth(self.scene, self.draw)

    def snapshot(self) -> Snapshot:
        """The whole state, to come back to."""
        model, data = self.scene.model, self.scene.data
        physics = np.zeros(mujoco.mj_stateSize(model, _STATE))
        mujoco.mj_getState(model, data, physics, _STATE)
        return Snapshot(self.draw, physics, self.controller.state())

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to `snapshot`, bit for bit."""
        if snapshot.draw != self._draw:
            self.scene.apply(snapshot.draw)
            self._draw = snapshot.draw
        model, data = self.scene.model, self.scene.data
        mujoco.mj_setState(model, data, snapshot.physics, _STATE)
        mujoco.mj_forward(model, data)
        mujoco.mj_setState(model, data, snapshot.physics, _STATE)  # forward moves the solver's warm start
        self.controller.restore(snapshot.control)


def begin_episode(
    cell: Cell, task: TaskName, rng: np.random.Generator, take_picture: Callable[[], Frame] | None
) -> Goal:
    """Bring a freshly dressed cell to the task's first state and return the goal.

    Raises UnsolvableError where the expert fails; then draw another scene.
    """
    if task == "reach_with_object":
        play(cell, Expert("grasp"))
        if not cell.truth().is_held:
            raise UnsolvableError(f"scene {cell.draw.entropy}: the object slipped before the episode began")
    hand = _place_to_reach(cell, task, rng)
    start = cell.snapshot()
    goal = _demonstrate(cell, task, hand, take_picture)
    cell.restore(start)
    return goal


def _demonstrate(cell: Cell, task: TaskName, hand: Array, take_picture: Callable[[], Frame] | None) -> Goal:
    poses: list[Array] = []
    frames: list[Frame] = []

    def remember() -> None:
        poses.append(cell.controller.measured_pose())
        if take_picture is not None:
            frames.append(take_picture())

    expert = Expert(task, hand)
    play(cell, expert, remember)
    end = cell.truth()
    goal = Goal(
        hand=end.hand,
        object=end.target if task == "pick_and_place" else end.object,
        poses=np.array(poses),
        frames=np.array(frames, dtype=np.uint8) if frames else np.zeros((0, 1, 1, 3), dtype=np.uint8),
    )
    if not stages_after_settling(cell, Judge(task, goal)).success:
        raise UnsolvableError(f"scene {cell.draw.entropy}: the expert failed to {task.replace('_', ' ')}")
    return goal


def stages_after_settling(cell: Cell, judge: Judge) -> Any:
    """The stages after 1.25 s more in which nobody moves; the cell is left as it was."""
    now, alone = cell.snapshot(), judge.copy()
    for _ in range(HOLD_STEPS + 1):
        cell.controller.wait()
        stages = alone.watch(cell.truth())
    cell.restore(now)
    return stages


def play(cell: Cell, expert: Expert, at_goal: Callable[[], object] = lambda: None) -> None:
    """Let the expert play to its end, calling `at_goal` at each of its task's goals."""
    for _ in range(2 * MAX_STEPS[expert.task]):
        before = expert.stage
        action = expert.act(cell.truth())
        if before in GOAL_WAYPOINTS[expert.task] and expert.stage != before:
            at_goal()
        if expert.done:
            return
        cell.controller.step(action)


def _place_to_reach(cell: Cell, task: TaskName, rng: np.random.Generator) -> Array:
    """A place for the hand, well away from where it is and with nothing in the way."""
    truth = cell.truth()
    low, high = workspace.LOW + 0.015, workspace.HIGH - 0.015
    low[2] = 0.055 if task == "reach" else truth.hand[2] - 0.01
    high[2] = high[2] if task == "reach" else max(low[2] + 0.01, high[2])
    if task == "reach_with_object":  # what is carried must stay over the table, too
        low[:2] += 0.01
        high[:2] -= 0.01
    for _ in range(1000):
        place = rng.uniform(low, high)
        if np.linalg.norm(place - truth.hand) < 0.08:
            continue
        if _clears_the_bowl(truth, cell.draw, place) if task == "reach_with_object" else _is_free(truth, place):
            return np.asarray(place)
    raise UnsolvableError("no free place to reach in this scene")


def _is_free(truth: Truth, place: Array) -> bool:
    """Whether the open hand can go straight from where it is to `place` without touching the object."""
    for done in np.linspace(0.0, 1.0, 8):
        hand = truth.hand + done * (place - truth.hand)
        beside = np.linalg.norm(hand[:2] - truth.object[:2])
        if hand[2] < truth.object_size[2] + 0.02 and beside < 0.115:
            return False
    return True


def _clears_the_bowl(truth: Truth, draw: Draw, place: Array) -> bool:
    """Whether the held object clears the bowl when the hand goes straight to `place`, and is not dragged through it."""
    if draw.target != "bowl":  # a pad is lower than anything is carried
        return True
    ways_W3 = np.linspace(0.0, 1.0, 200)[:, None] * (place - truth.hand)
    middles_W3 = truth.object + ways_W3
    is_low_W = middles_W3[:, 2] - truth.object_size[2] / 2 < BOWL_HEIGHT
    beside_W = np.linalg.norm(middles_W3[:, :2] - truth.target[:2], axis=1)
    width, depth, _ = truth.object_size
    reach = np.hypot(width, depth) / 2 if draw.kind == "box" else max(width, depth) / 2  # a box's corner, a cup's rim
    return not (is_low_W & (beside_W < BOWL_RIM + reach + GRAZE)).any()
