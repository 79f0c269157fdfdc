"""A world model's version: with the same version, inputs and seed, a plan is the same."""

from __future__ import annotations

import hashlib

import torch

from vjepa2_ac.world_model import WorldModel


def version_of(model: WorldModel) -> str:
    """A hash of everything in a world model that its answers depend on."""
    digest = hashlib.sha256(repr((model.preprocessing, model.normalize_latents, model.dtype)).encode())
    for part in (model.encoder, model.predictor):
        digest.update(repr(part.config).encode())
        for name, weights in sorted(part.state_dict().items()):
            digest.update(name.encode())
            digest.update(weights.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
