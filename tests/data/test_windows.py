from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.folders import folder_of
from vjepa2_ac.data.episodes import Episode, open_episode
from vjepa2_ac.data.windows import WindowConfig, draw_camera, draw_window, window_at, window_starts
from vjepa2_ac.errors import ConfigError, EpisodeError
from vjepa2_ac.poses import in_camera_frame, integrate


@pytest.fixture(scope="module")
def episode(tmp_path_factory: pytest.TempPathFactory) -> Episode:
    return open_episode(folder_of(tmp_path_factory.mktemp("folder"), 1)[0])


def test_frames_poses_and_actions_belong_together(episode: Episode) -> None:
    window = draw_window(episode, WindowConfig(), np.random.default_rng(5).integers)
    np.testing.assert_allclose(window.frames_THWC.mean(axis=(1, 2, 3)), 20 + 3 * window.numbers_T, atol=1.5)
    np.testing.assert_array_equal(window.poses_P7, episode.poses_N7[window.numbers_T])
    np.testing.assert_allclose(integrate(window.poses_P7[:-1], window.actions_A7), window.poses_P7[1:], atol=1e-12)


@given(seed=st.integers(0, 2**32 - 1), frames=st.integers(2, 12), fps=st.sampled_from([1.0, 2.0, 4.0]))
def test_a_window_lies_inside_and_leaves_the_last_frame(episode: Episode, seed: int, frames: int, fps: float) -> None:
    span = frames * episode.stride(fps)
    if span >= len(episode):
        return
    ends: list[tuple[int, int]] = []
    rng = np.random.default_rng(seed)

    def draw(low: int, high: int) -> int:
        ends.append((low, high))
        return int(rng.integers(low, high))

    numbers = draw_window(episode, WindowConfig(frames_per_clip=frames, fps=fps), draw).numbers_T
    assert ends == [(span, len(episode))]
    assert 0 <= numbers[0] < numbers[-1] < len(episode) - 1
    assert set(np.diff(numbers)) <= {episode.stride(fps)}


def test_the_camera_frame_is_the_hand_as_the_camera_sees_it(episode: Episode) -> None:
    window = window_at(episode, 3, WindowConfig(camera_frame=True))
    plain = window_at(episode, 3, WindowConfig())
    np.testing.assert_allclose(window.poses_P7, in_camera_frame(plain.poses_P7, plain.extrinsics_P6))


def test_an_episode_without_extrinsics_has_windows_without_them(episode: Episode) -> None:
    bare = replace(episode, extrinsics_N6=None)
    assert window_at(bare, 3, WindowConfig()).extrinsics_P6 is None
    with pytest.raises(EpisodeError, match="10000001_left is missing"):
        window_at(bare, 3, WindowConfig(camera_frame=True))


def test_frameskip_thins_poses_and_leaves_frames(episode: Episode) -> None:
    window = window_at(episode, 0, WindowConfig(frameskip=2))
    assert (len(window.frames_THWC), len(window.poses_P7), len(window.actions_A7)) == (8, 4, 3)


def test_every_start_is_a_whole_window(episode: Episode) -> None:
    starts = window_starts(episode, WindowConfig())
    assert (starts[0], starts[-1]) == (0, 32)
    assert window_at(episode, starts[-1], WindowConfig()).numbers_T[-1] == 39
    with pytest.raises(EpisodeError, match="the last is 39"):
        window_at(episode, starts[-1] + 1, WindowConfig())


def test_a_short_episode_says_so(tmp_path: Path) -> None:
    short = open_episode(folder_of(tmp_path, 1, rows=8)[0])
    with pytest.raises(EpisodeError, match="too short: 8 frames at 4 fps, 8 at 4 fps need more than 8"):
        draw_window(short, WindowConfig(), np.random.default_rng(0).integers)
    assert len(draw_window(short, WindowConfig(frames_per_clip=3), np.random.default_rng(0).integers).frames_THWC) == 3


def test_each_camera_is_drawn_about_as_often() -> None:
    config = WindowConfig(cameras=("left", "right"))
    draw = np.random.default_rng(0).integers
    left = sum(draw_camera(config, draw) == "left" for _ in range(400))
    assert 160 < left < 240


@pytest.mark.parametrize(
    "wrong",
    [
        {"frames_per_clip": 1},
        {"fps": 0},
        {"fps": np.nan},
        {"fps": np.inf},
        {"frameskip": 0},
        {"cameras": ("front",)},
        {"cameras": ()},
    ],
)
def test_nonsense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        WindowConfig(**wrong)  # type: ignore[arg-type]  # that is the point
