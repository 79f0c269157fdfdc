"""Measures the cost of goals that have truly been achieved, in training scenes, before any episode is evaluated.

The expert plays up to each goal, the hand is moved a little, and the picture from there is compared with the goal's.
The result belongs to the model and its cost, and is used in every episode that is evaluated with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planner.costs import GoalCost
from planner.goals import AchievedGoals
from planner.planning import PlannerConfig
from planner.protocols import World
from sim.env import FrankaEnv
from sim.episode import play
from sim.evaluate.runs import SETTINGS, read_settings
from sim.tasks import TASKS
from vjepa2_ac.config import from_dict

Frame = NDArray[np.uint8]

NEAR = 0.01  # [m], along each axis: a hand this near has achieved its goal


def measure(
    world: World,
    config: PlannerConfig,
    scenes: int,
    *,
    frame_size: int = 256,
    advance: Callable[[int], object] = lambda _: None,
) -> AchievedGoals:
    """Mean and deviation of that cost over the goals of all tasks, in the first `scenes` training seeds."""
    # Neither focus nor surprise counts where the loop judges progress, so neither counts here.
    cost_config, costs = replace(config.cost, focus=0.0, surprise=0.0), []
    for task in TASKS:
        env = FrankaEnv(task, split="train", frame_size=frame_size)
        for seed in range(scenes):
            for goal, seen in near_goals(env, seed):
                goal_1ND, seen_1ND = world.encode(goal), world.encode(seen)
                costs.append(float(GoalCost(cost_config, goal_1ND).of_frame(seen_1ND)))
            advance(1)
        env.close()
    return AchievedGoals.from_costs(costs)


def from_previous_run(out: Path, scenes: int) -> AchievedGoals | None:
    """What the evaluation in `out` measured on the same number of scenes; None if it did not."""
    settings = (read_settings(out) or {}).get("settings", {})
    if settings.get("achieved_scenes") != scenes:
        return None
    return from_dict(AchievedGoals, settings["control"]["progress"]["achieved"], str(out / SETTINGS))


def near_goals(env: FrankaEnv, seed: int) -> list[tuple[Frame, Frame]]:
    """Every goal picture of an episode, paired with one taken with the hand up to 1 cm away along each axis."""
    _, info = env.reset(seed=seed)
    rng, seen = np.random.default_rng(seed), list[Frame]()
    play(env.cell, env.expert(), lambda: seen.append(_from_beside(env, rng)))
    return list(zip(info["goal"], seen, strict=True))


def _from_beside(env: FrankaEnv, rng: np.random.Generator) -> Frame:
    here = env.cell.snapshot()
    env.cell.controller.step(np.concatenate([rng.uniform(-NEAR, NEAR, 3), np.zeros(4)]))
    seen = env.picture()
    env.cell.restore(here)
    return seen
