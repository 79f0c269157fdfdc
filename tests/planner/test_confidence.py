from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from planner.confidence import Confidence, ConfidenceConfig, judge
from planner.costs import CostConfig
from planner.search import search
from planner.search_config import SearchConfig
from tests.planner.problems import problem
from tests.planner.worlds import HOME, UNSURE, PointWorld, located, moved
from vjepa2_ac.errors import ConfigError
from vjepa2_ac.world_model import Rollout


def confidence(goal: Any, config: ConfidenceConfig | None = None, world: PointWorld | None = None) -> Confidence:
    world = world or PointWorld()
    return judge(search(world, [problem(goal, world=world)], SearchConfig())[0], config)


def test_a_near_goal_is_a_sure_thing() -> None:
    sure = confidence(moved(0.03, 0.02, 0.0))
    assert sure.gain > 0.9
    assert sure.flatness < 0.5
    assert sure.elite_spread < 0.01
    assert not sure.goal_out_of_reach


def test_a_goal_nothing_comes_nearer_to_looks_out_of_reach() -> None:
    unseen = confidence(HOME, world=_with_something_new_in_the_picture())
    assert unseen.goal_out_of_reach


@pytest.mark.parametrize(("actions", "out_of_reach"), [([0.0] * 7, True), ([0.0] * 6 + [0.5], False)])
@pytest.mark.parametrize("options", [("keep", "close"), ("keep",)])
def test_a_gripper_that_costs_did_not_choose_is_not_judged_by_them(
    actions: list[float], out_of_reach: bool, options: tuple[str, ...]
) -> None:
    found = search(PointWorld(), [problem(HOME, world=_with_something_new_in_the_picture())], SearchConfig())[0]
    chosen = replace(found, actions_HA=torch.tensor([actions]), gripper_costs=dict.fromkeys(options, found.cost))
    assert judge(chosen).goal_out_of_reach == (out_of_reach or len(options) == 1)


def test_a_goal_already_reached_is_not_out_of_reach_once_it_is_known_what_reached_costs() -> None:
    assert confidence(HOME).goal_out_of_reach
    known = confidence(HOME, ConfidenceConfig(achieved_cost=0.01))
    assert (known.goal_reached, known.goal_out_of_reach) == (True, False)
    assert not confidence(moved(0.04, 0.0, 0.0), ConfidenceConfig(achieved_cost=0.01)).goal_reached


def test_a_goal_to_which_all_moves_come_alike_looks_out_of_reach_whatever_they_gain() -> None:
    found = search(PointWorld(), [problem(moved(0.03, 0.0, 0.0))], SearchConfig())[0]
    alike = replace(found, idle_cost=1.0, cost=0.5, first_costs_S=torch.tensor([1.0, *[0.5] * 9]))
    assert judge(alike).gain == 0.5
    assert judge(alike).goal_out_of_reach


@pytest.mark.parametrize(
    ("gain", "flatness", "stuck"), [(0.019, 0.5, True), (0.021, 0.5, False), (0.5, 0.979, False), (0.5, 0.981, True)]
)
def test_a_plan_that_gains_little_or_among_moves_that_are_alike_looks_out_of_reach(
    gain: float, flatness: float, stuck: bool
) -> None:
    found = search(PointWorld(), [problem(moved(0.03, 0.0, 0.0))], SearchConfig())[0]
    costs_S = torch.tensor([flatness, 1.0, 1.0, math.inf])
    said = judge(replace(found, idle_cost=1.0, cost=1.0 - gain, first_costs_S=costs_S))
    assert (said.gain, said.flatness) == (pytest.approx(gain), pytest.approx(flatness))
    assert said.goal_out_of_reach == stuck


@pytest.mark.parametrize(
    ("idle", "cost"), [(math.inf, 1.0), (math.nan, 1.0), (1.0, math.nan), (1.0, math.inf), (0.0, -1.0)]
)
def test_where_costs_are_no_numbers_nothing_is_gained(idle: float, cost: float) -> None:
    found = search(PointWorld(), [problem(moved(0.03, 0.0, 0.0))], SearchConfig())[0]
    said = judge(replace(found, idle_cost=idle, cost=cost, first_costs_S=torch.full((4,), math.nan)))
    assert (said.gain, said.flatness, said.goal_out_of_reach) == (0.0, 1.0, True)


def test_elites_are_as_far_apart_as_their_first_moves_lead() -> None:
    found = search(PointWorld(), [problem(HOME)], SearchConfig())[0]
    elites_KHA = torch.zeros(2, 2, 7)
    elites_KHA[0, 0] = torch.tensor([0.03, 0.0, 0.08, 0.5, 0.0, 0.0, 1.0])
    elites_KHA[:, 1, 0] = torch.tensor([-1.0, 1.0])  # later moves may differ
    assert judge(replace(found, elites_KHA=elites_KHA)).elite_spread == pytest.approx(math.hypot(0.03, 0.08) / 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"least_gain": -0.01},
        {"least_gain": 1.0},
        {"most_flatness": 0.0},
        {"most_flatness": 1.01},
        {"most_cycle_error": 0.0},
    ],
)
def test_a_sign_that_would_always_or_never_warn_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} .*, got"):
        ConfidenceConfig(**wrong)  # type: ignore[arg-type]  # shares and metres


def test_a_cost_that_does_not_depend_on_the_move_is_flat() -> None:
    flat = confidence(moved(0.03, 0.0, 0.0), world=_with_something_new_in_the_picture())
    assert flat.flatness == pytest.approx(1.0)
    assert flat.gain == pytest.approx(0.0)


def test_a_clear_choice_of_the_gripper_has_contrast() -> None:
    assert confidence(moved(0.0, 0.0, 0.0, gripper=0.75)).gripper_contrast > 0.9
    found = search(PointWorld(), [problem(HOME)], SearchConfig())[0]
    for costs, contrast in (
        ({"a": 3.0, "b": 2.0, "c": 9.0}, 1 / 3),
        ({"a": 1.0}, 0.0),
        ({}, 0.0),
        ({"a": 1.0, "b": math.inf}, 0.0),
        ({"a": math.nan, "b": 1.0}, 0.0),
        ({"a": 3.0, "b": math.nan, "c": 2.0}, 1 / 3),  # numbers that are none stand between no others
    ):
        assert judge(replace(found, gripper_costs=costs)).gripper_contrast == pytest.approx(contrast)


def test_how_surely_the_goal_is_located_is_said_of_each_request() -> None:
    goals = [moved(0.03, 0.0, 0.0), moved(0.0, 0.05, 0.0)]
    world = PointWorld(located_B4=located(*goals))
    found = search(world, [problem(goal, world=world) for goal in goals], SearchConfig(), CostConfig(place=3.0))
    assert [judge(each).goal_uncertainty for each in found] == pytest.approx([UNSURE, 2 * UNSURE])
    assert confidence(goals[0]).goal_uncertainty is None


@pytest.mark.parametrize(
    ("error", "unfamiliar"), [(0.0, False), (0.029, False), (0.031, True), (math.nan, True), (math.inf, True)]
)
def test_a_model_that_contradicts_itself_on_the_way_does_not_know_the_view(error: float, unfamiliar: bool) -> None:
    goal = moved(0.03, 0.0, 0.0)
    world = PointWorld(located_B4=located(goal), cycle_error=error)
    found = search(world, [problem(goal, world=world)], SearchConfig(), CostConfig(place=3.0))[0]
    said = judge(found)
    assert said.view_unfamiliar == unfamiliar
    assert said.cycle_error == (pytest.approx(error) if math.isfinite(error) else None)
    assert not judge(replace(found, cycle_error=0.11), ConfidenceConfig(most_cycle_error=0.2)).view_unfamiliar


def test_a_model_that_locates_nothing_is_not_asked_for_the_way_back() -> None:
    said = confidence(moved(0.03, 0.0, 0.0))
    assert (said.cycle_error, said.view_unfamiliar) == (None, False)


def _with_something_new_in_the_picture() -> PointWorld:
    return _Changed(blind=(0, 1, 2, 3, 4, 5, 6))


class _Changed(PointWorld):
    """Whatever the hand does, what is imagined stays as far from the goal."""

    def _rolled_out(self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor) -> Rollout:
        rollout = super()._rolled_out(latents_BND, pose_B7, actions_BSHA)
        return replace(rollout, latents_BSHND=rollout.latents_BSHND + 0.7)
