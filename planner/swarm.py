"""The populations of one request: what they propose, what they learn from its costs, and what they answer.

There is one population for each gripper option that is searched. Nothing here knows of a world model or of time.

Shapes: Q populations, S candidates of a population, K elites, G gripper options, H steps, V searched numbers, A numbers
of an action (7).
"""

from __future__ import annotations

import torch
from torch import Tensor

from planner import gripper
from planner.moves import GRIPPER
from planner.noise import Noise
from planner.problem import Found, Problem, StopReason
from planner.search_config import SearchConfig
from vjepa2_ac.errors import PlanningError


class Swarm:
    """The populations of one request: Gaussians over moves, and the best they have met."""

    def __init__(self, problem: Problem, config: SearchConfig) -> None:
        self.config, self.space = config, config.space
        self.reach_V = self.space.reaches
        self.closedness = float(problem.pose_7[GRIPPER])
        self.gripper_options = gripper.options(config.gripper, self.closedness, config.horizon)
        self.options = self.gripper_options if config.gripper.mode == "branches" else self.gripper_options[:1]
        self.contrast: tuple[int, list[float]] | None = None  # the option that was chosen, and the cost of each
        self.noise = Noise(config.noise, problem.seed, config.horizon, len(self.reach_V), config.noise_colour)
        self.mean_QHV, self.std_QHV = self._start(problem)
        self.kept_QKHV = self.mean_QHV[:, None][:, :0]
        self.kept_costs_QK = self.kept_QKHV[..., 0, 0]
        self.best_QHV = self.mean_QHV.clone()
        self.best_cost_Q = torch.full((len(self.mean_QHV),), torch.inf)
        self.proposed_QSHV = self.kept_QKHV
        self.elites_QKHV, self.first_costs_S = self.kept_QKHV, self.kept_costs_QK
        self.idle_cost = float("nan")
        self.trace: list[float] = []
        self.evaluations = 0
        self.converged = False

    def propose(self, samples: int) -> Tensor:
        """Actions [Q, S, H, A] to imagine next. Gripper options share their draws, so that they compare fairly."""
        moves_QSHV = self.mean_QHV[:, None] + self.std_QHV[:, None] * self.noise.draw(samples)
        if self.config.try_mean and self.mean_QHV.any():  # a mean of zero is doing nothing, which has its own place
            moves_QSHV[:, -1] = self.mean_QHV
        if not self.trace:
            moves_QSHV[:, 0] = 0.0  # do nothing: what every plan is compared with
        self.proposed_QSHV = self.space.held(moves_QSHV)
        return self.actions(self.proposed_QSHV)

    def actions(self, moves_QSHV: Tensor) -> Tensor:
        """Moves of each population with what its gripper does: actions [Q, S, H, A]."""
        actions_QSHA = self.space.actions(moves_QSHV)
        if self.config.gripper.mode == "branches":
            actions_QSHA[..., GRIPPER] = torch.tensor([option.changes_H for option in self.options])[:, None]
        return actions_QSHA

    def learn(self, costs_QS: Tensor) -> None:
        """Move the Gaussians towards the best of what was proposed and of what was kept."""
        self.evaluations += costs_QS.numel()
        costs_QS = costs_QS.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=torch.inf)  # what is no number loses
        if not self.trace:
            self.idle_cost, self.first_costs_S = float(costs_QS[0, 0]), costs_QS.flatten()
        pool_QSHV = torch.cat((self.kept_QKHV, self.proposed_QSHV), dim=1)
        pool_costs_QS = torch.cat((self.kept_costs_QK, costs_QS), dim=1)
        costs_QK, chosen_QK = pool_costs_QS.sort(dim=1, stable=True)
        costs_QK, chosen_QK = costs_QK[:, : self.config.elites], chosen_QK[:, : self.config.elites]
        self.elites_QKHV = torch.stack([pool[chosen] for pool, chosen in zip(pool_QSHV, chosen_QK, strict=True)])
        self._refit(costs_QK)
        self.kept_QKHV = self.elites_QKHV[:, : self.config.kept_elites]
        self.kept_costs_QK = costs_QK[:, : self.config.kept_elites]
        self.offer(self.elites_QKHV[:, 0], costs_QK[:, 0])
        self.trace.append(float(self.best_cost_Q.min()))
        self.converged = self._agree()

    def offer(self, moves_QHV: Tensor, costs_Q: Tensor, *, always: bool = False) -> None:
        """Remember moves that cost less than the best known (or, with `always`, whatever they cost)."""
        better_Q = (costs_Q < self.best_cost_Q) | (always & costs_Q.isfinite())
        self.best_QHV = torch.where(better_Q[:, None, None], moves_QHV, self.best_QHV)
        self.best_cost_Q = torch.where(better_Q, costs_Q, self.best_cost_Q)

    def found(self, stopped: StopReason) -> Found:
        """The answer: the best of the gripper option that is chosen."""
        if not self.best_cost_Q.isfinite().any():
            raise PlanningError(f"none of {self.evaluations} candidates has a cost that is a number; there is no plan")
        q = self._chosen()
        actions_HA = self.actions(self.best_QHV[:, None])[q, 0]
        cost, costs_G = float(self.best_cost_Q[q]), self.best_cost_Q.tolist()
        if self.contrast is not None:
            chosen, costs_G = self.contrast
            cost, actions_HA[:, GRIPPER] = costs_G[chosen], torch.tensor(self.gripper_options[chosen].told_H)
        return Found(
            actions_HA=actions_HA,
            cost=cost,
            idle_cost=self.idle_cost,
            trace=tuple(self.trace),
            elites_KHA=self.actions(self.elites_QKHV)[q],
            first_costs_S=self.first_costs_S,
            gripper_costs={option.name: cost for option, cost in zip(self.gripper_options, costs_G, strict=True)},
            iterations=len(self.trace),
            evaluations=self.evaluations,
            stop_reason=stopped,
        )

    def with_each_option(self) -> Tensor:
        """The best plan with everything that the gripper can do [G, H, A]; keeping comes first."""
        actions_HA = self.actions(self.best_QHV[:, None])[self._chosen(), 0]
        actions_GHA = actions_HA.repeat(len(self.gripper_options), 1, 1)
        actions_GHA[..., GRIPPER] = torch.tensor([option.changes_H for option in self.gripper_options])
        return actions_GHA

    def choose_option(
        self, imagined_GND: Tensor, goal_ND: Tensor, costs_G: Tensor, closedness: float | None = None
    ) -> None:
        """Decide the gripper by what `with_each_option` is imagined to lead to, and by the goal's `closedness`."""
        self.evaluations += len(imagined_GND)
        config, options, costs = self.config.gripper, self.gripper_options, costs_G.tolist()
        shares_G = gripper.shown(imagined_GND, goal_ND).cpu()
        if closedness is not None:
            located_G = gripper.located(options, closedness - self.closedness)
            shares_G = gripper.weighed(config, options, shares_G, located_G)
        moves = float(self.best_QHV[self._chosen(), :, :3].sum(dim=0).norm())
        self.contrast = gripper.choose_shown(config, options, shares_G.tolist(), costs, moves), costs

    def _start(self, problem: Problem) -> tuple[Tensor, Tensor]:
        config = self.config
        mean_HV, spread = torch.zeros(config.horizon, len(self.reach_V)), config.spread
        if config.warm_start and problem.last_HA is not None:
            mean_HV, spread = self.space.moves(shifted(problem.last_HA, config.horizon)), config.warm_spread
        mean_QHV = mean_HV.repeat(len(self.options), 1, 1)
        return mean_QHV, (spread * self.reach_V).expand_as(mean_QHV).clone()

    def _refit(self, costs_QK: Tensor) -> None:
        config = self.config
        weights_QK = elite_weights(costs_QK)
        mean_QHV = torch.einsum("qk,qkhv->qhv", weights_QK, self.elites_QKHV)
        variance_QHV = torch.einsum("qk,qkhv->qhv", weights_QK, (self.elites_QKHV - mean_QHV[:, None]).square())
        # Division by K - 1, of those that have a cost.
        free_Q11 = (1 - weights_QK.square().sum(dim=1)).clamp_min(1e-3)[:, None, None]
        std_QHV = (variance_QHV / free_Q11).sqrt()
        mean_QHV = torch.lerp(mean_QHV, self.mean_QHV, config.mean_momentum)
        std_QHV = torch.lerp(std_QHV, self.std_QHV, config.std_momentum).maximum(config.least_spread * self.reach_V)
        known_Q11 = (weights_QK.sum(dim=1) > 0)[:, None, None]
        self.mean_QHV = torch.where(known_Q11, mean_QHV, self.mean_QHV)
        self.std_QHV = torch.where(known_Q11, std_QHV, self.std_QHV)

    def _agree(self) -> bool:
        """Whether the elites of the population that would answer now are alike."""
        if self.config.agreement is None or not self.best_cost_Q.isfinite().any():
            return False
        spread_HV = self.elites_QKHV[self._chosen()].std(dim=0) / self.reach_V
        return bool(spread_HV.max() < self.config.agreement)

    def _chosen(self) -> int:
        """The population whose best is the answer."""
        kept_moves = float(self.best_QHV[0, :, :3].sum(dim=0).norm())  # of the plan that keeps the gripper
        return gripper.choose(self.config.gripper, self.best_cost_Q.tolist(), kept_moves)


def shifted(last_HA: Tensor, horizon: int) -> Tensor:
    """What is left of a plan whose first step was made, its last step repeated to fill the horizon [H, A]."""
    left = torch.cat((last_HA[1:], last_HA[-1:].expand(horizon, -1)))
    return left[:horizon].float()


def elite_weights(costs_QK: Tensor) -> Tensor:
    """The weight of each elite [Q, K], summing to 1; what is no number weighs nothing, nor does all of nothing."""
    weights_QK = costs_QK.isfinite().float()
    return weights_QK / weights_QK.sum(dim=1, keepdim=True).clamp_min(1)
