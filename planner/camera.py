"""The turn between what the model imagines and what the robot does, applied in both directions.

A predictor that was trained with the camera in one place takes another place for a turned scene: asked for a move, it
imagines it turned. With the turn known, poses and actions are put into the model's frame before they reach it, and
what it plans is turned back before it reaches the robot. `calibration` estimates the turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from vjepa2_ac.config import require
from vjepa2_ac.poses import GRIPPER, POSITION, ROTATION, Array, euler_angles, rotation_matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraTurn:
    """R, which takes imagined moves to true ones, as roll, pitch, yaw [rad]; and how well it was known."""

    roll: float = 0.0
    pitch: float = 0.0
    yaw: float = 0.0
    residual: float = 0.0  # what the turn leaves unexplained of the moves it was estimated from, as a share

    def __post_init__(self) -> None:
        require(bool(np.isfinite([self.roll, self.pitch, self.yaw]).all()), "a camera's turn is three finite angles")

    @property
    def matrix(self) -> Array:
        """R, from the model's frame to the robot's base."""
        return rotation_matrix([self.roll, self.pitch, self.yaw])

    def actions_to_base(self, actions: ArrayLike) -> Array:
        """Actions [..., 7] planned in the model's frame, as the robot must make them."""
        return _turned_actions(self.matrix, np.asarray(actions, dtype=np.float64))

    def actions_to_model(self, actions: ArrayLike) -> Array:
        """Actions [..., 7] of the robot, as the model knows them."""
        return _turned_actions(self.matrix.T, np.asarray(actions, dtype=np.float64))

    def poses_to_model(self, poses: ArrayLike) -> Array:
        """Poses [..., 7] in the robot's base, as the model knows them."""
        poses, R = np.asarray(poses, dtype=np.float64), self.matrix.T
        angles = euler_angles(R @ rotation_matrix(poses[..., ROTATION]))
        return np.concatenate((poses[..., POSITION] @ R.T, angles, poses[..., GRIPPER]), axis=-1)


def _turned_actions(R: Array, actions: Array) -> Array:
    angles = euler_angles(R @ rotation_matrix(actions[..., ROTATION]) @ R.T)
    return np.concatenate((actions[..., POSITION] @ R.T, angles, actions[..., GRIPPER]), axis=-1)
