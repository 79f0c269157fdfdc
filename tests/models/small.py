"""Small models with weights that matter: nothing is zero, so that a missing part shows."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vjepa2_ac.models.ac_predictor import ACPredictor, ACPredictorConfig
from vjepa2_ac.models.encoder import Encoder, EncoderConfig
from vjepa2_ac.models.masked_predictor import MaskedPredictor, MaskedPredictorConfig

ModelT = TypeVar("ModelT", bound=nn.Module)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def lively(model: ModelT, seed: int = 0) -> ModelT:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 4
            parameter.normal_(std=fan_in**-0.5, generator=generator)
    return model.eval()


def encoder(**changes: Any) -> Encoder:
    shape = {"img_size": (32, 32), "patch_size": 8, "num_frames": 4, "embed_dim": 48, "depth": 2, "num_heads": 2}
    return lively(Encoder(EncoderConfig(**(shape | changes))))


def masked_predictor(**changes: Any) -> MaskedPredictor:
    shape: dict[str, Any] = {"img_size": (32, 32), "patch_size": 8, "num_frames": 4, "embed_dim": 20}
    shape |= {"predictor_embed_dim": 32, "depth": 2, "num_heads": 2, "num_mask_tokens": 3}
    return lively(MaskedPredictor(MaskedPredictorConfig(**(shape | changes))))


def ac_predictor(**changes: Any) -> ACPredictor:
    shape: dict[str, Any] = {"img_size": (24, 32), "patch_size": 8, "embed_dim": 20}
    shape |= {"predictor_embed_dim": 64, "depth": 2, "num_heads": 2}
    return lively(ACPredictor(ACPredictorConfig(**(shape | changes))))
