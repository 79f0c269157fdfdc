from __future__ import annotations

import pytest
import torch

from planner.population import Population, shifted
from planner.search_config import SearchConfig
from tests.planner.problems import problem
from tests.planner.worlds import HOME


def test_a_shifted_plan_repeats_its_last_step() -> None:
    plan_HA = torch.arange(3.0)[:, None].expand(3, 7)
    assert shifted(plan_HA, 3)[:, 0].tolist() == [1, 2, 2]
    assert shifted(plan_HA[:1], 2)[:, 0].tolist() == [0, 0]


def test_doing_nothing_is_always_proposed_first() -> None:
    population = Population(problem(HOME, last_HA=torch.full((1, 7), 0.03)), SearchConfig())
    assert not population.propose(8)[0].any()


def test_a_population_that_met_only_nonsense_stays_where_it_is() -> None:
    population = Population(problem(HOME), SearchConfig())
    before = population.mean_HV.clone()
    population.learn(torch.full((len(population.propose(32)),), torch.nan))
    torch.testing.assert_close(population.mean_HV, before)
    assert not population.converged


@pytest.mark.parametrize("sensible", [1, 4])
def test_elites_without_a_cost_move_nothing(sensible: int) -> None:
    config = SearchConfig(mean_momentum=0.0, std_momentum=0.0, least_spread=0.0)
    population = Population(problem(HOME), config)
    costs_S = torch.full((32,), torch.nan)
    costs_S[8 : 8 + sensible] = 1.0
    elites_SHA = population.propose(32)[8 : 8 + sensible]
    population.learn(costs_S)
    torch.testing.assert_close(population.mean_HV[0], elites_SHA[:, 0, :3].mean(dim=0))
    spread_V = elites_SHA[:, 0, :3].std(dim=0) if sensible > 1 else torch.zeros(3)
    torch.testing.assert_close(population.std_HV[0], spread_V)
