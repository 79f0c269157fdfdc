from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn

from tests.models.small import draw, lively
from vjepa2_ac.models.ac_predictor import ACPredictor, ACPredictorConfig
from vjepa2_ac.models.anticipation import AnticipationClassifier, AnticipationClassifierConfig
from vjepa2_ac.models.blocks import Block, SwiGLU
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

FRAME: dict[str, Any] = {"img_size": (16, 16), "patch_size": 8}
WIDE: dict[str, Any] = {"embed_dim": 24, "num_heads": 2}
NARROW: dict[str, Any] = {"embed_dim": 24, "predictor_embed_dim": 24, "num_heads": 2}
CLIP, TOKENS, IDS = draw(1, 3, 2, 16, 16), draw(1, 2, 24), torch.tensor([[0, 3]])
MODELS: list[tuple[Any, Any, dict[str, Any], tuple[Tensor, ...], int, float]] = [
    (Encoder, EncoderConfig, FRAME | WIDE | {"depth": 2}, (CLIP,), 2, 1e-6),
    (EncoderV21, EncoderV21Config, FRAME | WIDE | {"depth": 12}, (CLIP,), 12, 1e-6),
    (MaskedPredictor, MaskedPredictorConfig, FRAME | NARROW | {"depth": 2}, (TOKENS, IDS, 1 + IDS), 2, 1e-6),
    (
        *(MaskedPredictorV21, MaskedPredictorV21Config),
        *(FRAME | NARROW | {"depth": 2, "n_output_distillation": 1}, (TOKENS, IDS, 1 + IDS), 2, 1e-6),
    ),
    (
        *(ACPredictor, ACPredictorConfig, FRAME | NARROW | {"depth": 2, "local_mixing": True, "copy_gate": True}),
        *((draw(1, 4, 24), draw(1, 1, 7), draw(1, 1, 7)), 2, 1e-6),
    ),
    # Of a probe, the queries' block is not one of the stack.
    (AttentivePooler, AttentivePoolerConfig, WIDE | {"depth": 3}, (TOKENS,), 2, 1e-5),
    (AttentiveClassifier, AttentiveClassifierConfig, WIDE | {"depth": 3}, (TOKENS,), 2, 1e-5),
    (AnticipationClassifier, AnticipationClassifierConfig, WIDE | {"depth": 3}, (TOKENS,), 2, 1e-5),
]
NAMES = [model.__name__ for model, *_ in MODELS]


@pytest.mark.parametrize(("model", "config", "shape", "given", "blocks", "eps"), MODELS, ids=NAMES)
def test_blocks_are_recomputed_where_that_was_asked_for(
    model: Any,
    config: Any,
    shape: dict[str, Any],
    given: tuple[Tensor, ...],
    blocks: int,
    eps: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recomputed = Mock(wraps=torch.utils.checkpoint.checkpoint)
    monkeypatch.setattr(torch.utils.checkpoint, "checkpoint", recomputed)
    model(config(**shape))(*given)
    assert recomputed.call_count == 0
    model(config(**shape, use_activation_checkpointing=True))(*given)
    assert recomputed.call_count == blocks


@pytest.mark.parametrize(("model", "config", "shape", "given", "blocks", "eps"), MODELS, ids=NAMES)
def test_every_norm_has_the_released_epsilon(
    model: Any, config: Any, shape: dict[str, Any], given: tuple[Tensor, ...], blocks: int, eps: float
) -> None:
    assert {part.eps for part in model(config(**shape)).modules() if isinstance(part, nn.LayerNorm)} == {eps}
    told = model(config(**shape, norm_eps=1e-3)).modules()
    assert {part.eps for part in told if isinstance(part, nn.LayerNorm)} == {1e-3}


@pytest.mark.parametrize(("model", "config", "shape", "given", "blocks", "eps"), MODELS[:-1], ids=NAMES[:-1])
def test_attention_goes_without_biases_where_that_was_asked_for(
    model: Any, config: Any, shape: dict[str, Any], given: tuple[Tensor, ...], blocks: int, eps: float
) -> None:
    names = [name for name, _ in model(config(**shape, qkv_bias=False)).named_parameters()]
    assert any(name.endswith((".qkv.weight", ".kv.weight")) for name in names)
    assert not any(name.endswith((".qkv.bias", ".kv.bias", "attn.q.bias")) for name in names)


@pytest.mark.parametrize(("wide", "width"), [(True, 40), (False, 50)])  # two thirds of 50, up to a multiple of 8
def test_a_gated_mlp_is_as_wide_as_released(wide: bool, width: int) -> None:
    assert SwiGLU(12, 50, wide=wide).fc1.out_features == width


def test_a_fraction_of_a_channel_is_cut_off() -> None:
    assert Block(12, 1, mlp_ratio=2.9).mlp.fc1.out_features == 34  # of 34.8


@torch.inference_mode()
def test_the_first_three_parts_of_a_condition_modulate_the_attention_and_the_others_the_mlp() -> None:
    block, x, condition = lively(Block(12, 1, modulated=True)), draw(2, 4, 12), torch.zeros(2, 1, 12)
    assert block.modulation is not None
    with_attention = x + block.attn(block.norm1(x))
    for part, expected in ((2, x + block.mlp(block.norm2(x))), (5, with_attention)):
        block.modulation.bias.zero_()
        block.modulation.bias[12 * part : 12 * (part + 1)] = -1.0  # its gate is shut
        torch.testing.assert_close(block(x, condition_BTD=condition), expected)
