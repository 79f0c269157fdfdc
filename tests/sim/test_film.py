from __future__ import annotations

import errno
import os
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from sim.bounds import actor
from sim.env import FrankaEnv
from sim.film import FRAMES_PER_SECOND, contact_sheet, film, splits, write_jpeg, write_mp4, write_png
from sim.splits import SPLITS
from vjepa2_ac.errors import InputError, NotEnoughDiskError


def test_a_film_is_h264_and_as_long_as_the_episode(tmp_path: Path) -> None:
    env = FrankaEnv("reach", split="test", frame_size=64, render_mode="rgb_array", render_size=128)
    env.reset(seed=0)
    played = film(env, actor(env, "expert", 0), steps=3)
    env.close()
    write_mp4(tmp_path / "reach.mp4", played.frames)
    with av.open(str(tmp_path / "reach.mp4")) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert stream.codec_context.name == "h264"
        assert stream.average_rate == FRAMES_PER_SECOND
    assert len(frames) == played.steps * FRAMES_PER_SECOND // 4
    assert frames[0].shape == (128, 192, 3)
    assert played.success_at_end


def test_a_film_needs_the_pretty_view() -> None:
    env = FrankaEnv("reach", frame_size=32)
    env.reset(seed=0)
    with pytest.raises(InputError, match="rgb_array"):
        film(env, actor(env, "nothing", 0), steps=1)
    env.close()


def test_a_contact_sheet_has_a_row_per_seed_and_the_goal_last(tmp_path: Path) -> None:
    sheet = contact_sheet("reach", (0,), columns=2, size=64)
    assert sheet.shape == (64, 3 * 64, 3)
    write_png(tmp_path / "sheet.png", sheet)
    read = cv2.imread(str(tmp_path / "sheet.png"))
    assert read is not None
    assert np.abs(read[..., ::-1].astype(int) - sheet).max() <= 6


def test_each_split_with_an_appearance_of_its_own_has_a_row(tmp_path: Path) -> None:
    picture = splits(columns=2, size=64)
    assert picture.shape == ((len(SPLITS) - 1) * 64, 2 * 64, 3)
    write_jpeg(tmp_path / "splits.jpg", picture)
    assert np.abs(cv2.imread(str(tmp_path / "splits.jpg"))[..., ::-1].astype(int) - picture).mean() < 10


def test_a_film_that_cannot_be_written_is_said_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [np.zeros((16, 16, 3), dtype=np.uint8)] * 2
    (tmp_path / "a.mp4").mkdir()
    (tmp_path / "file").touch()
    for name, why in (("a.mp4", "cannot be written: Is a directory"), ("file/a.mp4", "cannot be made a folder")):
        with pytest.raises(InputError, match=why):
            write_mp4(tmp_path / name, frames)

    def full(name: str, *_: object, **__: object) -> None:
        Path(name).touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(av, "open", full)
    with pytest.raises(NotEnoughDiskError, match="No space left"):
        write_mp4(tmp_path / "b.mp4", frames)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "file"]


def test_an_empty_film_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one"):
        write_mp4(tmp_path / "nothing.mp4", [])


def test_what_cannot_be_written_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    (tmp_path / "taken").mkdir()
    for write in (write_png, write_jpeg, lambda path, frame: write_mp4(path, [frame])):
        with pytest.raises(InputError, match="taken cannot be written: Is a directory"):
            write(tmp_path / "taken", picture)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
