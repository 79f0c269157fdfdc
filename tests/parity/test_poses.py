"""Pose arithmetic equals the reference's: in numpy in float64, and on the device in float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.parity.golden import Case, cases_of
from vjepa2_ac import geometry, poses

INTEGRATIONS = [case for case in cases_of("pose") if case.config["fn"] == "compute_new_pose"]

FUNCTIONS: dict[str, Callable[[Case], tuple[NDArray[Any], NDArray[Any]]]] = {
    "compute_new_pose": lambda case: (
        poses.integrate(case.input("pose"), case.input("action")),
        case.output("new_pose"),
    ),
    "poses_to_diff": lambda case: (
        poses.pose_difference(case.input("start"), case.input("end")),
        case.output("action"),
    ),
    "poses_to_diffs": lambda case: (poses.pose_differences(case.input("poses")), case.output("actions")),
    "transform_frame": lambda case: (
        poses.in_camera_frame(case.input("poses"), case.input("extrinsics")),
        case.output("poses"),
    ),
}


@pytest.mark.parametrize("case", cases_of("pose"), ids=lambda case: case.name)
def test_pose_arithmetic_is_the_reference_s(case: Case) -> None:
    ours, theirs = FUNCTIONS[case.config["fn"]](case)
    assert_same_poses(ours, theirs, tolerance=1e-9 if theirs.dtype == np.float64 else 1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("case", INTEGRATIONS, ids=lambda case: case.name)
def test_poses_integrate_on_the_device_as_in_the_reference(case: Case, dtype: torch.dtype) -> None:
    pose, action = (torch.from_numpy(case.input(name)) for name in ("pose", "action"))
    assert_same_poses(geometry.integrate(pose, action, dtype=dtype).numpy(), case.output("new_pose"), tolerance=1e-6)


def assert_same_poses(ours: NDArray[Any], theirs: NDArray[Any], tolerance: float) -> None:
    """Everywhere the same rotation; the same angles too, where pitch leaves them their meaning."""
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(
        poses.rotation_matrix(ours[..., poses.ROTATION]),
        poses.rotation_matrix(theirs[..., poses.ROTATION]),
        rtol=0,
        atol=tolerance,
    )
    near_lock = np.abs(np.cos(theirs[..., 4])) < 1e-2
    gap = ours - theirs
    gap[..., poses.ROTATION] = np.angle(np.exp(1j * gap[..., poses.ROTATION]))  # +180° is -180°
    gap[..., poses.ROTATION][near_lock] = 0.0
    np.testing.assert_allclose(gap, 0.0, rtol=0, atol=tolerance)
