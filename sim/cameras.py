"""Where the cameras stand, and what they see: placement, extrinsics, and the projection of a point into the picture.

`left` is what the model sees: near, oblique, from the robot's left front, as close as it gets while the whole
workspace stays in the picture. In a prototype the same planner placed 1 of 8 objects with a far camera and 8 of 8
with a near one.
`right` is its mirror image, `wrist` rides on the hand, `pretty` is for people.

Shapes: N points.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vjepa2_ac import poses
from vjepa2_ac.errors import InputError

Array = NDArray[np.float64]

NAMES = ("left", "right", "wrist", "pretty")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A camera on a sphere around what it looks at."""

    azimuth: float  # [deg] from the robot's forward axis towards its left
    elevation: float  # [deg] above the table
    distance: float  # [m]
    look_at: tuple[float, float, float]  # [m]
    field_of_view: float  # [deg], vertical

    def position(self) -> Array:
        """The camera's position in the base frame [3]."""
        azimuth, elevation = np.deg2rad(self.azimuth), np.deg2rad(self.elevation)
        towards = (np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation))
        return np.asarray(self.look_at) + self.distance * np.asarray(towards)

    def rotation(self) -> Array:
        """The camera's axes in the base frame as columns [3, 3], as in MuJoCo: x right, y up, looking along -z."""
        back = self.position() - np.asarray(self.look_at)
        back /= np.linalg.norm(back)
        right = np.cross([0.0, 0.0, 1.0], back)
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(back, right), back], axis=1)


LOOK_AT = (0.490, 0.0, 0.070)
LEFT = Placement(azimuth=25.0, elevation=38.0, distance=0.66, look_at=LOOK_AT, field_of_view=35.0)
RIGHT = replace(LEFT, azimuth=-LEFT.azimuth)
PRETTY = Placement(azimuth=40.0, elevation=21.0, distance=1.66, look_at=(0.34, 0.0, 0.27), field_of_view=32.0)


def extrinsics(model: Any, data: Any, camera: str) -> Array:
    """The camera's pose in the base frame [6] as DROID records it: x right, y down, looking along +z; m and rad."""
    camera_id = _id(model, camera)
    turn_half_around_x = np.diag([1.0, -1.0, -1.0])
    rotation = data.cam_xmat[camera_id].reshape(3, 3) @ turn_half_around_x
    return np.concatenate([data.cam_xpos[camera_id], poses.euler_angles(rotation)])


def intrinsics(model: Any, camera: str, width: int, height: int) -> Array:
    """The 3 x 3 matrix that takes camera points (x right, y down, z ahead) to pixels."""
    focal = 0.5 * height / np.tan(0.5 * np.deg2rad(float(model.cam_fovy[_id(model, camera)])))
    return np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])


def project(model: Any, data: Any, camera: str, points_N3: Array, width: int, height: int) -> Array:
    """Where points of the base frame appear, in pixels [N, 2] from the upper left corner."""
    T_base_camera = poses.transform(extrinsics(model, data, camera))
    in_camera_N3 = (points_N3 - T_base_camera[:3, 3]) @ T_base_camera[:3, :3]
    pixels_N3 = in_camera_N3 @ intrinsics(model, camera, width, height).T
    return np.asarray(pixels_N3[:, :2] / pixels_N3[:, 2:])


def _id(model: Any, camera: str) -> int:
    if camera not in NAMES:
        raise InputError(f"no camera {camera!r} in the scene; it has {', '.join(NAMES)}")
    return int(model.camera(camera).id)
