"""Every learner there is, as small as it can be, and batches that it can learn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from tests.models.small import ac_predictor, encoder, masked_predictor
from vjepa2_ac.images import Preprocessing
from vjepa2_ac.models.build import build
from vjepa2_ac.models.encoder_v21 import EncoderV21, EncoderV21Config
from vjepa2_ac.models.inverse_model import InverseModel, InverseModelConfig
from vjepa2_ac.models.masked_predictor_v21 import MaskedPredictorV21, MaskedPredictorV21Config
from vjepa2_ac.training.engine import Batch, Learner
from vjepa2_ac.training.inversion import Inversion
from vjepa2_ac.training.latents import FrameEncoder
from vjepa2_ac.training.posttraining import PostTraining, PostTrainingConfig
from vjepa2_ac.training.pretraining import Pretraining, PretrainingConfig

SIZE, N, D, FRAMES = (32, 32), 16, 48, 4  # [px], tokens of a frame, their width, frames of a clip
STEPS = 10


@dataclass(frozen=True, slots=True)
class Drawn:
    """Batches of random numbers, a pure function of their number."""

    make: Callable[[torch.Generator], Batch]

    def __getitem__(self, micro_batch: int) -> Batch:
        return self.make(torch.Generator().manual_seed(micro_batch))


def pretraining() -> Learner:
    return Pretraining(encoder(), masked_predictor(img_size=SIZE, embed_dim=D), PretrainingConfig(), STEPS)


def pretraining_v21(levels: int = 4, frames: int = FRAMES) -> Learner:
    shape: dict[str, Any] = {"img_size": SIZE, "patch_size": 8, "num_frames": FRAMES, "embed_dim": D, "num_heads": 2}
    shape["n_output_distillation"] = levels
    predictor = MaskedPredictorV21Config(depth=1, predictor_embed_dim=32, **shape)
    learner = Pretraining(
        build(EncoderV21, EncoderV21Config(depth=12, **shape)),
        build(MaskedPredictorV21, predictor),
        PretrainingConfig(context_ramp=None),
        STEPS,
    )
    learner.expect(frames)
    return learner


def post_training() -> Learner:
    return PostTraining(
        ac_predictor(img_size=SIZE, embed_dim=D, modulation="adaln", local_mixing=True, copy_gate=True),
        PostTrainingConfig(),
        STEPS,
        frame_encoder(),
    )


def inversion() -> Learner:
    config = InverseModelConfig(grid=(4, 4), embed_dim=D, channels=8, points=3, hidden_dim=16)
    return Inversion(build(InverseModel, config), frame_encoder())


def frame_encoder() -> FrameEncoder:
    return FrameEncoder(encoder(), Preprocessing(img_size=SIZE), torch.device("cpu"), "fp32")


def clips(generator: torch.Generator, frames: int = FRAMES) -> Batch:
    tokens = N * max(1, frames // 2)
    ids_BK = torch.arange(tokens).expand(2, -1)
    video_BCTHW = torch.randn(2, 3, frames, *SIZE, generator=generator)
    return {"video_BCTHW": video_BCTHW, "contexts": [ids_BK[:, : tokens // 2]], "targets": [ids_BK[:, tokens // 2 :]]}


def windows(generator: torch.Generator, frames: int = 4) -> Batch:
    return {
        "latents_BND": torch.randn(2, frames * N, D, generator=generator).bfloat16(),
        "poses_BT7": torch.rand(2, frames, 7, generator=generator),
        "actions_BS7": torch.rand(2, frames - 1, 7, generator=generator),
    }


def moments(generator: torch.Generator) -> Batch:
    return windows(generator, frames=2)


def pictures(generator: torch.Generator) -> Batch:
    return clips(generator, frames=1)


REAL: dict[str, tuple[Callable[[], Learner], Drawn]] = {
    "pretraining": (pretraining, Drawn(clips)),
    "pretraining-v21": (pretraining_v21, Drawn(clips)),
    "pretraining-v21-two-levels": (lambda: pretraining_v21(levels=2), Drawn(clips)),
    "pretraining-v21-pictures": (lambda: pretraining_v21(frames=1), Drawn(pictures)),
    "post-training": (post_training, Drawn(windows)),
    "inversion": (inversion, Drawn(moments)),
}
