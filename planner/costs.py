"""The cost that every search minimises: how far an imagined future is from its goal.

The default is the published cost: the mean absolute difference between the last imagined latents and the goal's (V-JEPA
2, section 3.2). Options change it, each off by default: another distance between two tokens (by name, see `DISTANCES`),
coarser copies of the token map compared as well, tokens weighted by how much they have to change, earlier steps of the
horizon counted too, the model's last mistake expected again, and the way from where a candidate ends to where the model
locates the hand in the goal.

Shapes: B requests, S candidates, H steps of the horizon, N tokens (rows x columns of them), D width of a latent.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.linalg import vector_norm

from vjepa2_ac.config import nearest, require
from vjepa2_ac.errors import ConfigError
from vjepa2_ac.world_model import Rollout

Distance = Callable[..., Tensor]
"""Takes latents and goals [..., N, D] and returns how far each token is from its goal [..., N], at least 0.

Parameters of the distance, if it has any, are passed by keyword.
"""

DISTANCES: dict[str, Distance] = {}


def distance(name: str) -> Callable[[Distance], Distance]:
    """Register a distance by name, so that a configuration can choose it."""

    def register(function: Distance) -> Distance:
        DISTANCES[name] = function
        return function

    return register


@distance("l1")
def l1(latents: Tensor, goal: Tensor) -> Tensor:
    """Mean absolute difference over channels: the published distance."""
    return (latents - goal).abs().mean(dim=-1)


@distance("l2")
def l2(latents: Tensor, goal: Tensor) -> Tensor:
    """Root mean square difference over channels."""
    return (latents - goal).square().mean(dim=-1).sqrt()


@distance("huber")
def huber(latents: Tensor, goal: Tensor, delta: float = 0.5) -> Tensor:
    """Channel mean of Huber loss / `delta`: quadratic below `delta`, where latents differ by noise, like L1 above."""
    require(0 < delta < math.inf, f"delta is a difference of latents, above 0, got {delta}")
    return F.huber_loss(latents, goal.expand_as(latents), reduction="none", delta=delta).mean(dim=-1) / delta


@distance("cosine")
def cosine(latents: Tensor, goal: Tensor) -> Tensor:
    """One minus the cosine of the angle between tokens."""
    return 1 - F.cosine_similarity(latents, goal, dim=-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CostConfig:
    """Which differences count, and how much; the defaults are the published cost."""

    distance: str = "l1"
    parameters: dict[str, float] = field(default_factory=dict)  # settings of that distance
    pools: tuple[int, ...] = ()  # also compare token maps averaged down to this many tokens a side, e.g. (2, 4)
    pool_weight: float = 1.5  # of each of those, next to 1 for the full map
    grid: tuple[int, int] | None = None  # rows and columns of tokens, where the map is not square
    focus: float = 0.0  # 0: tokens weigh the same … 1: each as much as goal and observation differ there
    earlier: float = 0.0  # weight of a step against the next one: 0 only the last counts, 1 all count the same
    surprise: float = 0.0  # share of the last prediction's mistake that is expected again
    place: float = 0.0  # cost of a metre from where a candidate ends to where the model locates the hand in the goal
    keyframes: bool = False  # that place is the next keyframe's, where the gripper changes on the way to the goal
    hues: int = 1  # in how many hues, evenly around the circle, pictures are shown to locate that place (by the median)
    from_above: float = 0.0  # slope of a cone that stands on its tip there; each metre under it costs as one more away

    def __post_init__(self) -> None:
        if self.distance not in DISTANCES:
            meant = nearest(self.distance, DISTANCES)
            hint = f"did you mean {meant!r}?" if meant else f"there are {', '.join(sorted(DISTANCES))}"
            require(False, f"no distance {self.distance!r}; {hint}")
        taken = _parameters(self.distance) if self.parameters else None
        if taken is not None and (unknown := sorted(set(self.parameters) - set(taken))):
            takes = f"it takes {', '.join(taken)}" if taken else "it takes none"
            require(False, f"the distance {self.distance} has no parameter {unknown[0]!r}; {takes}")
        if self.parameters:  # called once, a distance refuses values that it cannot take
            DISTANCES[self.distance](torch.zeros(1, 1), torch.zeros(1, 1), **self.parameters)
        require(all(side >= 1 for side in self.pools), f"pooled maps have at least 1 token a side, got {self.pools}")
        require(self.grid is None or min(self.grid) >= 1, f"grid is rows and columns of tokens, got {self.grid}")
        require(0 <= self.pool_weight < math.inf, f"pool_weight is not negative, got {self.pool_weight}")
        require(0 <= self.focus <= 1, f"focus lies within 0…1, got {self.focus}")
        require(0 <= self.earlier <= 1, f"earlier lies within 0…1, got {self.earlier}")
        require(0 <= self.surprise <= 1, f"surprise lies within 0…1, got {self.surprise}")
        require(0 <= self.place < math.inf, f"place is the cost of a metre, at least 0, got {self.place}")
        require(self.place > 0 or not self.keyframes, "keyframes are places to go to: they need a cost.place above 0")
        require(self.hues >= 1, f"hues are 1, those of the pictures, or more, got {self.hues}")
        require(0 <= self.from_above < math.inf, f"from_above is a slope, at least 0, got {self.from_above}")


def _parameters(name: str) -> list[str] | None:
    """The names of a distance's parameters besides latents and goals; None where any may be given."""
    try:
        _, _, *told = inspect.signature(DISTANCES[name]).parameters.values()
    except ValueError:  # functions that are not written in Python may have no signature
        return None
    return None if any(each.kind is each.VAR_KEYWORD for each in told) else [each.name for each in told]


@dataclass(frozen=True, slots=True)
class GoalCost:
    """The cost of candidates by their requests' goals; called with a rollout, it returns costs [B, S]."""

    config: CostConfig
    goal_BND: Tensor
    observed_BND: Tensor | None = None  # needed where `focus` is used
    surprise_BND: Tensor | None = None  # what was seen minus what had been imagined; None: no correction
    located_B4: Tensor | None = None  # the hand in the goal: x y z [m], closedness; None: only latents count

    def __call__(self, rollout: Rollout) -> Tensor:
        """The costs [B, S] of imagined futures."""
        weights_H = _step_weights(rollout.latents_BSHND.shape[2], self.config.earlier)
        latents_BSHND = rollout.latents_BSHND[:, :, -len(weights_H) :]
        if self.surprise_BND is not None and self.config.surprise > 0:
            latents_BSHND = latents_BSHND + self.config.surprise * self.surprise_BND[:, None, None]
        costs_BSH = self._of_latents(latents_BSHND)
        costs_BS = (costs_BSH * costs_BSH.new_tensor(weights_H)).sum(dim=-1)
        if self.located_B4 is None or self.config.place == 0:
            return costs_BS
        return costs_BS + self.config.place * self._way_left(rollout.poses_BSH7[:, :, -1, :3], self.located_B4)

    def bound(self, ends_BS3: Tensor) -> Tensor:
        """Lower bounds [B, S], known without the model, of the costs of candidates that end there [m]; -inf: none."""
        if self.located_B4 is None or self.config.place == 0:
            return ends_BS3.new_full(ends_BS3.shape[:2], -torch.inf)
        return self.config.place * self._way_left(ends_BS3, self.located_B4)

    def _way_left(self, ends_BS3: Tensor, located_B4: Tensor) -> Tensor:
        """The distance [m] from where candidates end to the place, plus how far their ends are under its cone [B, S].

        What an end is below the place itself counts as distance alone.
        """
        away_BS3 = ends_BS3 - located_B4[:, None, :3]
        cone_BS = self.config.from_above * vector_norm(away_BS3[..., :2], dim=-1)  # its height over the place
        under_BS = (cone_BS - away_BS3[..., 2].clamp_min(0)).clamp_min(0)
        left_BS: Tensor = vector_norm(away_BS3, dim=-1) + under_BS
        return left_BS

    def of_frame(self, latents_BND: Tensor) -> Tensor:
        """The costs [B] of frames that were really taken, by their latents alone."""
        return self._of_latents(latents_BND[:, None, None])[:, 0, 0]

    def take(self, chosen: list[int]) -> GoalCost:
        """The same cost for the requests of these indices."""

        def some(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[chosen]

        return replace(
            self,
            goal_BND=self.goal_BND[chosen],
            observed_BND=some(self.observed_BND),
            surprise_BND=some(self.surprise_BND),
            located_B4=some(self.located_B4),
        )

    def _of_latents(self, latents_BSHND: Tensor) -> Tensor:
        goal_BND, weights_BN = self.goal_BND, self._token_weights()
        costs = self._compare(latents_BSHND, goal_BND, weights_BN)
        for side in self.config.pools:
            pool_MN = pooling(goal_BND.shape[-2], side, self.config.grid).to(goal_BND.device)
            pooled_weights = None if weights_BN is None else weights_BN @ pool_MN.T
            pooled = self._compare(pool_MN @ latents_BSHND, pool_MN @ goal_BND, pooled_weights)
            costs = costs + self.config.pool_weight * pooled
        return costs

    def _compare(self, latents_BSHND: Tensor, goal_BND: Tensor, weights_BN: Tensor | None) -> Tensor:
        measure = DISTANCES[self.config.distance]
        tokens_BSHN = measure(latents_BSHND, goal_BND[:, None, None], **self.config.parameters)
        if weights_BN is None:
            return tokens_BSHN.mean(dim=-1)
        weights_BN = weights_BN / weights_BN.sum(dim=-1, keepdim=True)
        return (tokens_BSHN * weights_BN[:, None, None]).sum(dim=-1)

    def _token_weights(self) -> Tensor | None:
        if self.config.focus == 0 or self.observed_BND is None:
            return None
        change_BN = (self.goal_BND - self.observed_BND).abs().mean(dim=-1)
        change_BN = change_BN / change_BN.mean(dim=-1, keepdim=True).clamp_min(1e-6)
        return (1 - self.config.focus) + self.config.focus * change_BN + 1e-6


def inf_where_not_finite(costs: Tensor) -> Tensor:
    """The costs, with inf for all that are not finite, so that these candidates lose."""
    return costs.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=torch.inf)


@functools.cache
def pooling(tokens: int, side: int, grid: tuple[int, int] | None = None) -> Tensor:
    """The matrix [M, N] that averages a map of N tokens down to at most `side` x `side`; rows sum to 1."""
    rows, columns = grid or (math.isqrt(tokens), math.isqrt(tokens))
    if rows * columns != tokens:
        shape = "not square; say cost.grid = (rows, columns)" if grid is None else f"not {rows} x {columns}"
        raise ConfigError(f"{tokens} tokens cannot be pooled: their map is {shape}")
    single_tokens_NHW = torch.eye(tokens).view(tokens, rows, columns)
    return F.adaptive_avg_pool2d(single_tokens_NHW, (min(side, rows), min(side, columns))).flatten(1).T.contiguous()


def _step_weights(horizon: int, earlier: float) -> list[float]:
    """Weights of the last steps, summing to 1; steps that weigh nothing are left out."""
    weights = [earlier**back for back in range(horizon - 1, -1, -1) if earlier > 0 or back == 0]
    return [weight / sum(weights) for weight in weights]
