"""What is lost on episodes that are not learned from is told on the way, and changes nothing."""
# ruff: noqa: F811 - fixtures

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training import episodes
from tests.training.test_engine import assert_same, final
from tests.training.test_runs import FLAT, data, encoder, one_thread, train  # noqa: F401 - fixtures
from vjepa2_ac import cli
from vjepa2_ac.checkpoints.loading import load
from vjepa2_ac.data.layout import find_episodes
from vjepa2_ac.data.windows import WindowConfig
from vjepa2_ac.models.ac_predictor import ACPredictor
from vjepa2_ac.training import report
from vjepa2_ac.training.engine import EngineConfig
from vjepa2_ac.training.latents import FrameEncoder
from vjepa2_ac.training.losses import action_conditioned_loss
from vjepa2_ac.training.processes import Processes
from vjepa2_ac.training.report import Report
from vjepa2_ac.training.run_folder import Run
from vjepa2_ac.training.trajectories import SamplingConfig, collated, recorded_trajectories, window_at

OFTEN = ("--set", "held_out_every=8", "--set", "held_out_batches=2")


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return episodes.folder(tmp_path_factory.mktemp("others"), range(20, 24), rows=3, close=True)


def told(run: Path) -> dict[int, dict[str, float]]:
    lines = [json.loads(line) for line in Run(run).log.read_text().splitlines()]
    return {line["step"]: line["held_out"] for line in lines if "held_out" in line}


def test_what_is_held_out_is_judged_now_and_then_and_changes_nothing(
    data: Path,
    encoder: Path,
    others: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train(data, encoder, tmp_path / "alone") == 0
    assert train(data, encoder, tmp_path / "judged", "--held-out", str(others), *OFTEN) == 0
    assert_same(final(tmp_path / "alone"), final(tmp_path / "judged"))
    found = told(tmp_path / "judged")
    assert list(found) == [8, 16, 20]
    assert len({losses["forced"] for losses in found.values()}) == 3
    assert f"held out, after 20 updates: loss {found[20]['loss']:.4g}" in capsys.readouterr().err
    assert not told(tmp_path / "alone")


def test_the_loss_told_is_that_of_the_episodes_held_out(
    data: Path,
    encoder: Path,
    others: Path,
    tmp_path: Path,
) -> None:
    more = ["--set", "precision=fp32", "--set", "release=fp32", "--set", "cache=false", *OFTEN]
    assert train(data, encoder, tmp_path / "run", "--held-out", str(others), *more) == 0
    release = load(tmp_path / "run" / "release", precision="fp32")
    predictor = release.predictor
    assert isinstance(predictor, ACPredictor)
    alone, window = Processes(0, 1, torch.device("cpu")), WindowConfig(frames_per_clip=3, fps=4.0)
    every = recorded_trajectories(others, window, SamplingConfig(), alone)  # of three frames each: one window
    batch = collated([window_at(trajectory, torch.arange(3).numpy()) for trajectory in every], window)
    seen: Any = FrameEncoder(release.encoder, release.preprocessing, alone.device, "fp32")  # type: ignore[arg-type]
    latents_FND = seen(batch["frames_BTHW3"].flatten(0, 1))
    latents_BND = latents_FND.reshape(4, -1, latents_FND.shape[-1])
    with torch.no_grad():
        loss = action_conditioned_loss(predictor, latents_BND, batch["actions_BS7"], batch["poses_BT7"])
    assert told(tmp_path / "run")[20]["forced"] == pytest.approx(loss.teacher_forcing.item(), rel=1e-4)
    assert told(tmp_path / "run")[20]["rollout"] == pytest.approx(loss.rollout.item(), rel=1e-4)


def test_a_run_that_goes_on_may_be_judged_from_there_on(
    data: Path,
    encoder: Path,
    others: Path,
    tmp_path: Path,
) -> None:
    for out in ("judged", "parts"):
        assert (
            train(data, encoder, tmp_path / out, *OFTEN, *(["--held-out", str(others)] if out == "judged" else [])) == 0
        )
    (tmp_path / "parts" / "states" / "00000020.pt").unlink()
    assert cli.run(["train", "--resume", "--out", str(tmp_path / "parts"), "--held-out", str(others)]) == 0
    assert told(tmp_path / "parts") == {step: told(tmp_path / "judged")[step] for step in (16, 20)}


@pytest.mark.parametrize("recipe", ["tiny-invert", "tiny-keyframes"])
def test_an_inverse_is_judged_too(
    data: Path,
    encoder: Path,
    others: Path,
    tmp_path: Path,
    recipe: str,
) -> None:
    assert train(data, encoder, tmp_path / "model", "--set", "steps=1") == 0
    command = ["invert", "--data", str(data), "--model", str(tmp_path / "model" / "release"), "--recipe", recipe, *FLAT]
    places = ["--held-out", str(others), "--out", str(tmp_path / "run"), "--cache", str(tmp_path / "cache")]
    assert cli.run([*command, *places, *OFTEN, "--set", "steps=4"]) == 0
    assert told(tmp_path / "run")[4].keys() == {"loss", "centimetres", "closedness"}


def test_episodes_that_are_learned_from_are_not_judged_by(
    data: Path,
    encoder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    some = tmp_path / "some.txt"
    first = find_episodes(data)[0]
    some.write_text(f"{first.folder}\n")
    assert train(data, encoder, tmp_path / "run", "--held-out", str(some)) == 2
    assert f"1 of the episodes held out at {some} are learned from, too, such as " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_time_that_held_out_losses_take_is_no_updates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(report.time, "monotonic", lambda: now)
    with Report(Run(tmp_path), EngineConfig(steps=4, log_every=2), 0, "training") as told_of:
        for step in range(1, 5):
            now += 2.0  # seconds an update
            told_of.losses(step, {"loss": 1.0})
            now += 100.0
            told_of.held_out(step, {"loss": 2.0})
    lines = [json.loads(line) for line in Run(tmp_path).log.read_text().splitlines()]
    assert [line["updates_per_second"] for line in lines if "loss" in line] == [0.5, 0.5]
