from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training import episodes
from tests.training.small import ALONE, frame_encoder
from vjepa2_ac.data.windows import WindowConfig
from vjepa2_ac.errors import ConfigError
from vjepa2_ac.jitter import Jitter
from vjepa2_ac.training import recipes
from vjepa2_ac.training.latents import FrameEncoder
from vjepa2_ac.training.order import Layout
from vjepa2_ac.training.processes import Processes
from vjepa2_ac.training.trajectories import (
    SamplingConfig,
    Trajectory,
    TrajectoryBatches,
    cached_trajectories,
    recorded_trajectories,
)

WINDOW = WindowConfig(frames_per_clip=4)
PAIRED = SamplingConfig(pair_share=1.0, pair_frames=3)


@pytest.fixture(scope="module")
def encoder() -> FrameEncoder:
    return frame_encoder()


def cached(data: Path, encoder: FrameEncoder, copies: int) -> list[Trajectory]:
    cache = data.parent / "cache"
    return cached_trajectories(data, WINDOW, SamplingConfig(), encoder, cache, ALONE, copies=copies)


def recorded(data: Path, copies: int) -> list[Trajectory]:
    return recorded_trajectories(data, WINDOW, SamplingConfig(), ALONE, copies=copies)


def frames_of(trajectory: Trajectory) -> np.ndarray:
    return np.asarray(trajectory.read(np.arange(len(trajectory)))["frames_THW3"])


def test_each_episode_comes_as_it_was_recorded_and_again_in_other_colours(tmp_path: Path) -> None:
    data = episodes.folder(tmp_path / "episodes", range(2))
    plain, all_three = recorded(data, 0), recorded(data, 2)
    assert [trajectory.name for trajectory in all_three] == 3 * [trajectory.name for trajectory in plain]
    for number, trajectory in enumerate(all_three):
        original = plain[number % 2]
        assert np.array_equal(trajectory.poses_R7, original.poses_R7)
        assert np.array_equal(frames_of(trajectory), frames_of(original)) == (number < 2)


def test_all_frames_of_a_copy_share_one_draw(tmp_path: Path) -> None:
    data = episodes.folder(tmp_path / "episodes", range(1))
    original, copy = recorded(data, 1)
    expected = Jitter.of(Path(original.name).name, 1)(frames_of(original))
    assert np.array_equal(frames_of(copy), expected)
    assert np.array_equal(copy.read(np.array([3]))["frames_THW3"][0], expected[3])


def test_copies_from_the_cache_are_those_decoded_when_drawn(tmp_path: Path, encoder: FrameEncoder) -> None:
    data = episodes.folder(tmp_path / "episodes", range(2))
    for kept, decoded in zip(cached(data, encoder, 1), recorded(data, 1), strict=True):
        bits = torch.from_numpy(kept.read(np.arange(len(kept)))["latents_TND"].copy()).view(torch.bfloat16)
        torch.testing.assert_close(bits.float(), encoder(frames_of(decoded)), atol=0.02, rtol=0)


def test_processes_share_the_copies_when_the_episodes_are_there_already(
    tmp_path: Path, encoder: FrameEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = episodes.folder(tmp_path / "episodes", range(4))
    cached(data, encoder, 0)
    monkeypatch.setattr(Processes, "wait", lambda _: None)
    monkeypatch.setattr(Processes, "united", lambda _, reasons: reasons)
    second = Processes(1, 2, ALONE.device)
    made = cached_trajectories(data, WINDOW, SamplingConfig(), encoder, tmp_path / "cache", second, copies=1)
    assert len(made) == 4 + 2


def test_more_copies_leave_what_is_cached(
    tmp_path: Path, encoder: FrameEncoder, capsys: pytest.CaptureFixture[str]
) -> None:
    data = episodes.folder(tmp_path / "episodes", range(3))
    cached(data, encoder, 0)
    cached(data, encoder, 1)
    assert "latents: 3 of 6 to make" in capsys.readouterr().err


def test_copies_in_colours_of_other_ranges_are_not_taken_for_these(
    tmp_path: Path, encoder: FrameEncoder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = episodes.folder(tmp_path / "episodes", range(3))
    cached(data, encoder, 1)
    capsys.readouterr()
    monkeypatch.setattr("vjepa2_ac.jitter.RANGES", "another version's")
    cached(data, encoder, 1)
    assert "latents: 3 of 6 to make" in capsys.readouterr().err


def test_branches_of_one_state_share_their_colours_and_pair_within_them(tmp_path: Path) -> None:
    data = episodes.branches(tmp_path / "episodes", pairs=1)
    opening, closing, opening_again, closing_again = recorded(data, 1)
    corner = (0, 0, 0)  # of the first frame, where all four show the same grey
    assert np.array_equal(frames_of(opening_again)[corner], frames_of(closing_again)[corner])
    assert not np.array_equal(frames_of(opening)[corner], frames_of(opening_again)[corner])
    assert opening.branch == closing.branch
    assert opening_again.branch == closing_again.branch != opening.branch
    batches = TrajectoryBatches(recorded(data, 1), WINDOW, PAIRED, Layout(4), seed=0)
    corners = batches[0]["frames_BTHW3"][:, 0, 0, 0]
    assert torch.equal(corners[0], corners[1])
    assert torch.equal(corners[2], corners[3])
    assert not torch.equal(corners[0], corners[2])


def test_a_negative_number_of_copies_is_refused() -> None:
    for recipe in ("tiny-train", "tiny-keyframes"):
        with pytest.raises(ConfigError, match="copies"):
            recipes.read(recipe, ["copies=-1"])
