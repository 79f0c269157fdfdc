"""The default search: an anytime cross-entropy method made for small budgets.

Like the published one (`cem`) it samples candidates, keeps the elites and moves a Gaussian towards them. What is added
can each be switched off: evenly spread draws, smooth along the horizon; elites and the mean competing again; a start
from the shifted last plan; stopping when the elites agree; a gripper chosen apart from the motion. The answer is the
best candidate known, so that it can be asked for at any time after the first iteration.

Every population, of every request, is imagined in one batch.

Shapes: B requests, Q populations of a request, S candidates of a population, N tokens, D width of a latent, H steps,
V searched numbers, A numbers of an action (7).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from planner.costs import CostConfig, GoalCost
from planner.problem import Found, Problem, StopReason, Stopwatch, stack, surprises
from planner.protocols import World
from planner.search_config import SearchConfig
from planner.swarm import Swarm
from vjepa2_ac.world_model import History


def search(
    world: World,
    problems: Sequence[Problem],
    config: SearchConfig,
    cost: CostConfig | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    deadline: float | None = None,
    is_wanted: Callable[[], bool] = lambda: True,
) -> list[Found]:
    """The best actions for every problem, all searched together until `deadline` on `clock` [s].

    A problem's answer does not depend on the others beside it. Raises DeadlineError when not one iteration could be
    finished in time, PlanningError when every candidate's cost was NaN, CancelledError once `is_wanted` says no.
    """
    watch = Stopwatch(clock, deadline, is_wanted)
    crowd = _Crowd(world, problems, config, cost or CostConfig())
    stopped: StopReason = "iterations"
    for _ in range(config.iterations):
        if not watch.allows():
            stopped = "deadline"
            break
        searching = [b for b, swarm in enumerate(crowd.swarms) if not swarm.converged]
        if not searching:
            break
        proposals = [crowd.swarms[b].propose(config.samples) for b in searching]
        for b, costs in zip(searching, crowd.score(searching, proposals), strict=True):
            crowd.swarms[b].learn(costs)
        watch.lap()
    if stopped != "deadline":
        stopped = crowd.finish(watch)
    if config.gripper.mode == "contrast":
        crowd.choose_gripper_options()
    return [swarm.found("converged" if swarm.converged else stopped) for swarm in crowd.swarms]


class _Crowd:
    """The swarms of all requests, imagined side by side."""

    def __init__(self, world: World, problems: Sequence[Problem], config: SearchConfig, cost: CostConfig) -> None:
        self.world, self.config = world, config
        self.latents_BND, self.pose_B7, goal_BND, self.history = stack(problems, world.device)
        asks = max(cost.place, config.gripper.located, config.gripper.release_located) > 0
        self.located_B4 = world.locate(self.latents_BND, self.pose_B7, goal_BND) if asks else None
        self.cost = GoalCost(cost, goal_BND, self.latents_BND, surprises(problems, world.device), self.located_B4)
        self.swarms = [Swarm(problem, config) for problem in problems]

    def score(self, chosen: list[int], proposals: Sequence[Tensor]) -> list[Tensor]:
        """The costs [Q, S] of each chosen request's proposed actions [Q, S, H, A]."""
        most = max(proposal.shape[0] for proposal in proposals)
        flat = [_padded(proposal, most).flatten(0, 1) for proposal in proposals]
        cost = self.cost if len(chosen) == len(self.swarms) else self.cost.take(chosen)
        costs_BS = self.world.score(*self._starts(chosen), torch.stack(flat), cost, self._past(chosen)).float().cpu()
        return [costs_S.view(most, -1)[: len(proposal)] for costs_S, proposal in zip(costs_BS, proposals, strict=True)]

    def finish(self, watch: Stopwatch) -> StopReason:
        """Try the last means, where that is asked for and time allows."""
        if self.config.try_mean or self.config.answer == "mean":
            if not watch.allows():
                return "deadline"
            self._try([swarm.mean_QHV for swarm in self.swarms], always=self.config.answer == "mean")
        return "iterations"

    def choose_gripper_options(self) -> None:
        """Imagine each request's best plan with everything the gripper can do, and let it choose."""
        everyone = list(range(len(self.swarms)))
        options = [swarm.with_each_option()[:, None] for swarm in self.swarms]
        most = max(map(len, options))
        actions_BGHA = torch.cat([_padded(option, most)[None, :, 0] for option in options]).to(self.world.device)
        rollout = self.world.rollout(*self._starts(everyone), actions_BGHA, self._past(everyone))
        costs_BG = self.cost(rollout).float()
        for b, swarm in enumerate(self.swarms):
            own = len(swarm.gripper_options)
            closedness = None if self.located_B4 is None else float(self.located_B4[b, 3])
            goal_ND = self.cost.goal_BND[b].float()
            swarm.choose_option(rollout.last[b, :own].float(), goal_ND, costs_BG[b, :own], closedness)

    def _try(self, moves: Sequence[Tensor], *, always: bool = False) -> None:
        proposals = [swarm.actions(x_QHV[:, None]) for swarm, x_QHV in zip(self.swarms, moves, strict=True)]
        costs = self.score(list(range(len(self.swarms))), proposals)
        for swarm, x_QHV, costs_Q1 in zip(self.swarms, moves, costs, strict=True):
            swarm.evaluations += len(costs_Q1)
            swarm.offer(x_QHV, costs_Q1[:, 0], always=always)

    def _starts(self, chosen: list[int]) -> tuple[Tensor, Tensor]:
        return self.latents_BND[chosen], self.pose_B7[chosen]

    def _past(self, chosen: list[int]) -> History | None:
        past = self.history
        return past and History(past.latents_BTND[chosen], past.poses_BT7[chosen], past.actions_BTA[chosen])


def _padded(actions_QSHA: Tensor, populations: int) -> Tensor:
    """Requests have two or three gripper options; where one has fewer, its first population is imagined again."""
    missing = populations - len(actions_QSHA)
    return actions_QSHA if missing == 0 else torch.cat((actions_QSHA, actions_QSHA[:1].expand(missing, -1, -1, -1)))
