"""The turn between the model's frame and the robot's base, for a camera that stands elsewhere than in training.

To a predictor that was trained with the camera in one place, the view from another looks like a turned scene: the moves
that it imagines are turned against those that the robot makes. With the turn known, poses and actions are put into the
model's frame before they reach it, and what is planned is turned back before it reaches the robot. `calibration`
estimates the turn.

Moves do not tell about which point the camera was turned, so that has to be given as `about`. The place where the hand
works is a good choice, because the model then finds the hand where it has learned to see it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from vjepa2_ac.config import require
from vjepa2_ac.poses import GRIPPER, POSITION, ROTATION, Array, euler_angles, rotation_matrix

BAD_VIEW = 0.5  # share of exploratory motion that a camera's turn may leave unexplained


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraTurn:
    """The rotation R that takes imagined moves to true ones, as roll, pitch, yaw [rad], and how well it is known."""

    roll: float = 0.0
    pitch: float = 0.0
    yaw: float = 0.0
    residual: float = 0.0  # share of the moves it was estimated from that the turn leaves unexplained
    about: tuple[float, float, float] = (0.0, 0.0, 0.0)  # [m] the point of the base frame that stays where it is

    def __post_init__(self) -> None:
        require(bool(np.isfinite([self.roll, self.pitch, self.yaw]).all()), "a camera's turn is three finite angles")
        require(bool(np.isfinite(self.about).all()), "a camera is turned about a point of three finite numbers")

    @property
    def matrix(self) -> Array:
        """R [3, 3], from the model's frame to the robot's base."""
        return rotation_matrix([self.roll, self.pitch, self.yaw])

    @property
    def warning(self) -> str | None:
        """A warning where the turn leaves too much of the motion unexplained; None for a good view."""
        if self.residual <= BAD_VIEW:
            return None
        return f"the camera's turn leaves {100 * self.residual:.0f} % of the motion unexplained; the view may be bad"

    def actions_to_base(self, actions: ArrayLike) -> Array:
        """Actions [..., 7] planned in the model's frame, turned into the robot's base frame."""
        return _turned_actions(self.matrix, np.asarray(actions, dtype=np.float64))

    def actions_to_model(self, actions: ArrayLike) -> Array:
        """Actions [..., 7] in the robot's base frame, turned into the model's frame."""
        return _turned_actions(self.matrix.T, np.asarray(actions, dtype=np.float64))

    def poses_to_model(self, poses: ArrayLike) -> Array:
        """Poses [..., 7] in the robot's base frame, turned into the model's frame."""
        poses, R, about = np.asarray(poses, dtype=np.float64), self.matrix.T, np.asarray(self.about)
        positions = (poses[..., POSITION] - about) @ R.T + about
        angles = euler_angles(R @ rotation_matrix(poses[..., ROTATION]))
        return np.concatenate((positions, angles, poses[..., GRIPPER]), axis=-1)


def _turned_actions(R: Array, actions: Array) -> Array:
    angles = euler_angles(R @ rotation_matrix(actions[..., ROTATION]) @ R.T)
    return np.concatenate((actions[..., POSITION] @ R.T, angles, actions[..., GRIPPER]), axis=-1)
