"""Hand poses and the actions between them, in numpy.

A pose is `x y z [m] · roll pitch yaw [rad] · gripper (0 open … 1 closed)` in the robot base frame; the angles are
extrinsic xyz, so R = Rz(yaw) · Ry(pitch) · Rx(roll). An action is the difference of two poses: translation and gripper
subtract, the rotation is R_end · R_startᵀ, a turn about the axes of the base. This is how DROID is recorded and how the
released V-JEPA 2-AC was trained. `geometry` holds the same integration for torch.

Shapes: 7 numbers of a pose or action, T poses in a row, `...` any number of leading axes.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from vjepa2_ac.errors import InputError

Array = NDArray[np.float64]

SIZE = 7
PARTS = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
POSITION = slice(0, 3)  # [m]
ROTATION = slice(3, 6)  # [rad]
GRIPPER = slice(6, 7)  # 0 open … 1 closed; a slice, so that it concatenates
GRIPPER_SLACK = 0.1  # a measured closedness may lie so far outside 0 … 1, as grippers are calibrated
LARGEST_COORDINATE = 10.0  # [m]; no arm reaches so far: larger numbers are millimetres


def integrate(pose: ArrayLike, action: ArrayLike) -> Array:
    """The pose [..., 7] in which `action` [..., 7] leaves a hand that starts in `pose` [..., 7]."""
    pose, action = np.broadcast_arrays(vector(pose, "pose"), vector(action, "action"))
    position = pose[..., POSITION] + action[..., POSITION]
    rotation = rotation_matrix(action[..., ROTATION]) @ rotation_matrix(pose[..., ROTATION])
    gripper = np.clip(pose[..., GRIPPER] + action[..., GRIPPER], 0.0, 1.0)
    return np.concatenate((position, euler_angles(rotation), gripper), axis=-1)


def pose_difference(start: ArrayLike, end: ArrayLike) -> Array:
    """The action [..., 7] that leads from pose `start` to pose `end`, the inverse of `integrate`."""
    start, end = vector(start, "start"), vector(end, "end")
    turn = rotation_matrix(end[..., ROTATION]) @ np.swapaxes(rotation_matrix(start[..., ROTATION]), -1, -2)
    difference = end - start
    difference[..., ROTATION] = euler_angles(turn)
    return difference


def pose_differences(poses: ArrayLike) -> Array:
    """The T - 1 actions between T poses [T, 7] in a row."""
    poses = vector(poses, "poses")
    if poses.ndim < 2:
        raise InputError(f"differences need several poses, [T, 7]; got one array of shape {poses.shape}")
    return pose_difference(poses[..., :-1, :], poses[..., 1:, :])


def in_camera_frame(poses: ArrayLike, camera: ArrayLike) -> Array:
    """Base-frame poses [..., 7] as a camera sees them; `camera` [..., 6] is its own pose in the base frame."""
    poses, camera = vector(poses, "poses"), vector(camera, "camera", size=6)
    T_base_hand, T_base_camera = transform(poses), transform(camera)
    return pose_of(np.linalg.inv(T_base_camera) @ T_base_hand, poses[..., GRIPPER])


def transform(pose: ArrayLike) -> Array:
    """The 4 x 4 transform from hand to base of a pose [..., 7], or of its first six numbers."""
    pose = np.asarray(pose, dtype=np.float64)
    T_base_hand = np.zeros((*pose.shape[:-1], 4, 4))
    T_base_hand[..., :3, :3] = rotation_matrix(pose[..., ROTATION])
    T_base_hand[..., :3, 3] = pose[..., POSITION]
    T_base_hand[..., 3, 3] = 1.0
    return T_base_hand


def pose_of(T_base_hand: Array, gripper: ArrayLike) -> Array:
    """The pose [..., 7] of a 4 x 4 transform and a gripper closedness [..., 1]."""
    return np.concatenate(
        (T_base_hand[..., :3, 3], euler_angles(T_base_hand[..., :3, :3]), np.asarray(gripper, dtype=np.float64)),
        axis=-1,
    )


def rotation_matrix(angles: ArrayLike) -> Array:
    """R = Rz · Ry · Rx [..., 3, 3] of roll, pitch, yaw [..., 3]."""
    angles = np.asarray(angles, dtype=np.float64)
    return Rotation.from_euler("xyz", angles.reshape(-1, 3)).as_matrix().reshape(*angles.shape[:-1], 3, 3)


def euler_angles(rotation: Array) -> Array:
    """Roll, pitch, yaw [..., 3] of R [..., 3, 3]; with the hand's x axis along ± z (gimbal lock) yaw is 0."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Gimbal lock", category=UserWarning)  # any of the solutions will do
        angles = Rotation.from_matrix(rotation.reshape(-1, 3, 3)).as_euler("xyz")
    return np.asarray(angles, dtype=np.float64).reshape(*rotation.shape[:-2], 3)


def vector(values: ArrayLike, what: str, size: int = SIZE) -> Array:
    """`values` as finite float64 [..., size], or an InputError that says what is wrong with `what`."""
    try:
        numbers: NDArray[Any] = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} is not made of numbers: {error}") from None
    if numbers.ndim == 0 or numbers.shape[-1] != size:
        wanted = " ".join(PARTS[:size])
        raise InputError(f"{what} has shape {list(numbers.shape)}; expected {size} numbers last: {wanted}")
    if not np.isfinite(numbers).all():
        raise InputError(f"{what} holds numbers that are not finite: {numbers[~np.isfinite(numbers).all(axis=-1)][:1]}")
    return numbers


def parse_pose(text: str, what: str = "pose") -> Array:
    """The pose [7] written as `"x y z roll pitch yaw gripper"`, separated by spaces or commas."""
    try:
        numbers = [float(word) for word in text.replace(",", " ").split()]
    except ValueError as error:
        raise InputError(f"{what} {text!r} is not seven numbers: {error}") from None
    return checked_pose(numbers, f"{what} {text!r}")


def checked_pose(values: ArrayLike, what: str, *, slack: float = 0.0) -> Array:
    """`values` as a pose [7] with its gripper within 0 … 1, or an InputError where they must be in other units.

    A measured gripper may lie outside 0 … 1 by up to `slack`.
    """
    pose = vector(values, what)
    if (np.abs(pose[POSITION]) > LARGEST_COORDINATE).any():
        raise InputError(f"{what} is not in metres (are these millimetres?)")
    if (np.abs(pose[ROTATION]) > 2 * np.pi).any():
        raise InputError(f"{what} is not in radians (are these degrees?)")
    if not -slack <= (closedness := pose[GRIPPER].item()) <= 1 + slack:
        raise InputError(f"{what} has a gripper of {closedness:g}; expected 0 open … 1 closed")
    pose[GRIPPER] = np.clip(closedness, 0.0, 1.0)
    return pose
