from __future__ import annotations

import math

import numpy as np
import pytest

from vjepa2_ac.fitcheck.estimates import mean, ratio


def test_a_ratio_is_of_sums() -> None:
    assert ratio([1.0, 5.0], [2.0, 10.0], ["a", "b"]).value == 0.5
    assert mean([1.0, 2.0, 6.0], ["a", "a", "b"]).value == 3.0


def test_moments_of_one_episode_count_as_one_draw() -> None:
    values = np.random.default_rng(0).normal(size=20)
    apart = mean(np.repeat(values, 10), [str(k) for k in range(200)])
    together = mean(np.repeat(values, 10), [str(k // 10) for k in range(200)])
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    groups = [str(k) for k in range(60)]
    hits = [(found := mean(rng.normal(size=60), groups)).low < 0 < found.high for _ in range(300)]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.04)


def test_one_episode_tells_nothing_of_chance() -> None:
    found = mean([1.0, 2.0], ["a", "a"])
    assert found.value == 1.5
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_what_episodes_do_to_both_models_cancels_in_the_difference() -> None:
    hard = np.random.default_rng(0).normal(5, 2, 40)
    groups = [str(k) for k in range(40)]
    before, after = mean(hard, groups), mean(hard - 0.1, groups)
    assert before.low < after.value  # each alone is unsure
    change = after.minus(before)
    assert (change.low, change.value, change.high) == pytest.approx((-0.1, -0.1, -0.1))
