"""Integration of actions to poses in torch: for a whole batch at once, differentiable, without leaving the GPU.

Conventions are those of `poses`. Angles are computed so that the rotation they stand for is exact to rounding even
where pitch nears ± 90°, and roll and yaw by themselves lose their meaning.

Shapes: B batch, 7 pose or action, 3 axes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vjepa2_ac.poses import GRIPPER, POSITION, ROTATION


def integrate(pose_B7: Tensor, action_B7: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
    """The poses in which the actions leave hands that start in `pose_B7`; any leading axes, differentiable.

    The result has the dtype of `pose_B7`. It is computed in `dtype`, by default float64 unless the device has none,
    because seven numbers a candidate cost nothing and errors add up over a rollout.
    """
    dtype = dtype or (torch.float32 if pose_B7.device.type == "mps" else torch.float64)
    pose, action = pose_B7.to(dtype), action_B7.to(dtype)
    position = pose[..., POSITION] + action[..., POSITION]
    # Left-multiplied: actions turn the hand about the axes of the base.
    rotation = rotation_matrix(action[..., ROTATION]) @ rotation_matrix(pose[..., ROTATION])
    gripper = (pose[..., GRIPPER] + action[..., GRIPPER]).clamp(0.0, 1.0)
    return torch.cat((position, euler_angles(rotation), gripper), dim=-1).to(pose_B7.dtype)


def rotation_matrix(angles_B3: Tensor) -> Tensor:
    """R = Rz(yaw) · Ry(pitch) · Rx(roll), [..., 3, 3]."""
    (sr, sp, sy), (cr, cp, cy) = angles_B3.sin().unbind(-1), angles_B3.cos().unbind(-1)
    rows = (
        (cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr),
        (sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr),
        (-sp, cp * sr, cp * cr),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def euler_angles(rotation_B33: Tensor) -> Tensor:
    """Roll, pitch, yaw [..., 3] of a rotation; pitch lies within ± 90°, and in exact gimbal lock yaw is 0."""
    x, y, z = rotation_B33.unbind(-2)
    # The first column's length in the plane of x and y is cos(pitch): 0 where the hand's x axis points along z.
    flat = x[..., 0].square() + y[..., 0].square() <= torch.finfo(x.dtype).eps ** 2
    yaw = torch.atan2(y[..., 0].masked_fill(flat, 0.0), x[..., 0].masked_fill(flat, 1.0))
    # Undo the yaw just found, then read roll and pitch off Ry · Rx: roll makes up for whatever error yaw has.
    s, c = yaw.sin().unsqueeze(-1), yaw.cos().unsqueeze(-1)
    x, y = c * x + s * y, c * y - s * x
    return torch.stack((torch.atan2(-y[..., 2], y[..., 1]), torch.atan2(-z[..., 0], x[..., 0]), yaw), dim=-1)
