"""Follow pictures: look, plan, make the first move, look again, until every goal picture has been reached.

    python examples/robot_loop.py goal.jpg [more-goals.jpg …]

Give `Robot` the three methods below for your arm. Poses are x y z [m], roll pitch yaw [rad] in the base frame, and the
gripper's closedness, 0 open … 1 closed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from vjepa2_ac.client import PlannerClient, PlannerError

STEP_S = 0.25
OLDEST_S = 2.0  # a plan that comes later is dropped: it was made of a picture that is old by now


class Robot:
    """Yours goes here."""

    def look(self) -> Any:
        """A frame [H, W, 3] uint8 RGB, or the bytes of a JPEG."""
        raise NotImplementedError("connect your camera in examples/robot_loop.py")

    def pose(self) -> Any:
        """Where the hand is [7], measured."""
        raise NotImplementedError

    def move_to(self, pose: Any) -> None:
        """Bring the hand to a pose [7]; returns when it is there, a quarter of a second later."""
        raise NotImplementedError


def follow(robot: Any, goals: Any, url: str = "http://127.0.0.1:8000") -> str:
    """Pursue goal pictures in order; answers "done" or "timed out"."""
    told = None  # where the hand was sent to, once it was
    with PlannerClient(url) as planner, planner.session(goals) as session:
        while session.status == "going":
            try:
                frame, pose = robot.look(), robot.pose()
                commanded = pose if told is None else told  # which tells whether the last plan was followed
                details = {"age_s": 0.0, "commanded": commanded}
                step = session.step(frame, pose, details=details, deadline_ms=1000, timeout_s=OLDEST_S)
            except PlannerError as error:
                print(f"holding still: {error}", file=sys.stderr)  # a robot must never move on a guess
                if not error.may_pass:
                    raise
                time.sleep(STEP_S)
                continue
            signs = step.plan and step.plan.confidence
            if signs and not (signs.goal_out_of_reach or signs.view_unfamiliar):
                told = step.plan.targets[0]
                robot.move_to(told)
            elif signs:
                print(f"holding still: {'; '.join(step.plan.warnings)}", file=sys.stderr)
                time.sleep(STEP_S)
        return session.status


if __name__ == "__main__":
    print(follow(Robot(), [Path(name) for name in sys.argv[1:]]))
