"""From a budget in milliseconds to samples, iterations and horizon, by a cost model measured on the machine at hand.

Scoring S candidates over H steps takes about  call + step · H + each · S · H  seconds. A few timings fix the three
numbers; `within` then chooses the largest search that fits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from planner.costs import CostConfig, GoalCost
from planner.planning import PlannerConfig
from planner.protocols import World
from planner.search_config import SearchConfig
from vjepa2_ac.config import require
from vjepa2_ac.errors import ConfigError

RESERVE = 0.15  # share of a budget that is kept back: timings scatter, and a plan is more than its search
LEAST_SAMPLES, LEAST_ITERATIONS = 12, 2  # less is not a search
MOST_SAMPLES, MOST_ITERATIONS = 800, 10  # as in the published search: more never paid
SIZES = ((8, 1), (64, 1), (8, 2), (64, 2))  # samples and horizons that are timed


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """Seconds that scoring takes on one machine with one world model."""

    call: float  # [s] once a call
    step: float  # [s] for each step of the horizon
    each: float  # [s] for each candidate and step

    def __post_init__(self) -> None:
        require(self.each > 0, f"a candidate must cost some time, got {self.each} s")
        require(self.call >= 0 and self.step >= 0, f"no part can take negative time, got {self}")

    def seconds(self, candidates: float, horizon: int) -> float:
        """Time to score that many candidates."""
        return self.call + horizon * (self.step + self.each * candidates)

    def candidates(self, seconds: float, horizon: int) -> float:
        """How many candidates can be scored in that time."""
        return (seconds - self.call - self.step * horizon) / (self.each * horizon)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A configuration that fits a budget, and how long its search should take."""

    config: PlannerConfig
    expected_ms: float
    fits: bool  # False: even the smallest search is expected to take longer

    @property
    def doubts(self) -> tuple[str, ...]:
        """The warnings for a plan that is searched with this configuration."""
        return () if self.fits else (f"even the smallest search is expected to take {self.expected_ms:.0f} ms here",)


def measure(
    world: World,
    latents_ND: Tensor,
    *,
    cost: CostConfig | None = None,
    sizes: Sequence[tuple[int, int]] = SIZES,
    repeats: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> CostModel:
    """Time the world model on an observation's latents, with the cost that will be planned with; takes seconds."""
    latents_ND = latents_ND.to(world.device)
    score = GoalCost(cost or CostConfig(), latents_ND[None], latents_ND[None])
    pose_17 = torch.zeros(1, 7)

    def once(samples: int, horizon: int) -> float:
        started = clock()
        world.score(latents_ND[None], pose_17, torch.zeros(1, samples, horizon, 7), score).cpu()
        return clock() - started

    for samples, horizon in sizes:
        once(samples, horizon)  # first calls pay for memory and for choosing kernels
    timings = [min(once(*size) for _ in range(repeats)) for size in sizes]
    return fit(sizes, timings)


def fit(sizes: Sequence[tuple[int, int]], seconds: Sequence[float]) -> CostModel:
    """The cost model with the least squared relative errors on timings of (samples, horizon), no part of it negative.

    Raises ConfigError for timings that do not grow with the samples.
    """
    measured = np.array(seconds)
    terms = np.array([[1.0, horizon, samples * horizon] for samples, horizon in sizes])
    (call, step, each), _ = nnls(terms / measured[:, None], np.ones(len(measured)))
    if each <= 0:
        raise ConfigError("the timings do not grow with the number of samples; time larger sizes")
    return CostModel(call=float(call), step=float(step), each=float(each))


def within(budget_ms: float, config: PlannerConfig, model: CostModel) -> Choice:
    """`config` with the largest search that fits the budget; its horizon may become shorter, but not longer.

    The longest horizon that leaves room for a real search is taken first; then samples and iterations grow together, as
    samples = 2 · iterations² (18 × 3, 32 × 4, 50 × 5, …). Raises ConfigError for a budget that is no positive number,
    and for the published search.
    """
    if not 0 < budget_ms < math.inf:
        raise ConfigError(f"a budget is a positive number of milliseconds, got {budget_ms}")
    refuse_fixed_size(config)
    seconds = (1 - RESERVE) * budget_ms / 1e3
    for horizon in range(config.search.horizon, 0, -1):
        sizes = [
            (samples, iterations)
            for iterations in range(LEAST_ITERATIONS, MOST_ITERATIONS + 1)
            if (samples := _samples(seconds, iterations, horizon, config.search, model)) >= LEAST_SAMPLES
        ]
        if sizes:
            samples, iterations = min(sizes, key=lambda size: abs(math.log(size[0] / (2 * size[1] ** 2))))
            return _choice(config, samples, iterations, horizon, model, fits=True)
    return _choice(config, LEAST_SAMPLES, LEAST_ITERATIONS, 1, model, fits=False)


def refuse_fixed_size(config: PlannerConfig) -> None:
    """Raise ConfigError for the published search, whose size no budget can choose."""
    if config.method != "search":
        raise ConfigError("the published search has a fixed size; a budget needs method = search")


def _samples(seconds: float, iterations: int, horizon: int, search: SearchConfig, model: CostModel) -> int:
    left = seconds - _last_calls(horizon, search, model)
    return min(MOST_SAMPLES, int(model.candidates(left / iterations, horizon)))


def _last_calls(horizon: int, search: SearchConfig, model: CostModel) -> float:
    """Time [s] to score the last mean, and the best plan with each gripper option.

    Deciding whether an open hand that leaves a sub-goal closes first takes more time, which is not counted here.
    """
    most_options = 3 + len(search.gripper.stops)  # keep, open, close
    mean = model.seconds(1, horizon) if search.try_mean else 0.0
    return mean + (model.seconds(most_options, horizon) if search.gripper.mode == "contrast" else 0.0)


def _choice(
    config: PlannerConfig, samples: int, iterations: int, horizon: int, model: CostModel, *, fits: bool
) -> Choice:
    old = config.search
    elites = max(2, min(samples, round(samples * old.elites / old.samples)))
    kept = min(old.kept_elites, elites)
    search = replace(old, samples=samples, iterations=iterations, horizon=horizon, elites=elites, kept_elites=kept)
    expected = iterations * model.seconds(samples, horizon) + _last_calls(horizon, search, model)
    return Choice(config=replace(config, search=search), expected_ms=1e3 * expected, fits=fits)
