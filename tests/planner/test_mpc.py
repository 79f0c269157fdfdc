"""The closed loop: a point robot gets to its goals, one after the other, and nothing but progress passes them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from planner.confidence import ConfidenceConfig
from planner.costs import CostConfig
from planner.goals import AchievedGoals, ProgressConfig
from planner.gripper import GripperConfig
from planner.limits import LimitsConfig
from planner.mpc import ControlConfig, Controller, Step
from planner.plan import Plan
from planner.planning import Planner, PlannerConfig, Request
from planner.presets import preset
from planner.search_config import SearchConfig
from planner.seeing import see
from tests.planner.worlds import HOME, Clock, PointRobot, PointWorld, located, moved, paint
from vjepa2_ac.errors import DeadlineError, InputError, NotEnoughMemoryError, StaleObservationError
from vjepa2_ac.world_model import History

GRASP = [moved(0.12, 0.05, -0.1), moved(0.12, 0.05, -0.1, gripper=1.0), moved(0.0, 0.1, 0.0, gripper=1.0)]
KNOWN = ControlConfig(progress=ProgressConfig(achieved=AchievedGoals(mean=0.005, deviation=0.01)))


def controller(
    goals: list[Any], config: ControlConfig = KNOWN, world: PointWorld | None = None, **planning: Any
) -> Controller:
    planner = Planner(world or PointWorld(), PlannerConfig(**planning))
    return Controller(planner, [paint(goal) for goal in goals], config)


def run(control: Controller, robot: PointRobot, most: int = 60) -> list[Step]:
    steps = []
    for _ in range(most):
        steps.append(control.step(robot.frame(), robot.pose))
        if steps[-1].plan is None:
            break
        robot.follow(steps[-1].plan.actions_H7[0])
    return steps


def poses_of_four_plans(control: Controller) -> list[Any]:
    """Where the hand was when each was made."""
    robot, path = PointRobot(), []
    for _ in range(4):
        path.append(robot.pose.copy())
        plan = control.step(robot.frame(), robot.pose).plan
        assert plan is not None
        robot.follow(plan.actions_H7[0])
    return path


def test_a_robot_reaches_a_sequence_of_goals_in_order() -> None:
    robot = PointRobot()
    steps = run(controller(GRASP), robot)
    assert steps[-1].status == "done"
    np.testing.assert_allclose(robot.pose[:3], GRASP[-1][:3], atol=0.01)
    assert robot.pose[6] == pytest.approx(1.0, abs=0.05)
    passed = [goal for step in steps for goal, _ in step.passed]
    assert passed == [0, 1, 2]
    assert len(steps) < 15


def test_a_goal_is_passed_by_settling_when_nothing_is_known_of_achieved_ones() -> None:
    steps = run(controller([moved(0.12, 0.0, 0.0)], ControlConfig()), PointRobot())
    assert steps[-1].status == "done"
    assert steps[-1].passed == ((0, "settled"),)


def test_a_robot_that_does_not_move_times_out_and_is_asked_nothing_more() -> None:
    config = ControlConfig(progress=ProgressConfig(timeout=8))
    robot = PointRobot(stuck=True)
    steps = run(controller([moved(0.2, 0.0, 0.0)], config), robot)
    assert (steps[-1].status, steps[-1].plan, len(steps)) == ("timed out", None, 9)


def test_goals_that_are_already_achieved_are_passed_in_one_step() -> None:
    (step,) = run(controller([HOME, HOME]), PointRobot())
    assert step.status == "done"
    assert step.passed == ((0, "achieved"), (1, "achieved"))


@pytest.mark.parametrize("searched_by", [{}, {"focus": 1.0}, {"surprise": 1.0}])
def test_different_observations_are_compared_alike(searched_by: dict[str, float]) -> None:
    seen_ND = PointWorld().latents(torch.tensor(HOME))
    goal_ND = seen_ND + torch.tensor([1.0] * 4 + [0.1] * 12)[:, None]
    planner = Planner(PointWorld(), PlannerConfig(cost=CostConfig(**searched_by)))  # type: ignore[arg-type]
    control = Controller(planner, [goal_ND])
    assert [control.step(seen_ND, HOME).cost for _ in range(3)] == pytest.approx([0.325] * 3)


def test_an_arm_that_lags_behind_does_not_drift() -> None:
    class Sagging(PointRobot):
        def follow(self, action: Any) -> None:
            super().follow(action)
            self.pose[2] -= 0.004  # [m] a step

    robot = Sagging()
    control = controller([moved(0.3, 0.0, 0.0)])
    heights = []
    for _ in range(5):
        plan = control.step(robot.frame(), robot.pose).plan
        assert plan is not None
        heights.append(plan.targets_H7[0, 2])
        robot.follow(plan.targets_H7[0] - robot.pose)
    np.testing.assert_allclose(heights, HOME[2], atol=0.012)


def test_the_next_search_starts_from_the_plan_before_unless_that_led_to_another_goal() -> None:
    class Asked(Planner):
        told: list[tuple[int, Request, Plan]] = []  # noqa: RUF012

        def plan(self, request: Request, **more: Any) -> Plan:
            plan = super().plan(request, **more)
            self.told.append((control.goal, request, plan))
            return plan

    control = Controller(Asked(PointWorld()), [paint(goal) for goal in (moved(0.12, 0, 0), moved(0.12, 0.2, 0))], KNOWN)
    run(control, PointRobot())
    assert Asked.told[0][1].last_actions is None
    for (goal, _, before), (next_goal, request, plan) in itertools.pairwise(Asked.told):
        assert plan.seed == before.seed + 1
        assert request.last_actions is (before.actions_H7 if next_goal == goal else None)
    assert [goal for goal, *_ in Asked.told] == sorted(goal for goal, *_ in Asked.told)
    assert {goal for goal, *_ in Asked.told} == {0, 1}


@pytest.mark.parametrize("located_B4", [None, located(HOME)])  # which keeps more of the past than is shown
def test_the_model_is_shown_the_past_it_was_trained_on(located_B4: torch.Tensor | None) -> None:
    shown: list[History | None] = []

    class Remembering(PointWorld):
        def score(self, *given: Any) -> Any:
            shown.append(given[4])
            return super().score(*given)

    world = Remembering(located_B4=located_B4)
    control = controller([moved(0.3, 0.0, 0.0)], ControlConfig(history=2), world)
    path = poses_of_four_plans(control)
    assert shown[0] is None
    last = shown[-1]
    assert last is not None
    np.testing.assert_allclose(last.poses_BT7[0], path[1:3], atol=1e-6)
    np.testing.assert_allclose(last.actions_BTA[0, :, :3], np.diff(path[1:4], axis=0)[:, :3], atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, 3), ({"earlier_observations": 2, "history": 3}, 2), ({"earlier_observations": 0}, 0)],
)
def test_a_world_that_locates_the_hand_is_told_of_earlier_observations(settings: dict[str, int], expected: int) -> None:
    goal = moved(0.3, 0.0, 0.0)
    world = PointWorld(located_B4=located(goal))
    control = controller([goal], ControlConfig(**settings), world, cost=CostConfig(place=10.0))
    path = poses_of_four_plans(control)
    assert world.told[0] == [None]
    (earlier,) = world.told[-1]
    if not expected:
        assert earlier is None
        return
    assert len(earlier) == expected
    np.testing.assert_allclose(earlier.poses_T7, path[3 - expected : 3], atol=1e-6)
    torch.testing.assert_close(
        earlier.latents_TND, world.encode(np.stack([paint(pose) for pose in path[3 - expected : 3]]))
    )


def test_nothing_is_kept_for_a_world_that_cannot_locate_the_hand() -> None:
    control, robot = controller([moved(0.3, 0.0, 0.0)]), PointRobot()
    for _ in range(2):
        robot.follow(control.step(robot.frame(), robot.pose).plan.actions_H7[0])  # type: ignore[union-attr]
    assert control.past == []


def test_only_the_first_plan_towards_the_next_goal_is_told_that_the_hand_leaves() -> None:
    class Asked(Planner):
        told: list[tuple[int, bool]] = []  # noqa: RUF012

        def plan(self, request: Request, **more: Any) -> Plan:
            self.told.append((control.goal, request.leaving))
            return super().plan(request, **more)

    control = Controller(Asked(PointWorld()), [paint(goal) for goal in (moved(0.12, 0, 0), moved(0.12, 0.2, 0))], KNOWN)
    run(control, PointRobot())
    towards = {goal: [leaving for of, leaving in Asked.told if of == goal] for goal in (0, 1)}
    assert towards[0] == [False] * len(towards[0])
    assert towards[1] == [True, *[False] * (len(towards[1]) - 1)]
    assert min(len(told) for told in towards.values()) > 1


@pytest.mark.parametrize(("moves", "told"), [(True, [True, False, False]), (False, [True, True, False])])
def test_a_hand_that_stays_to_close_is_still_leaving_in_the_next_plan(moves: bool, told: list[bool]) -> None:
    asked = []

    class Closing(Planner):
        def plan(self, request: Request, **more: Any) -> Plan:
            asked.append(request.leaving)
            actions_H7 = np.array([[0.01 * moves, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5]])
            return replace(super().plan(request, **more), actions_H7=actions_H7)

    there, robot = moved(0.0, 0.0, 0.0), PointRobot()
    control = Controller(Closing(PointWorld()), [paint(there), paint(moved(0.3, 0.0, 0.0))], KNOWN)
    for _ in told:
        control.step(robot.frame(), robot.pose)
    assert asked == told


def carrying(pose_B7: torch.Tensor) -> torch.Tensor:
    """The next keyframe of a hand that takes something up at A, sets it down at B, and withdraws."""
    keyframes = []
    for x, y, z, *_, closed in pose_B7.tolist():
        if closed > 0.5:
            keyframes.append([*B, 0.0])
        elif abs(x - B[0]) + abs(y - B[1]) < 0.01 and z < END[2] - 0.01:
            keyframes.append([*END[:3], 0.0])
        else:
            keyframes.append([*A, 1.0])
    return torch.tensor(keyframes)


A, B, END = moved(0.1, 0.1, -0.1)[:3], moved(-0.1, 0.15, -0.1)[:3], moved(-0.1, 0.15, 0.0)
BY_KEYFRAMES = preset("keyframes")


def test_a_robot_that_is_shown_the_end_alone_goes_there_by_keyframes() -> None:
    robot, path = PointRobot(), []
    control = controller(
        [END], KNOWN, PointWorld(keyframe=carrying), search=BY_KEYFRAMES.search, cost=BY_KEYFRAMES.cost
    )
    for _ in range(40):
        plan = control.step(robot.frame(), robot.pose).plan
        if plan is None:
            break
        before = robot.pose.copy()
        robot.follow(plan.actions_H7[0])
        path.append((before, robot.pose.copy()))
    changes = [(before, after) for before, after in path if abs(after[6] - before[6]) > 0.1]
    for before, after in changes:  # closing at A alone, opening at B alone
        np.testing.assert_allclose(after[:3], A if after[6] > before[6] else B, atol=0.012)
    assert {after[6] > before[6] for before, after in changes} == {True, False}
    np.testing.assert_allclose(robot.pose[:3], END[:3], atol=0.012)
    first_moves = [after - before for before, after in path if before[6] > 0.5 and np.abs(before[:3] - A).max() < 0.012]
    assert all(np.abs(move[:2]).max() == 0 for move in first_moves)  # what it holds is lifted first
    assert max(move[2] for move in first_moves) > 0.02


@pytest.mark.parametrize(("left", "status"), [(0.0, "done"), (0.1, "going")])
def test_by_keyframes_a_goal_settles_only_once_there_is_no_way_left_to_go(left: float, status: str) -> None:
    near, there = moved(0.098, 0.0, 0.0), moved(0.098 + left, 0.0, 0.0)  # what is seen looks like the goal
    world = PointWorld(keyframe=lambda pose_B7: located(*[there] * len(pose_B7)))
    control = controller(
        [moved(0.1, 0.0, 0.0)], ControlConfig(), world, search=BY_KEYFRAMES.search, cost=BY_KEYFRAMES.cost
    )
    assert [control.step(paint(pose), pose).status for pose in [moved(0.0, 0.0, 0.0), *[near] * 7]][-1] == status


def test_observations_from_before_the_gripper_changed_are_no_longer_told() -> None:
    robot, changes, expected = PointRobot(), 0, 0
    world = PointWorld(located_B4=located([*END[:3], 0, 0, 0, 0]), keyframe=carrying)
    control = controller([END], KNOWN, world, search=BY_KEYFRAMES.search, cost=BY_KEYFRAMES.cost)
    for _ in range(20):
        calls = len(world.told)
        plan = control.step(robot.frame(), robot.pose).plan
        if plan is None:
            break
        (earlier,) = world.told[calls]
        assert (0 if earlier is None else len(earlier)) == min(expected, 7)
        is_changing = bool(plan.actions_H7[0, 6])
        changes, expected = changes + is_changing, 0 if is_changing else expected + 1
        robot.follow(plan.actions_H7[0])
    assert changes >= 2


@pytest.mark.parametrize("hues", [1, 3])
def test_goals_and_observations_may_be_latents(hues: int) -> None:
    planner, goal = Planner(PointWorld(), PlannerConfig(cost=CostConfig(hues=hues))), moved(0.03, 0.0, 0.0)
    goal_VND, seen_VND = (see(planner.world, paint(pose), hues) for pose in (goal, HOME))
    asked = [(goal_VND, seen_VND), (paint(goal), paint(HOME))]
    if hues == 1:
        asked.append((goal_VND[0], seen_VND[0]))
    plans = [Controller(planner, [towards]).step(seen, HOME).plan for towards, seen in asked]
    for plan in plans:
        assert plan is not None
        np.testing.assert_array_equal(plan.targets_H7, plans[0].targets_H7)  # type: ignore[union-attr]


def test_observations_without_a_plan_neither_settle_a_goal_nor_use_up_its_time() -> None:
    clock = Clock()
    world = PointWorld(clock=clock, seconds_each=1e-3)
    goals = [paint(moved(0.3, 0, 0)), paint(moved(0.3, 0.2, 0))]
    control, robot = Controller(Planner(world, clock=clock), goals), PointRobot()
    for _ in range(3):
        plan = control.step(robot.frame(), robot.pose).plan
        assert plan is not None
        robot.follow(plan.actions_H7[0])
    for _ in range(60):
        with pytest.raises(DeadlineError):
            control.step(robot.frame(), robot.pose, deadline=clock() - 1)
    assert [step.status for step in run(control, robot)][-1] == "done"
    np.testing.assert_allclose(robot.pose[:2], moved(0.3, 0.2, 0)[:2], atol=0.02)


def test_observations_for_which_there_is_no_memory_do_not_count_either() -> None:
    class Full(PointWorld):
        is_full = False

        def score(self, *arguments: Any, **more: Any) -> torch.Tensor:
            if self.is_full:
                raise NotEnoughMemoryError("other programs hold the device's memory")
            return super().score(*arguments, **more)

    world, robot = Full(), PointRobot()
    control = controller([moved(0.3, 0, 0)], ControlConfig(progress=ProgressConfig(timeout=8)), world)
    run(control, robot, most=3)
    world.is_full = True
    for _ in range(10):
        with pytest.raises(NotEnoughMemoryError):
            control.step(robot.frame(), robot.pose)
    world.is_full = False
    assert control.step(robot.frame(), robot.pose).status == "going"


def test_observations_that_cannot_be_planned_from_do_not_count_either() -> None:
    cost, config = CostConfig(hues=3), ControlConfig(progress=ProgressConfig(timeout=8))
    control = controller([moved(0.3, 0, 0)], config, cost=cost)
    for _ in range(10):
        with pytest.raises(InputError, match="as many hues as each other"):
            control.step(see(control.planner.world, paint(HOME)), HOME)
    assert control.step(paint(HOME), HOME).status == "going"


def fidgeting(pose_B7: torch.Tensor) -> torch.Tensor:
    return torch.tensor([[*HOME[:3], float(pose[6] < 0.5)] for pose in pose_B7.tolist()])


@pytest.mark.parametrize("before", [[], [moved(0.0, 0.0, 0.0, gripper=1.0)]])
def test_a_gripper_that_closes_and_opens_for_ever_is_given_up_at_each_goal(before: list[Any]) -> None:
    config = ControlConfig(progress=ProgressConfig(timeout=8, achieved=AchievedGoals(mean=0.005, deviation=0.01)))
    world, goals = PointWorld(keyframe=fidgeting), [*before, moved(0.3, 0, 0)]
    control = controller(goals, config, world, search=BY_KEYFRAMES.search, cost=BY_KEYFRAMES.cost)
    steps = run(control, PointRobot())
    assert steps[-1].status == "timed out"
    last = [step for step in steps if step.goal == len(before)]
    assert len(last) == 3 + 2 + 7  # two changes of its gripper gave it time anew, others none


def test_what_was_set_down_is_left_though_the_model_would_take_it_up_again() -> None:
    class Holding(PointRobot):
        """Its fingers close around something."""

        def follow(self, action: Any) -> None:
            super().follow(action)
            self.pose[6] = min(self.pose[6], 0.45)

    def clinging(pose_B7: torch.Tensor) -> torch.Tensor:
        """Sets down at B what it takes up at A, and takes it up again there."""
        keyframes = []
        for x, y, *_, closed in pose_B7.tolist():
            is_at_B = abs(x - B[0]) + abs(y - B[1]) < 0.03
            keyframes.append([*B, 0.0] if closed > 0.4 else [*B, 0.4] if is_at_B else [*A, 0.4])
        return torch.tensor(keyframes)

    robot, changes = Holding(), []
    world = PointWorld(keyframe=clinging, located_B4=located([*END[:3], 0, 0, 0, 0]))
    control = controller([END], KNOWN, world, search=BY_KEYFRAMES.search, cost=BY_KEYFRAMES.cost)
    for _ in range(40):
        if (plan := control.step(robot.frame(), robot.pose).plan) is None:
            break
        changes.append(float(plan.actions_H7[0, 6]))
        robot.follow(plan.actions_H7[0])
    assert plan is None
    np.testing.assert_allclose(robot.pose[:3], END[:3], atol=0.012)
    closes = [change > 0 for change in changes if change]
    assert closes == sorted(closes, reverse=True)  # and then opens, once


def test_what_is_located_in_several_hues_is_seen_in_them_now_earlier_and_at_the_end() -> None:
    world, cost = PointWorld(located_B4=located(HOME)), CostConfig(place=10.0, hues=3)
    control = controller([moved(0.3, 0.0, 0.0)], ControlConfig(), world, cost=cost)
    path = poses_of_four_plans(control)
    (own,), turned = world.told[-2:]
    assert len(turned) == 2
    for earlier in turned:
        assert len(earlier) == len(own) == 3
        np.testing.assert_allclose(earlier.poses_T7, path[:3], atol=1e-6)
        assert not torch.equal(earlier.latents_TND, own.latents_TND)


def test_what_the_model_got_wrong_is_expected_again() -> None:
    class Drifting(PointRobot):
        """Always ends up 2 cm further in y than it was told to."""

        def follow(self, action: Any) -> None:
            super().follow(np.asarray(action) + np.array([0, 0.02, 0, 0, 0, 0, 0]))

    def final_error(surprise: float) -> float:
        robot, config = Drifting(), ControlConfig(commanded_within=0.0)
        run(controller([moved(0.1, 0.0, 0.0)], config, cost=CostConfig(surprise=surprise)), robot, most=8)
        return abs(float(robot.pose[1]))

    assert final_error(0.0) == pytest.approx(0.02, abs=0.006)
    assert final_error(1.0) < 0.008


def test_what_was_imagined_before_a_goal_was_done_is_not_held_against_what_moved_since() -> None:
    control, robot = controller([moved(0.1, 0.0, 0.0)], cost=CostConfig(surprise=1.0)), PointRobot()
    assert run(control, robot)[-1].status == "done"
    robot.pose = moved(0.13, 0.0, 0.0)  # somebody moved it
    plan = control.step(robot.frame(), robot.pose).plan
    assert plan is not None
    assert plan.actions_H7[0, 0] == pytest.approx(-0.03, abs=4e-3)


def test_a_plan_is_on_time_where_what_it_leads_to_is_to_be_compared_with_what_is_seen_next() -> None:
    clock = Clock()
    world = PointWorld(clock=clock, seconds_fixed=0.1)
    planner = Planner(world, PlannerConfig(cost=CostConfig(surprise=1.0)), clock=clock)
    assert Controller(planner, [paint(moved(0.3, 0.0, 0.0))]).step(paint(HOME), HOME, deadline=0.35).plan is not None
    assert clock.now <= 0.35


def test_a_move_that_could_not_be_imagined_leaves_the_loop_where_it_was() -> None:
    class Full(PointWorld):
        is_full = True

        def rollout(self, *arguments: Any, **more: Any) -> Any:
            if self.is_full:
                raise NotEnoughMemoryError("other programs hold the device's memory")
            return super().rollout(*arguments, **more)

    world, held = Full(), SearchConfig(gripper=GripperConfig(mode="held"))
    config = ControlConfig(progress=ProgressConfig(timeout=8))
    control = controller([moved(0.3, 0.0, 0.0)], config, world, search=held, cost=CostConfig(surprise=1.0))
    plan = control.step(paint(HOME), HOME).plan
    assert plan is not None
    for _ in range(10):
        with pytest.raises(NotEnoughMemoryError):
            control.step(paint(plan.targets_H7[0]), plan.targets_H7[0])
    assert control.steps == 1
    np.testing.assert_array_equal(control.commanded_7, plan.targets_H7[0])  # type: ignore[arg-type]
    world.is_full = False
    assert control.step(paint(plan.targets_H7[0]), plan.targets_H7[0]).status == "going"


CLOSE_HERE = SearchConfig(gripper=GripperConfig(gate=0.007))  # and not on the way


@pytest.mark.parametrize(("told", "closedness"), [(None, 1.0), ("target", 1.0), (HOME, 0.0)])
def test_a_gripper_is_not_kept_closing_by_a_plan_that_was_not_followed(told: Any, closedness: float) -> None:
    control = controller([moved(0.0, 0.0, 0.0, gripper=1.0)], search=CLOSE_HERE)
    plan = control.step(paint(HOME), HOME).plan
    assert plan is not None
    assert plan.targets_H7[0, 6] > 0.5
    elsewhere = moved(0.0, 0.1, 0.0)  # somebody moved the hand, which is open
    commanded = plan.targets_H7[0] if told == "target" else told
    plan = control.step(paint(elsewhere), elsewhere, commanded=commanded).plan
    assert plan is not None
    assert plan.actions_H7[0, 6] == 0.0  # there is a way to go first
    assert plan.targets_H7[0, 6] == pytest.approx(closedness, abs=0.3)


def test_by_keyframes_a_change_of_the_gripper_that_was_not_made_is_not_to_be_finished() -> None:
    control = controller(
        [END], KNOWN, PointWorld(keyframe=carrying), search=BY_KEYFRAMES.search, cost=BY_KEYFRAMES.cost
    )
    at_A = moved(*(A - HOME[:3]))
    plan = control.step(paint(at_A), at_A, commanded=at_A).plan
    assert plan is not None
    assert plan.actions_H7[0, 6] > 0
    assert control.keyframes
    assert (control.keyframes.steps, control.keyframes.timeout_restarts, control.steps_since_keyframe) == (1, 1, 0)
    before = control.progress
    control.step(paint(HOME), HOME, commanded=at_A)
    assert (control.keyframes.steps, control.keyframes.timeout_restarts, control.steps_since_keyframe) == (0, 0, 2)
    assert control.progress is not before  # whose time began anew


def test_a_robot_that_follows_no_plan_does_not_settle_but_times_out() -> None:
    config = ControlConfig(progress=ProgressConfig(timeout=12))
    control, robot = controller([moved(0.2, 0.0, 0.0)], config), PointRobot()
    for _ in range(3):
        plan = control.step(robot.frame(), robot.pose, commanded=robot.pose).plan
        assert plan is not None
        robot.follow(plan.actions_H7[0])
    stands = [control.step(robot.frame(), robot.pose, commanded=robot.pose).status for _ in range(10)]
    assert stands == ["going"] * 9 + ["timed out"]


@pytest.mark.parametrize(("least_gain", "status"), [(0.999, "done"), (0.02, "timed out")])
def test_a_robot_that_holds_still_settles_only_where_its_plans_gain_nothing(least_gain: float, status: str) -> None:
    goal, told = moved(0.2, 0.0, 0.0), np.array(HOME)
    wary = ConfidenceConfig(least_gain=least_gain)
    control, robot = controller([goal], ControlConfig(), confidence=wary), PointRobot()
    while (step := control.step(robot.frame(), robot.pose, commanded=told)).plan is not None:
        if abs(robot.pose[0] - goal[0]) > 0.06:  # and nearer it does not go
            told = step.plan.targets_H7[0]
            robot.follow(step.plan.actions_H7[0])
    assert step.status == status


def test_a_dry_run_never_asks_for_motion() -> None:
    control = controller([moved(0.1, 0.0, 0.0)], limits=LimitsConfig(dry_run=True))
    for _ in range(3):
        plan = control.step(paint(HOME), HOME).plan
        assert plan is not None
        assert not plan.actions_H7.any()
        assert plan.wanted_H7.any()
    assert control.commanded_7 is None


def test_a_stale_observation_is_refused_and_the_loop_goes_on() -> None:
    clock = Clock()
    clock.now = 100.0
    control = Controller(Planner(PointWorld(), clock=clock), [paint(moved(0.1, 0.0, 0.0))])
    with pytest.raises(StaleObservationError):
        control.step(paint(HOME), HOME, taken_at=95.0)
    assert control.step(paint(HOME), HOME, taken_at=99.9).plan is not None


def test_the_loop_goes_on_after_a_missed_deadline() -> None:
    clock = Clock()
    world = PointWorld(clock=clock, seconds_fixed=0.2)
    control = Controller(Planner(world, clock=clock), [paint(moved(0.1, 0.0, 0.0))])
    with pytest.raises(DeadlineError):
        control.step(paint(HOME), HOME, deadline=0.1)
    assert control.steps == 0
    assert control.step(paint(HOME), HOME, deadline=clock.now + 1.0).plan is not None


def test_what_was_passed_is_told_even_if_the_plan_after_it_failed() -> None:
    clock = Clock()
    control = Controller(
        Planner(PointWorld(clock=clock, seconds_fixed=0.2), clock=clock),
        [paint(HOME), paint(moved(0.1, 0.0, 0.0))],
        KNOWN,
    )
    with pytest.raises(DeadlineError):
        control.step(paint(HOME), HOME, deadline=0.1)
    assert control.step(paint(HOME), HOME).passed == ((0, "achieved"),)
    assert control.step(paint(HOME), HOME).passed == ()


def test_a_goal_that_is_lost_long_after_it_was_done_is_pursued_again() -> None:
    control, robot = controller([HOME]), PointRobot()
    assert {control.step(robot.frame(), robot.pose).status for _ in range(60)} == {"done"}
    robot.pose = moved(0.1, 0.0, 0.0)
    assert control.step(robot.frame(), robot.pose).status == "going"


def test_a_hand_that_was_turned_is_told_to_turn_back_step_by_step() -> None:
    config = ControlConfig(progress=KNOWN.progress, commanded_turned_within=0.1)
    control, robot = controller([moved(0.3, 0.0, 0.0)], config), PointRobot()
    control.step(robot.frame(), robot.pose)
    robot.pose[5] = 1.5  # [rad] somebody turned it
    plan = control.step(robot.frame(), robot.pose).plan
    assert plan is not None
    assert plan.targets_H7[0, 5] == pytest.approx(1.4)
    tight = replace(config, commanded_within=0.05)
    control, robot = controller([moved(0.3, 0.0, 0.0)], tight, limits=LimitsConfig(step=0.02)), PointRobot()
    control.step(robot.frame(), robot.pose)
    robot.pose[1] += 0.1
    assert control.step(robot.frame(), robot.pose).plan is not None  # never farther than an action may go
    control, robot = controller([moved(0.3, 0.0, 0.0)], config, limits=LimitsConfig(turn=0.05)), PointRobot()
    control.step(robot.frame(), robot.pose)
    robot.pose[5] = 1.5
    assert control.step(robot.frame(), robot.pose).plan is not None


def test_goals_may_be_latents() -> None:
    world = PointWorld()
    goal_ND = world.latents(torch.from_numpy(moved(0.04, 0.0, 0.0)).float())
    control = Controller(Planner(world), [goal_ND])
    plan = control.step(world.encode(paint(HOME))[0], HOME).plan
    assert plan is not None
    assert plan.actions_H7[0, 0] == pytest.approx(0.04, abs=0.004)


def test_a_loop_without_goals_is_refused() -> None:
    with pytest.raises(InputError, match="no goal"):
        Controller(Planner(PointWorld()), [])


def test_the_same_pictures_give_the_same_motion() -> None:
    def path() -> list[Any]:
        robot = PointRobot()
        run(controller(GRASP, search=SearchConfig(horizon=2, samples=48)), robot)
        return list(robot.pose)

    assert path() == path()
