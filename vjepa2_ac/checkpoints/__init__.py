"""Weights in and out: official `.pt` files, Hugging Face folders, and this project's release format.

`load(source)` returns the models that a source holds, `save(folder, ...)` writes a release, `convert` changes formats,
and `inspect` describes a source. They are imported when first used, so that the command line can list its commands
without waiting for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vjepa2_ac.checkpoints.conversion import convert
    from vjepa2_ac.checkpoints.inspection import inspect
    from vjepa2_ac.checkpoints.loading import Loaded, load
    from vjepa2_ac.checkpoints.release import save

__all__ = ["Loaded", "convert", "inspect", "load", "save"]

_HOMES = {"Loaded": "loading", "convert": "conversion", "inspect": "inspection", "load": "loading", "save": "release"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
