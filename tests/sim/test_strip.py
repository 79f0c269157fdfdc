"""Films become GIFs and strips that fit on a page."""

from __future__ import annotations

import wave
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from sim.film import write_mp4
from sim.strip import GIF_FRAMES_PER_SECOND, PAUSE, gif, read, strip
from vjepa2_ac.cli import run


@pytest.fixture
def films(tmp_path: Path) -> list[Path]:
    """Two films of one second: a bright square that moves over a dark ground."""
    paths = [tmp_path / "left.mp4", tmp_path / "right.mp4"]
    for path, way in zip(paths, (-1, 1), strict=True):
        frames = [np.full((96, 128, 3), 30, dtype=np.uint8) for _ in range(20)]
        for number, frame in enumerate(frames):
            frame[40:56, 56 + 2 * way * number : 72 + 2 * way * number] = (250, 120, 40)
        write_mp4(path, frames)
    return paths


def test_a_gif_plays_the_films_in_turn_at_their_own_speed(films: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "both.gif"
    assert run(["sim", "strip", *map(str, films), "--out", str(out), "--width", "64"]) == 0
    with av.open(str(out)) as opened:
        frames = [frame.to_ndarray(format="rgb24") for frame in opened.decode(video=0)]
    assert len(frames) == 2 * (GIF_FRAMES_PER_SECOND + PAUSE)
    assert frames[0].shape == (48, 64, 3)
    assert np.abs(frames[0][24, 32].astype(int) - (250, 120, 40)).max() < 30


@pytest.mark.parametrize(("rate", "seen"), [(2, [0, 0, 0, 1, 1]), (4, [0, 0, 1, 2, 3]), (12, [0, 2, 4, 7, 9])])
def test_a_film_of_any_rate_keeps_its_speed(tmp_path: Path, rate: int, seen: list[int]) -> None:
    grey = [np.full((96, 128, 3), 30 + 15 * number, dtype=np.uint8) for number in range(rate)]
    write_mp4(tmp_path / "film.mp4", grey, rate)
    gif(tmp_path / "film.gif", [tmp_path / "film.mp4"], width=64)
    levels = [(frame.mean() - 30) / 15 for frame in read(tmp_path / "film.gif")]
    assert [round(level) for level in levels] == seen + PAUSE * seen[-1:]


def test_a_strip_has_a_row_for_each_film_from_first_to_last(films: list[Path], tmp_path: Path) -> None:
    assert strip(films, columns=3, width=64).shape == (2 * 48, 3 * 64, 3)
    assert run(["sim", "strip", *map(str, films), "--out", str(tmp_path / "both.png"), "--columns", "2"]) == 0
    assert cv2.imread(str(tmp_path / "both.png")) is not None


def test_a_folder_named_after_a_time_is_a_folder(
    films: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    film = Path("12:30") / "film.mp4"
    write_mp4(film, list(read(films[0])))
    assert run(["sim", "strip", str(film), "--out", "12:30/film.gif"]) == 0


def test_what_cannot_be_made_is_said(films: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "strip", str(films[0]), "--out", str(tmp_path / "film.webp")]) == 2
    assert run(["sim", "strip", str(tmp_path / "none.mp4"), "--out", str(tmp_path / "film.gif")]) == 2
    with wave.open(str(tmp_path / "song.wav"), "wb") as song:
        song.setparams((1, 2, 8000, 0, "NONE", ""))
        song.writeframes(bytes(1600))
    assert run(["sim", "strip", str(tmp_path / "song.wav"), "--out", str(tmp_path / "film.gif")]) == 2
    empty = tmp_path / "empty.avi"  # of a recorder that was killed, say
    with av.open(str(empty), "w") as container:
        container.add_stream("mpeg4", rate=20).codec_context.pix_fmt = "yuv420p"
        container.start_encoding()
    assert run(["sim", "strip", str(empty), "--out", str(tmp_path / "film.gif")]) == 2
    assert run(["sim", "strip", str(empty), "--out", str(tmp_path / "film.png")]) == 2
    said = capsys.readouterr().err
    assert said.count("empty.avi is no film: it has no picture") == 2
    assert "song.wav is no film: it has no picture" in said
    assert "a .gif or a .png" in said
    assert "no film" in said
