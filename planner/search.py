"""The default search: an anytime cross-entropy method made for small budgets.

Like the published one (`cem`) it samples candidates, keeps the elites and moves a Gaussian towards them. What is added
can each be switched off: evenly spread draws; elites and the mean competing again; a start from the shifted last plan;
stopping when the elites agree; a gripper chosen apart from the motion. Candidates that cannot be among the best are not
imagined (`pruning`). The answer is the best candidate known, so that it can be asked for at any time after the first
iteration.

The populations of all requests are imagined in one batch.

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
from planner.problem import Found, Problem, StopReason, Stopwatch
from planner.protocols import World
from planner.pruning import Frontier
from planner.search_config import SearchConfig
from vjepa2_ac.world_model import History

HIGHER = 0.01  # [m] above the hand, from which on a place is higher
LONG_CALL = 3  # iterations that asking what comes along may take as long as: step follows step (2.6 were measured)
BESIDE, TOO_LOW = 0.025, 0.015  # [m] from a keyframe's place, and under the cone over it: come down beside it


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
    finished in time, PlanningError when no candidate's cost was a number, CancelledError once `is_wanted` says no.
    """
    watch = Stopwatch(clock, deadline, is_wanted)
    crowd = _Crowd(world, problems, config, cost or CostConfig())
    stopped: StopReason = "iterations"
    calls = 1 + crowd.last_calls
    for _ in range(config.iterations):
        if not watch.allows(calls):
            stopped = "deadline"
            break
        searching = [b for b, population in enumerate(crowd.populations) if not population.converged]
        if not searching:
            break
        watch.lap(share=crowd.explore(searching))
    if stopped != "deadline" and (config.try_mean or config.answer == "mean"):
        if watch.allows(calls):
            crowd.try_means()
        else:
            stopped = "deadline"
    if config.gripper.mode == "contrast":
        crowd.choose_gripper_options()
    return crowd.found(stopped)


class _Crowd:
    """The populations of all requests, imagined side by side."""

    def __init__(self, world: World, problems: Sequence[Problem], config: SearchConfig, cost: CostConfig) -> None:
        self.world, self.config = world, config
        self.latents_BND, self.pose_B7, self.history, self.cost, self.located = aim(world, problems, cost)
        self.located_B4 = self.cost.located_B4
        self.prunes = config.prune and world.device.type == "cpu"  # elsewhere few take as long as many
        self.changing = {b: problem.changing for b, problem in enumerate(problems) if problem.changing}
        self.leaving = [b for b, problem in enumerate(problems) if problem.leaving]
        self.populations = [Population(problem, config, lifts=self._lifts(b)) for b, problem in enumerate(problems)]

    def explore(self, searching: list[int]) -> float:
        """Let populations propose candidates, and learn what those cost that could be among the best.

        Answers the share of them that had to be imagined, those included that only filled a batch up.
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
        """The costs [B, S] of the chosen requests' proposed actions [S, H, A]."""
        cost = self._cost(chosen)
        return self.world.score(*self._starts(chosen), torch.stack(proposals), cost, self._past(chosen)).float().cpu()

    def try_means(self) -> None:
        """Score the last means, which may be the best, or the answer whatever they cost."""
        means = [population.mean_HV for population in self.populations]
        actions = [self.config.space.actions(mean_HV)[None] for mean_HV in means]
        costs_B1 = self.score(self._everyone, actions)
        for population, mean_HV, cost in zip(self.populations, means, costs_B1.flatten().tolist(), strict=True):
            population.evaluations += 1
            population.offer(mean_HV, cost, always=self.config.answer == "mean")

    def choose_gripper_options(self) -> None:
        """Imagine each request's best plan with everything the gripper can do, and let it choose."""
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

    def found(self, stopped: StopReason) -> list[Found]:
        """The answers; `stopped` says why those ended that have not converged."""
        found = [population.found(stopped) for population in self.populations]
        if self.located is None:
            return found
        error_B = self.located.cycle_error_B
        errors = [None] * len(found) if error_B is None else error_B.tolist()
        signs = zip(found, self.located.uncertainty_B.tolist(), errors, strict=True)
        return [replace(each, goal_uncertainty=unsure, cycle_error=error) for each, unsure, error in signs]

    def _take_along(self) -> None:
        """Let each open hand that leaves a sub-goal close first, where the next goal shows what that takes along."""
        share = self.config.gripper.take_share
        if self.located_B4 is None or share is None:
            return
        for b in self.leaving:
            population = self.populations[b]
            way_3 = (self.located_B4[b, :3] - self.pose_B7[b, :3]).cpu()
            if population.closedness >= gripper.SAME or not way_3.isfinite().all():
                continue  # what it holds comes along as it is
            actions_GHA = population.going_on(way_3).to(self.world.device)
            rollout = self.world.rollout(*self._starts([b]), actions_GHA[None], self._past([b]))
            population.choose_first(share, rollout.last[0].float(), self.cost.goal_BND[b].float())

    def _lifts(self, b: int) -> bool:
        """Whether a hand goes up before it goes aside: leaving a sub-goal for a higher place, or to come from above.

        On its way to a keyframe it leaves over whatever stands between, and where it is beside the place already and
        too low, it has come down on something.
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
        """As many iterations as choosing the gripper in the end may take as long as."""
        if self.config.gripper.mode != "contrast":
            return 0
        return 1 + LONG_CALL if self.leaving and self.config.gripper.take_share is not None else 1

    @property
    def _everyone(self) -> list[int]:
        return list(range(len(self.populations)))

    def _cost(self, chosen: list[int]) -> GoalCost:
        return self.cost if len(chosen) == len(self.populations) else self.cost.take(chosen)

    def _bounds(self, chosen: list[int], proposals: list[Tensor]) -> Tensor:
        """What each candidate costs at least [B, S]; -inf: imagine it in any case."""
        if not self.prunes:
            return torch.full((len(chosen), self.config.samples), -torch.inf)
        moved_BS3 = torch.stack(proposals)[..., :3].sum(dim=2).to(self.world.device)
        return self._cost(chosen).bound(self.pose_B7[chosen, None, :3] + moved_BS3).float().cpu()

    def _frontier(self, b: int, bounds_S: Tensor) -> Frontier:
        population = self.populations[b]
        if not population.trace:
            bounds_S[0] = -torch.inf  # what doing nothing costs is always asked
        return Frontier(bounds_S, population.kept_costs_K, population.matter)

    def _starts(self, chosen: list[int]) -> tuple[Tensor, Tensor]:
        return self.latents_BND[chosen], self.pose_B7[chosen]

    def _past(self, chosen: list[int]) -> History | None:
        past = self.history
        return past and History(past.latents_BTND[chosen], past.poses_BT7[chosen], past.actions_BTA[chosen])


def _padded(actions_SHA: Tensor, most: int) -> Tensor:
    """As many for each request of a batch: where one has fewer, its first is imagined again."""
    return torch.cat((actions_SHA, actions_SHA[:1].expand(most - len(actions_SHA), -1, -1)))
