from __future__ import annotations

from pathlib import Path

import pytest

from sim.tasks import MAX_STEPS
from vjepa2_ac.cli import run


def test_view_says_so_where_there_is_no_display(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert run(["sim", "view"]) == 2
    said = capsys.readouterr().err
    assert "no display" in said
    assert "sim video" in said


def test_a_film_of_doing_nothing_is_written_and_counts_as_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MAX_STEPS, "reach", 2)
    out = tmp_path / "film.mp4"
    assert run(["sim", "video", "--task", "reach", "--policy", "nothing", "--size", "128", "--out", str(out)]) == 1
    assert out.stat().st_size > 1000


def test_bounds_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--episodes", "1", "--workers", "1", "--task", "reach", "--policies", "expert"]
    assert run(["sim", "bounds", *arguments, "--out", str(tmp_path / "bounds")]) == 0
    assert "| reach | cup | expert | 1 | 100.0% |" in capsys.readouterr().out
    assert (tmp_path / "bounds.json").is_file()
    assert (tmp_path / "bounds.md").is_file()


@pytest.mark.parametrize("wrong", [["--task", "juggle"], ["--split", "exam"], ["--object", "plate"]])
def test_a_wrong_name_is_a_sentence_and_exit_code_2(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "video", *wrong, "--out", "never.mp4"]) == 2
    assert "there are" in capsys.readouterr().err
