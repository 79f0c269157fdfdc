"""What the hand does in recorded episodes: it wanders, plays with the object, or solves tasks, steadily or disturbed.

A world model learns what actions do only from actions it has seen: opening and closing at all heights, with and without
an object, grasps that fail, things that drop, pushes from all sides. A behaviour is a generator: it is sent a `Sight`
after each step and yields the next action.

Shapes: 3 numbers of a position, 7 of a pose or action.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim import workspace
from sim.expert import Expert
from sim.tasks import TaskName
from sim.truth import Truth

Array = NDArray[np.float64]

EDITION = 2  # one more whenever a seed plays something else than before; a collection has one edition
FULL = 0.5  # the gripper's largest change in a step; from open to closed takes two
SLOW, FAST = 0.015, 0.075  # [m], range of speeds: largest axis of one step; the planner may move as fast


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a behaviour is told: where the hand is, and the whole true state."""

    pose_7: Array
    truth: Truth

    @property
    def object_3(self) -> Array:
        """The object's middle [m]."""
        return self.truth.object

    @property
    def object_height(self) -> float:
        """How tall the object is [m]."""
        return float(self.truth.object_size[2])

    @property
    def object_yaw(self) -> float:
        """How far the object is turned [rad]."""
        w, x, y, z = self.truth.object_quaternion
        return float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))


Behaviour = Generator[Array, Sight, None]


def wander(rng: np.random.Generator, sight: Sight) -> Behaviour:
    """Move anywhere in the workspace at any speed, turning now and then; the gripper opens and closes at random."""
    closed = 0.0
    while True:
        goal_3 = rng.uniform(workspace.LOW, workspace.HIGH)
        yaw = rng.uniform(-0.5, 0.5) if rng.random() < 0.3 else 0.0
        speed = rng.uniform(SLOW, FAST)
        for _ in range(int(rng.integers(2, 7))):
            if rng.random() < 0.2:
                closed = _another_closedness(rng, closed)
            sight = yield action(sight, goal_3, closed, speed, yaw)
            if np.abs(goal_3 - sight.pose_7[:3]).max() < 0.005:
                break


def play(rng: np.random.Generator, sight: Sight) -> Behaviour:
    """Play with the object, again and again: hover, push, grasp well or badly, carry, let go at some height."""
    while True:
        toys = (hover, push, grasp_and_carry)
        sight = yield from toys[rng.choice(len(toys), p=[0.25, 0.2, 0.55])](rng, sight)


def hover(rng: np.random.Generator, sight: Sight) -> Generator[Array, Sight, Sight]:
    """Move to places near the object, the gripper opening and closing now and then."""
    closed = float(rng.integers(2))
    for _ in range(int(rng.integers(2, 4))):
        offset_3 = rng.normal(0.0, 0.045, 3)
        height = sight.object_height + abs(offset_3[2])
        goal_3 = np.array([*(sight.object_3[:2] + offset_3[:2]), height])
        speed = rng.uniform(SLOW, FAST)
        for _ in range(int(rng.integers(1, 4))):
            if rng.random() < 0.3:
                closed = _another_closedness(rng, closed)
            sight = yield action(sight, goal_3, closed, speed)
    return sight


def push(rng: np.random.Generator, sight: Sight) -> Generator[Array, Sight, Sight]:
    """Go beside the object, then through the place where it stands."""
    angle, closed = rng.uniform(0, 2 * np.pi), float(rng.random() < 0.7)
    away_2 = 0.08 * np.array([np.cos(angle), np.sin(angle)])
    height = rng.uniform(0.015, 0.035)
    beside_3 = np.array([*(sight.object_3[:2] + away_2), height + 0.07])
    sight = yield from _go(sight, _always(beside_3), closed, FAST, 5)
    sight = yield from _go(sight, _always(beside_3 - [0, 0, 0.07]), closed, 0.05, 3)
    through_3 = np.array([*(sight.object_3[:2] - rng.uniform(0.0, 0.5) * away_2), height])
    return (yield from _go(sight, _always(through_3), closed, rng.uniform(SLOW, 0.04), 5))


def grasp_and_carry(rng: np.random.Generator, sight: Sight) -> Generator[Array, Sight, Sight]:
    """Try to take the object (three in ten aim badly), move it about, and let go, sometimes from high up."""
    miss_2 = rng.normal(0.0, 0.025 if rng.random() < 0.3 else 0.004, 2)
    depth = rng.uniform(-0.012, 0.008)

    def over(seen: Sight, above: float) -> Array:
        x, y = seen.object_3[:2] + miss_2
        return np.array([x, y, max(seen.object_3[2] + depth + above, workspace.LOW[2])])

    hurry = rng.uniform(0.03, FAST)
    sight = yield from _go(sight, lambda seen: over(seen, 0.085), 0.0, hurry, 5, turn_to_object=True)
    sight = yield from _go(sight, lambda seen: over(seen, 0.0), 0.0, min(hurry, 0.05), 4, turn_to_object=True)
    sight = yield from _stay(sight, 1.0, int(rng.integers(2, 4)))
    for _ in range(int(rng.integers(1, 5))):
        goal_3 = rng.uniform(workspace.LOW, workspace.HIGH)
        goal_3[2] = max(goal_3[2], sight.pose_7[2] if rng.random() < 0.5 else 0.03)
        sight = yield from _go(sight, _always(goal_3), 1.0, rng.uniform(0.02, FAST), int(rng.integers(1, 5)))
    if rng.random() < 0.5:  # put it down, gently or nearly so
        down_3 = np.array([*sight.pose_7[:2], sight.object_height / 2 + rng.uniform(-0.005, 0.02)])
        sight = yield from _go(sight, _always(down_3), 1.0, 0.05, 4)
    sight = yield from _stay(sight, 0.0, 2)
    up_3 = sight.pose_7[:3] + np.array([0.0, 0.0, rng.uniform(0.02, 0.08)])
    return (yield from _go(sight, _always(up_3), 0.0, 0.06, 2))


def solve(rng: np.random.Generator, sight: Sight, task: TaskName, place_3: Array) -> Behaviour:
    """Solve one task after another as the scripted expert does; where the object is lost, go on to the next task."""
    while True:
        expert = Expert(task, place_3)
        while not expert.done:
            action_7 = expert.act(sight.truth)
            stage = expert.stage  # that of this action: `act` goes on to the next waypoint by itself
            sight = yield action_7
            if stage in HOLDING and not sight.truth.is_held and not _is_gripping(sight):
                break
        for _ in range(int(rng.integers(0, 3))):
            sight = yield np.zeros(7)
        task, place_3 = _next_task(rng, sight), rng.uniform(workspace.LOW, workspace.HIGH)


def disturbed(rng: np.random.Generator, sight: Sight, expert: Behaviour) -> Behaviour:
    """`expert` with a shaky hand that at times is pushed aside, closes too early or lets go, and must recover."""
    shake = rng.uniform(0.0, 0.010)  # [m] at each step
    planned_7 = next(expert)
    while True:
        for _ in range(int(rng.integers(3, 11))):
            shaken_7 = planned_7.copy()
            shaken_7[:3] += rng.normal(0.0, shake, 3)
            sight = yield shaken_7
            planned_7 = expert.send(sight)
        if rng.random() < 0.5:
            way_3, grip = rng.uniform(-0.06, 0.06, 3), 0.0
        else:
            way_3, grip = rng.uniform(-0.01, 0.01, 3), -FULL if sight.pose_7[6] > 0.3 else FULL
        for _ in range(int(rng.integers(1, 4))):
            sight = yield np.array([*way_3, 0.0, 0.0, 0.0, grip])
        planned_7 = expert.send(sight)


HOLDING = ("raise", "lift", "over", "lower")  # the expert's stages with something in its hand


def _next_task(rng: np.random.Generator, sight: Sight) -> TaskName:
    tasks: tuple[TaskName, ...] = ("reach", "grasp", "pick_and_place")
    if sight.truth.is_held:
        tasks = ("reach_with_object", "pick_and_place")
    return tasks[rng.integers(len(tasks))]


def _is_gripping(sight: Sight) -> bool:
    return min(sight.truth.left_force, sight.truth.right_force) > 0.0


def action(sight: Sight, goal_3: Array, closed: float, speed: float, yaw: float = 0.0) -> Array:
    """The next action [7] straight towards `goal_3`, the hand pointing down, no axis faster than `speed` [m] a step."""
    way_3 = np.clip(goal_3, workspace.LOW, workspace.HIGH) - sight.pose_7[:3]
    way_3 *= min(1.0, speed / max(float(np.abs(way_3).max()), 1e-9))
    turn = np.clip([-sight.pose_7[3], -sight.pose_7[4], yaw - sight.pose_7[5]], -0.25, 0.25)
    grip = np.clip(closed - sight.pose_7[6], -FULL, FULL)
    if closed == 1.0 and sight.pose_7[6] > 0.15:
        grip = FULL  # keep squeezing: what is held stops the fingers long before they are closed
    return np.array([*way_3, *turn, grip])


def _go(
    sight: Sight,
    where: Callable[[Sight], Array],
    closed: float,
    speed: float,
    steps: int,
    turn_to_object: bool = False,
) -> Generator[Array, Sight, Sight]:
    for _ in range(steps):
        goal_3 = where(sight)
        yaw = _grasp_yaw(sight.object_yaw) if turn_to_object else float(sight.pose_7[5])
        sight = yield action(sight, goal_3, closed, speed, yaw)
        if np.abs(goal_3 - sight.pose_7[:3]).max() < 0.004:
            break
    return sight


def _stay(sight: Sight, closed: float, steps: int) -> Generator[Array, Sight, Sight]:
    for _ in range(steps):
        sight = yield action(sight, sight.pose_7[:3], closed, FAST, float(sight.pose_7[5]))
    return sight


def _always(goal_3: Array) -> Callable[[Sight], Array]:
    return lambda _: goal_3


def _grasp_yaw(object_yaw: float) -> float:
    """The yaw nearest to 0 at which the fingers are square with a box."""
    return float((object_yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4)


def _another_closedness(rng: np.random.Generator, closed: float) -> float:
    return float(rng.uniform()) if rng.random() < 0.3 else float(closed < 0.5)
