"""V-JEPA 2-AC world models: encode what a robot sees, imagine what its moves would lead to.

The names below are the public ones. They are resolved when first used, so that a program that only talks to a
planning service never imports torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vjepa2_ac.checkpoints import load, save
    from vjepa2_ac.errors import VJEPA2ACError
    from vjepa2_ac.images import Preprocessing
    from vjepa2_ac.models.ac_predictor import ACPredictor, ACPredictorConfig
    from vjepa2_ac.models.encoder import Encoder, EncoderConfig
    from vjepa2_ac.models.encoder_v21 import EncoderV21, EncoderV21Config
    from vjepa2_ac.world_model import History, Rollout, WorldModel, energy

__version__ = "0.1.0"

__all__ = [
    "ACPredictor",
    "ACPredictorConfig",
    "Encoder",
    "EncoderConfig",
    "EncoderV21",
    "EncoderV21Config",
    "History",
    "Preprocessing",
    "Rollout",
    "VJEPA2ACError",
    "WorldModel",
    "energy",
    "load",
    "save",
]

_HOMES = {
    "ACPredictor": "models.ac_predictor",
    "ACPredictorConfig": "models.ac_predictor",
    "Encoder": "models.encoder",
    "EncoderConfig": "models.encoder",
    "EncoderV21": "models.encoder_v21",
    "EncoderV21Config": "models.encoder_v21",
    "History": "world_model",
    "Preprocessing": "images",
    "Rollout": "world_model",
    "VJEPA2ACError": "errors",
    "WorldModel": "world_model",
    "energy": "world_model",
    "load": "checkpoints",
    "save": "checkpoints",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vjepa2_ac' has no attribute {name!r}")
    return getattr(importlib.import_module(f"vjepa2_ac.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
