"""The model that ships, opened and driven as a user does it: from its files to a hand where a picture shows it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server import pictures
from vjepa2_ac.cli import run

EPISODE = ["--task", "reach", "--object", "box", "--split", "test", "--seed-base", "12500", "--episodes", "1"]


def test_the_default_model_reaches_what_a_picture_shows(tmp_path: Path) -> None:
    out = tmp_path / "found"
    command = [sys.executable, "-m", "vjepa2_ac.cli", "evaluate", "--model", "default", *EPISODE]
    done = subprocess.run([*command, "--max-steps", "6", "--out", out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((out / "evaluation.json").read_text())["rows"]
    assert (row["driver"], row["episodes"], row["at_end"]) == ("planner", 1, 1)
    (episode,) = (out / "episodes").glob("planner-*.json")
    confidences = [turn["confidence"] for turn in json.loads(episode.read_text())["turns"] if turn["confidence"]]
    assert all(signs["cycle_error"] < 0.02 and not signs["view_unfamiliar"] for signs in confidences)  # [m]


def test_the_default_model_says_so_where_it_knows_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, picture in (("now", pictures.noise(256, 256, 1)), ("wanted", pictures.noise(256, 256, 2))):
        (tmp_path / f"{name}.png").write_bytes(pictures.png(picture))
    looking = ["--observation", f"{tmp_path}/now.png", "--goal", f"{tmp_path}/wanted.png"]
    assert run(["plan", *looking, "--pose", "0.4 0 0.3 3.14 0 0 0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["confidence"]["view_unfamiliar"]
    assert found["failure_probability"] is None
    assert "does not know such a view" in found["warnings"][-1]


def test_the_default_model_takes_up_and_sets_down_what_one_picture_of_the_end_shows(tmp_path: Path) -> None:
    out = tmp_path / "found"
    scene = ["--task", "pick_and_place", "--object", "box", "--seed-base", "10560", "--episodes", "1"]
    command = [sys.executable, "-m", "vjepa2_ac.cli", "evaluate", *scene, "--goals", "last", "--planner", "keyframes"]
    done = subprocess.run([*command, "--max-steps", "30", "--out", out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((out / "evaluation.json").read_text())["rows"]
    assert (row["episodes"], row["at_end"]) == (1, 1)
