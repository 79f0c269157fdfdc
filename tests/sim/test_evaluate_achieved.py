"""What achieved goals cost is measured beside them, and taken from a previous run where there is one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planner.goals import AchievedGoals
from planner.mpc import ControlConfig
from sim.env import FrankaEnv
from sim.evaluate import achieved
from sim.evaluate.achieved import from_previous_run, measure, near_goals
from sim.evaluate.budgets import from_previous_run as size_from_previous_run
from sim.evaluate.runs import evaluate
from sim.evaluate.settings import EvaluationConfig, in_this_cell, with_settings
from tests.sim.test_evaluate import small_world


def test_a_picture_near_every_goal_is_taken() -> None:
    env = FrankaEnv("pick_and_place", split="train", kind="box", frame_size=64)
    pairs = list(near_goals(env, 0))
    env.close()
    assert len(pairs) == 4
    for goal, seen in pairs:
        assert 0 < abs(goal.astype(float) - seen).mean() < 20


def test_what_achieved_goals_cost_is_measured_in_scenes_for_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    played = []

    class Played(FrankaEnv):
        def reset(self, **how: Any) -> Any:
            played.append((self.variation.split, how["seed"]))
            return super().reset(**how)

    monkeypatch.setattr(achieved, "FrankaEnv", Played)
    monkeypatch.setattr(achieved, "TASKS", ["reach"])
    found = measure(small_world(), in_this_cell(), 2, frame_size=32)
    assert played == [("train", 0), ("train", 1)]
    assert found.mean > 0
    assert found.deviation > 0


def test_a_folder_keeps_what_it_began_with(tmp_path: Path) -> None:
    planner, control = with_settings(
        in_this_cell(), ControlConfig(),
        ["search.samples=20", 'progress.achieved={"mean": 0.2, "deviation": 0.01}'],
    )  # fmt: skip
    evaluate(tmp_path, EvaluationConfig(planner=planner, control=control, budget_ms=90.0, achieved_scenes=4), [])
    assert from_previous_run(tmp_path, 4) == AchievedGoals(mean=0.2, deviation=0.01)
    assert from_previous_run(tmp_path, 5) is None
    kept = size_from_previous_run(tmp_path, 90.0, in_this_cell())
    assert kept is not None
    assert kept.search.samples == 20
    assert size_from_previous_run(tmp_path, 80.0, in_this_cell()) is None
    assert json.loads((tmp_path / "settings.json").read_text())["settings"]["budget_ms"] == 90.0
    with pytest.raises(ValueError, match="achieved_scenes"):
        evaluate(tmp_path, EvaluationConfig(planner=planner, control=control, budget_ms=90.0), [])
