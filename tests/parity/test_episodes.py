"""Windows of a raw DROID episode, against what the reference's reader returns for the same seeds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.parity.golden import FOLDER, Case, cases_of
from vjepa2_ac.data.episodes import open_episode
from vjepa2_ac.data.windows import WindowConfig, draw_camera, draw_window
from vjepa2_ac.poses import rotation_matrix

TOLERANCE = 1e-9  # float64 on both sides
GREY_LEVELS = 0.01  # decoding is bit-equal where the decoder is the same library


@pytest.mark.parametrize("case", cases_of("droid"), ids=lambda case: case.name)
def test_a_window_is_the_one_the_reference_draws(case: Case) -> None:
    config = WindowConfig(
        frames_per_clip=case.config["frames_per_clip"],
        fps=case.config["fps"],
        frameskip=case.config["frameskip"],
        camera_frame=case.config["camera_frame"],
        cameras=tuple(view.removesuffix("_mp4_path") for view in case.config["camera_views"]),
    )
    generator = torch.Generator().manual_seed(case.config["torch_seed"])
    camera = draw_camera(config, lambda low, high: int(torch.randint(low, high, (1,), generator=generator)))
    episode = open_episode(FOLDER / case.config["episode_dir"], camera, fps_from="header")
    window = draw_window(episode, config, np.random.RandomState(case.config["np_seed"]).randint)

    np.testing.assert_array_equal(window.numbers_T, case.output("indices"))
    np.testing.assert_array_equal(window.frames_THWC.shape, case.output("frames_shape"))
    np.testing.assert_allclose(window.frames_THWC.mean(axis=(1, 2, 3)), case.output("frame_mean"), atol=GREY_LEVELS)
    assert window.extrinsics_P6 is not None
    np.testing.assert_allclose(window.extrinsics_P6, case.output("extrinsics"), atol=TOLERANCE)
    assert_poses_equal(window.poses_P7, case.output("states"))
    assert_poses_equal(window.actions_A7, case.output("actions"))


def assert_poses_equal(ours: np.ndarray, reference: np.ndarray) -> None:
    """Angles are compared as the rotations they stand for: near gimbal lock two triples mean one rotation."""
    np.testing.assert_allclose(ours[:, [0, 1, 2, 6]], reference[:, [0, 1, 2, 6]], atol=TOLERANCE)
    np.testing.assert_allclose(rotation_matrix(ours[:, 3:6]), rotation_matrix(reference[:, 3:6]), atol=TOLERANCE)
