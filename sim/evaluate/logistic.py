"""Predicts the chance of an event from signs (logistic fit), and measures such chances (AUROC, Brier score, intervals).

Plans of one scene are alike, so cross-validation leaves out, and intervals resample, whole scenes (seeds), never single
plans.

Shapes: N plans, F signs, D signs and the intercept, G seeds, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Index = NDArray[np.int64]

PENALTY = 1.0  # of squared coefficients on standardised signs, next to the summed log loss of all plans
FOLDS, RESAMPLES = 5, 500
STEPS, ENOUGH = 50, 1e-9  # of Newton's method: most steps, and a step small enough to stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A logistic model of standardised signs."""

    centre_F: Array
    scale_F: Array
    coefficients_F: Array
    intercept: float

    def chances(self, signs_NF: Array, far_out: float) -> Array:
        """The chance [N] of the event; signs are clipped at `far_out` deviations."""
        standard_NF = ((signs_NF - self.centre_F) / self.scale_F).clip(-far_out, far_out)
        return _logistic(standard_NF @ self.coefficients_F + self.intercept)


def fit(signs_NF: Array, event_N: Mask, far_out: float, penalty: float = PENALTY) -> Fit:
    """The model of greatest likelihood, with a small penalty so that it exists even if signs tell events perfectly."""
    centre_F, spread_F = signs_NF.mean(axis=0), signs_NF.std(axis=0)
    scale_F = np.where(spread_F > 1e-9, spread_F, 1.0)  # a sign that never changes says nothing
    standard_NF = ((signs_NF - centre_F) / scale_F).clip(-far_out, far_out)
    design_ND = np.concatenate([standard_NF, np.ones((len(standard_NF), 1))], axis=1)
    ridge_D = np.append(np.full(signs_NF.shape[1], penalty), 1e-6)
    beta_D = np.zeros(design_ND.shape[1])
    for _ in range(STEPS):
        chance_N = _logistic(design_ND @ beta_D)
        slope_D = design_ND.T @ (event_N - chance_N) - ridge_D * beta_D
        weights_N1 = (chance_N * (1 - chance_N))[:, None]
        step_D = np.linalg.solve(design_ND.T @ (design_ND * weights_N1) + np.diag(ridge_D), slope_D)
        beta_D = beta_D + step_D
        if float(np.abs(step_D).max()) < ENOUGH:
            break
    return Fit(centre_F=centre_F, scale_F=scale_F, coefficients_F=beta_D[:-1], intercept=float(beta_D[-1]))


def left_out(signs_NF: Array, event_N: Mask, seed_N: Index, far_out: float, folds: int = FOLDS) -> Array:
    """The chance [N] of the event for each plan, by a model that has seen none of its seed (cross-validation)."""
    seeds = np.random.default_rng(0).permutation(np.unique(seed_N))
    chance_N = np.full(len(event_N), float(event_N.mean()))
    for part in np.array_split(seeds, min(folds, len(seeds))):
        out_N = np.isin(seed_N, part)
        if not out_N.all():
            chance_N[out_N] = fit(signs_NF[~out_N], event_N[~out_N], far_out).chances(signs_NF[out_N], far_out)
    return chance_N


def auroc(score_N: Array, event_N: Mask, weight_N: Array | None = None) -> float | None:
    """The chance that an event scores above a non-event, ties counting half (Mann and Whitney).

    None where all ended alike.
    """
    weight_N = np.ones(len(score_N)) if weight_N is None else weight_N
    _, place_N = np.unique(score_N, return_inverse=True)
    ours = np.bincount(place_N, weight_N * event_N)
    others = np.bincount(place_N, weight_N * ~event_N)
    if ours.sum() == 0 or others.sum() == 0:
        return None
    below = np.cumsum(others) - others
    return float((ours * (below + 0.5 * others)).sum() / (ours.sum() * others.sum()))


def brier(chance_N: Array, event_N: Mask) -> float:
    """Mean squared error of chances: 0 is certain and right, always saying the rate p has p · (1 - p)."""
    return float(np.square(chance_N - event_N).mean())


def resampled(seed_N: Index, resamples: int = RESAMPLES) -> tuple[Array, Index]:
    """How often each seed is drawn in each resample [R, G], and which of the G seeds each plan has [N]."""
    seeds, place_N = np.unique(seed_N, return_inverse=True)
    even = np.full(len(seeds), 1 / len(seeds))
    return np.random.default_rng(0).multinomial(len(seeds), even, size=resamples).astype(float), place_N


def auroc_interval(score_N: Array, event_N: Mask, seed_N: Index) -> tuple[float, float] | None:
    """The 95 % interval of the AUROC, by resampling seeds; None where no resample has both outcomes."""
    counts_RG, place_N = resampled(seed_N)
    found = [auroc(score_N, event_N, counts_G[place_N]) for counts_G in counts_RG]
    return percentiles([each for each in found if each is not None])


def percentiles(values: list[float]) -> tuple[float, float] | None:
    """The middle 95 % of resampled values; None where there are none."""
    if not values:
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _logistic(logits: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-logits.clip(-700, 700))))
