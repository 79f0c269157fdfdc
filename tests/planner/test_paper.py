from __future__ import annotations

import pytest
import torch

from planner.cem import CEMConfig
from planner.cem import search as published
from planner.costs import CostConfig
from planner.paper import search_as_published
from tests.planner.problems import problem
from tests.planner.worlds import HOME, Clock, PointWorld, located, moved
from vjepa2_ac.errors import DeadlineError, PlanningError

NEAR = problem(moved(0.03, -0.02, 0.01), seed=4)
SMALL = CEMConfig(samples=60, iterations=5)


def test_it_is_the_published_search_with_the_same_seed() -> None:
    (found,) = search_as_published(PointWorld(), [NEAR], SMALL)

    def cost(actions_SHA: torch.Tensor) -> torch.Tensor:
        rollout = PointWorld().rollout(NEAR.latents_ND[None], NEAR.pose_7[None], actions_SHA[None])
        return (rollout.last[0] - NEAR.goal_ND).abs().mean(dim=(-1, -2))

    expected = published(cost, SMALL, torch.Generator().manual_seed(4))
    assert torch.equal(found.actions_HA, expected.actions_HA)
    assert found.cost == pytest.approx(float(cost(expected.actions_HA[None])))
    assert found.stop_reason == "iterations"


def test_it_counts_where_the_hand_is_located() -> None:
    goals = [moved(0.03, -0.02, 0.01), moved(-0.03, 0.0, 0.02)]
    for goal in goals:
        world = PointWorld(blind=(0,), located_B4=located(goal))
        asked = [problem(goal, world=world)]
        (by_place,) = search_as_published(world, asked, SMALL, CostConfig(place=3.0))
        (by_latents,) = search_as_published(world, asked, SMALL)
        assert by_place.actions_HA[0, :3].numpy() == pytest.approx(goal[:3] - HOME[:3], abs=0.01)
        assert abs(by_latents.actions_HA[0, 0] - (goal[0] - HOME[0])) > 0.01
        assert by_place.idle_cost > by_latents.idle_cost


def test_candidates_without_a_cost_lose_and_none_with_one_is_refused() -> None:
    def half(costs_BS: torch.Tensor) -> torch.Tensor:
        costs_BS[:, 1::2] = torch.nan
        return costs_BS

    (found,) = search_as_published(PointWorld(spoil=half), [NEAR], SMALL)
    assert found.actions_HA.isfinite().all()
    for number in (torch.nan, torch.inf, -torch.inf):
        with pytest.raises(PlanningError, match="no plan"):
            search_as_published(
                PointWorld(spoil=lambda costs, number=number: torch.full_like(costs, number)), [NEAR], SMALL
            )


def test_an_answer_without_a_cost_is_none() -> None:
    def of_two(costs_BS: torch.Tensor) -> torch.Tensor:
        return costs_BS * torch.nan if costs_BS.shape[1] == 2 else costs_BS  # the answer, and doing nothing

    with pytest.raises(PlanningError, match="what the search found costs no number"):
        search_as_published(PointWorld(spoil=of_two), [NEAR], SMALL)


def test_each_problem_has_as_much_time() -> None:
    clock = Clock()
    world = PointWorld(clock=clock, seconds_fixed=0.1)
    found = search_as_published(world, [NEAR, NEAR], SMALL, clock=clock, deadline=0.85)
    assert [each.iterations for each in found] == [3, 3]
    assert clock.now <= 0.85
    with pytest.raises(DeadlineError, match="in the 60 ms to the deadline: one iteration took 100 ms"):
        search_as_published(world, [NEAR, NEAR], SMALL, clock=clock, deadline=clock.now + 0.12)


def test_it_keeps_to_a_deadline() -> None:
    clock = Clock()
    world = PointWorld(clock=clock, seconds_fixed=0.1)
    (found,) = search_as_published(world, [NEAR], SMALL, clock=clock, deadline=0.35)
    assert (found.iterations, found.stop_reason) == (2, "deadline")  # the answer is scored in the third call
    assert clock.now <= 0.35
    with pytest.raises(DeadlineError):
        search_as_published(world, [NEAR], SMALL, clock=clock, deadline=clock.now + 0.05)
