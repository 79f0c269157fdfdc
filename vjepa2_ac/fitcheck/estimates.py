"""Figures with 95 % intervals, from resampling groups of moments (a cluster bootstrap).

Moments of one episode resemble each other, so whole groups are resampled. The resampling is fixed, so two models
measured on the same moments can be compared draw by draw: what easy or hard episodes do to both cancels.

Shapes: M moments, G groups of moments that belong together (an episode and its branches), R resamplings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

RESAMPLINGS = 1000
COVERED = 0.95  # of the resamplings lie within the interval


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean or ratio with its 95 % interval, whose ends are NaN where there is only one group to resample."""

    value: float
    low: float
    high: float
    count: int  # moments it was measured on
    draws_R: Array = field(repr=False, compare=False)

    def minus(self, other: Estimate) -> Estimate:
        """The difference from another model's estimate on the same moments; its interval is that of the difference."""
        with np.errstate(invalid="ignore"):  # inf - inf, of two ratios over 0
            draws_R = self.draws_R - other.draws_R
        return _estimate(self.value - other.value, draws_R, min(self.count, other.count))

    def times(self, factor: float) -> Estimate:
        """The estimate in another unit."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor, self.count, self.draws_R * factor)


@dataclass(frozen=True, slots=True)
class NotMeasured:
    """Stands in place of a figure that could not be measured, with the reason."""

    reason: str

    def __str__(self) -> str:
        return f"not measured: {self.reason}"


def mean(values_M: ArrayLike, groups_M: Sequence[str]) -> Estimate:
    """The mean over moments."""
    return ratio(values_M, np.ones(len(groups_M)), groups_M)


def ratio(above_M: ArrayLike, below_M: ArrayLike, groups_M: Sequence[str]) -> Estimate:
    """The sum of `above_M` over that of `below_M`.

    Moments at which nothing happens, with almost 0 below, would dominate a mean of ratios.
    """
    names, which_M = np.unique(np.asarray(groups_M), return_inverse=True)
    above_G, below_G = (
        np.bincount(which_M, np.asarray(values_M, dtype=np.float64), minlength=len(names))
        for values_M in (above_M, below_M)
    )
    # The same draws for every model: the seed does not depend on it.
    times_RG = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLINGS)
    with np.errstate(divide="ignore", invalid="ignore"):
        draws_R = (times_RG @ above_G) / (times_RG @ below_G)
        value = float(above_G.sum() / below_G.sum()) if below_G.sum() else math.nan
    if len(names) < 2:
        draws_R = np.full(RESAMPLINGS, np.nan)
    return _estimate(value, draws_R, len(which_M))


def _estimate(value: float, draws_R: Array, count: int) -> Estimate:
    known = draws_R[np.isfinite(draws_R)]
    tail = (1 - COVERED) / 2
    low, high = np.quantile(known, (tail, 1 - tail)) if len(known) else (math.nan, math.nan)
    return Estimate(value, float(low), float(high), count, draws_R)
