"""The cross-entropy method exactly as published with V-JEPA 2-AC: what every faster planner is judged against.

Four numbers are searched per step: x, y, z [m] and the gripper; rotations stay 0. Each iteration samples candidates
from a Gaussian, keeps the elites with the lowest cost and moves the Gaussian towards them. The answer is the last
mean, not the best sample.

Legend: S samples · K elites · H horizon · P the four searched numbers · A the seven numbers of an action.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vjepa2_ac.errors import ConfigError

SEARCHED = (0, 1, 2, 6)  # where x, y, z and the gripper stand in an action
GRIPPER = 3  # where the gripper stands among the searched numbers
GRIPPER_DEADBAND = 0.25  # gripper changes of the answer below this, or half of the limit if that is less, are dropped

Cost = Callable[[Tensor], Tensor]  # actions_SHA -> costs_S


@dataclass(frozen=True, slots=True, kw_only=True)
class CEMConfig:
    """How long and how widely to search; the defaults are the published planner's (V-JEPA 2, section 4)."""

    horizon: int = 1
    samples: int = 800
    iterations: int = 10
    elites: int = 10
    step_limit: float = 0.05  # [m], largest move along each axis in one step
    gripper_limit: float = 0.75  # the largest change of the gripper's closedness in one step
    mean_momentum: float = 0.15  # how much of the old mean is kept
    std_momentum: float = 0.15
    gripper_mean_momentum: float = 0.15
    gripper_std_momentum: float = 0.15
    held: dict[int, float] = field(default_factory=dict)  # searched numbers that are fixed: {index: value}
    close_gripper_from: int | None = None  # from this step on the gripper is told to close

    def __post_init__(self) -> None:
        if not 1 < self.elites <= self.samples:
            raise ConfigError(f"need 1 < elites <= samples, got {self.elites} of {self.samples}")
        if self.horizon < 1 or self.iterations < 1:
            raise ConfigError(f"need horizon and iterations >= 1, got {self.horizon} and {self.iterations}")
        if not 0 < self.step_limit < math.inf:
            raise ConfigError(f"step_limit must be positive metres, got {self.step_limit}")
        if not 0 < self.gripper_limit <= 1:
            raise ConfigError(f"gripper_limit lies above 0 and is at most 1, got {self.gripper_limit}")
        for name in ("mean_momentum", "std_momentum", "gripper_mean_momentum", "gripper_std_momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(
                    f"{name} is the share of the old one that is kept, 0 … below 1, got {getattr(self, name)}"
                )
        if not set(self.held) <= set(range(4)):
            raise ConfigError(f"held takes indices 0…3 (x, y, z, gripper), got {sorted(self.held)}")
        for index, value in self.held.items():
            limit = 1.0 if index == GRIPPER else self.step_limit
            if not abs(value) <= limit:
                raise ConfigError(f"held.{index} lies within -{limit:g}…{limit:g}, got {value}")
        if self.close_gripper_from is not None and self.close_gripper_from < 0:
            raise ConfigError(f"close_gripper_from is a step, counted from 0, got {self.close_gripper_from}")


@dataclass(frozen=True, slots=True)
class Iteration:
    """What one iteration saw and concluded, for reports and replays."""

    actions_SHA: Tensor
    costs_S: Tensor
    elites_K: Tensor  # indices of the elites, best first
    mean_HP: Tensor
    std_HP: Tensor


@dataclass(frozen=True, slots=True)
class Search:
    """The actions found, and how they were found."""

    actions_HA: Tensor
    trace: tuple[Iteration, ...]


def search(cost: Cost, config: CEMConfig, generator: torch.Generator, device: torch.device | str = "cpu") -> Search:
    """The published search; `cost` gives each candidate [S, horizon, 7] a number, lower is better."""

    def draw() -> Tensor:
        return torch.randn(config.samples, len(SEARCHED), generator=generator, device=device)

    return search_with(cost, config, draw, device)


def search_with(
    cost: Cost,
    config: CEMConfig,
    draw: Callable[[], Tensor],
    device: torch.device | str = "cpu",
    *,
    may_go_on: Callable[[], bool] = lambda: True,
) -> Search:
    """The same search with the standard-normal draws [S, 4] handed in, one per iteration and step of the horizon.

    `may_go_on` is asked before each iteration; the published search always may.
    """
    mean_HP, std_HP = _initial(config, device)
    trace = []
    for _ in range(config.iterations):
        if not may_go_on():
            break
        noise_SHP = torch.stack([draw() for _ in range(config.horizon)], dim=1)
        actions_SHA = _actions(_constrain(noise_SHP * std_HP + mean_HP, config))
        costs_S = cost(actions_SHA)
        elites_K = costs_S.topk(config.elites, largest=False).indices
        known_K = elites_K[costs_S[elites_K].isfinite()]  # a cost that is not finite does not count
        mean_HP, std_HP = _refit(actions_SHA[known_K][..., SEARCHED], mean_HP, std_HP, config)
        trace.append(Iteration(actions_SHA, costs_S, elites_K, mean_HP, std_HP))
    return Search(_answer(mean_HP, config), tuple(trace))


def _initial(config: CEMConfig, device: torch.device | str) -> tuple[Tensor, Tensor]:
    mean_HP = torch.zeros(config.horizon, len(SEARCHED), device=device)
    for index, value in config.held.items():
        mean_HP[:, index] = value
    std_HP = torch.full_like(mean_HP, config.step_limit)
    std_HP[:, GRIPPER] = 1.0
    return mean_HP, std_HP


def _constrain(moves_SHP: Tensor, config: CEMConfig) -> Tensor:
    """Clip to the box, then fix what is held; closing the gripper goes last and past the clip, as published."""
    limit_P = moves_SHP.new_tensor([config.step_limit] * 3 + [config.gripper_limit])
    moves_SHP = moves_SHP.clamp(-limit_P, limit_P)
    for index, value in config.held.items():
        moves_SHP[..., index] = value
    if config.close_gripper_from is not None:
        moves_SHP[:, config.close_gripper_from :, GRIPPER] = 1.0
    return moves_SHP


def _actions(moves_SHP: Tensor) -> Tensor:
    actions_SHA = moves_SHP.new_zeros(*moves_SHP.shape[:-1], 7)
    actions_SHA[..., SEARCHED] = moves_SHP
    return actions_SHA


def _refit(elites_KHP: Tensor, mean_HP: Tensor, std_HP: Tensor, config: CEMConfig) -> tuple[Tensor, Tensor]:
    if not len(elites_KHP):
        return mean_HP, std_HP
    keep_mean_P = mean_HP.new_tensor([config.mean_momentum] * 3 + [config.gripper_mean_momentum])
    keep_std_P = mean_HP.new_tensor([config.std_momentum] * 3 + [config.gripper_std_momentum])
    apart_HP = elites_KHP.std(dim=0) if len(elites_KHP) > 1 else std_HP  # a single elite has no spread
    return (
        elites_KHP.mean(dim=0) * (1 - keep_mean_P) + mean_HP * keep_mean_P,
        apart_HP * (1 - keep_std_P) + std_HP * keep_std_P,
    )


def _answer(mean_HP: Tensor, config: CEMConfig) -> Tensor:
    deadband = min(GRIPPER_DEADBAND, config.gripper_limit / 2)
    answer_HP = mean_HP.clone()
    gripper_H = answer_HP[:, GRIPPER]
    answer_HP[:, GRIPPER] = torch.where(gripper_H.abs() < deadband, 0.0, gripper_H)
    return _actions(answer_HP)
