from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from vjepa2_ac.errors import InputError
from vjepa2_ac.poses import (
    GRIPPER,
    POSITION,
    ROTATION,
    euler_angles,
    in_camera_frame,
    integrate,
    parse_pose,
    pose_difference,
    pose_differences,
    pose_of,
    rotation_matrix,
    transform,
)

Array = NDArray[np.float64]

positions = arrays(np.float64, 3, elements=st.floats(-1, 1))
angles = arrays(np.float64, 3, elements=st.floats(-np.pi, np.pi))
grippers = arrays(np.float64, 1, elements=st.floats(0, 1))
poses = st.tuples(positions, angles, grippers).map(np.concatenate)


def assert_same_pose(a: Array, b: Array) -> None:
    np.testing.assert_allclose(transform(a), transform(b), rtol=0, atol=1e-9)
    np.testing.assert_allclose(a[..., GRIPPER], b[..., GRIPPER], rtol=0, atol=1e-12)


@given(start=poses, end=poses)
def test_the_difference_of_two_poses_leads_from_one_to_the_other(start: Array, end: Array) -> None:
    assert_same_pose(integrate(start, pose_difference(start, end)), end)


@given(pose=poses)
def test_no_action_changes_no_pose(pose: Array) -> None:
    assert_same_pose(integrate(pose, np.zeros(7)), pose)
    np.testing.assert_allclose(pose_difference(pose, pose), 0, atol=1e-9)


@given(pose=poses)
def test_a_transform_holds_the_whole_pose(pose: Array) -> None:
    assert_same_pose(pose_of(transform(pose), pose[GRIPPER]), pose)


@given(pose=poses, camera=poses)
def test_the_camera_sees_itself_at_the_origin_and_everything_else_from_there(pose: Array, camera: Array) -> None:
    seen = in_camera_frame(pose, camera[:6])
    np.testing.assert_allclose(transform(camera) @ transform(seen), transform(pose), rtol=0, atol=1e-9)
    assert seen[GRIPPER] == pose[GRIPPER]


@given(roll_pitch_yaw=angles)
def test_euler_angles_stand_for_the_rotation_they_came_from_even_in_gimbal_lock(roll_pitch_yaw: Array) -> None:
    for pitch in (roll_pitch_yaw[1], np.pi / 2, -np.pi / 2):
        rotation = rotation_matrix([roll_pitch_yaw[0], pitch, roll_pitch_yaw[2]])
        np.testing.assert_allclose(rotation_matrix(euler_angles(rotation)), rotation, rtol=0, atol=1e-9)


def test_actions_turn_the_hand_about_the_axes_of_the_base() -> None:
    facing_y = [0, 0, 0, 0, 0, np.pi / 2, 0]  # yaw 90 degrees
    roll = [0, 0, 0, np.pi / 2, 0, 0, 0]
    fingertip = rotation_matrix(integrate(facing_y, roll)[ROTATION]) @ [1, 0, 0]
    np.testing.assert_allclose(fingertip, [0, 0, 1], atol=1e-12)  # from +y, about the base's x, up


def test_moves_add_up_and_the_gripper_stops_at_its_ends() -> None:
    closed = integrate([0.1, 0, 0, 0, 0, 0, 0.9], [0.05, -0.02, 0, 0, 0, 0, 0.75])
    np.testing.assert_allclose(closed[POSITION], [0.15, -0.02, 0])
    assert closed[GRIPPER] == 1.0


def test_poses_in_a_row_have_one_difference_fewer() -> None:
    rows = np.cumsum(np.full((4, 7), 0.01), axis=0)
    assert pose_differences(rows).shape == (3, 7)
    with pytest.raises(InputError, match="several poses"):
        pose_differences(rows[0])


def test_one_action_moves_many_poses() -> None:
    assert integrate(np.zeros((5, 7)), np.zeros(7)).shape == integrate(np.zeros(7), np.zeros((5, 7))).shape == (5, 7)


def test_a_pose_can_be_written_with_spaces_or_commas() -> None:
    np.testing.assert_array_equal(parse_pose("0.5 0 .3, 3.14,0 0 1"), [0.5, 0, 0.3, 3.14, 0, 0, 1])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("0.5 0 0.3", "x y z roll pitch yaw gripper"),
        ("a b c d e f g", "not seven numbers"),
        ("nan" + " 0" * 6, "finite"),
        ("500 0 300 3.14 0 0 0", "not in metres"),
        ("0.5 0 0.3 180 0 0 0", "not in radians"),
        ("0.5 0 0.3 3.14 0 0 85", "a gripper of 85; expected 0 open … 1 closed"),
        ("0.5 0 0.3 3.14 0 0 -0.1", "a gripper of -0.1; expected"),
    ],
)
def test_a_wrong_pose_is_refused_in_words(text: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        parse_pose(text)
