"""What a loop that goes by keyframes keeps in mind: only what the last look and the last plan cannot tell.

Which keyframe comes next, the model says anew at every look. But fingers that have begun to close or to open end that
before the hand goes on, or they would half hold what they hold; what they have just set down they leave, lest a goal
that was reached is lost again; and a goal is not reached while there is still a way to go, however much its picture
looks like what is seen.
"""

from __future__ import annotations

import math

import numpy as np

from planner.gripper import SAME
from planner.moves import GRIPPER
from planner.plan import Plan
from vjepa2_ac.poses import POSITION, Array

MORE_TIME = 2  # keyframes on the way to a goal that give it more: something is taken up and set down
AT_LEAST, AT_MOST = 2, 4  # steps for which a change of the gripper goes on
HOLDS = 1 - SAME  # fingers that are closed farther have nothing between them
ARRIVED = 0.01  # [m] shorter moves are none


class Keyframes:
    """Those of one goal, as the robot goes towards it."""

    def __init__(self) -> None:
        self.passed = 0
        self.direction = 0.0  # of the gripper's last change: 1 closing, -1 opening, 0 none yet
        self.steps = 0  # for which that has gone on
        self.closedness = 0.0  # when the last plan was made
        self.set_down_7: Array | None = None  # the pose in which the fingers last let go of something
        self.has_arrived = False  # the last plan neither moved the hand nor the gripper

    def unfinished(self, closedness: float) -> float:
        """The direction in which the fingers are still on their way, 0 once they rest or stand at an end."""
        is_at_an_end = closedness > HOLDS if self.direction > 0 else closedness < SAME
        if self.steps == 0 or self.steps >= AT_MOST or is_at_an_end:
            return 0.0
        is_moving = abs(closedness - self.closedness) >= SAME
        return self.direction if is_moving or self.steps < AT_LEAST else 0.0

    def follow(self, plan: Plan, pose_7: Array) -> bool:
        """Take note of what is about to be done; whether that begins to change the gripper: a keyframe is passed."""
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
