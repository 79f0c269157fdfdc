"""What a loop with keyframes remembers between observations: only what a single one cannot tell.

A keyframe is a moment at which the gripper changes. Which one comes next, the model says anew at every observation. But
fingers that have begun to close or to open must finish before the hand goes on, or they would only half hold an object.
What they have just set down must be left alone, or a goal that was reached would be lost again. And a goal is not
reached while the hand still has way to go, however much its picture looks like what is seen.
"""

from __future__ import annotations

import math

import numpy as np

from planner.gripper import SAME
from planner.moves import GRIPPER
from planner.plan import Plan
from vjepa2_ac.poses import POSITION, Array

MORE_TIME = 2  # keyframes on the way to a goal that restart its timeout: something is taken up and set down
AT_LEAST, AT_MOST = 2, 4  # steps for which a change of the gripper goes on
HOLDS = 1 - SAME  # fingers that are closed farther than this have nothing between them
ARRIVED = 0.01  # [m] a plan of shorter moves counts as not moving the hand


class Keyframes:
    """What to remember of the keyframes of one goal, as the robot goes towards it."""

    def __init__(self) -> None:
        self.timeout_restarts = 0
        self.direction = 0.0  # of the gripper's last change: 1 closing, -1 opening, 0 none yet
        self.steps = 0  # for which that change has gone on; 0 once the gripper is kept
        self.closedness = 0.0  # when the last plan was made
        self.set_down_7: Array | None = None  # the pose of the gripper's last change, if that let go of something
        self.has_arrived = False  # the last plan neither moved the hand nor the gripper

    def unfinished(self, closedness: float) -> float:
        """1 while the fingers are still closing, -1 while they are still opening, 0 once they rest or are at an end."""
        is_at_an_end = closedness > HOLDS if self.direction > 0 else closedness < SAME
        if self.steps == 0 or self.steps >= AT_MOST or is_at_an_end:
            return 0.0
        is_moving = abs(closedness - self.closedness) >= SAME
        return self.direction if is_moving or self.steps < AT_LEAST else 0.0

    def follow(self, plan: Plan, pose_7: Array) -> bool:
        """Note a plan that is about to be followed; true where it begins to change the gripper, a passed keyframe."""
        closedness = float(pose_7[GRIPPER])
        self.has_arrived = float(np.linalg.norm(plan.actions_H7[:, POSITION], axis=1).max()) < ARRIVED
        change, self.closedness = float(plan.actions_H7[0, GRIPPER]), closedness
        if change == 0.0:
            self.steps = 0
            return False
        self.has_arrived = False
        is_new = self.direction * change <= 0
        self.steps = 1 if is_new else self.steps + 1
        self.direction = math.copysign(1.0, change)
        if is_new:
            lets_go = change < 0 and SAME < closedness <= HOLDS
            self.set_down_7 = pose_7.copy() if lets_go else None
        return is_new
