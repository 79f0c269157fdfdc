"""First weights are drawn the released way: everything alike, but for what a block adds to its input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from vjepa2_ac.models.ac_predictor import ACPredictor, ACPredictorConfig
from vjepa2_ac.models.anticipation import AnticipationClassifier, AnticipationClassifierConfig
from vjepa2_ac.models.build import build
from vjepa2_ac.models.encoder import Encoder, EncoderConfig
from vjepa2_ac.models.encoder_v21 import EncoderV21, EncoderV21Config
from vjepa2_ac.models.masked_predictor import MaskedPredictor, MaskedPredictorConfig
from vjepa2_ac.models.masked_predictor_v21 import MaskedPredictorV21, MaskedPredictorV21Config
from vjepa2_ac.models.pooler import (
    AttentiveClassifier,
    AttentiveClassifierConfig,
    AttentivePooler,
    AttentivePoolerConfig,
)

WIDE: dict[str, Any] = {"embed_dim": 96, "num_heads": 4}
NARROW: dict[str, Any] = {"embed_dim": 96, "predictor_embed_dim": 96, "num_heads": 4}
MODELS: list[tuple[Any, Any, str]] = [
    (Encoder, EncoderConfig(**WIDE, depth=3), "blocks"),
    (Encoder, EncoderConfig(**WIDE, depth=3, use_silu=True), "blocks"),
    (EncoderV21, EncoderV21Config(**WIDE, depth=12), "blocks"),
    (MaskedPredictor, MaskedPredictorConfig(**NARROW, depth=3), "predictor_blocks"),
    (MaskedPredictorV21, MaskedPredictorV21Config(**NARROW, depth=3), "predictor_blocks"),
    (ACPredictor, ACPredictorConfig(**NARROW, depth=3), "predictor_blocks"),
]
PROBES: list[tuple[Any, Any]] = [
    (AttentivePooler, AttentivePoolerConfig(**WIDE, depth=3)),
    (AttentiveClassifier, AttentiveClassifierConfig(**WIDE, depth=3)),
    (AnticipationClassifier, AnticipationClassifierConfig(**WIDE, depth=3)),
]


def spread(weight: torch.Tensor) -> float:
    return weight.std().item()


@pytest.mark.parametrize(("model", "config", "stack"), MODELS)
def test_what_block_i_adds_is_smaller_by_the_root_of_2i(model: Any, config: Any, stack: str) -> None:
    for i, block in enumerate(getattr(build(model, config), stack), 1):
        for layer in (block.attn.proj, block.mlp.fc2):  # fc2 of a gated MLP, too, where it is not what is added
            assert spread(layer.weight) == pytest.approx(0.02 / (2 * i) ** 0.5, rel=0.05)
        for layer in (block.attn.qkv, block.mlp.fc1):
            assert spread(layer.weight) == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize(("model", "config"), PROBES)
def test_in_a_probe_the_block_of_its_queries_counts_as_the_first(model: Any, config: Any) -> None:
    built = build(model, config)
    pooler = built if model is AttentivePooler else built.pooler
    assert spread(pooler.cross_attention_block.mlp.fc2.weight) == pytest.approx(0.02 / 2**0.5, rel=0.05)
    for i, block in enumerate(pooler.blocks, 2):
        for layer in (block.attn.proj, block.mlp.fc2):
            assert spread(layer.weight) == pytest.approx(0.02 / (2 * i) ** 0.5, rel=0.05)
    assert spread(pooler.query_tokens) == pytest.approx(0.02, rel=0.3)


@pytest.mark.parametrize(("model", "config"), [*(each[:2] for each in MODELS), *PROBES])
def test_biases_begin_at_zero_and_norms_do_nothing(model: Any, config: Any) -> None:
    for module in build(model, config).modules():
        if isinstance(module, nn.Linear | nn.Conv3d):
            assert module.weight.any()
            assert module.bias is None or not module.bias.any()
        elif isinstance(module, nn.LayerNorm):
            assert (module.weight == 1).all()
            assert not module.bias.any()


@pytest.mark.parametrize(("model", "config"), [*(each[:2] for each in MODELS), *PROBES])
def test_a_seed_draws_the_same_weights_in_either_precision(model: Any, config: Any) -> None:
    exact, rounded, other = (
        build(model, config, seed=seed, dtype=dtype).state_dict()
        for seed, dtype in ((3, torch.float32), (3, torch.bfloat16), (4, torch.float32))
    )
    for name, weight in rounded.items():
        assert weight.dtype is torch.bfloat16
        torch.testing.assert_close(weight.float(), exact[name], rtol=2**-7, atol=0)  # rounded once more where shrunk
    assert not all(torch.equal(weight, other[name]) for name, weight in exact.items())
