"""The published search (`cem`) with the interface of the default one, so that faster searches are judged against it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from planner.aim import aim
from planner.cem import SEARCHED, CEMConfig, search_with
from planner.costs import CostConfig, inf_where_not_finite
from planner.problem import Problem, SearchResult, Stopwatch, turn_until
from planner.protocols import World
from vjepa2_ac.errors import PlanningError


def search_as_published(
    world: World,
    problems: Sequence[Problem],
    config: CEMConfig,
    cost: CostConfig | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    deadline: float | None = None,
    is_wanted: Callable[[], bool] = lambda: True,
) -> list[SearchResult]:
    """The published search for each problem in turn, all with equal time. Warm starts are ignored: it has none.

    Raises as `search` does.
    """
    found: list[SearchResult] = []
    for problem in problems:
        until = turn_until(deadline, clock, 1 / (len(problems) - len(found)))
        found.append(_search_one(world, problem, config, cost or CostConfig(), Stopwatch(clock, until, is_wanted)))
    return found


def _search_one(world: World, problem: Problem, config: CEMConfig, cost: CostConfig, watch: Stopwatch) -> SearchResult:
    latents_1ND, pose_17, history, goal_cost, located = aim(world, [problem], cost)
    generator = torch.Generator().manual_seed(problem.seed)

    def score(actions_SHA: Tensor) -> Tensor:
        costs_S = world.score(latents_1ND, pose_17, actions_SHA[None].to(world.device), goal_cost, history)[0]
        return inf_where_not_finite(costs_S.float().cpu())

    def score_and_time(actions_SHA: Tensor) -> Tensor:
        costs_S = score(actions_SHA)
        if not costs_S.isfinite().any():
            raise PlanningError(f"none of {len(costs_S)} candidates has a cost that is a number; there is no plan")
        watch.lap()
        return costs_S

    found = search_with(
        score_and_time,
        config,
        lambda: torch.randn(config.samples, len(SEARCHED), generator=generator),
        may_go_on=lambda: watch.allows(2),  # the answer is scored in a call of its own
    )
    cost_of_answer, idle_cost = score(torch.stack((found.actions_HA, torch.zeros_like(found.actions_HA)))).tolist()
    if not math.isfinite(cost_of_answer):
        raise PlanningError("what the search found costs no number; there is no plan")
    bests = torch.stack([iteration.costs_S.min() for iteration in found.trace]).cummin(dim=0).values
    last, iterations = found.trace[-1], len(found.trace)
    return SearchResult(
        actions_HA=found.actions_HA,
        cost=cost_of_answer,
        idle_cost=idle_cost,
        trace=tuple(bests.tolist()),
        elites_KHA=last.actions_SHA[last.elites_K],
        first_costs_S=found.trace[0].costs_S,
        gripper_costs={},
        iterations=iterations,
        evaluations=iterations * config.samples + 2,
        goal_uncertainty=located and float(located.uncertainty_B),
        cycle_error=None if located is None or located.cycle_error_B is None else float(located.cycle_error_B),
        stop_reason="iterations" if iterations == config.iterations else "deadline",
    )
