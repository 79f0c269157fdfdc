"""A few exploratory moves before an episode begins, from which a driver learns how the camera is turned.

The hand goes towards the middle of the workspace along each axis, and back. Then the cell is put back as it was: an
episode with calibration is judged on the very same scene as one without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.calibration import exploratory_actions
from planner.camera import CameraTurn
from sim import workspace
from sim.env import FrankaEnv

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explored:
    """One exploratory move: what was seen (a frame, or whatever a driver looks at), and where the hand was."""

    before: Any
    after: Any
    pose_before: Array
    pose_after: Array


def explore(env: FrankaEnv, look: Callable[[], Any]) -> list[Explored]:
    """Six exploratory moves, with what `look` returned before and after each; the cell is left as it was."""
    controller, start = env.cell.controller, env.cell.snapshot()
    seen = [(look(), controller.measured_pose())]
    for action in exploratory_actions(towards=workspace.CENTRE - seen[0][1][:3]):
        controller.step(action)
        seen.append((look(), controller.measured_pose()))
    env.cell.restore(start)
    return [
        Explored(before=before, after=after, pose_before=pose_before, pose_after=pose_after)
        for (before, pose_before), (after, pose_after) in pairwise(seen)
    ]


def as_record(turn: CameraTurn) -> dict[str, float]:
    """The camera's turn as an episode's record holds it; the yaw in degrees."""
    return {"yaw": round(float(np.rad2deg(turn.yaw)), 2), "residual": round(turn.residual, 4)}


def summary(records: Sequence[dict[str, Any]]) -> str:
    """One line on what the exploratory moves told the planner, not the oracle; empty where there were none."""
    found = [record["camera"] for record in records if record.get("camera") and record["driver"] == "planner"]
    if not found:
        return ""
    yaws, residuals = ([each[name] for each in found] for name in ("yaw", "residual"))
    return (
        f"camera's yaw found in {len(found)} episodes: {np.mean(yaws):.1f}° on average, deviating by "
        f"{np.std(yaws):.1f}°; unexplained of the motion: {np.mean(residuals):.0%}, at most {np.max(residuals):.0%}"
    )
