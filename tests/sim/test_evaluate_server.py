"""The same loop through a planning service, on both wires."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from planner.goals import ProgressConfig
from planner.mpc import ControlConfig
from planner.presets import preset
from server.model import Served
from sim.evaluate.commands import _options
from sim.evaluate.runs import evaluate
from sim.evaluate.settings import EvaluationConfig, in_this_cell, jobs, limits_of_this_cell
from tests.models.small import ac_predictor, encoder
from tests.planner.failures import ON_GAIN, file_of
from tests.server.running import keyframes_model, running, tiny_model
from vjepa2_ac.cli import run
from vjepa2_ac.errors import ConfigError
from vjepa2_ac.images import Preprocessing
from vjepa2_ac.world_model import WorldModel


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
    imagined = 6 * preset("fast").search.iterations
    assert imagined <= episode["evaluations"] / 2 <= 3 * imagined + 6


def test_a_service_that_is_not_there_is_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "--server", "http://127.0.0.1:9", "--episodes", "1", "--out", str(tmp_path)]) == 2
    assert "no planning service could be reached" in capsys.readouterr().err


def test_a_service_is_asked_only_what_it_takes() -> None:
    assert _options("default", ["search.horizon=2"], 200.0) == {"budget_ms": 200.0, "horizon": 2}
    with pytest.raises(ConfigError, match=r"gripper\.gate"):
        _options("fast", ["search.gripper.gate=0.015"], None)
    with pytest.raises(ConfigError, match=r"a budget beside search\.samples=9"):
        _options("fast", ["search.samples=9"], 200.0)


def test_a_service_is_asked_for_a_size_of_the_search_that_it_is_asked_for() -> None:
    assert _options("paper", ["paper.samples=100", "paper.horizon=2"], None) == {
        "preset": "paper", "samples": 100, "horizon": 2
    }  # fmt: skip
    for planner, setting in (("paper", "search.samples=100"), ("fast", "paper.samples=100"), ("fast", "samples=100")):
        with pytest.raises(ConfigError, match=rf"--set {setting}: of a service's settings, only"):
            _options(planner, [setting], None)


@pytest.mark.parametrize("wire", ["http", "grpc"])
def test_a_service_gives_the_episodes_of_the_loop_in_this_process(wire: str, tmp_path: Path) -> None:
    model = WorldModel(encoder(), ac_predictor(img_size=(32, 32), embed_dim=48), Preprocessing(img_size=(32, 32)),
                       precision="fp32", device="cpu")  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorldModel, "open", lambda *_, **__: model)
        # A goal that is soon given up and one that is passed: the two loops must agree on both.
        control = ControlConfig(progress=ProgressConfig(window=1, timeout=3, least_fall=0.0))
        search = in_this_cell("fast")
        knowing = replace(search, confidence=replace(search.confidence, failure=ON_GAIN))
        here = EvaluationConfig(planner=knowing, control=control, max_steps=6)
        wanted = jobs(["planner"], ["pick_and_place"], ["box"], range(2))
        alone = evaluate(tmp_path / "here", here, wanted)
    opened = partial(Served, world=model, name="small", version="1")
    operator = {"preset": "fast", "limits": limits_of_this_cell(), "control": control}
    confidence = file_of(tmp_path, ON_GAIN)
    with running(opened, model="random:small", confidence=confidence, **operator) as (_, where):
        url = where.url if wire == "http" else f"grpc://{where.grpc}"
        served = evaluate(tmp_path / "served", EvaluationConfig(server=url, max_steps=6), wanted)
    assert [[without_time(turn) for turn in each["turns"]] for each in alone] == [
        [without_time(turn) for turn in each["turns"]] for each in served
    ]
    assert any(turn["action_7"][0] for turn in alone[0]["turns"])
    assert all(0 < turn["failure_probability"] < 1 for turn in served[0]["turns"] if turn["horizon"])
    assert {turn["status"] for each in alone for turn in each["turns"]} > {"going"}
    assert any(each["passed"] for each in alone)


@pytest.mark.parametrize("wire", ["http", "grpc"])
def test_a_service_goes_by_keyframes_as_the_loop_in_this_process_does(wire: str, tmp_path: Path) -> None:
    served_model = keyframes_model()
    wanted, control = jobs(["planner"], ["pick_and_place"], ["box"], range(1)), ControlConfig()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorldModel, "open", lambda *_, **__: served_model.world)
        here = EvaluationConfig(planner=in_this_cell("keyframes"), goals="last", max_steps=4)
        (alone,) = evaluate(tmp_path / "here", here, wanted)
    operator = {"preset": "keyframes", "limits": limits_of_this_cell(), "control": control}
    with running(lambda: served_model, **operator) as (_, where):
        url = where.url if wire == "http" else f"grpc://{where.grpc}"
        there = EvaluationConfig(server=url, goals="last", max_steps=4)
        (served,) = evaluate(tmp_path / "served", there, wanted)
    assert [without_time(turn) for turn in alone["turns"]] == [without_time(turn) for turn in served["turns"]]
    assert any(turn["action_7"][0] for turn in alone["turns"])


def without_time(turn: dict[str, Any]) -> dict[str, Any]:
    """All that does not depend on the time it took."""
    return {name: value for name, value in turn.items() if name != "plan_ms"}
