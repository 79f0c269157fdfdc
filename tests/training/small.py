"""A frozen encoder small enough to encode a few episodes at once, and the one process that does it."""

from __future__ import annotations

import torch

from vjepa2_ac.images import Preprocessing
from vjepa2_ac.models.build import build
from vjepa2_ac.models.encoder import Encoder, EncoderConfig
from vjepa2_ac.training.latents import FrameEncoder
from vjepa2_ac.training.processes import Processes

ALONE = Processes(0, 1, torch.device("cpu"))
SHAPE = EncoderConfig(img_size=(32, 32), patch_size=8, num_frames=2, embed_dim=24, depth=1, num_heads=2)


def frame_encoder() -> FrameEncoder:
    return FrameEncoder(build(Encoder, SHAPE), Preprocessing(img_size=SHAPE.img_size), ALONE.device, "fp32")
