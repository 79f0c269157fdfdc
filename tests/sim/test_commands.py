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
    assert run(["sim", "bounds", *arguments, "--out", str(tmp_path / "bounds.v2")]) == 0
    assert (tmp_path / "bounds.v2.json").is_file()  # and not a second `bounds.json`


@pytest.mark.parametrize(
    "arguments",
    [
        ["collect", "--episodes", "1"],
        ["evaluate", "--model", "random:tiny", "--episodes", "1"],
        ["evaluate-sweep", "--model", "random:tiny", "--episodes", "1"],
    ],
)
def test_results_that_cannot_have_a_folder_are_refused_in_a_sentence(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        assert run([*arguments, "--out", str(out)]) == 2
        assert "folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["video", "--task", "reach"], "film.mp4"),
        (["bounds", "--task", "reach", "--policies", "nothing", "--episodes", "1", "--workers", "1"], "bounds"),
    ],
)
def test_results_that_cannot_be_written_are_refused_before_anything_is_played(
    arguments: list[str], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim.env.FrankaEnv.reset", lambda *_, **__: pytest.fail("played"))
    (tmp_path / "file").touch()
    assert run(["sim", *arguments, "--out", str(tmp_path / "file" / name)]) == 2
    assert "cannot be made a folder" in capsys.readouterr().err


def test_bounds_need_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "bounds", "--episodes", "1", "--out", "."]) == 2
    assert "has no name" in capsys.readouterr().err


def test_a_policy_that_is_named_twice_is_measured_once(capsys: pytest.CaptureFixture[str]) -> None:
    named = ["--task", "reach", "--policies", "nothing,nothing", "--episodes", "1", "--workers", "1"]
    assert run(["sim", "bounds", *named]) == 0
    assert capsys.readouterr().out.count("| reach | cup | nothing | 1 |") == 1


def test_a_film_is_an_mp4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "video", "--out", str(tmp_path / "film")]) == 2
    assert "--out is an .mp4, not film" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--task", "juggle"], ["--split", "exam"], ["--object", "plate"]])
def test_a_wrong_name_is_a_sentence_and_exit_code_2(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "video", *wrong, "--out", "never.mp4"]) == 2
    assert "there are" in capsys.readouterr().err
