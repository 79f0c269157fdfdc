from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from vjepa2_ac import geometry, poses

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def random_poses(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    poses_B7 = torch.rand(count, 7, generator=generator) * 2 - 1
    poses_B7[:, poses.ROTATION] *= torch.pi
    poses_B7[:, poses.GRIPPER] = poses_B7[:, poses.GRIPPER].abs()
    return poses_B7


@DTYPES
def test_integrates_as_numpy_does(dtype: torch.dtype) -> None:
    pose_B7, action_B7 = random_poses(500), 0.3 * random_poses(500, seed=1)
    found = geometry.integrate(pose_B7, action_B7, dtype=dtype)
    assert found.dtype == torch.float32
    expected = poses.integrate(pose_B7.numpy(), action_B7.numpy())
    np.testing.assert_allclose(poses.transform(found), poses.transform(expected), rtol=0, atol=1e-6)
    np.testing.assert_allclose(found[:, 6], expected[:, 6], rtol=0, atol=1e-6)


@DTYPES
@pytest.mark.parametrize("pitch", [np.pi / 2, -np.pi / 2])
@pytest.mark.parametrize("offset", [0.0, 1e-8, 1e-6, 1e-4, 1e-2])
def test_stays_exact_as_a_rotation_into_gimbal_lock(pitch: float, offset: float, dtype: torch.dtype) -> None:
    pose_B7 = random_poses(100)
    pose_B7[:, 4] = pitch - offset * np.sign(pitch)
    found = geometry.integrate(pose_B7, torch.zeros_like(pose_B7), dtype=dtype)
    gap = geometry.rotation_matrix(found[:, poses.ROTATION]) - geometry.rotation_matrix(pose_B7[:, poses.ROTATION])
    assert gap.abs().max() < 1e-6


def test_errors_do_not_add_up_over_a_long_rollout() -> None:
    pose_B7, action_B7 = random_poses(50), 0.1 * random_poses(50, seed=1)
    on_device, in_numpy = pose_B7, pose_B7.numpy().astype(np.float64)
    for _ in range(16):
        on_device, in_numpy = geometry.integrate(on_device, action_B7), poses.integrate(in_numpy, action_B7.numpy())
    np.testing.assert_allclose(poses.transform(on_device), poses.transform(in_numpy), rtol=0, atol=5e-6)


def test_gradients_reach_the_action_and_stay_finite_in_gimbal_lock() -> None:
    pose_B7 = random_poses(4).double()
    pose_B7[0, poses.ROTATION] = torch.tensor([0.3, np.pi / 2, 0.1])
    action_B7 = torch.zeros(4, 7, dtype=torch.float64, requires_grad=True)
    geometry.integrate(pose_B7, action_B7).sum().backward()
    assert action_B7.grad is not None
    assert action_B7.grad.isfinite().all()
    torch.testing.assert_close(action_B7.grad[:, :3], torch.ones(4, 3, dtype=torch.float64))


def test_any_leading_axes_will_do() -> None:
    pose, action = random_poses(6).view(2, 3, 7), torch.zeros(7)
    torch.testing.assert_close(geometry.integrate(pose, action)[..., :3], pose[..., :3])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_never_waits_for_the_device() -> None:
    pose_B7 = random_poses(4).cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        geometry.integrate(pose_B7, pose_B7)
    finally:
        torch.cuda.set_sync_debug_mode("default")
