"""`load`, the one way from files of weights to models."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch

from vjepa2_ac.checkpoints.assemble import assemble
from vjepa2_ac.checkpoints.reading import Overrides, read
from vjepa2_ac.devices import choose_device
from vjepa2_ac.errors import CheckpointError
from vjepa2_ac.images import Preprocessing
from vjepa2_ac.models.ac_predictor import ACPredictor
from vjepa2_ac.models.anticipation import AnticipationClassifier
from vjepa2_ac.models.encoder import Encoder
from vjepa2_ac.models.encoder_v21 import EncoderV21
from vjepa2_ac.models.inverse_model import InverseModel
from vjepa2_ac.models.masked_predictor import MaskedPredictor
from vjepa2_ac.models.masked_predictor_v21 import MaskedPredictorV21
from vjepa2_ac.models.pooler import AttentiveClassifier
from vjepa2_ac.precision import choose_dtype


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The models a source holds, in evaluation mode; what it does not hold is None."""

    encoder: Encoder | EncoderV21 | None = None
    predictor: ACPredictor | None = None
    inverse: InverseModel | None = None
    keyframes: InverseModel | None = None
    masked_predictor: MaskedPredictor | MaskedPredictorV21 | None = None
    classifier: AttentiveClassifier | AnticipationClassifier | None = None
    preprocessing: Preprocessing
    normalize_latents: bool = True  # whether the predictor was trained on normalised latents
    metadata: dict[str, Any] = field(default_factory=dict)  # where it came from; for people


def load(
    source: str | Path,
    *,
    which: str | None = None,
    device: torch.device | str = "cpu",
    precision: str | None = None,
    parts: tuple[str, ...] | None = None,
    optional: tuple[str, ...] = (),
    overrides: Overrides | None = None,
) -> Loaded:
    """The models in a file or folder: all of them whole and strictly fitting, or a `CheckpointError`.

    `source` is a path (official `.pt`, Hugging Face folder, release folder), the name of a downloaded model, or
    "default", the shipped one. `which` chooses among an official file's encoders: "target_encoder" ("ema_encoder" where
    it is called so; the default) or "encoder" (the default in V-JEPA 2-AC files, where both are the same). `precision`
    is "fp32", "bf16" or "auto" (networks that locate hands are then fp32 in any case); None keeps the file's.
    `parts` are the models to read ("encoder", "predictor", "inverse", "keyframes", "masked_predictor", "classifier"),
    all of which must be there; those in `optional` are read too where they are there. None: whatever is there.
    `overrides` says what the shapes in an official file do not tell: `{"encoder": {"num_heads": 2}}`.

    Nothing in a file is ever executed. Memory peaks at the weights as loaded plus one tensor.
    """
    device = choose_device(device)
    contents = read(source, which=which, overrides=overrides)
    chosen = {name: part for name, part in contents.parts.items() if parts is None or name in parts + optional}
    missing = [name for name in parts or () if name not in chosen]
    if missing:
        held = ", ".join(contents.parts)
        raise CheckpointError(f"{contents.source} holds no {' or '.join(missing)}; it holds {held}")
    dtype = None if precision is None else choose_dtype(precision, device)
    models = assemble(chosen, contents.source, device=device, dtype=dtype)
    return Loaded(
        encoder=cast("Encoder | EncoderV21 | None", models.get("encoder")),
        predictor=cast("ACPredictor | None", models.get("predictor")),
        inverse=cast("InverseModel | None", models.get("inverse")),
        keyframes=cast("InverseModel | None", models.get("keyframes")),
        masked_predictor=cast("MaskedPredictor | MaskedPredictorV21 | None", models.get("masked_predictor")),
        classifier=cast("AttentiveClassifier | AnticipationClassifier | None", models.get("classifier")),
        preprocessing=contents.preprocessing,
        normalize_latents=contents.normalize_latents,
        metadata={"source": str(contents.source), "layout": contents.layout} | contents.metadata,
    )
