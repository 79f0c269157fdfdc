"""Small models with random weights, and files of them as training scripts would have left them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vjepa2_ac.checkpoints import save
from vjepa2_ac.images import Preprocessing
from vjepa2_ac.models.ac_predictor import ACPredictor, ACPredictorConfig
from vjepa2_ac.models.encoder import Encoder, EncoderConfig
from vjepa2_ac.models.inverse_model import InverseModel, InverseModelConfig
from vjepa2_ac.models.masked_predictor import MaskedPredictor, MaskedPredictorConfig
from vjepa2_ac.models.pooler import AttentiveClassifier, AttentiveClassifierConfig

ENCODER = EncoderConfig(img_size=(32, 32), patch_size=8, num_frames=4, embed_dim=24, depth=2, num_heads=2)
MASKED = MaskedPredictorConfig(
    img_size=(32, 32),
    patch_size=8,
    num_frames=4,
    embed_dim=24,
    predictor_embed_dim=48,
    depth=1,
    num_heads=4,
    num_mask_tokens=3,
)
ACTING = ACPredictorConfig(img_size=(32, 32), patch_size=8, embed_dim=24, predictor_embed_dim=48, depth=2, num_heads=4)
INVERSE = InverseModelConfig(grid=(4, 4), embed_dim=24, channels=8, layers=1, points=3, kept=2, hidden_dim=16)
CLASSIFIER = AttentiveClassifierConfig(embed_dim=24, num_heads=2, depth=3, num_classes=5, norm_eps=1e-6)

# What the shapes of these unreleased sizes do not tell.
ENCODER_HINTS = {"num_heads": 2, "img_size": [32, 32], "num_frames": 4}
ENCODER_ALONE = {"encoder": ENCODER_HINTS}
HINTS = ENCODER_ALONE | {"masked_predictor": {"num_heads": 4}}
ACTING_HINTS = ENCODER_ALONE | {"predictor": {"num_heads": 4}}


def random(model: nn.Module, seed: int = 0) -> Any:
    """The model with every weight away from zero and one, so that a swapped or missing one shows."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        offset = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        parameter.data = offset + 0.2 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def encoder(seed: int = 0) -> Encoder:
    return random(Encoder(ENCODER), seed)


def acting(seed: int = 1) -> ACPredictor:
    return random(ACPredictor(ACTING), seed)


def masked(seed: int = 2) -> MaskedPredictor:
    return random(MaskedPredictor(MASKED), seed)


def classifier(seed: int = 3) -> AttentiveClassifier:
    return random(AttentiveClassifier(CLASSIFIER), seed)


def inverse(seed: int = 4) -> InverseModel:
    return random(InverseModel(INVERSE), seed)


def wrapped(model: nn.Module, prefix: str = "module.backbone.") -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in model.state_dict().items()}


def pretraining(file: Path, **changes: Any) -> Path:
    """A pretraining script's file, with entries replaced by `changes`."""
    entries: dict[str, Any] = {
        "encoder": wrapped(encoder(seed=7)),
        "predictor": wrapped(masked()),
        "opt": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3}]},
        "scaler": None,
        "target_encoder": wrapped(encoder()),
        "epoch": 3,
        "loss": 0.5,
        "batch_size": 24,
        "world_size": 16,
        "lr": 1e-3,
    }
    torch.save(entries | changes, file)
    return file


def release(
    folder: Path,
    dtype: torch.dtype | None = None,
    metadata: dict[str, Any] | None = None,
    *,
    normalize_latents: bool = True,
) -> Path:
    """A release of all four models."""
    save(
        folder,
        encoder=encoder(),
        predictor=acting(),
        masked_predictor=masked(),
        classifier=classifier(),
        preprocessing=Preprocessing(name="centre", img_size=(32, 32)),
        metadata=metadata,
        dtype=dtype,
        normalize_latents=normalize_latents,
    )
    return folder


def locating(folder: Path, dtype: torch.dtype | None = None) -> Path:
    """A release of a world model that has an inverse."""
    models = {"encoder": encoder(), "predictor": acting(), "inverse": inverse()}
    metadata = {"updates": 5, "inverse": {"updates": 7}}
    save(folder, **models, preprocessing=Preprocessing(img_size=(32, 32)), dtype=dtype, metadata=metadata)
    return folder


def same(one: nn.Module | None, other: nn.Module | None) -> bool:
    """Whether two models have the same weights, bit for bit."""
    assert one is not None
    assert other is not None
    ones, others = one.state_dict(), other.state_dict()
    return ones.keys() == others.keys() and all(torch.equal(ones[name], others[name]) for name in ones)
