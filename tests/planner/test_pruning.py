"""What is not imagined could not have changed the plan: pruned searches find what those find that imagine all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from planner.confidence import judge
from planner.costs import DISTANCES, CostConfig, GoalCost
from planner.gripper import GripperConfig
from planner.presets import preset
from planner.problem import Problem, SearchResult
from planner.pruning import Frontier
from planner.search import search
from planner.search_config import SearchConfig
from tests.planner.problems import problem
from tests.planner.worlds import Clock, PointWorld, located, moved
from vjepa2_ac.world_model import Rollout

GOALS = [moved(0.03, -0.02, 0.01), moved(0.2, 0.1, -0.05), moved(0.0, 0.0, 0.0), moved(0.0, 0.03, 0.1, gripper=0.8)]
TO_THE_PLACE = CostConfig(place=10.0, from_above=2.0)


def with_and_without(asked: Problem, config: SearchConfig, world: PointWorld) -> tuple[SearchResult, SearchResult]:
    """What a search finds that prunes, and one that imagines everything."""
    pruned, whole = (search(world, [asked], replace(config, prune=prune), TO_THE_PLACE)[0] for prune in (True, False))
    assert pruned.evaluations <= whole.evaluations
    return pruned, whole


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"noise": "gaussian", "kept_elites": 0, "try_mean": False},
        {"horizon": 3, "iterations": 6},
        {"samples": 12, "elites": 8},
        {"turn_limit": 0.1},
    ],
    ids=str,
)
@pytest.mark.parametrize("seed", range(3))
def test_a_search_that_prunes_finds_what_one_finds_that_imagines_all(settings: dict[str, Any], seed: int) -> None:
    for goal in GOALS:
        world = PointWorld(located_B4=located(goal))
        pruned, whole = with_and_without(problem(goal, world=world, seed=seed), SearchConfig(**settings), world)
        assert torch.equal(pruned.actions_HA, whole.actions_HA)
        assert torch.equal(pruned.elites_KHA, whole.elites_KHA)
        assert (pruned.cost, pruned.idle_cost, pruned.trace) == (whole.cost, whole.idle_cost, whole.trace)
        assert judge(pruned) == judge(whole)


def test_what_doing_nothing_costs_is_known_where_every_other_candidate_comes_nearer() -> None:
    world, last = PointWorld(located_B4=located(GOALS[1])), torch.tensor([[0.05, 0.03, -0.01, 0.0, 0.0, 0.0, 0.0]])
    pruned, whole = with_and_without(problem(GOALS[1], world=world, last_HA=last), SearchConfig(), world)
    assert pruned.idle_cost == whole.idle_cost


def test_far_from_the_goal_a_preset_imagines_much_less() -> None:
    there = moved(0.2, 0.1, 0.0)
    world = PointWorld(located_B4=located(there))
    pruned, whole = with_and_without(problem(there, world=world), preset("balanced").search, world)
    assert pruned.evaluations < 0.8 * whole.evaluations


def test_only_what_is_imagined_counts_as_an_evaluation() -> None:
    world = PointWorld(located_B4=located(GOALS[1]))
    pruned = search(world, [problem(GOALS[1], world=world)], SearchConfig(agreement=None), TO_THE_PLACE)[0]
    assert pruned.evaluations == sum(world.scored)


def test_requests_in_one_batch_are_pruned_apart() -> None:
    world = PointWorld(located_B4=located(*GOALS))
    problems = [problem(goal, world=world, seed=seed) for seed, goal in enumerate(GOALS)]
    together = search(world, problems, SearchConfig(), TO_THE_PLACE)
    for goal, asked, one in zip(GOALS, problems, together, strict=True):
        alone = search(PointWorld(located_B4=located(goal)), [asked], SearchConfig(), TO_THE_PLACE)[0]
        torch.testing.assert_close(one.actions_HA, alone.actions_HA, atol=1e-6, rtol=0)
        assert one.evaluations == alone.evaluations


def test_candidates_that_are_no_numbers_do_not_hide_better_ones() -> None:
    def nearest_lost(costs_BS: Tensor) -> Tensor:
        return costs_BS.where(costs_BS > 0.8, torch.nan)

    for goal in GOALS[:2]:
        world = PointWorld(located_B4=located(goal), spoil=nearest_lost)
        pruned, whole = with_and_without(problem(goal, world=world), SearchConfig(), world)
        assert torch.equal(pruned.actions_HA, whole.actions_HA)


@pytest.mark.parametrize("deadline", [0.035, 0.04, 0.045, 0.05])
def test_an_iteration_that_prunes_less_than_the_one_before_is_not_begun_too_late(deadline: float) -> None:
    clock, there = Clock(), moved(0.2, 0.1, 0.0)

    def dearer_later(costs_BS: Tensor) -> Tensor:
        first = len(world.scored) <= 2  # calls: as many as matter, and those that could be among them
        return costs_BS if first else costs_BS + 100.0  # and no way is longer than that

    world = PointWorld(located_B4=located(there), spoil=dearer_later, clock=clock, seconds_each=1e-3)
    config = SearchConfig(agreement=None, try_mean=False, gripper=GripperConfig(mode="held"))
    found = search(world, [problem(there, world=world)], config, TO_THE_PLACE, clock=clock, deadline=deadline)[0]
    assert found.evaluations < 32  # one iteration, which pruned
    assert clock.now <= deadline


@pytest.mark.parametrize("cost", [CostConfig(), TO_THE_PLACE])
def test_without_a_place_to_go_to_all_are_imagined_at_once(cost: CostConfig) -> None:
    world = PointWorld(located_B4=None if cost.place else located(GOALS[0]))
    search(world, [problem(GOALS[0], world=world)], SearchConfig(agreement=None, iterations=3), cost)
    assert world.scored[:3] == [32, 32, 32]


@pytest.mark.parametrize("distance", sorted(DISTANCES))
@given(seed=st.integers(0, 2**31), pools=st.sampled_from([(), (1, 2)]), focus=st.sampled_from([0.0, 1.0]))
def test_no_cost_is_below_its_bound(distance: str, seed: int, pools: tuple[int, ...], focus: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    goal_BND, seen_BND, imagined_BSHND = (
        torch.randn(*shape, generator=draw) for shape in ((2, 4, 3), (2, 4, 3), (2, 5, 2, 4, 3))
    )
    poses_BSH7, located_B4 = torch.randn(2, 5, 2, 7, generator=draw), torch.randn(2, 4, generator=draw)
    config = replace(TO_THE_PLACE, distance=distance, pools=pools, focus=focus, surprise=1.0, earlier=0.5)
    cost = GoalCost(config, goal_BND, seen_BND, seen_BND, located_B4)
    costs_BS = cost(Rollout(imagined_BSHND, poses_BSH7, poses_BSH7))
    assert (cost.bound(poses_BSH7[:, :, -1, :3]) <= costs_BS).all()


def test_the_lowest_bounds_are_imagined_first_and_none_above_what_matters() -> None:
    frontier = Frontier(torch.tensor([5.0, 1.0, 3.0, 2.0, 9.0]), torch.tensor([7.0]), matter=2)
    assert frontier.next.tolist() == [1, 3]
    frontier.learn(torch.tensor([6.0, 5.5]))
    assert frontier.next.tolist() == [2, 0]  # the second best so far costs 6
    frontier.learn(torch.tensor([3.5, 7.0]))
    assert frontier.next.tolist() == []
    assert frontier.costs_S.tolist() == [7.0, 6.0, 3.5, 5.5, 9.0]
    assert frontier.imagined == 4


def test_what_has_no_bound_is_imagined_at_once() -> None:
    frontier = Frontier(torch.tensor([4.0, -torch.inf, -torch.inf, -torch.inf]), torch.empty(0), matter=2)
    assert frontier.next.tolist() == [1, 2, 3]
    frontier.learn(torch.tensor([1.0, 2.0, 3.0]))
    assert frontier.next.tolist() == []


def test_what_is_no_number_rules_nothing_out() -> None:
    frontier = Frontier(torch.tensor([0.0, 1.0, 2.0, torch.nan]), torch.empty(0), matter=2)
    frontier.learn(torch.tensor([torch.nan, 1.5]))
    assert frontier.next.tolist() == [2, 3]
