"""The model that ships, opened and driven as a user does it: from its files to a hand where a picture shows it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

EPISODE = ["--task", "reach", "--object", "box", "--split", "test", "--seed-base", "12500", "--episodes", "1"]


def test_the_default_model_reaches_what_a_picture_shows(tmp_path: Path) -> None:
    out = tmp_path / "found"
    command = [sys.executable, "-m", "vjepa2_ac.cli", "evaluate", "--model", "default", *EPISODE]
    done = subprocess.run([*command, "--max-steps", "6", "--out", out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((out / "evaluation.json").read_text())["rows"]
    assert (row["driver"], row["episodes"], row["at_end"]) == ("planner", 1, 1)


def test_the_default_model_takes_up_and_sets_down_what_one_picture_of_the_end_shows(tmp_path: Path) -> None:
    out = tmp_path / "found"
    scene = ["--task", "pick_and_place", "--object", "box", "--seed-base", "10560", "--episodes", "1"]
    command = [sys.executable, "-m", "vjepa2_ac.cli", "evaluate", *scene, "--goals", "last", "--planner", "keyframes"]
    done = subprocess.run([*command, "--max-steps", "30", "--out", out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((out / "evaluation.json").read_text())["rows"]
    assert (row["episodes"], row["at_end"]) == (1, 1)
