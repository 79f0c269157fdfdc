"""Identification of a world model: by its files, before it is opened, and by all that its answers depend on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from vjepa2_ac.checkpoints.places import RANDOM, find
from vjepa2_ac.world_model import WorldModel

CONFIDENCE_FILE = "confidence.json"  # what `evaluate-confidence` writes about a model; may lie beside its weights


def fingerprint(source: str) -> str:
    """The first 16 digits of a SHA-256 over the files of a model; empty for a random model and for none."""
    if not source or source.startswith(RANDOM):
        return ""
    path = _whole(find(source))
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    found = hashlib.sha256()
    for file in files:
        if file.name == CONFIDENCE_FILE:
            continue
        with file.open("rb") as opened:
            found.update(hashlib.file_digest(opened, "sha256").digest())
    return found.hexdigest()[:16]


def confidence_file(source: str) -> Path | None:
    """The `confidence.json` among a model's files, or None."""
    if not source or source.startswith(RANDOM):
        return None
    file = _whole(find(source)) / CONFIDENCE_FILE
    return file if file.is_file() else None


def _whole(path: Path) -> Path:
    """What holds the whole model: the folder of a safetensors file, with its config; any other path itself."""
    return path.parent if path.suffix == ".safetensors" else path


def version_of(model: WorldModel) -> str:
    """A hash of all that an open model's answers depend on: where it, inputs and seed are the same, so are plans."""
    digest = hashlib.sha256(repr((model.preprocessing, model.normalize_latents, model.dtype)).encode())
    for part in filter(None, (model.encoder, model.predictor, model.inverse, model.keyframes)):
        digest.update(repr(part.config).encode())
        for name, weights in sorted(part.state_dict().items()):
            digest.update(name.encode())
            digest.update(weights.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
