from __future__ import annotations

import pytest
import torch

from planner.gripper import GripperConfig
from planner.population import Population, shifted
from planner.search_config import SearchConfig
from tests.planner.problems import problem
from tests.planner.worlds import HOME, moved


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
    population.learn(torch.full((len(population.propose(32)),), torch.nan), imagined=32)
    torch.testing.assert_close(population.mean_HV, before)
    assert not population.converged


@pytest.mark.parametrize("sensible", [1, 4])
def test_elites_without_a_cost_move_nothing(sensible: int) -> None:
    config = SearchConfig(mean_momentum=0.0, std_momentum=0.0, least_spread=0.0)
    population = Population(problem(HOME), config)
    costs_S = torch.full((32,), torch.nan)
    costs_S[8 : 8 + sensible] = 1.0
    elites_SHA = population.propose(32)[8 : 8 + sensible]
    population.learn(costs_S, imagined=32)
    torch.testing.assert_close(population.mean_HV[0], elites_SHA[:, 0, :3].mean(dim=0))
    spread_V = elites_SHA[:, 0, :3].std(dim=0) if sensible > 1 else torch.zeros(3)
    torch.testing.assert_close(population.std_HV[0], spread_V)


def test_the_way_on_is_gone_in_equal_steps_after_the_gripper() -> None:
    population = Population(problem(HOME), SearchConfig(step_limit=0.05, gripper=GripperConfig(limit=0.5)))
    actions_GHA = population.close_then_go(torch.tensor([0.02, -0.12, 0.0]))
    assert actions_GHA.shape == (3, 4, 7)  # keep, close and close to 0.4; the gripper and three steps
    assert actions_GHA[:, 0, 6].tolist() == pytest.approx([0.0, 0.5, 0.4])
    assert not actions_GHA[:, 1:, 6].any()
    assert not actions_GHA[:, 0, :3].any()
    torch.testing.assert_close(actions_GHA[:, 1:, :3].sum(dim=1), torch.tensor([0.02, -0.12, 0.0]).expand(3, 3))
    torch.testing.assert_close(actions_GHA[:, 1, :3], actions_GHA[:, 3, :3])
    assert population.close_then_go(torch.zeros(3)).shape == (3, 2, 7)


def test_a_hand_that_could_only_open_does_not_before_it_goes_on() -> None:
    population = Population(problem(HOME, start=moved(0.0, 0.0, 0.0, gripper=1.0)), SearchConfig())
    assert not population.close_then_go(torch.zeros(3))[..., 6].any()
