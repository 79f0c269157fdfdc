"""Latents of single frames: every frame has its own, whatever it comes with, and bf16 keeps them on disk."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.training.small import SHAPE, frame_encoder
from vjepa2_ac.training import latents
from vjepa2_ac.training.latents import hash_of, packed, unpacked


def test_frames_have_the_same_latents_in_pieces_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, frames_FHW3 = frame_encoder(), np.random.default_rng(0).integers(0, 256, (7, 48, 32, 3), dtype=np.uint8)
    alone_FND = torch.cat([encoder(frame_HW3[None]) for frame_HW3 in frames_FHW3])
    assert alone_FND.shape == (7, encoder.tokens_per_frame, SHAPE.embed_dim)
    sizes: list[int] = []
    encode = encoder._encode
    monkeypatch.setattr(encoder, "_encode", lambda frames: (sizes.append(len(frames)), encode(frames))[1])
    monkeypatch.setattr(latents, "PIECE", 3)
    torch.testing.assert_close(encoder(frames_FHW3), alone_FND, atol=1e-5, rtol=0)
    assert sizes == [3, 3, 1]


def test_an_encoder_is_frozen() -> None:
    encoder = frame_encoder()
    assert not encoder.encoder.training
    assert not any(weight.requires_grad for weight in encoder.encoder.parameters())


def test_bf16_comes_back_from_its_bits() -> None:
    latents_FND = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    assert packed(latents_FND).dtype == np.uint16
    assert torch.equal(unpacked(packed(latents_FND)), latents_FND.bfloat16())


def test_weights_that_change_places_have_another_name() -> None:
    one, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    pairs = [torch.nn.Sequential(*pair) for pair in ((one, other), (other, one))]
    assert hash_of(pairs[0], torch.float32) != hash_of(pairs[1], torch.float32)
