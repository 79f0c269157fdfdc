"""The default search finds what arithmetic says is best, with each of its ingredients on and off."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from planner.costs import CostConfig
from planner.gripper import GripperConfig
from planner.problem import SearchResult
from planner.search import search
from planner.search_config import SearchConfig
from tests.planner.problems import problem
from tests.planner.worlds import HOME, Clock, PointRobot, PointWorld, located, moved
from vjepa2_ac.config import from_dict, to_dict
from vjepa2_ac.errors import ConfigError, DeadlineError, PlanningError
from vjepa2_ac.geometry import integrate
from vjepa2_ac.world_model import History, Rollout

NEAR = moved(0.03, -0.02, 0.01)
FAR = moved(0.2, 0.0, 0.0)


def solve(
    goal: Any = NEAR, *, world: PointWorld | None = None, seed: int = 0, last: Any = None, **settings: Any
) -> SearchResult:
    world = world or PointWorld()
    return search(world, [problem(goal, world=world, seed=seed, last_HA=last)], SearchConfig(**settings))[0]


def end(found: SearchResult) -> Tensor:
    """The pose [7] in which a plan ends."""
    pose_7 = torch.tensor(HOME)
    for action_A in found.actions_HA:
        pose_7 = integrate(pose_7, action_A)
    return pose_7


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"noise": "gaussian"},
        {"kept_elites": 0, "try_mean": False, "samples": 64},
        {"answer": "mean", "iterations": 6},
        {"agreement": None},
        {"horizon": 2, "samples": 64, "iterations": 6},
        {"horizon": 4, "samples": 96, "iterations": 8},
        {"gripper": GripperConfig(mode="sampled"), "samples": 64},
        {"gripper": GripperConfig(mode="held")},
    ],
    ids=str,
)
def test_every_ingredient_finds_the_near_goal(settings: dict[str, Any]) -> None:
    found = solve(**settings)
    torch.testing.assert_close(end(found)[:3], torch.from_numpy(NEAR[:3]).float(), atol=4e-3, rtol=0)
    assert end(found)[6] == 0


def test_a_goal_further_than_a_step_is_approached_as_fast_as_allowed() -> None:
    found = solve(FAR)
    torch.testing.assert_close(found.actions_HA[0, :3], torch.tensor([0.05, 0.0, 0.0]), atol=3e-3, rtol=0)


def test_no_candidate_leaves_the_box() -> None:
    found = solve(FAR, turn_limit=0.1, gripper=GripperConfig(mode="sampled"))
    assert found.gripper_costs == {}  # it is searched with the moves
    assert found.elites_KHA[..., :3].abs().max() <= 0.05
    assert found.elites_KHA[..., 3:6].abs().max() <= 0.1


def test_the_best_cost_never_rises() -> None:
    for seed in range(5):
        trace = solve(seed=seed, kept_elites=0, iterations=6).trace
        assert list(trace) == sorted(trace, reverse=True)


def test_a_warm_start_begins_at_the_shifted_last_plan() -> None:
    last = torch.zeros(1, 7)
    last[0, :3] = torch.tensor([0.03, -0.02, 0.01])
    warm, cold = solve(last=last), solve(last=last, warm_start=False)
    assert warm.trace[0] < 1e-4 < cold.trace[0]


def test_it_stops_when_the_elites_agree() -> None:
    found = solve(iterations=30)
    assert found.stop_reason == "converged"
    assert found.iterations < 15


def test_without_agreement_it_goes_on_to_the_end() -> None:
    found = solve(iterations=8, agreement=None)
    assert (found.stop_reason, found.iterations) == ("iterations", 8)


def test_evaluations_are_what_the_world_was_asked_for() -> None:
    world = PointWorld()
    found = solve(world=world, agreement=None)
    assert found.evaluations == sum(world.scored)


@pytest.mark.parametrize(
    ("try_mean", "answer", "once_more"), [(True, "best", 1), (False, "best", 0), (False, "mean", 1), (True, "mean", 1)]
)
def test_the_last_mean_is_tried_once_more_where_it_may_be_the_answer(
    try_mean: bool, answer: Any, once_more: int
) -> None:
    held = GripperConfig(mode="held")
    found = solve(try_mean=try_mean, answer=answer, iterations=2, agreement=None, prune=False, gripper=held)
    assert found.evaluations == 2 * 32 + once_more


def test_the_cost_of_doing_nothing_is_known_exactly() -> None:
    assert solve().idle_cost == pytest.approx(10 * (0.03 + 0.02 + 0.01) / 7, abs=1e-6)


# --- the gripper ---


def test_the_gripper_closes_when_the_goal_shows_it_closed() -> None:
    assert end(solve(moved(0.01, 0.0, 0.0, gripper=0.75)))[6] == pytest.approx(0.75)
    opened = search(PointWorld(), [problem(HOME, moved(0.0, 0.01, 0.0, gripper=0.6))], SearchConfig())[0]
    assert opened.actions_HA[0, 6] == pytest.approx(-0.6)


def test_each_gripper_option_is_priced() -> None:
    costs = solve(moved(0.0, 0.0, 0.0, gripper=0.75)).gripper_costs
    assert set(costs) == {"keep", "close", "close to 0.4"}  # an open gripper cannot open
    assert costs["close"] == min(costs.values())


def test_a_gate_keeps_the_gripper_while_there_is_way_to_go() -> None:
    gated = GripperConfig(gate=0.015)
    far, near = moved(0.05, 0.0, 0.0, gripper=1.0), moved(0.005, 0.0, 0.0, gripper=1.0)
    assert solve(far).actions_HA[0, 6] > 0
    assert solve(far, gripper=gated).actions_HA[0, 6] == 0
    assert solve(near, gripper=gated).actions_HA[0, 6] > 0
    assert solve(moved(0.02, -0.02, 0.0, gripper=1.0), gripper=gated).actions_HA[0, 6] == 0  # whichever way it is


@pytest.mark.parametrize("closed", [0.35, 1.0])
def test_by_contrast_the_gripper_does_what_the_goal_shows_in_one_search(closed: float) -> None:
    contrast = GripperConfig(limit=0.5)
    shut, still = moved(0.01, 0.0, 0.0, gripper=closed), moved(0.01, 0.0, 0.0)
    found = solve(shut, gripper=contrast)
    assert found.actions_HA[0, 6] == pytest.approx(0.5)  # told to close, whatever may stop it
    assert end(found)[:3] == pytest.approx(shut[:3], abs=2e-3)
    assert found.cost == min(found.gripper_costs.values())
    assert set(found.gripper_costs) == {"keep", "close", "close to 0.4"}
    assert solve(still, gripper=contrast).actions_HA[0, 6] == 0


def test_by_contrast_requests_with_other_options_do_not_disturb_each_other() -> None:
    config = SearchConfig(gripper=GripperConfig(limit=0.5))
    goals = [moved(0.02, 0.0, 0.0, gripper=0.4), moved(0.1, 0.01, 0.0, gripper=0.0), moved(0.0, 0.04, 0.0)]
    problems = [
        problem(goal, start, seed=seed)
        for seed, (start, goal) in enumerate(zip([HOME, moved(0.1, 0.0, 0.0, gripper=0.5), HOME], goals, strict=True))
    ]
    together = search(PointWorld(), problems, config)
    for each, found in zip(problems, together, strict=True):
        alone = search(PointWorld(), [each], config)[0]
        torch.testing.assert_close(found.actions_HA, alone.actions_HA, rtol=0, atol=1e-6)
        assert found.gripper_costs == pytest.approx(alone.gripper_costs)
    assert [float(found.actions_HA[0, 6]) for found in together] == pytest.approx([0.5, -0.5, 0.0])


def test_a_held_gripper_never_changes() -> None:
    assert solve(moved(0.0, 0.0, 0.0, gripper=1.0), gripper=GripperConfig(mode="held")).actions_HA[0, 6] == 0


# --- rotation ---


def test_rotation_is_searched_only_when_asked_for() -> None:
    turned = np.array(HOME)
    turned[5] = 0.15
    assert not solve(turned).actions_HA[:, 3:6].any()
    found = solve(turned, turn_limit=0.2, samples=96, iterations=7)
    torch.testing.assert_close(end(found)[3:6], torch.tensor([0.0, 0.0, 0.15]), atol=0.02, rtol=0)


# --- where the hand is in the goal ---


def locating(*goals: Any, **changes: Any) -> PointWorld:
    """A world whose pictures do not show how far ahead the hand is, and that locates it in its requests' goals."""
    return PointWorld(blind=(0,), located_B4=located(*goals), **changes)


def test_a_world_blind_along_an_axis_finds_the_goal_by_where_it_locates_the_hand() -> None:
    without = search(PointWorld(blind=(0,)), [problem(NEAR, world=locating(NEAR))], SearchConfig())[0]
    by_place = search(locating(NEAR), [problem(NEAR, world=locating(NEAR))], SearchConfig(), CostConfig(place=3.0))[0]
    assert abs(end(without)[0] - NEAR[0]) > 0.01
    torch.testing.assert_close(end(by_place)[:3], torch.from_numpy(NEAR[:3]).float(), atol=4e-3, rtol=0)
    torch.testing.assert_close(end(without)[1:3], torch.from_numpy(NEAR[1:3]).float(), atol=4e-3, rtol=0)


def test_a_world_that_cannot_locate_the_hand_plans_by_latents_alone() -> None:
    asked = [problem(NEAR, seed=2)]
    by_place = search(PointWorld(), asked, SearchConfig(), CostConfig(place=3.0))[0]
    assert torch.equal(by_place.actions_HA, search(PointWorld(), asked, SearchConfig())[0].actions_HA)


@pytest.mark.parametrize(
    ("place", "config"),
    [
        (0.0, SearchConfig()),
        (3.0, SearchConfig()),
        (0.0, SearchConfig(gripper=GripperConfig(located=0.5))),
        (3.0, SearchConfig(gripper=GripperConfig(located=0.5))),
        (0.0, SearchConfig(gripper=GripperConfig(take_share=0.5))),
        (0.0, SearchConfig(lift_first=True)),
    ],
)
def test_the_hand_is_located_once_a_search_whatever_it_counts(place: float, config: SearchConfig) -> None:
    asked = []

    class Asked(PointWorld):
        def locate(self, *given: Tensor, keyframe: bool = False) -> None:
            asked.append(given)

    search(Asked(), [problem(NEAR), problem(FAR)], config, CostConfig(place=place))
    assert len(asked) == 1


def test_where_the_hand_is_located_changes_nothing_that_does_not_count_it() -> None:
    asked = [problem(NEAR), problem(FAR)]
    plain, told = (search(PointWorld(located_B4=place), asked, SearchConfig()) for place in (None, located(FAR, NEAR)))
    for one, other in zip(plain, told, strict=True):
        assert torch.equal(one.actions_HA, other.actions_HA)
        assert one.cost == other.cost
        assert (one.cycle_error, other.cycle_error) == (None, 0.0)


def test_located_hands_of_requests_in_one_batch_are_not_confused() -> None:
    goals = [NEAR, moved(-0.04, 0.0, 0.02), moved(0.0, 0.2, 0.2)]  # the last goes on when the others have converged
    world, config, cost = locating(*goals), SearchConfig(iterations=8), CostConfig(place=3.0)
    problems = [problem(goal, world=world, seed=seed) for seed, goal in enumerate(goals)]
    together = search(world, problems, config, cost)
    assert together[2].iterations > max(found.iterations for found in together[:2])
    for goal, asked, found in zip(goals, problems, together, strict=True):
        alone = search(locating(goal), [asked], config, cost)[0]
        torch.testing.assert_close(found.actions_HA, alone.actions_HA, atol=1e-6, rtol=0)


def test_by_contrast_the_gripper_of_a_located_hand_does_what_the_goal_shows() -> None:
    shut = moved(0.02, 0.0, 0.0, gripper=1.0)
    world, contrast = locating(shut), SearchConfig(gripper=GripperConfig(limit=0.5))
    found = search(world, [problem(shut, world=world)], contrast, CostConfig(place=3.0))[0]
    assert found.actions_HA[0, 6] == pytest.approx(0.5)
    assert end(found)[:3] == pytest.approx(shut[:3], abs=4e-3)


class Carrying(PointWorld):
    """What a closed hand stood at goes along: pictures show how far (as roll), and not the hand's own fingers."""

    def rollout(self, latents_BND: Tensor, pose_B7: Tensor, actions_BSHA: Tensor, history: Any = None) -> Rollout:
        rollout = super().rollout(latents_BND, pose_B7, actions_BSHA, history)
        closed_BSH = pose_B7[:, None, None, 6] + actions_BSHA[..., 6].cumsum(dim=2)
        carried_BSH = ((closed_BSH > 0.3) * actions_BSHA[..., 0]).cumsum(dim=2)
        latents_BSHND = rollout.latents_BSHND.clone()
        latents_BSHND[..., 3] = carried_BSH.unsqueeze(-1)
        latents_BSHND[..., 6] = 0.0
        return Rollout(latents_BSHND, rollout.poses_BSH7, actions_BSHA)


@pytest.mark.parametrize(
    ("leaving", "closed", "carried", "takes"),
    [
        *((True, 0.0, 0.1, True), (True, 0.0, 0.03, False), (True, 0.0, 0.0, False)),
        *((True, 0.2, 0.1, False), (False, 0.0, 0.1, False)),
    ],
)
@pytest.mark.parametrize("share", [0.5, None])
def test_an_open_hand_that_leaves_closes_first_where_the_next_goal_shows_that_something_came_along(
    leaving: bool, closed: float, carried: float, takes: bool, share: float | None
) -> None:
    there = moved(0.1, 0.0, 0.0)
    world = Carrying(located_B4=located(there))
    goal = [*there[:3], carried, 0.0, 0.0, 0.0]
    config = SearchConfig(gripper=GripperConfig(limit=0.5, gate=0.007, take_share=share))
    asked = problem(goal, moved(0.0, 0.0, 0.0, gripper=closed), world=world, leaving=leaving)
    found = search(world, [asked], config, CostConfig(place=10.0))[0]
    if takes and share:
        assert found.actions_HA[0].tolist() == pytest.approx([0, 0, 0, 0, 0, 0, 0.5])
    else:
        assert found.actions_HA[0, 0] == pytest.approx(0.05, abs=5e-3)
        assert found.actions_HA[0, 6] == 0.0


@pytest.mark.parametrize("horizon", [1, 2])
@pytest.mark.parametrize(
    ("leaving", "higher", "lift_first", "straight_up"),
    [
        (True, 0.1, True, True),
        *((False, 0.1, True, False), (True, 0.1, False, False), (True, 0.0, True, False), (True, -0.1, True, False)),
    ],
)
def test_a_hand_that_leaves_for_a_higher_place_lifts_before_it_goes_aside(
    leaving: bool, higher: float, lift_first: bool, straight_up: bool, horizon: int
) -> None:
    there = moved(0.1, -0.1, higher)
    world, last = locating(there), torch.tensor([[0.03, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    asked = problem(there, world=world, leaving=leaving, last_HA=last)
    config = SearchConfig(lift_first=lift_first, horizon=horizon)
    first = search(world, [asked], config, CostConfig(place=10.0))[0].actions_HA[0]
    if straight_up:
        assert first[:2].tolist() == [0.0, 0.0]
        assert first[2] == pytest.approx(0.05, abs=5e-3)
    else:
        assert first[0] > 0.02
        assert first[1] < -0.02


@pytest.mark.parametrize(
    ("leaving", "aside", "straight_up"), [(True, 0.1, True), (False, 0.1, False), (True, 0.0, False)]
)
def test_a_hand_that_leaves_for_a_keyframe_lifts_over_what_stands_between(
    leaving: bool, aside: float, straight_up: bool
) -> None:
    there = moved(aside, 0.0, -0.02)
    world = PointWorld(keyframe=lambda pose_B7: located(there))
    asked = problem(there, world=world, leaving=leaving)
    cost = CostConfig(place=10.0, from_above=2.0, keyframes=True)
    first = search(world, [asked], SearchConfig(lift_first=True), cost)[0].actions_HA[0]
    assert (first[0] == 0.0 and first[2] > 0.02) == straight_up
    assert (first[0] > 0.02) == (aside > 0 and not straight_up)


@pytest.mark.parametrize(
    ("aside", "above", "straight_up"),
    [(0.02, 0.0, True), (0.02, 0.02, True), (0.02, 0.04, False), (0.006, 0.0, False), (0.1, 0.0, False)],
)
def test_a_hand_that_came_down_beside_a_keyframe_rises_before_it_goes_there(
    aside: float, above: float, straight_up: bool
) -> None:
    there = moved(aside, 0.0, -above)
    world = PointWorld(keyframe=lambda pose_B7: located(there))
    cost = CostConfig(place=10.0, from_above=2.0, keyframes=True)
    first = search(world, [problem(there, world=world)], SearchConfig(lift_first=True), cost)[0].actions_HA[0]
    assert (first[0] == 0.0 and first[2] > 0.01) == straight_up


@pytest.mark.parametrize(("closed", "changing", "told"), [(0.4, 1.0, 0.6), (0.4, -1.0, -0.4), (0.0, -1.0, 0.0)])
def test_fingers_that_are_changing_go_on_while_the_hand_stays(closed: float, changing: float, told: float) -> None:
    start, there = moved(0.0, 0.0, 0.0, gripper=closed), moved(0.1, 0.0, 0.0, gripper=closed)
    world = PointWorld(keyframe=lambda pose_B7: located(there))
    asked = problem(there, start, world=world, changing=changing)
    cost = CostConfig(place=10.0, keyframes=True)
    first = search(world, [asked], SearchConfig(gripper=GripperConfig(gate=0.007)), cost)[0].actions_HA[0]
    assert float(first[6]) == pytest.approx(told)
    assert (first[0] == 0.0) == (told != 0.0)


def test_each_request_of_a_batch_lifts_for_itself() -> None:
    goals = [moved(0.1, 0.0, 0.1), moved(0.1, 0.0, -0.1), moved(0.1, 0.0, 0.1)]
    world = locating(*goals)
    problems = [problem(goal, world=world, leaving=at < 2) for at, goal in enumerate(goals)]
    found = search(world, problems, SearchConfig(lift_first=True), CostConfig(place=10.0))
    assert [float(each.actions_HA[0, 0]) == 0.0 for each in found] == [True, False, False]


def test_a_place_that_is_no_number_is_not_gone_to_with_closed_fingers() -> None:
    world = Carrying(located_B4=torch.full((1, 4), torch.nan))
    config = SearchConfig(gripper=GripperConfig(take_share=0.5))
    with pytest.raises(PlanningError, match="no plan"):
        search(world, [problem(NEAR, world=world, leaving=True)], config, CostConfig(place=10.0))


def test_a_deadline_leaves_time_to_ask_what_comes_along() -> None:
    def laps(leaving: bool) -> int:
        clock = Clock()
        world = Carrying(located_B4=located(NEAR), clock=clock, seconds_fixed=1.0)
        gripper = GripperConfig(take_share=0.5)
        config = SearchConfig(iterations=9, try_mean=False, agreement=None, prune=False, gripper=gripper)
        asked = problem(NEAR, world=world, leaving=leaving)
        found = search(world, [asked], config, CostConfig(place=10.0), clock=clock, deadline=8.0)[0]
        assert clock.now <= 8.0
        return found.iterations

    assert laps(leaving=False) == 7
    assert laps(leaving=True) == 4  # it may take as long as three


@pytest.mark.parametrize(("from_above", "highest"), [(0.0, 0.0), (1.0, 0.05)])
def test_a_hand_that_starts_low_and_aside_goes_up_and_comes_to_the_place_from_above(
    from_above: float, highest: float
) -> None:
    there, robot, heights = moved(0.12, 0.0, 0.0), PointRobot(), []
    world, cost = locating(there), CostConfig(place=10.0, from_above=from_above)
    for _ in range(5):
        found = search(world, [problem(there, robot.pose, world=world)], SearchConfig(), cost)[0]
        robot.follow(found.actions_HA[0].numpy())
        heights.append(robot.pose[2] - HOME[2])
    assert max(heights) == heights[0] == pytest.approx(highest, abs=5e-3)
    np.testing.assert_allclose(robot.pose[:3], there[:3], atol=4e-3)


@pytest.mark.parametrize(
    ("closed", "closed_there", "change"),
    [(0.0, 1.0, 0.5), (0.0, 0.1, 0.0), (1.0, 0.0, -0.5), (1.0, 0.9, 0.0)],
)
def test_a_gripper_that_pictures_do_not_show_heeds_where_the_hand_is_located(
    closed: float, closed_there: float, change: float
) -> None:
    start, there = (moved(0.0, 0.0, 0.0, gripper=each) for each in (closed, closed_there))
    world = PointWorld(blind=(6,), located_B4=located(there))
    config = SearchConfig(gripper=GripperConfig(limit=0.5, located=0.5, release_located=0.5))
    found = search(world, [problem(there, start, world=world)], config)[0]
    assert found.actions_HA[0, 6] == pytest.approx(change)


@pytest.mark.parametrize(
    ("change", "weight", "heeds"),
    [
        *((-0.5, 0.0, True), (-0.5, 0.5, True), (-0.5, 0.8, False), (-0.5, 1.0, False)),
        *((0.5, 0.0, True), (0.5, 0.5, True), (0.5, 0.9, False), (0.5, 1.0, False)),
    ],
)
def test_what_pictures_show_and_where_the_hand_is_located_are_weighed(
    change: float, weight: float, heeds: bool
) -> None:
    start, there = (moved(0.0, 0.0, 0.0, gripper=each) for each in ((0.0, 1.0) if change > 0 else (1.0, 0.0)))
    world = PointWorld(located_B4=located(start))  # as if nothing had to change
    closing, opening = (weight, 1.0) if change > 0 else (1.0, weight)  # each has a weight of its own
    config = SearchConfig(gripper=GripperConfig(limit=0.5, located=closing, release_located=opening))
    found = search(world, [problem(there, start)], config)[0]
    assert found.actions_HA[0, 6] == pytest.approx(change if heeds else 0.0)


# --- several requests ---


def test_requests_in_one_batch_get_the_plans_they_would_get_alone() -> None:
    world = PointWorld()
    goals = [NEAR, FAR, moved(0.0, 0.04, 0.0, gripper=1.0)]
    starts = [HOME, moved(0.1, 0.0, 0.0, gripper=0.5), HOME]  # the second has a third gripper option
    problems = [problem(goal, start, seed=seed) for seed, (goal, start) in enumerate(zip(goals, starts, strict=True))]
    config = SearchConfig(iterations=8)
    for together, asked in zip(search(world, problems, config), problems, strict=True):
        alone = search(world, [asked], config)[0]
        torch.testing.assert_close(together.actions_HA, alone.actions_HA, atol=1e-6, rtol=0)
        assert (together.stop_reason, together.iterations) == (alone.stop_reason, alone.iterations)


def test_requests_that_have_converged_are_no_longer_imagined() -> None:
    world = PointWorld()
    starts = [problem(moved(0.2, 0.2, 0.2)), problem(NEAR)]  # to the corner of the box, and inside it
    found = search(world, starts, SearchConfig(iterations=30))
    assert found[0].iterations < found[1].iterations
    assert world.scored.count(2 * 32) == found[0].iterations
    assert world.scored.count(32) == found[1].iterations - found[0].iterations


def test_requests_that_go_on_without_the_others_keep_their_own_past() -> None:
    class Remembering(PointWorld):
        def score(self, latents_BND: Tensor, pose_B7: Tensor, *given: Any) -> Tensor:
            assert torch.equal(given[2].poses_BT7[:, -1], pose_B7)
            return super().score(latents_BND, pose_B7, *given)

    starts = [HOME, moved(0.1, 0.0, 0.0)]
    goals = [moved(0.2, 0.2, 0.2), moved(0.13, -0.02, 0.01)]  # the first converges before the second, see above
    pasts = [
        History(torch.zeros(1, 1, 16, 7), torch.tensor([[list(start)]], dtype=torch.float32), torch.zeros(1, 1, 7))
        for start in starts
    ]
    problems = [problem(goal, start, history=past) for goal, start, past in zip(goals, starts, pasts, strict=True)]
    first, second = search(Remembering(), problems, SearchConfig(iterations=30))
    assert first.iterations < second.iterations


# --- what may go wrong ---


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_candidates_without_a_cost_lose(number: float) -> None:
    def spoil(costs_BS: Tensor) -> Tensor:
        costs_BS[:, ::2] = number
        return costs_BS

    found = solve(world=PointWorld(spoil=spoil), samples=64)
    torch.testing.assert_close(end(found)[:3], torch.from_numpy(NEAR[:3]).float(), atol=6e-3, rtol=0)
    assert np.isfinite(found.cost)


def test_all_costs_without_a_number_are_refused() -> None:
    with pytest.raises(PlanningError, match="no plan"):
        solve(world=PointWorld(spoil=lambda costs: costs * torch.nan))


# --- time ---


def test_a_deadline_returns_the_best_so_far() -> None:
    clock = Clock()
    world = PointWorld(clock=clock, seconds_fixed=0.1)
    found = search(world, [problem(NEAR)], SearchConfig(iterations=10), clock=clock, deadline=0.35)[0]
    assert (found.stop_reason, found.iterations) == ("deadline", 2)  # the gripper is chosen in the third call
    assert clock.now <= 0.35
    assert found.cost == pytest.approx(found.trace[-1])


def test_a_deadline_too_short_for_one_iteration_is_an_error() -> None:
    clock = Clock()
    world = PointWorld(clock=clock, seconds_fixed=0.1)
    with pytest.raises(DeadlineError, match=r"one iteration took 100 ms"):
        search(world, [problem(NEAR)], SearchConfig(), clock=clock, deadline=0.05)


def test_a_deadline_in_the_past_is_refused_before_anything_is_imagined() -> None:
    world = PointWorld()
    with pytest.raises(DeadlineError, match="no time was left"):
        search(world, [problem(NEAR)], SearchConfig(), clock=lambda: 2.0, deadline=1.0)
    assert world.scored == []


# --- repeatability ---


@pytest.mark.parametrize("noise", ["gaussian", "sobol"])
def test_the_same_seed_gives_the_same_plan_and_another_seed_another(noise: Any) -> None:
    first, again, other = solve(noise=noise), solve(noise=noise), solve(noise=noise, seed=1)
    assert torch.equal(first.actions_HA, again.actions_HA)
    assert not torch.equal(first.actions_HA, other.actions_HA)


@pytest.mark.parametrize("pieces", [1, 7, 64])
def test_the_size_of_pieces_does_not_change_the_plan(pieces: int) -> None:
    found = solve(world=PointWorld(pieces=pieces))
    torch.testing.assert_close(found.actions_HA, solve().actions_HA, atol=1e-7, rtol=0)


# --- configuration ---


def test_a_config_survives_json() -> None:
    config = SearchConfig(gripper=GripperConfig(gate=0.015), turn_limit=0.1)
    assert from_dict(SearchConfig, to_dict(config), "test") == config


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("horizon", 0),
        ("horizon", 7068),  # of three numbers each; a draw holds 21201
        ("samples", (1 << 28) + 1),  # four iterations of them are more than a sequence has
        ("elites", 1),
        ("samples", 2),
        ("kept_elites", 7),
        ("step_limit", 0.0),
        ("spread", 0.0),
        ("mean_momentum", 1.0),
    ],
)
def test_nonsense_settings_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError):
        SearchConfig(**{name: value})


@pytest.mark.parametrize(("settings", "steps"), [({}, 7067), ({"turn_limit": 0.1}, 3533)])
def test_the_longest_horizon_is_as_long_as_draws_can_be(settings: dict[str, float], steps: int) -> None:
    assert SearchConfig(horizon=steps, **settings).horizon == steps
    torch.quasirandom.SobolEngine(steps * len(SearchConfig(**settings).space.columns))  # type: ignore[no-untyped-call]
    with pytest.raises(ConfigError, match=f"at most {steps} steps"):
        SearchConfig(horizon=steps + 1, **settings)


def test_a_sequence_of_draws_may_be_used_up() -> None:
    assert SearchConfig(samples=1 << 28, iterations=4).most_evaluations == 1 << 30
