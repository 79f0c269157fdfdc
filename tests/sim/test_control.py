from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sim import workspace
from sim.arm import FINGER_TRAVEL
from sim.control import GRIP_LEAD, LIMIT, MAX_TILT, POSITION_LEAD, ROTATION_LEAD
from sim.episode import Cell
from sim.variation import Variation, draw
from vjepa2_ac import poses
from vjepa2_ac.errors import InputError

Array = NDArray[np.float64]


@pytest.fixture
def free(cell: Cell) -> Cell:
    """The hand in the middle of the workspace with nothing below it."""
    cell.dress(replace(draw(Variation(factors=()), 0), object_xy=(0.42, -0.4), target_xy=(0.42, 0.4)))
    return cell


def move(cell: Cell, **parts: float) -> Array:
    """Carry out an action given by name and return the pose after it."""
    cell.controller.step(np.array([parts.get(part, 0.0) for part in poses.PARTS]))
    return cell.controller.measured_pose()


def test_a_step_ends_within_5_mm_and_2_degrees_of_its_target(free: Cell) -> None:
    rng = np.random.default_rng(0)
    away_mm, turned_deg = [], []
    for step in range(60):
        start = free.controller.measured_pose()
        inside = np.clip(start[:3] + rng.uniform(-0.05, 0.05, 3), workspace.LOW, workspace.HIGH)
        action = np.concatenate([inside - start[:3], rng.uniform(-0.08, 0.08, 3) * (-1) ** step, [0.0]])
        clipped = free.controller.step(action)
        if clipped.workspace or clipped.joints:
            continue
        error = poses.pose_difference(free.controller.measured_pose(), poses.integrate(start, action))
        away_mm.append(1e3 * np.linalg.norm(error[:3]))
        turned_deg.append(np.degrees(np.linalg.norm(error[3:6])))
    assert len(away_mm) > 40
    assert max(away_mm) < 5.0
    assert max(turned_deg) < 2.0


def test_actions_add_up_without_drift(free: Cell) -> None:
    start = free.controller.measured_pose()
    for sign in (1, 1, -1, -1) * 5:
        end = move(free, y=0.03 * sign, x=0.02 * sign)
    np.testing.assert_allclose(end, start, atol=2e-3)


def test_turning_is_about_the_axes_of_the_base(free: Cell) -> None:
    move(free, yaw=0.2)
    pose = move(free, roll=0.2)
    np.testing.assert_allclose(
        poses.rotation_matrix(pose[3:6]),
        poses.rotation_matrix([0.2, 0, 0]) @ poses.rotation_matrix([0, 0, 0.2]),
        atol=0.02,
    )


def test_an_upright_hand_has_angles_near_zero(free: Cell) -> None:
    np.testing.assert_allclose(free.controller.measured_pose()[3:6], 0.0, atol=2e-3)


def test_moves_out_of_the_workspace_are_cut_and_flagged(free: Cell) -> None:
    flags = [free.controller.step(np.array([0.07, 0, 0, 0, 0, 0, 0])).workspace for _ in range(4)]
    assert flags[-1]
    assert free.controller.measured_pose()[0] == pytest.approx(workspace.HIGH[0], abs=3e-3)


def test_actions_beyond_the_limit_are_cut_and_flagged(free: Cell) -> None:
    before = free.controller.measured_pose()
    clipped = free.controller.step(np.array([0, 0.3, 0, 0, 0, 0, 0]))
    assert clipped.action
    assert free.controller.measured_pose()[1] - before[1] == pytest.approx(LIMIT[1], abs=3e-3)


def test_a_joint_limit_is_flagged_and_does_not_wind_up(free: Cell) -> None:
    flags = [bool(free.controller.step(np.array([0, 0, 0, 0, 0, 0.25, 0])).joints) for _ in range(14)]
    assert any(flags)
    stuck = free.controller.measured_pose()[5]
    assert move(free, yaw=-0.25)[5] < stuck - 0.1


def test_tilting_the_hand_too_far_is_refused(free: Cell) -> None:
    turns = (0.25, 0.25, MAX_TILT - 0.51, 0.02, 0.25)
    flags = [free.controller.step(np.array([0, 0, 0, turn, 0, 0, 0])).workspace for turn in turns]
    assert flags == [False, False, False, True, True]


def test_a_blocked_hand_keeps_its_command_near(cell: Cell) -> None:
    cell.dress(replace(draw(Variation(factors=(), kind="box"), 0), object_xy=(0.49, 0.052), hand=(0.49, 0.0, 0.10)))
    for _ in range(5):
        move(cell, z=-0.05)  # a finger comes down on the box
    move(cell)
    commanded = cell.controller.state()["position"]
    np.testing.assert_allclose(commanded, cell.controller.measured_pose()[:3], atol=POSITION_LEAD + 1e-3, rtol=0)
    freed = cell.controller.measured_pose()[2]
    assert move(cell, z=0.05)[2] > freed + 0.02


def test_a_hand_that_could_not_follow_keeps_its_command_near(free: Cell) -> None:
    state, x = free.controller.state(), free.controller.measured_pose()[0]
    free.controller.restore(state | {"position": state["position"] + [0.05, 0.0, 0.0]})
    assert move(free)[0] - x == pytest.approx(POSITION_LEAD, abs=1e-3)


def test_a_hand_that_could_not_turn_keeps_its_command_near(free: Cell) -> None:
    state = free.controller.state()
    free.controller.restore(state | {"rotation": poses.rotation_matrix([0.0, 0.0, 0.4]) @ state["rotation"]})
    assert move(free)[5] == pytest.approx(ROTATION_LEAD, abs=0.01)


def test_the_gripper_closes_and_opens_by_the_action(free: Cell) -> None:
    assert move(free, gripper=0.3)[6] == pytest.approx(0.3, abs=0.01)
    assert move(free, gripper=0.5)[6] == pytest.approx(0.8, abs=0.01)
    assert move(free, gripper=0.5)[6] == pytest.approx(1.0, abs=0.01)
    assert move(free, gripper=-0.4)[6] == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize("action", [np.zeros(6), np.full(7, np.nan), "up"])
def test_nonsense_is_refused(free: Cell, action: object) -> None:
    with pytest.raises(InputError):
        free.controller.step(action)  # type: ignore[arg-type]


@pytest.fixture(params=["cup", "box"])
def holding(request: pytest.FixtureRequest, cell: Cell) -> Cell:
    """The object straight between the fingers, gripped and lifted."""
    scene = draw(Variation(factors=("size",), kind=request.param), 3)
    cell.dress(replace(scene, object_xy=(0.49, 0.0), target_xy=(0.42, 0.4), hand=(0.49, 0.0, 0.12)))
    for action in ({"z": -0.07}, {"z": 0.041 - 0.05}, {"gripper": 0.5}, {"gripper": 0.5}, {"z": 0.07}, {"z": 0.02}):
        move(cell, **action)
    assert cell.truth().is_held
    return cell


def test_closedness_tells_the_width_of_what_is_held(holding: Cell) -> None:
    between = 0.08 * (1.0 - holding.controller.measured_closedness())
    assert between == pytest.approx(holding.truth().object_size[1], abs=2e-3)


def test_what_is_held_neither_slips_nor_falls_when_shaken(holding: Cell) -> None:
    before = holding.truth()
    for step in range(18):
        shake = np.zeros(7)
        shake[step % 3] = 0.05 if (step // 3) % 2 else -0.05
        holding.controller.step(shake)
    after = holding.truth()
    assert after.is_held
    np.testing.assert_allclose(after.object - after.hand, before.object - before.hand, atol=4e-3)


def test_the_grip_lasts_while_the_gripper_is_left_alone(holding: Cell) -> None:
    before = holding.truth()
    for _ in range(20):
        move(holding)
    after = holding.truth()
    assert after.is_held
    np.testing.assert_allclose(after.object, before.object, atol=2e-3)


def test_opening_a_little_more_than_the_grip_leads_lets_go(holding: Cell) -> None:
    move(holding, gripper=-(GRIP_LEAD + 0.15))
    assert not holding.truth().is_touched


def test_a_gripper_that_was_pushed_shut_opens_again(free: Cell) -> None:
    scene = free.scene
    scene.data.qpos[scene.finger_qpos] = 0.5 * FINGER_TRAVEL
    assert free.controller.measured_closedness() == pytest.approx(0.5)
    assert move(free)[6] < 0.05
