"""The same loop through a planning service, on both wires."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sim.evaluate.commands import _options
from tests.server.running import running, tiny_model
from vjepa2_ac.cli import run
from vjepa2_ac.errors import ConfigError


@pytest.mark.parametrize("wire", ["http", "grpc"])
def test_episodes_are_planned_by_a_service(wire: str, tmp_path: Path) -> None:
    with running(tiny_model) as (_, where):
        url = where.url if wire == "http" else f"grpc://{where.grpc}"
        arguments = ["evaluate", "--server", url, "--task", "pick_and_place", "--object", "box", "--episodes", "1"]
        arguments += [
            "--max-steps",
            "2",
            "--planner",
            "fast",
            "--set",
            "search.samples=6",
            "--out",
            str(tmp_path / "s"),
        ]
        assert run(arguments) == 0
    found = json.loads((tmp_path / "s" / "evaluation.json").read_text())
    assert found["settings"]["weights"] == "tiny 1"
    assert found["settings"]["options"] == {"preset": "fast", "samples": 6}
    (episode,) = found["episodes"]
    assert episode["plans"] == 2
    assert 6 * 3 <= episode["evaluations"] / 2 <= 6 * 3 * 3 + 6


def test_a_service_that_is_not_there_is_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "--server", "http://127.0.0.1:9", "--episodes", "1", "--out", str(tmp_path)]) == 2
    assert "no planning service could be reached" in capsys.readouterr().err


def test_a_service_is_asked_only_what_it_takes() -> None:
    assert _options("default", ["search.horizon=2"], 200.0) == {"budget_ms": 200.0, "horizon": 2}
    with pytest.raises(ConfigError, match=r"gripper\.gate"):
        _options("fast", ["search.gripper.gate=0.015"], None)
