"""Problems in the point world, in one line each."""

from __future__ import annotations

from typing import Any

import torch

from planner.planning import Request
from planner.problem import Problem
from tests.planner.worlds import HOME, PointWorld


def problem(goal: Any, start: Any = HOME, world: PointWorld | None = None, **given: Any) -> Problem:
    """From one pose [7] to another, seen through `world`'s camera."""
    world = world or PointWorld()
    start_7, goal_7 = (torch.tensor(list(pose), dtype=torch.float32) for pose in (start, goal))
    return Problem(latents_ND=world.latents(start_7), pose_7=start_7, goal_ND=world.latents(goal_7), **given)


def request(goal: Any, start: Any = HOME, world: PointWorld | None = None, **given: Any) -> Request:
    """The same as asked of a planner."""
    asked = problem(goal, start, world)
    return Request(latents_ND=asked.latents_ND, pose=start, goal_ND=asked.goal_ND, **given)
