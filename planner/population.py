"""The state of the search for one request: it proposes candidates, learns from their costs, and gives the result.

Nothing here knows of a world model or of time: `search` has candidates imagined and keeps the deadline.

Shapes: S candidates, K elites, G gripper options, H steps, V searched numbers, A numbers of an action (7), N tokens, D
width of a latent.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from planner import gripper
from planner.costs import inf_where_not_finite
from planner.moves import GRIPPER
from planner.noise import Noise
from planner.problem import Problem, SearchResult, StopReason
from planner.search_config import SearchConfig
from vjepa2_ac.errors import PlanningError

MOST_STEPS = 5  # of the way to the next place that are imagined, to decide whether to close first


class Population:
    """A Gaussian over moves, and the best candidate met so far."""

    def __init__(self, problem: Problem, config: SearchConfig, *, lifts: bool = False) -> None:
        """`lifts`: the first step leaves x and y as they are."""
        self.config, self.space, self.lifts = config, config.space, lifts
        self.reach_V = self.space.reaches
        self.closedness = float(problem.pose_7[GRIPPER])
        self.options = gripper.options(config.gripper, self.closedness, config.horizon)
        self.chosen: int | None = None  # index of the chosen option, once that is decided
        self.first: int | None = None  # index of the option that is carried out before the hand goes on
        self.costs_G: list[float] = []
        self.noise = Noise(config.noise, problem.seed, config.horizon, len(self.reach_V))
        self.mean_HV, self.std_HV = self._start(problem)
        self.kept_KHV = self.mean_HV[None][:0]
        self.kept_costs_K = self.kept_KHV[..., 0, 0]
        self.best_HV = self.mean_HV
        self.best_cost = float("inf")
        self.proposed_SHV = self.kept_KHV
        self.elites_KHV, self.first_costs_S = self.kept_KHV, self.kept_costs_K
        self.idle_cost = float("nan")
        self.trace: list[float] = []
        self.evaluations = 0
        self.converged = False

    def propose(self, samples: int) -> Tensor:
        """Actions [S, H, A] to imagine next."""
        moves_SHV = self.mean_HV + self.std_HV * self.noise.draw(samples)
        if self.config.try_mean and self.mean_HV.any():  # a mean of zero is doing nothing, which has its own place
            moves_SHV[-1] = self.mean_HV
        if not self.trace:
            moves_SHV[0] = 0.0  # do nothing: what every plan is compared with
        self.proposed_SHV = self._held(moves_SHV)
        return self.space.actions(self.proposed_SHV)

    @property
    def matter(self) -> int:
        """How many of the lowest costs must be exact: the elites', and in the first iteration all up to the median.

        That median is needed to judge the search (`confidence`).
        """
        return self.config.elites if self.trace else max(self.config.elites, (self.config.samples + 1) // 2)

    def learn(self, costs_S: Tensor, imagined: int) -> None:
        """Move the Gaussian towards the best of the proposed candidates and the kept elites.

        `imagined` of the costs are exact; the rest are lower bounds, and lie beyond those that `matter`.
        """
        self.evaluations += imagined
        costs_S = inf_where_not_finite(costs_S)
        if not self.trace:
            self.idle_cost, self.first_costs_S = float(costs_S[0]), costs_S
        pool_HV, pool_costs = torch.cat((self.kept_KHV, self.proposed_SHV)), torch.cat((self.kept_costs_K, costs_S))
        costs_K, chosen_K = (part[: self.config.elites] for part in pool_costs.sort(stable=True))
        self.elites_KHV = pool_HV[chosen_K]
        self._refit(costs_K)
        self.kept_KHV = self.elites_KHV[: self.config.kept_elites]
        self.kept_costs_K = costs_K[: self.config.kept_elites]
        self.offer(self.elites_KHV[0], float(costs_K[0]))
        self.trace.append(self.best_cost)
        self.converged = self._agree()

    def offer(self, moves_HV: Tensor, cost: float, *, always: bool = False) -> None:
        """Remember moves that cost less than the best known (or, with `always`, whatever number they cost)."""
        if math.isfinite(cost) and (always or cost < self.best_cost):
            self.best_HV, self.best_cost = moves_HV, cost

    def with_each_option(self) -> Tensor:
        """The best plan with each gripper option [G, H, A]; keeping comes first."""
        actions_GHA = self.space.actions(self.best_HV).repeat(len(self.options), 1, 1)
        actions_GHA[..., GRIPPER] = torch.tensor([option.changes_H for option in self.options])
        return actions_GHA

    def choose_option(
        self, imagined_GND: Tensor, goal_ND: Tensor, costs_G: Tensor, closedness: float | None = None
    ) -> None:
        """Choose an option by what `with_each_option` is imagined to lead to, and by the goal's `closedness`."""
        self.evaluations += len(imagined_GND)
        config, self.costs_G = self.config.gripper, costs_G.tolist()
        shares_G = gripper.share_by_latents(imagined_GND, goal_ND).cpu()
        if closedness is not None:
            by_closedness_G = gripper.share_by_closedness(self.options, closedness - self.closedness)
            shares_G = gripper.weighed(config, self.options, shares_G, by_closedness_G)
        moves = float(self.best_HV[:, :3].sum(dim=0).norm())
        self.chosen = self.first
        if self.chosen is None or not math.isfinite(self.costs_G[self.chosen]):
            self.chosen = gripper.choose(config, self.options, shares_G.tolist(), self.costs_G, moves)

    def go_on_changing(self, direction: float) -> None:
        """Keep the hand where it is while the fingers go on closing (`direction` 1) or opening (-1)."""
        options = [at for at, option in enumerate(self.options) if option.commanded_H[0] * direction > 0]
        if options:
            self.first, self.best_HV = options[0], torch.zeros_like(self.best_HV)

    def close_then_go(self, way_3: Tensor) -> Tensor:
        """Actions [G, 1 + H, A] that first close by each option and then go `way_3` [m]; keeping comes first.

        A way longer than one step is divided into equal steps, of which at most the first `MOST_STEPS` are gone. An
        option that opens changes nothing here.
        """
        steps = max(1, math.ceil(float(way_3.abs().max()) / self.config.step_limit))
        gone = min(steps, MOST_STEPS)
        actions_GHA = torch.zeros(len(self.options), 1 + gone, 7)
        actions_GHA[:, 0, GRIPPER] = torch.tensor([max(option.changes_H[0], 0.0) for option in self.options])
        actions_GHA[:, 1:, :3] = way_3 / steps
        return actions_GHA

    def choose_to_close_first(self, share: float, imagined_GND: Tensor, goal_ND: Tensor) -> None:
        """Decide whether the hand stays where it is and closes first by what `close_then_go` is imagined to lead to."""
        self.evaluations += len(imagined_GND)
        shares_G = gripper.share_by_latents(imagined_GND, goal_ND).tolist()
        self.first = gripper.choose_to_close_first(share, self.options, shares_G)
        if self.first is not None:
            self.best_HV = torch.zeros_like(self.best_HV)

    def result(self, stopped: StopReason) -> SearchResult:
        """The result: the best moves, with the gripper option that was chosen.

        Raises PlanningError when no candidate's cost was a number.
        """
        if not math.isfinite(self.best_cost):
            raise PlanningError(f"none of {self.evaluations} candidates has a cost that is a number; there is no plan")
        actions_HA, cost, costs_G = self.space.actions(self.best_HV), self.best_cost, [self.best_cost]
        if self.chosen is not None:
            actions_HA[:, GRIPPER] = torch.tensor(self.options[self.chosen].commanded_H)
            cost, costs_G = self.costs_G[self.chosen], self.costs_G
        is_sampled = self.config.gripper.mode == "sampled"  # searched with the moves: no option has its own cost
        names = [option.name for option in self.options]
        return SearchResult(
            actions_HA=actions_HA,
            cost=cost,
            idle_cost=self.idle_cost,
            trace=tuple(self.trace),
            elites_KHA=self.space.actions(self.elites_KHV),
            first_costs_S=self.first_costs_S,
            gripper_costs={} if is_sampled else dict(zip(names, costs_G, strict=True)),
            iterations=len(self.trace),
            evaluations=self.evaluations,
            stop_reason="converged" if self.converged else stopped,
        )

    def _start(self, problem: Problem) -> tuple[Tensor, Tensor]:
        config = self.config
        mean_HV, spread = torch.zeros(config.horizon, len(self.reach_V)), config.spread
        if config.warm_start and problem.last_HA is not None:
            mean_HV = self._held(self.space.moves(shifted(problem.last_HA, config.horizon)))
            spread = config.warm_spread
        return mean_HV, (spread * self.reach_V).expand_as(mean_HV)

    def _held(self, moves_HV: Tensor) -> Tensor:
        """Moves [..., H, V] brought within the limits, and without x and y in the first step of a hand that `lifts`."""
        held_HV = self.space.held(moves_HV)
        if self.lifts:
            held_HV[..., 0, :2] = 0.0
        return held_HV

    def _refit(self, costs_K: Tensor) -> None:
        known_K = costs_K.isfinite()
        if not known_K.any():
            return
        elites_KHV, config = self.elites_KHV[known_K], self.config
        mean_HV = elites_KHV.mean(dim=0)
        std_HV = elites_KHV.std(dim=0) if len(elites_KHV) > 1 else torch.zeros_like(mean_HV)
        std_HV = torch.lerp(std_HV, self.std_HV, config.std_momentum)
        self.mean_HV = torch.lerp(mean_HV, self.mean_HV, config.mean_momentum)
        self.std_HV = std_HV.maximum(config.least_spread * self.reach_V)

    def _agree(self) -> bool:
        """Whether the elites are alike enough to stop."""
        if self.config.agreement is None or not math.isfinite(self.best_cost):
            return False
        return bool((self.elites_KHV.std(dim=0) / self.reach_V).max() < self.config.agreement)


def shifted(last_HA: Tensor, horizon: int) -> Tensor:
    """What is left of a plan whose first step was made, its last step repeated to fill the horizon [H, A]."""
    left = torch.cat((last_HA[1:], last_HA[-1:].expand(horizon, -1)))
    return left[:horizon].float()
