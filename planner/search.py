"""The default search: an anytime cross-entropy method made for small budgets.

Like the published search (`cem`), it samples candidates, keeps the elites and moves a Gaussian towards them. Each
addition can be switched off: evenly spread draws; elites and the mean that compete again; a warm start from the shifted
last plan; an early stop once the elites agree; a gripper chosen apart from the motion. Candidates that cannot be among
the best are not imagined (`pruning`). The answer is the best candidate known, so the search can end at any time after
its first iteration.

The candidates of all requests are imagined in one batch.

Shapes: B requests, S candidates of each, G gripper options, N tokens, D width of a latent, H steps, V searched numbers,
A numbers of an action (7).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from planner import gripper
from planner.aim import aim
from planner.costs import CostConfig, GoalCost
from planner.population import Population
from planner.problem import Problem, SearchResult, StopReason, Stopwatch
from planner.protocols import World
from planner.pruning import Frontier
from planner.search_config import SearchConfig
from vjepa2_ac.world_model import History

HIGHER = 0.01  # [m] a place counts as higher if it is farther above the hand than this
LONG_CALL = 3  # rolling out the way to the next place may take as long as so many iterations (2.6 were measured)
# A hand less than BESIDE aside of a keyframe's place and more than TOO_LOW under the cone over it has come down on
# something.
BESIDE, TOO_LOW = 0.025, 0.015  # [m]


def search(
    world: World,
    problems: Sequence[Problem],
    config: SearchConfig,
    cost: CostConfig | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    deadline: float | None = None,
    is_wanted: Callable[[], bool] = lambda: True,
) -> list[SearchResult]:
    """The best actions for every problem, all searched together until `deadline` on `clock` [s].

    A problem's answer does not depend on the others in the batch. Raises DeadlineError when not one iteration could be
    finished in time, PlanningError when no candidate's cost was a number, CancelledError once `is_wanted` says no.
    """
    watch = Stopwatch(clock, deadline, is_wanted)
    batch = _SearchBatch(world, problems, config, cost or CostConfig())
    stopped: StopReason = "iterations"
    calls = 1 + batch.last_calls
    for _ in range(config.iterations):
        if not watch.allows(calls):
            stopped = "deadline"
            break
        searching = [b for b, population in enumerate(batch.populations) if not population.converged]
        if not searching:
            break
        watch.lap(share=batch.explore(searching))
    if stopped != "deadline" and (config.try_mean or config.answer == "mean"):
        if watch.allows(calls):
            batch.try_means()
        else:
            stopped = "deadline"
    if config.gripper.mode == "contrast":
        batch.choose_gripper_options()
    return batch.results(stopped)


class _SearchBatch:
    """The populations of all requests, whose candidates are imagined in one batch."""

    def __init__(self, world: World, problems: Sequence[Problem], config: SearchConfig, cost: CostConfig) -> None:
        self.world, self.config = world, config
        self.latents_BND, self.pose_B7, self.history, self.cost, self.located = aim(world, problems, cost)
        self.located_B4 = self.cost.located_B4
        self.prunes = config.prune and world.device.type == "cpu"  # elsewhere few candidates take as long as many
        self.changing = {b: problem.changing for b, problem in enumerate(problems) if problem.changing}
        self.leaving = [b for b, problem in enumerate(problems) if problem.leaving]
        self.populations = [Population(problem, config, lifts=self._lifts(b)) for b, problem in enumerate(problems)]

    def explore(self, searching: list[int]) -> float:
        """Run one iteration for the requests `searching`; returns the share of candidates that had to be imagined.

        Only candidates that could be among the best are imagined, and those that fill up a batch. Both count here.
        """
        imagined = 0
        proposals = {b: self.populations[b].propose(self.config.samples) for b in searching}
        bounds_BS = self._bounds(searching, list(proposals.values()))
        frontiers = {b: self._frontier(b, bounds_S) for b, bounds_S in zip(searching, bounds_BS, strict=True)}
        while chosen := {b: following for b in searching if len(following := frontiers[b].next)}:
            most = max(map(len, chosen.values()))
            imagined += most * len(chosen)
            costs = self.score(list(chosen), [_padded(proposals[b][which], most) for b, which in chosen.items()])
            for (b, which), costs_S in zip(chosen.items(), costs, strict=True):
                frontiers[b].learn(costs_S[: len(which)])
        for b, frontier in frontiers.items():
            self.populations[b].learn(frontier.costs_S, frontier.imagined)
        return imagined / (len(searching) * self.config.samples)

    def score(self, chosen: list[int], proposals: list[Tensor]) -> Tensor:
        """The costs [B, S] of the actions [S, H, A] proposed for each of the chosen requests."""
        cost = self._cost(chosen)
        return self.world.score(*self._starts(chosen), torch.stack(proposals), cost, self._past(chosen)).float().cpu()

    def try_means(self) -> None:
        """Score the last mean of each request, which may be the best candidate, or is the answer whatever it costs."""
        means = [population.mean_HV for population in self.populations]
        actions = [self.config.space.actions(mean_HV)[None] for mean_HV in means]
        costs_B1 = self.score(self._everyone, actions)
        for population, mean_HV, cost in zip(self.populations, means, costs_B1.flatten().tolist(), strict=True):
            population.evaluations += 1
            population.offer(mean_HV, cost, always=self.config.answer == "mean")

    def choose_gripper_options(self) -> None:
        """Imagine each request's best plan with each gripper option, and choose one of them."""
        self._take_along()
        for b, direction in self.changing.items():
            self.populations[b].go_on_changing(direction)
        options = [population.with_each_option() for population in self.populations]
        most = max(map(len, options))
        actions_BGHA = torch.stack([_padded(option_GHA, most) for option_GHA in options]).to(self.world.device)
        rollout = self.world.rollout(*self._starts(self._everyone), actions_BGHA, self._past(self._everyone))
        costs_BG = self.cost(rollout).float()
        for b, population in enumerate(self.populations):
            own = len(population.options)
            closedness = None if self.located_B4 is None else float(self.located_B4[b, 3])
            goal_ND = self.cost.goal_BND[b].float()
            population.choose_option(rollout.last[b, :own].float(), goal_ND, costs_BG[b, :own], closedness)

    def results(self, stopped: StopReason) -> list[SearchResult]:
        """The results, one for each request; `stopped` is the stop reason of those that have not converged."""
        results = [population.result(stopped) for population in self.populations]
        if self.located is None:
            return results
        error_B = self.located.cycle_error_B
        errors = [None] * len(results) if error_B is None else error_B.tolist()
        signs = zip(results, self.located.uncertainty_B.tolist(), errors, strict=True)
        return [replace(each, goal_uncertainty=unsure, cycle_error=error) for each, unsure, error in signs]

    def _take_along(self) -> None:
        """Let an open hand that leaves a sub-goal close first where the next goal shows what that would take along."""
        share = self.config.gripper.take_share
        if self.located_B4 is None or share is None:
            return
        for b in self.leaving:
            population = self.populations[b]
            way_3 = (self.located_B4[b, :3] - self.pose_B7[b, :3]).cpu()
            if population.closedness >= gripper.SAME or not way_3.isfinite().all():
                continue  # a hand that is closed already takes along what it holds
            actions_GHA = population.close_then_go(way_3).to(self.world.device)
            rollout = self.world.rollout(*self._starts([b]), actions_GHA[None], self._past([b]))
            population.choose_to_close_first(share, rollout.last[0].float(), self.cost.goal_BND[b].float())

    def _lifts(self, b: int) -> bool:
        """Whether the hand's first step goes straight up: it leaves for a higher place, or has come down on something.

        With keyframes, what counts is the height of the cone over the place, so that the hand leaves over whatever
        stands between. A hand on its way that is beside the place already, but too far under the cone, has come down on
        something.
        """
        leaves, keyframes = b in self.leaving, self.cost.config.keyframes
        if not self.config.lift_first or self.located_B4 is None or not (leaves or keyframes):
            return False
        way_3 = (self.located_B4[b, :3] - self.pose_B7[b, :3]).cpu()
        aside, rises = float(way_3[:2].norm()), float(way_3[2])
        if keyframes:
            rises += self.cost.config.from_above * aside  # to the cone over the place
        return rises > HIGHER if leaves else rises > TOO_LOW and aside < BESIDE

    @property
    def last_calls(self) -> int:
        """How long choosing the gripper at the end may take, in iterations."""
        if self.config.gripper.mode != "contrast":
            return 0
        return 1 + LONG_CALL if self.leaving and self.config.gripper.take_share is not None else 1

    @property
    def _everyone(self) -> list[int]:
        return list(range(len(self.populations)))

    def _cost(self, chosen: list[int]) -> GoalCost:
        return self.cost if len(chosen) == len(self.populations) else self.cost.take(chosen)

    def _bounds(self, chosen: list[int], proposals: list[Tensor]) -> Tensor:
        """Lower bounds of the candidates' costs [B, S]; one whose bound is -inf is imagined in any case."""
        if not self.prunes:
            return torch.full((len(chosen), self.config.samples), -torch.inf)
        moved_BS3 = torch.stack(proposals)[..., :3].sum(dim=2).to(self.world.device)
        return self._cost(chosen).bound(self.pose_B7[chosen, None, :3] + moved_BS3).float().cpu()

    def _frontier(self, b: int, bounds_S: Tensor) -> Frontier:
        population = self.populations[b]
        if not population.trace:
            bounds_S[0] = -torch.inf  # doing nothing, the first candidate, is always imagined
        return Frontier(bounds_S, population.kept_costs_K, population.matter)

    def _starts(self, chosen: list[int]) -> tuple[Tensor, Tensor]:
        return self.latents_BND[chosen], self.pose_B7[chosen]

    def _past(self, chosen: list[int]) -> History | None:
        past = self.history
        return past and History(past.latents_BTND[chosen], past.poses_BT7[chosen], past.actions_BTA[chosen])


def _padded(actions_SHA: Tensor, most: int) -> Tensor:
    """The actions [most, H, A] of one request in a batch: where it has fewer, its first candidate is repeated."""
    return torch.cat((actions_SHA, actions_SHA[:1].expand(most - len(actions_SHA), -1, -1)))
