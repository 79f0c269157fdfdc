"""What happens on a GPU, seen on any machine: fake tensors hold no numbers, but know their device and dtype, and
operations on them refuse what a GPU would refuse. What depends on numbers, and gradients, they cannot carry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from planner.costs import CostConfig, GoalCost, pooling
from tests.models.small import ac_predictor, encoder, masked_predictor
from vjepa2_ac import memory
from vjepa2_ac.devices import choose_device, finish
from vjepa2_ac.errors import ConfigError
from vjepa2_ac.fitcheck.attentive import AttentiveReadOut
from vjepa2_ac.fitcheck.learning import read
from vjepa2_ac.fitcheck.points import PointsReadOut
from vjepa2_ac.images import Preprocessing
from vjepa2_ac.models import ac_predictor as predictors
from vjepa2_ac.models import rope
from vjepa2_ac.models.encoder_v21 import EncoderV21, EncoderV21Config
from vjepa2_ac.models.inverse_model import InverseModel, InverseModelConfig
from vjepa2_ac.models.masked_predictor_v21 import MaskedPredictorV21, MaskedPredictorV21Config
from vjepa2_ac.training import latents
from vjepa2_ac.training.engine import Batch, Learner, _on
from vjepa2_ac.training.inversion import Inversion
from vjepa2_ac.training.latents import FrameEncoder
from vjepa2_ac.training.posttraining import PostTraining, PostTrainingConfig
from vjepa2_ac.training.pretraining import Pretraining, PretrainingConfig
from vjepa2_ac.world_model import History, Rollout, WorldModel

CUDA = torch.device("cuda", 0)
SIZE, N, D = (32, 32), 16, 48  # [px], tokens of a frame, their width
PRECISIONS = pytest.mark.parametrize("precision", ["fp32", "bf16"])


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTensorMode]:
    """A GPU that is not there, with room and with bf16; tables made on it hold no numbers and are forgotten."""
    monkeypatch.setattr(memory, "available_bytes", lambda device: 1 << 30)
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(latents, "hash_of", lambda encoder, dtype: "of weights without numbers")
    yield FakeTensorMode(allow_non_fake_inputs=True)
    for table in (rope._grid_rotation, rope._partners, predictors._block_causal, pooling):
        table.cache_clear()


def test_a_gpu_refuses_tensors_that_lie_elsewhere(gpu: FakeTensorMode) -> None:
    with gpu, pytest.raises(RuntimeError, match="device"):
        torch.zeros(2, device=CUDA) + torch.zeros(2)


@PRECISIONS
@pytest.mark.parametrize(
    "changes",
    [{}, {"modulation": "adaln"}, {"local_mixing": True}, {"copy_gate": True}, {"is_frame_causal": False}],
    ids=str,
)
def test_nothing_mixes_devices_when_the_model_lives_on_a_gpu(
    gpu: FakeTensorMode, precision: str, changes: dict[str, Any]
) -> None:
    networks = encoder(), ac_predictor(img_size=SIZE, embed_dim=D, **changes)
    with gpu:
        world = WorldModel(*networks, Preprocessing(img_size=SIZE), precision=precision, device="cuda")
        answers = everything_of(world)
    assert {(answer.device, answer.dtype) for answer in answers} == {(CUDA, torch.float32)}


def everything_of(world: WorldModel) -> list[Tensor]:
    """What a world model answers, whichever way it is asked."""
    latents_BND = world.encode(np.zeros((2, 40, 48, 3), np.uint8))
    pose_B7, actions_BSHA = torch.zeros(2, 7), torch.zeros(2, 3, 4, 7)  # as the planner hands them in: on the CPU
    config = CostConfig(pools=(2,), focus=0.5, earlier=0.5, surprise=0.5)
    cost = GoalCost(config, latents_BND, observed_BND=latents_BND, surprise_BND=latents_BND)
    past = History(torch.zeros(2, 2, N, D), torch.zeros(2, 2, 7), torch.zeros(2, 2, 7))
    answers = [latents_BND, *world.step(latents_BND, actions_BSHA[:, 0, 0], pose_B7)]
    for history in (None, past):
        answers += of(world.rollout(latents_BND, pose_B7, actions_BSHA, history))
        answers += of(world.rollout_uncached(latents_BND, pose_B7, actions_BSHA, history))
        answers.append(world.score(latents_BND, pose_B7, actions_BSHA, cost, history))
    return answers


def inverse_model() -> InverseModel:
    return InverseModel(InverseModelConfig(grid=(4, 4), embed_dim=D, channels=8, points=3, hidden_dim=16))


@PRECISIONS
@pytest.mark.parametrize("keyframe", [False, True])
def test_hands_are_located_on_the_gpu(gpu: FakeTensorMode, precision: str, *, keyframe: bool) -> None:
    networks = encoder(), ac_predictor(img_size=SIZE, embed_dim=D)
    locating = {"inverse": inverse_model(), "keyframes": inverse_model()}
    asked = torch.zeros(2, N, D), torch.zeros(2, 7), torch.zeros(2, N, D)  # on the CPU
    with gpu:
        world = WorldModel(*networks, Preprocessing(img_size=SIZE), precision=precision, device="cuda", **locating)
        located = world.locate(*asked, keyframe=keyframe)
        assert located is not None
    assert {(answer.device, answer.dtype) for answer in located} == {(CUDA, torch.float32)}


def of(rollout: Rollout) -> list[Tensor]:
    return [rollout.latents_BSHND, rollout.poses_BSH7, rollout.actions_BSHA]


@PRECISIONS
def test_post_training_keeps_to_its_gpu(gpu: FakeTensorMode, precision: str) -> None:
    frozen, config = encoder(), PostTrainingConfig(contrast_weight=1.0)
    predictor = ac_predictor(img_size=SIZE, embed_dim=D, modulation="adaln", use_extrinsics=True)
    batch = {
        "poses_BT7": torch.zeros(2, 4, 7),
        "actions_BS7": torch.zeros(2, 3, 7),
        "extrinsics_BT6": torch.zeros(2, 4, 6),
        "is_paired": True,
    }
    recorded = {"frames_BTHW3": torch.zeros(2, 4, 40, 48, 3, dtype=torch.uint8)}
    cached = {"latents_BND": torch.zeros(2, 4 * N, D, dtype=torch.bfloat16)}
    with gpu:
        frames = FrameEncoder(frozen, Preprocessing(img_size=SIZE), CUDA, precision)
        learner = PostTraining(predictor, config, 10, frames).to(CUDA)
        assert all(lies_on_the_gpu(learner, batch | seen, precision) for seen in (recorded, cached))


@PRECISIONS
def test_inversion_keeps_to_its_gpu(gpu: FakeTensorMode, precision: str) -> None:
    frozen, learning = encoder(), inverse_model()
    batch = {"latents_BND": torch.zeros(2, 2 * N, D, dtype=torch.bfloat16), "poses_BT7": torch.zeros(2, 2, 7)}
    with gpu:
        frames = FrameEncoder(frozen, Preprocessing(img_size=SIZE), CUDA, precision)
        assert lies_on_the_gpu(Inversion(learning, frames).to(CUDA), batch, precision)


@PRECISIONS
@pytest.mark.parametrize("version", ["2", "2.1"])
def test_pretraining_keeps_to_its_gpu(gpu: FakeTensorMode, version: str, precision: str) -> None:
    if version == "2":
        learner = Pretraining(encoder(), masked_predictor(img_size=SIZE, embed_dim=D), PretrainingConfig(), 10)
    else:
        shape: dict[str, Any] = {"img_size": SIZE, "patch_size": 8, "num_frames": 4, "embed_dim": D, "num_heads": 2}
        learner = Pretraining(
            EncoderV21(EncoderV21Config(depth=12, **shape)),
            MaskedPredictorV21(MaskedPredictorV21Config(depth=1, predictor_embed_dim=32, **shape)),
            PretrainingConfig(context_ramp=None),
            10,
        )
    ids_BK = torch.arange(2 * N).expand(2, -1)
    batch = {"video_BCTHW": torch.zeros(2, 3, 4, *SIZE), "contexts": [ids_BK[:, :N]], "targets": [ids_BK[:, N:]]}
    with gpu:
        assert lies_on_the_gpu(learner.to(CUDA), batch, precision)
        learner.after_update(1)


def lies_on_the_gpu(learner: Learner, batch: Batch, precision: str) -> bool:
    """Whether an update's losses do, in float32; the way there is that of `Trainer`."""
    with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
        losses = learner(_on(CUDA, batch), 1)
    return {(loss.device, loss.dtype) for loss in losses.values()} == {(CUDA, torch.float32)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_read_outs_keep_to_their_gpu(gpu: FakeTensorMode, dtype: torch.dtype) -> None:
    for network in (AttentiveReadOut(N, D, [3, 1]), PointsReadOut((4, 4), D, 4)):
        with gpu:
            answers_QK = read(network.to(CUDA), torch.zeros(2, N, D, device=CUDA, dtype=dtype))
        assert (answers_QK.device, answers_QK.dtype) == (CUDA, torch.float32)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "mps", "meta"])
def test_a_device_that_is_not_here_is_refused(device: str) -> None:
    with pytest.raises(ConfigError, match=f"no device '?{device}"):
        WorldModel.open("random:tiny", device=device)


def test_cuda_is_taken_where_there_is_one_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device(None) == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device(None) == torch.device("cpu")
    with pytest.raises(
        ConfigError, match="can use 0 CUDA devices"
    ):  # a driver too old shows devices, and no use of them
        choose_device("cuda")
    finish(choose_device("cpu"))  # which never makes anybody wait
