"""A film is the episode played again: the same things happen, and a page shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import pytest

from sim.evaluate.films import chosen, place, shoot, shoot_all
from sim.evaluate.runs import OWNER, evaluate, written
from sim.evaluate.settings import EvaluationConfig, jobs
from sim.folders import held
from vjepa2_ac.errors import InputError


def test_what_is_filmed_is_what_was_played(tmp_path: Path) -> None:
    config = EvaluationConfig(model="none", max_steps=3)
    (record,) = evaluate(tmp_path, config, jobs(["expert"], ["reach"], ["box"], range(1)))
    assert shoot(tmp_path, config, record, size=128) == record["success_end"] is True
    with av.open(str(place(tmp_path, record))) as film:
        assert (film.streams.video[0].width, film.streams.video[0].height) == (192, 224)
        assert film.streams.video[0].frames == 15
    with held(tmp_path, OWNER, written(config)), pytest.raises(InputError, match="another evaluation is at work"):
        shoot_all(tmp_path, config, [record])
    before = place(tmp_path, record).stat().st_mtime_ns
    shoot_all(tmp_path, config, [record])
    assert place(tmp_path, record).stat().st_mtime_ns == before


def test_failures_and_successes_are_filmed_in_turn() -> None:
    def record(driver: str, seed: int, done: bool) -> dict[str, Any]:
        return {"driver": driver, "task": "reach", "object": "box", "seed": seed, "success_end": done}

    played = [record("planner", seed, seed < 3) for seed in range(5)] + [record("nothing", 0, False)]
    assert [each["seed"] for each in chosen(played, 3)] == [3, 0, 4]
    assert len(chosen(played[-1:], 3)) == 1
