from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from planner.budget import SIZES, CostModel, fit, measure, within
from planner.planning import PlannerConfig
from planner.presets import preset
from planner.search import search
from planner.search_config import SearchConfig
from tests.planner.problems import problem
from tests.planner.worlds import HOME, Clock, PointWorld, moved
from vjepa2_ac.errors import ConfigError

MACHINE = CostModel(call=0.004, step=0.002, each=1e-4)
LONG = PlannerConfig(search=SearchConfig(horizon=4))


def test_the_three_numbers_are_found_from_timings() -> None:
    found = fit(SIZES, [MACHINE.seconds(samples, horizon) for samples, horizon in SIZES])
    assert (found.call, found.step, found.each) == pytest.approx((0.004, 0.002, 1e-4), rel=1e-6)


def test_a_machine_is_measured_with_its_clock() -> None:
    clock = Clock()
    world = PointWorld(clock=clock, seconds_fixed=0.01, seconds_each=2e-4)
    found = measure(world, world.latents(torch.tensor(HOME)), clock=clock)
    assert (found.call, found.step, found.each) == pytest.approx((0.01, 0.0, 2e-4), abs=1e-6)


@pytest.mark.parametrize("budget_ms", [40, 100, 250, 1000, 4000])
def test_a_search_within_a_budget_ends_within_it(budget_ms: float) -> None:
    choice = within(budget_ms, LONG, MACHINE)
    assert choice.fits
    clock = Clock()
    world = PointWorld(clock=clock, seconds_fixed=0.004 + 0.002 * choice.config.search.horizon, seconds_each=1e-4)
    config = replace(choice.config.search, agreement=None)
    goal, start = (moved(x, 0.0, 0.0, gripper=0.2) for x in (0.1, 0.0))  # which can do all that a gripper can
    search(world, [problem(goal, start)], config, clock=clock)
    assert 1e3 * clock.now == pytest.approx(choice.expected_ms, rel=1e-6)
    assert 0.7 * budget_ms <= choice.expected_ms <= 0.85 * budget_ms  # 15 % are kept back


def test_no_search_is_smaller_or_larger_than_pays() -> None:
    smallest, largest = (within(ms, LONG, MACHINE).config.search for ms in (1, 1e6))
    assert (smallest.horizon, smallest.samples, smallest.iterations) == (1, 12, 2)
    assert (largest.horizon, largest.samples, largest.iterations) == (4, 800, 10)
    assert [(each.elites, each.kept_elites) for each in (smallest, largest)] == [(2, 2), (150, 3)]  # 6 of 32, 3 kept


@pytest.mark.parametrize("budget_ms", [60, 100, 200])
def test_samples_and_iterations_grow_together(budget_ms: float) -> None:
    chosen = within(budget_ms, PlannerConfig(), MACHINE).config.search
    assert 1.5 < chosen.samples / chosen.iterations**2 < 2.7


def test_a_larger_budget_buys_a_larger_search() -> None:
    sizes = [within(ms, PlannerConfig(), MACHINE).config.search.most_evaluations for ms in (50, 100, 200, 400, 1600)]
    assert sizes == sorted(set(sizes))


def test_the_horizon_is_shortened_before_the_search_becomes_none() -> None:
    horizons = [within(ms, LONG, MACHINE).config.search.horizon for ms in (25, 60, 2000)]
    assert horizons == sorted(horizons)
    assert (horizons[0], horizons[-1]) == (1, 4)


def test_a_budget_nothing_fits_says_so() -> None:
    choice = within(1, PlannerConfig(), MACHINE)
    assert not choice.fits
    assert choice.expected_ms > 1


def test_a_budget_needs_a_search_whose_size_may_change() -> None:
    with pytest.raises(ConfigError, match="fixed size"):
        within(100, preset("paper"), MACHINE)
    with pytest.raises(ConfigError, match="positive"):
        within(0, PlannerConfig(), MACHINE)


def test_timings_that_do_not_grow_are_refused() -> None:
    with pytest.raises(ConfigError, match="do not grow"):
        fit(SIZES, [0.01, 0.005, 0.01, 0.005])
