"""The first plans of a process: they pay for memory and kernels, and show how fast this machine is with this world."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from planner.budget import SIZES, CostModel, measure
from planner.costs import CostConfig
from planner.planning import Planner, PlannerConfig, Request
from planner.protocols import World
from vjepa2_ac.errors import ConfigError

SAMPLES = 8
REPEATS = 4  # of each size that is timed, the untimed first one included
MOST_MEASURING_S = 5.0  # a machine on which timing would take longer gets a rough estimate


def warm_up(world: World, config: PlannerConfig) -> CostModel:
    """The cost model of this machine with this world, after two plans with few candidates.

    The first plan also pays for memory and kernels, the second gives a rough estimate. Where there is time to measure
    more (`MOST_MEASURING_S`), a better one replaces it.
    """
    few = replace(config.search, samples=SAMPLES, iterations=1, horizon=1, elites=2, kept_elites=0)
    once = replace(config, method="search", search=few)
    latents_ND = world.encode(_noise())[0]
    pose = [*np.clip(0.0, config.limits.lowest, config.limits.highest), 0.0, 0.0, 0.0, 0.0]
    planner = Planner(world, once)
    for _ in range(2):
        plan = planner.plan(Request(latents_ND=latents_ND, pose=pose, goal_ND=latents_ND))
    rough = CostModel(call=0.0, step=0.0, each=plan.timings["search"] / 1e3 / plan.evaluations)
    expected_s = REPEATS * sum(rough.seconds(samples, horizon) for samples, horizon in SIZES)
    return _measured(world, latents_ND, config.cost, rough) if expected_s < MOST_MEASURING_S else rough


def _measured(world: World, latents_ND: Tensor, cost: CostConfig, rough: CostModel) -> CostModel:
    """A cost model fitted to timings of several sizes; this also warms up large batches."""
    try:
        return measure(world, latents_ND, cost=cost, sizes=SIZES, repeats=REPEATS - 1)
    except ConfigError:  # the world is so quick that its time does not grow with the samples
        return rough


def _noise() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
