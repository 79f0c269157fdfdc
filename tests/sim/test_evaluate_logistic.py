"""The logistic fit against what defines it, and the figures that judge it against small sums."""

from __future__ import annotations

import numpy as np
import pytest

from sim.evaluate.logistic import PENALTY, brier, fit, left_out, percentiles

FAR_OUT = 5.0


def world(plans: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two signs, of which the first tells something, the events, and ten plans of each seed."""
    rng = np.random.default_rng(0)
    signs_NF = rng.normal((3.0, -1.0), (2.0, 0.1), (plans, 2))
    event_N = rng.random(plans) < 1 / (1 + np.exp(3.0 - signs_NF[:, 0]))
    return signs_NF, event_N, np.arange(plans) // 10


def test_a_fit_is_where_the_likelihood_and_its_penalty_hold_each_other() -> None:
    signs_NF, event_N, _ = world()
    found = fit(signs_NF, event_N, FAR_OUT)
    missed_N = event_N - found.chances(signs_NF, FAR_OUT)
    standard_NF = (signs_NF - signs_NF.mean(axis=0)) / signs_NF.std(axis=0)
    np.testing.assert_allclose(standard_NF.T @ missed_N, PENALTY * found.coefficients_F, atol=1e-6)
    assert missed_N.sum() == pytest.approx(0, abs=1e-4)  # the intercept is free
    assert PENALTY == 1.0  # what is fitted must not change unseen


def test_a_sign_counts_no_further_than_far_out() -> None:
    signs_NF, event_N, _ = world()
    found = fit(signs_NF, event_N, FAR_OUT)
    ends_NF = found.centre_F + found.scale_F * np.array([[FAR_OUT, 0.0], [100.0, 0.0], [-FAR_OUT, 0.0], [-100.0, 0.0]])
    high, higher, low, lower = found.chances(ends_NF, FAR_OUT)
    assert low == lower < high == higher


def test_how_a_seed_ended_says_nothing_about_the_chances_of_its_own_plans() -> None:
    signs_NF, event_N, seed_N = world()
    chance_N = left_out(signs_NF, event_N, seed_N, FAR_OUT)
    for seed in range(20):
        here_N = seed_N == seed
        otherwise_N = left_out(signs_NF, event_N ^ here_N, seed_N, FAR_OUT)
        np.testing.assert_array_equal(otherwise_N[here_N], chance_N[here_N])
        assert not np.array_equal(otherwise_N[~here_N], chance_N[~here_N])


def test_figures_of_known_cases() -> None:
    assert brier(np.array([0.5, 1.0, 0.0]), np.array([True, True, True])) == pytest.approx(1.25 / 3)
    assert percentiles([float(number) for number in range(101)]) == pytest.approx((2.5, 97.5))
    assert percentiles([]) is None
