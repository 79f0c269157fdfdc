"""A predictor trained on a V-JEPA 2.1 encoder, from episodes on disk to plans that a service gives."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from planner.planning import Planner, PlannerConfig, Request
from planner.search_config import SearchConfig
from server.model import open_model
from tests.server.running import running
from tests.training import episodes
from vjepa2_ac.checkpoints import load
from vjepa2_ac.cli import run
from vjepa2_ac.client import PlannerClient
from vjepa2_ac.data.windows import WindowConfig
from vjepa2_ac.errors import CheckpointError
from vjepa2_ac.model_version import version_of
from vjepa2_ac.models.encoder_v21 import EncoderV21
from vjepa2_ac.training.latents import FrameEncoder, packed
from vjepa2_ac.training.processes import Processes
from vjepa2_ac.training.trajectories import SamplingConfig, cached_trajectories, recorded_trajectories
from vjepa2_ac.world_model import History, WorldModel, energy

POSE = (0.4, 0.0, 0.3, 0.0, 0.0, 0.0, 0.0)
CPU = torch.device("cpu")
ALONE = Processes(0, 1, CPU)
PRETRAIN = """
extends: tiny-pretrain
about: V-JEPA 2.1 at the smallest size
variant: v2.1
encoder: {depth: 12, use_silu: false, tubelet_size: 2}
predictor: {use_silu: false}
loss: {context_ramp: null}
engine: {steps: 3, log_every: 3, save_every: 3}
"""
SHORT = ("steps=6", "save_every=6", "anneal=4", "precision=fp32")
TRAIN = ["--recipe", "tiny-train", *(word for setting in SHORT for word in ("--set", setting))]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("v21")
    episodes.folder(root / "episodes", close=True)
    return root


@pytest.fixture(scope="module")
def encoder(root: Path) -> Path:
    (root / "pretrain.yaml").write_text(PRETRAIN)
    command = [
        "pretrain",
        "--data",
        f"{root}/episodes",
        "--recipe",
        f"{root}/pretrain.yaml",
        "--out",
        f"{root}/encoder",
    ]
    assert run([*command, "--cache", f"{root}/cache"]) == 0
    return root / "encoder" / "release"


@pytest.fixture(scope="module")
def release(root: Path, encoder: Path) -> Path:
    command = ["train", "--data", f"{root}/episodes", "--encoder", str(encoder), "--out", f"{root}/model", *TRAIN]
    assert run([*command, "--cache", f"{root}/cache"]) == 0
    return root / "model" / "release"


@pytest.fixture(scope="module")
def model(release: Path) -> WorldModel:
    return WorldModel.open(release, precision="fp32", device="cpu")


def frames(count: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 48, 64, 3), dtype=np.uint8)


def test_a_release_holds_the_encoder_it_was_trained_on(encoder: Path, release: Path) -> None:
    ours, theirs = load(release), load(encoder)
    assert isinstance(ours.encoder, EncoderV21)
    assert isinstance(theirs.encoder, EncoderV21)
    assert ours.encoder.config == theirs.encoder.config
    assert ours.preprocessing == theirs.preprocessing
    pairs = zip(ours.encoder.parameters(), theirs.encoder.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_latents_are_those_of_training(encoder: Path, release: Path, precision: str) -> None:
    source = load(encoder, parts=("encoder",), precision="fp32")  # as `train` loads it
    assert source.encoder is not None
    trained_on = FrameEncoder(source.encoder, source.preprocessing, CPU, precision)
    opened = WorldModel.open(release, precision=precision, device="cpu")
    assert torch.equal(opened.encode(frames()), trained_on(frames()))


def test_latents_are_those_that_training_kept_on_disk(root: Path, model: WorldModel) -> None:
    encoder = FrameEncoder(model.encoder, model.preprocessing, CPU, "fp32")
    given = root / "episodes", WindowConfig(), SamplingConfig()
    before = sorted((root / "cache").rglob("*.npy"))
    kept = cached_trajectories(*given, encoder, root / "cache", ALONE)
    assert sorted((root / "cache").rglob("*.npy")) == before  # those of the run itself, nothing is encoded anew
    for latents, pictures in zip(kept, recorded_trajectories(*given, ALONE), strict=True):
        rows = np.arange(len(latents))
        seen = model.encode(pictures.read(rows)["frames_THW3"])
        np.testing.assert_array_equal(latents.read(rows)["latents_TND"], packed(seen))


def test_steps_and_rollouts_follow_the_latents(model: WorldModel) -> None:
    latents_BND, pose_B7 = model.encode(frames(2)), torch.tensor([POSE, POSE])
    actions_BSHA = 0.05 * torch.randn(2, 3, 2, 7, generator=torch.Generator().manual_seed(0))
    rollout = model.rollout(latents_BND, pose_B7, actions_BSHA)
    plainly = model.rollout_uncached(latents_BND, pose_B7, actions_BSHA)
    torch.testing.assert_close(rollout.latents_BSHND, plainly.latents_BSHND, atol=1e-5, rtol=0)
    first_BND, first_pose_B7 = model.step(latents_BND, actions_BSHA[:, 0, 0], pose_B7)
    past = History(latents_BND[:, None], pose_B7[:, None], actions_BSHA[:, 0, :1])
    second_BND, _ = model.step(first_BND, actions_BSHA[:, 0, 1], first_pose_B7, past)
    torch.testing.assert_close(rollout.last[:, 0], second_BND, atol=1e-5, rtol=0)


def test_it_plans(model: WorldModel) -> None:
    latents_ND, goal_ND = model.encode(frames(2))
    config = PlannerConfig(search=SearchConfig(samples=16, elites=4, kept_elites=2, iterations=2, horizon=2))
    plan = Planner(model, config).plan(Request(latents_ND=latents_ND, pose=POSE, goal_ND=goal_ND, seed=1))
    still = model.rollout(latents_ND[None], torch.tensor([POSE]), torch.zeros(1, 1, 2, 7))
    assert plan.actions_H7.shape == (2, 7)
    assert plan.idle_cost == pytest.approx(float(energy(still, goal_ND[None])), rel=1e-4)
    assert plan.cost <= plan.idle_cost


def test_a_service_plans_with_it(release: Path, model: WorldModel) -> None:
    served = open_model(str(release), "fp32", "cpu")
    assert served.version == version_of(model)
    with running(lambda: served) as (_, where), PlannerClient(where.url) as client:
        (listed,) = client.models()
        assert (listed["details"]["encoder"], listed["details"]["img_size"]) == ("V-JEPA 2.1", "32x32")
        now, goal = frames(2)
        assert client.plan(now, POSE, goal, seed=1, samples=16, iterations=1).actions.shape == (1, 7)


def test_commands_plan_measure_and_drive_with_it(root: Path, release: Path, tmp_path: Path) -> None:
    for name, picture in zip(("now", "goal"), frames(2), strict=True):
        cv2.imwrite(f"{tmp_path}/{name}.png", picture)
    asked = [f"--observation={tmp_path}/now.png", f"--goal={tmp_path}/goal.png", "--pose", " ".join(map(str, POSE))]
    few = ["--set", "search.samples=16", "--set", "search.iterations=1"]
    assert run(["plan", *asked, "--model", str(release), *few]) == 0
    quick = ["--moments", "4", "--candidates", "4", "--horizon", "2", "--read-out-steps", "5"]
    assert run(["fit-check", f"{root}/episodes", "--model", str(release), "--out", f"{tmp_path}/fit", *quick]) == 0
    report = json.loads((tmp_path / "fit" / "fit-check.json").read_text())
    assert report["models"][str(release)]["drift"]["open_loop"][0]["value"] > 0
    assert "random encoder" in report["models"]
    episode = ["--task", "reach", "--object", "box", "--episodes", "1", "--max-steps", "1", "--planner", "fast", *few]
    assert run(["evaluate", *episode, "--model", str(release), "--out", f"{tmp_path}/found"]) == 0
    (row,) = json.loads((tmp_path / "found" / "evaluation.json").read_text())["rows"]
    assert (row["driver"], row["episodes"]) == ("planner", 1)


def test_what_it_is_can_be_read_before_it_is_opened(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(release)]) == 0
    printed = capsys.readouterr().out
    assert "would load encoder: EncoderV21" in printed
    assert "would load predictor: ACPredictor" in printed


def test_an_encoder_alone_is_no_world_model(encoder: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no predictor; it holds encoder, masked_predictor"):
        WorldModel.open(encoder)
