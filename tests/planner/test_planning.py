"""The front door: every plan is judged, made safe and accounted for."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from planner.camera import CameraTurn
from planner.cem import CEMConfig
from planner.confidence import ConfidenceConfig
from planner.costs import CostConfig
from planner.gripper import GripperConfig
from planner.limits import LimitsConfig
from planner.mpc import Controller
from planner.plan import Plan
from planner.planning import Planner, PlannerConfig, _start
from planner.presets import PRESETS, preset
from planner.search_config import SearchConfig
from planner.seeing import HueView
from tests.planner.failures import ON_GAIN
from tests.planner.problems import request
from tests.planner.worlds import HOME, Clock, PointWorld, located, moved, paint
from vjepa2_ac.config import from_dict, to_dict
from vjepa2_ac.errors import CancelledError, ConfigError, InputError
from vjepa2_ac.models.hand_location import Observations
from vjepa2_ac.world_model import History

NEAR = moved(0.03, -0.02, 0.01)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_reaches_a_near_goal_and_accounts_for_it(name: str) -> None:
    world = PointWorld(keyframe=lambda _: located(NEAR))
    plan = Planner(world, preset(name)).plan(request(NEAR))
    np.testing.assert_allclose(plan.targets_H7[-1][:3], NEAR[:3], atol=8e-3)
    assert plan.evaluations == sum(world.scored)
    assert plan.cost < plan.idle_cost
    assert len(plan.trace) == plan.iterations
    assert plan.warnings == ()
    assert json.loads(json.dumps(plan.to_dict()))["actions"] == plan.actions_H7.tolist()


def test_moves_are_planned_as_far_apart_as_the_model_has_learned_to_see() -> None:
    Planner(PointWorld(fps=3.75))  # every fourth of 15 pictures a second
    with pytest.raises(ConfigError, match=r"learned from 2 pictures a second; moves are planned 0\.25 s apart"):
        Planner(PointWorld(fps=2.0))


def test_fast_and_balanced_take_at_most_a_twentieth_of_the_published_evaluations() -> None:
    published = PRESETS["paper"].paper.samples * PRESETS["paper"].paper.iterations
    assert published == 8000
    for name in ("fast", "balanced"):
        assert PRESETS[name].search.most_evaluations <= published / 20


def test_an_unknown_preset_is_named_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'balanced'"):
        preset("ballanced")


def test_a_plan_is_held_to_the_limits_and_says_so() -> None:
    limits = LimitsConfig(highest=(0.41, 0.6, 0.9))
    plan = Planner(PointWorld(), PlannerConfig(limits=limits)).plan(request(moved(0.1, 0.0, 0.0)))
    assert plan.targets_H7[0, 0] == pytest.approx(0.41)
    assert plan.wanted_H7[0, 0] > 0.04
    assert "clipped for safety" in plan.warnings[0]
    assert "workspace" in plan.warnings[0]


def test_a_dry_run_stands_still_and_shows_what_it_would_do() -> None:
    plan = Planner(PointWorld(), PlannerConfig(limits=LimitsConfig(dry_run=True))).plan(request(NEAR))
    assert not plan.actions_H7.any()
    np.testing.assert_allclose(plan.targets_H7, [HOME])
    np.testing.assert_allclose(plan.wanted_H7[0, :3], NEAR[:3] - HOME[:3], atol=5e-3)
    assert plan.dry_run
    assert "dry run" in plan.warnings[-1]


def test_targets_start_from_the_commanded_pose_when_there_is_one() -> None:
    plan = Planner(PointWorld()).plan(request(NEAR, commanded=moved(0.0, 0.0, 0.02)))
    np.testing.assert_allclose(plan.targets_H7[0] - plan.actions_H7[0], moved(0.0, 0.0, 0.02), atol=1e-9)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (moved(0.0, 0.58, 0.0), "58.0 cm and 0.00 rad from where the hand is"),
        ([*HOME[:3], 0.0, 0.0, 0.4, 0.0], "0.0 cm and 0.40 rad"),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_no_plan_starts_farther_from_the_hand_than_one_action_may_go(told: Any, words: str, dry_run: bool) -> None:
    planner = Planner(PointWorld(), PlannerConfig(limits=LimitsConfig(dry_run=dry_run)))
    with pytest.raises(InputError, match=words):
        planner.plan(request(NEAR, commanded=told))


def test_a_dry_run_stands_where_the_hand_is_and_goes_on_holding() -> None:
    told = [*moved(0.0, 0.0, 0.05)[:6], 1.0]
    planner = Planner(PointWorld(), PlannerConfig(limits=LimitsConfig(dry_run=True)))
    plan = planner.plan(request(moved(0.03, 0.0, 0.0, gripper=0.5), moved(0.0, 0.0, 0.0, gripper=0.5), commanded=told))
    np.testing.assert_allclose(plan.targets_H7, [[*HOME[:6], 1.0]])


@pytest.mark.parametrize("name", ["balanced", "paper"])
def test_what_limits_forbid_is_not_searched(name: str) -> None:
    limits = LimitsConfig(step=0.02, turn=0.05, grip=0.2)
    config = preset(name)
    planner = Planner(PointWorld(), replace(config, search=replace(config.search, turn_limit=0.3), limits=limits))
    plan, config = planner.plan(request(moved(0.2, 0.03, 0.0))), planner.config
    assert not [clip for clip in plan.clipped if clip.part != "gripper"]
    np.testing.assert_allclose(plan.actions_H7[0, :2], 0.02, atol=2e-3)
    assert config.search.turn_limit == 0.05
    assert config.search.gripper.limit == config.paper.gripper_limit == 0.2


def test_what_limits_allow_is_searched_as_it_was_said() -> None:
    gripper = GripperConfig(mode="sampled", limit=0.3, deadband=0.25)
    config = PlannerConfig(search=SearchConfig(gripper=gripper, descent_limit=0.01, turn_limit=0.1))
    assert config.held_to(LimitsConfig()) == config


@pytest.mark.parametrize("name", ["balanced", "paper"])
def test_a_gripper_closes_however_little_it_may_in_a_step(name: str) -> None:
    config = preset(name).held_to(LimitsConfig(grip=0.2))
    plan = Planner(PointWorld(), config).plan(request(moved(0.0, 0.0, 0.0, gripper=0.9)))
    assert plan.actions_H7[0, 6] == pytest.approx(0.2, abs=0.03)


def test_a_gripper_holding_something_keeps_squeezing_and_opens_from_where_it_is() -> None:
    holding, told = moved(0.0, 0.0, 0.0, gripper=0.5), moved(0.0, 0.0, 0.0, gripper=1.0)
    planner = Planner(PointWorld())
    keeping = planner.plan(request(moved(0.03, 0.0, 0.0, gripper=0.5), holding, commanded=told))
    opening = planner.plan(request(moved(0.0, 0.0, 0.0, gripper=0.0), holding, commanded=told))
    assert keeping.targets_H7[0, 6] == 1.0
    assert opening.targets_H7[0, 6] == pytest.approx(0.0, abs=1e-6)


def test_a_gripper_holds_until_the_step_that_changes_it() -> None:
    holding, told = moved(0.0, 0.0, 0.0, gripper=0.45), moved(0.0, 0.0, 0.0, gripper=1.0)
    later = np.zeros((2, 7))
    later[1, 6] = -0.3
    start = _start(request(NEAR, holding, commanded=told), later)
    assert start[6] == 1.0
    assert _start(request(NEAR, holding, commanded=told), later[::-1])[6] == 0.45


@pytest.mark.parametrize("last", [np.zeros(7), np.zeros((0, 7)), np.zeros((2, 4))])
def test_last_actions_that_are_none_are_refused(last: Any) -> None:
    with pytest.raises(InputError, match=r"last actions are \[steps, 7\]"):
        Planner(PointWorld()).plan(request(NEAR, last_actions=last))


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_last_actions_that_are_no_numbers_are_refused(number: float) -> None:
    with pytest.raises(InputError, match="last actions holds numbers that are not finite"):
        Planner(PointWorld()).plan(request(NEAR, last_actions=np.full((1, 7), number)))


@pytest.mark.parametrize("tokens", [1, 32])
def test_a_goal_of_another_size_than_what_is_seen_is_refused(tokens: int) -> None:
    asked = replace(request(NEAR), goal_ND=torch.zeros(tokens, 7))
    with pytest.raises(InputError, match="a goal's latents are"):
        Planner(PointWorld()).plan(asked)
    with pytest.raises(InputError, match="a goal's latents are"):
        Controller(Planner(PointWorld()), [asked.goal_ND]).step(paint(HOME), HOME)


def test_a_plan_that_costs_more_than_doing_nothing_says_so() -> None:
    def dearer(costs_BS: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[0.3, 0.2]]) if costs_BS.shape[1] == 2 else costs_BS  # the answer, and doing nothing

    plan = Planner(PointWorld(spoil=dearer), preset("paper")).plan(request(NEAR))
    assert any("the best plan costs 50.0 % more than doing nothing" in warning for warning in plan.warnings)


def test_a_plan_beside_an_unknown_cost_of_doing_nothing_says_no_share_of_it() -> None:
    def spoilt(costs_BS: torch.Tensor) -> torch.Tensor:
        costs_BS[:, 0] = torch.nan
        return costs_BS

    config = PlannerConfig(search=SearchConfig(gripper=GripperConfig(mode="held"), iterations=1, try_mean=False))
    plan = Planner(PointWorld(spoil=spoilt), config).plan(request(NEAR))
    assert plan.confidence.goal_out_of_reach  # a robot must never move on a guess
    assert plan.warnings[-1].endswith("cannot be compared with doing nothing, which costs no number")


def test_a_pose_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="pose"):
        Planner(PointWorld()).plan(replace(request(NEAR), pose=[0.0] * 6))
    planner = Planner(PointWorld())
    for poses, complaint in (
        ({"pose": [HOME]}, r"pose has shape \[1, 7\]; expected that of one pose, \[7\]"),
        ({"pose": HOME, "commanded": [HOME, HOME]}, r"commanded pose has shape \[2, 7\]"),
    ):
        with pytest.raises(InputError, match=complaint):
            planner.plan(replace(request(NEAR), **poses))  # type: ignore[arg-type]
        control = Controller(planner, [paint(NEAR)])
        with pytest.raises(InputError, match=complaint):
            control.step(paint(HOME), **poses)  # type: ignore[arg-type]
        assert control.step(paint(HOME), HOME).plan is not None


def test_requests_planned_together_get_the_plans_they_get_alone_whatever_their_histories() -> None:
    past = History(torch.zeros(1, 2, 16, 7), torch.zeros(1, 2, 7), torch.zeros(1, 2, 7))
    asked = [request(NEAR, seed=1), request(NEAR, seed=2, history=past), request(moved(0.0, 0.0, 0.04), seed=3)]
    planner = Planner(PointWorld())
    for together, alone in zip(planner.plan_together(asked), map(planner.plan, asked), strict=True):
        np.testing.assert_allclose(together.actions_H7, alone.actions_H7, atol=1e-6)
        assert together.seed == alone.seed


def test_a_deadline_holds_for_the_published_search_too() -> None:
    clock = Clock()
    world = PointWorld(clock=clock, seconds_each=1e-4)
    config = PlannerConfig(method="paper", paper=CEMConfig(samples=500, iterations=10))
    plan = Planner(world, config, clock=clock).plan(request(NEAR), deadline=0.22)
    assert (plan.stop_reason, plan.iterations) == ("deadline", 3)
    assert clock.now <= 0.22


@pytest.mark.parametrize("method", ["search", "paper"])
def test_requests_that_are_not_searched_in_one_batch_share_the_time_to_a_deadline(method: Any) -> None:
    def past(steps: int) -> History:
        return History(torch.zeros(1, steps, 16, 7), torch.zeros(1, steps, 7), torch.zeros(1, steps, 7))

    clock = Clock()
    world = PointWorld(clock=clock, seconds_each=1e-4)
    search = SearchConfig(samples=100, iterations=20, agreement=None, prune=False)
    config = PlannerConfig(method=method, search=search, paper=CEMConfig(samples=100, iterations=20))
    histories = [None, past(1), past(1), past(2)] if method == "search" else [None] * 4
    asked = [request(moved(0.1, 0.0, 0.0), history=history) for history in histories]
    plans = Planner(world, config, clock=clock).plan_together(asked, deadline=0.24)
    assert clock.now <= 0.24
    assert {plan.stop_reason for plan in plans} == {"deadline"}
    assert min(plan.iterations for plan in plans) >= 3


@pytest.mark.parametrize("method", ["search", "paper"])
def test_a_plan_nobody_wants_any_more_is_given_up(method: Any) -> None:
    world = PointWorld()
    with pytest.raises(CancelledError, match="after 2 iterations"):
        Planner(world, PlannerConfig(method=method)).plan(request(NEAR), is_wanted=lambda: len(world.scored) < 2)


@pytest.mark.parametrize("yaw", [-0.6, 0.4])
def test_a_turned_camera_is_made_up_for(yaw: float) -> None:
    world = PointWorld(yaw=yaw)  # shows the scene turned by yaw, so what is imagined is true when turned back
    asked = request(NEAR, world=world)
    wrong = Planner(world).plan(asked)
    right = Planner(world, camera=CameraTurn(yaw=-yaw)).plan(asked)
    np.testing.assert_allclose(right.targets_H7[0, :3], NEAR[:3], atol=4e-3)
    assert np.linalg.norm(wrong.targets_H7[0, :3] - NEAR[:3]) > 0.01


def test_what_a_move_leads_to_is_imagined_as_the_camera_shows_it() -> None:
    world = PointWorld(yaw=0.4)
    imagined_ND = Planner(world, camera=CameraTurn(yaw=-0.4)).imagine(request(NEAR, world=world), NEAR - HOME)
    torch.testing.assert_close(imagined_ND, request(NEAR, world=world).goal_ND, atol=1e-4, rtol=0)


def test_earlier_observations_are_turned_as_the_camera_is() -> None:
    world, turn = PointWorld(located_B4=located(HOME)), CameraTurn(yaw=0.5, about=(0.3, 0.1, 0.0))
    poses = np.stack([moved(0.02, 0.01, 0.0), moved(0.0, -0.03, 0.05)])
    earlier = Observations(world.latents(torch.from_numpy(poses).float()), torch.from_numpy(poses).float())
    planner = Planner(world, PlannerConfig(cost=CostConfig(place=10.0)), camera=turn)
    asked = request(moved(0.05, 0.0, 0.0))
    planner.plan(replace(asked, earlier=earlier, turned=(HueView(asked.latents_ND, asked.goal_ND, earlier),)))
    for (told,) in world.told:  # in their own hues, and in others
        np.testing.assert_allclose(told.poses_T7, turn.poses_to_model(poses), atol=1e-6)
        assert torch.equal(told.latents_TND, earlier.latents_TND)
    assert len(world.told) == 2


def test_what_carries_over_is_turned_as_the_camera_is() -> None:
    turn = CameraTurn(yaw=0.5, about=(0.3, 0.1, 0.0))
    set_down, path = moved(0.1, 0.05, -0.2), np.stack([moved(0.02, 0.01, 0.0), moved(0.0, -0.03, 0.05)])
    moves = np.array([[0.02, -0.01, 0.0, 0.0, 0.1, 0.0, 0.3], [0.0, 0.04, 0.01, 0.1, 0.0, 0.0, 0.0]])
    past = History(torch.zeros(1, 2, 16, 7), *(torch.from_numpy(rows).float()[None] for rows in (path, moves)))
    asked = request(NEAR, set_down=set_down, last_actions=moves, history=past)
    problem = Planner(PointWorld(), camera=turn)._problem(asked)
    assert problem.set_down_7 is not None
    assert problem.last_HA is not None
    assert problem.history is not None
    np.testing.assert_allclose(problem.set_down_7, turn.poses_to_model(set_down), atol=1e-6)
    np.testing.assert_allclose(problem.last_HA, turn.actions_to_model(moves), atol=1e-6)
    np.testing.assert_allclose(problem.history.poses_BT7[0], turn.poses_to_model(path), atol=1e-6)
    np.testing.assert_allclose(problem.history.actions_BTA[0], turn.actions_to_model(moves), atol=1e-6)


def test_a_bad_view_is_warned_of() -> None:
    plan = Planner(PointWorld(), camera=CameraTurn(residual=0.8)).plan(request(NEAR))
    assert "80 % of the motion unexplained" in plan.warnings[-1]


def test_of_a_view_that_the_model_does_not_know_a_plan_warns_and_gives_no_chance_of_failure() -> None:
    def made(cycle_error: float) -> Plan:
        world = PointWorld(located_B4=located(NEAR), cycle_error=cycle_error)
        return Planner(world, replace(preset("fast"), confidence=ConfidenceConfig(failure=ON_GAIN))).plan(request(NEAR))

    known, unknown, nowhere = made(0.02), made(0.31), made(float("nan"))
    assert known.failure_probability is not None
    assert known.warnings == ()
    assert unknown.failure_probability is nowhere.failure_probability is None
    assert unknown.warnings == (
        "the model does not know such a view: its ways to the goal's hand and back contradict each other by 31 cm",
    )
    assert nowhere.warnings[0].endswith("its ways to the goal's hand and back are no numbers")
    np.testing.assert_array_equal(known.actions_H7, unknown.actions_H7)


def test_a_planner_config_survives_json() -> None:
    config = preset("fast")
    assert from_dict(PlannerConfig, json.loads(json.dumps(to_dict(config))), "test") == config


def test_the_same_request_gives_the_same_plan() -> None:
    def numbers() -> Any:
        return Planner(PointWorld(), clock=Clock()).plan(request(NEAR, seed=5)).to_dict()

    assert numbers() == numbers()
