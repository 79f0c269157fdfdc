"""The contents of a source of weights, before any weight is read: models by name, each a configuration and tensors."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vjepa2_ac.checkpoints.ignored import Ignored
from vjepa2_ac.images import Preprocessing
from vjepa2_ac.models.ac_predictor import ACPredictor, ACPredictorConfig
from vjepa2_ac.models.anticipation import AnticipationClassifier, AnticipationClassifierConfig
from vjepa2_ac.models.encoder import Encoder, EncoderConfig
from vjepa2_ac.models.encoder_v21 import EncoderV21, EncoderV21Config
from vjepa2_ac.models.inverse_model import InverseModel, InverseModelConfig
from vjepa2_ac.models.masked_predictor import MaskedPredictor, MaskedPredictorConfig
from vjepa2_ac.models.masked_predictor_v21 import MaskedPredictorV21, MaskedPredictorV21Config
from vjepa2_ac.models.pooler import AttentiveClassifier, AttentiveClassifierConfig

KEPT_IN = (torch.float32, torch.bfloat16, torch.float16, torch.float64)  # the types that weights may have

ModelConfig = (
    EncoderConfig
    | EncoderV21Config
    | ACPredictorConfig
    | InverseModelConfig
    | MaskedPredictorConfig
    | MaskedPredictorV21Config
    | AttentiveClassifierConfig
    | AnticipationClassifierConfig
)

MODELS: dict[type[Any], type[nn.Module]] = {
    EncoderConfig: Encoder,
    EncoderV21Config: EncoderV21,
    ACPredictorConfig: ACPredictor,
    InverseModelConfig: InverseModel,
    MaskedPredictorConfig: MaskedPredictor,
    MaskedPredictorV21Config: MaskedPredictorV21,
    AttentiveClassifierConfig: AttentiveClassifier,
    AnticipationClassifierConfig: AnticipationClassifier,
}

PARTS: dict[str, tuple[type[Any], ...]] = {  # the models of a source by name, and what each of them can be
    "encoder": (EncoderConfig, EncoderV21Config),
    "predictor": (ACPredictorConfig,),
    "inverse": (InverseModelConfig,),
    "keyframes": (InverseModelConfig,),
    "masked_predictor": (MaskedPredictorConfig, MaskedPredictorV21Config),
    "classifier": (AttentiveClassifierConfig, AnticipationClassifierConfig),
}


@dataclass(frozen=True, slots=True)
class Joined:
    """One tensor that a file keeps in pieces (queries, keys and values), put together only when it is needed."""

    pieces: tuple[Tensor, ...]

    @property
    def shape(self) -> torch.Size:
        """The shape of the whole."""
        first = self.pieces[0].shape
        return torch.Size((sum(piece.shape[0] for piece in self.pieces), *first[1:]))

    @property
    def dtype(self) -> torch.dtype:
        """The type that holds the numbers of all its pieces."""
        return functools.reduce(torch.promote_types, (piece.dtype for piece in self.pieces))

    def numel(self) -> int:
        """How many numbers it holds."""
        return self.shape.numel()


Weight = Tensor | Joined
Weights = dict[str, Weight]


@dataclass(frozen=True, slots=True)
class Part:
    """One model: how it is built, and its tensors, most often mapped from disk and not yet read."""

    config: ModelConfig
    weights: Weights
    is_mapped: bool = False

    @property
    def parameters(self) -> int:
        """How many numbers it consists of."""
        return sum(weight.numel() for weight in self.weights.values())

    @property
    def dtypes(self) -> set[torch.dtype]:
        """The types its numbers are kept in."""
        return {weight.dtype for weight in self.weights.values()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Everything that would be loaded from a source, and what is left aside."""

    source: Path
    layout: str  # what kind of source it is, in words
    parts: dict[str, Part]  # by the names in PARTS
    preprocessing: Preprocessing
    normalize_latents: bool = True  # whether the predictor was trained on normalised latents
    ignored: tuple[Ignored, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def is_mapped(self) -> bool:
        """Whether all weights lie in files."""
        return all(part.is_mapped for part in self.parts.values())


def pieces(weight: Weight) -> tuple[Tensor, ...]:
    """A weight as the tensors it is kept in."""
    return weight.pieces if isinstance(weight, Joined) else (weight,)
