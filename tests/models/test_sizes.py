"""The released sizes have the parameter counts of the public code, shown on models without storage."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vjepa2_ac.models.ac_predictor import ACPredictor, ACPredictorConfig
from vjepa2_ac.models.build import skeleton
from vjepa2_ac.models.encoder import Encoder, EncoderConfig
from vjepa2_ac.models.encoder_v21 import EncoderV21, EncoderV21Config
from vjepa2_ac.models.masked_predictor import MaskedPredictor, MaskedPredictorConfig
from vjepa2_ac.models.masked_predictor_v21 import MaskedPredictorV21, MaskedPredictorV21Config
from vjepa2_ac.models.pooler import AttentiveClassifier
from vjepa2_ac.models.rope import Rope
from vjepa2_ac.models.sizes import AC_PREDICTOR, ENCODERS, PROBES, RELEASED


def parameters(model: nn.Module) -> int:
    assert all(parameter.is_meta for parameter in model.parameters())
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("vit-tiny", 5_633_856),
        ("vit-small", 21_884_544),
        ("vit-base", 86_236_416),
        ("vit-large", 303_885_312),
        ("vit-huge", 631_648_000),
        ("vit-giant", 1_012_173_952),
        ("vit-giant-xformers", 1_012_173_952),
        ("vit-gigantic", 1_598_483_328),
        ("vit-gigantic-xformers", 1_598_483_328),
    ],
)
def test_an_encoder_has_the_released_number_of_parameters(name: str, count: int) -> None:
    assert parameters(skeleton(Encoder, ENCODERS[name])) == count


@pytest.mark.parametrize(
    ("name", "encoder", "predictor"),
    [
        ("vitl", 303_885_312, 22_086_016),
        ("vith", 631_648_000, 22_282_880),
        ("vitg", 1_012_173_952, 22_381_312),
        ("vitg-384", 1_012_173_952, 22_381_312),
        ("vjepa2-ac-vitg", 1_012_173_952, 305_220_992),
        ("vjepa2_1_vitb_dist_vitG_384", 86_833_152, 22_874_752),
        ("vjepa2_1_vitl_dist_vitG_384", 304_680_960, 22_973_056),
        ("vjepa2_1_vitg_384", 1_013_267_968, 55_400_704),
        ("vjepa2_1_vitG_384", 1_845_216_768, 59_433_472),
    ],
)
def test_a_released_file_holds_so_many_parameters(name: str, encoder: int, predictor: int) -> None:
    bundle = RELEASED[name]
    match bundle.encoder:
        case EncoderConfig() as config:
            assert parameters(skeleton(Encoder, config)) == encoder
        case EncoderV21Config() as config_v21:
            assert parameters(skeleton(EncoderV21, config_v21)) == encoder
    match bundle.predictor:
        case ACPredictorConfig() as ac:
            assert parameters(skeleton(ACPredictor, ac)) == predictor
        case MaskedPredictorConfig() as masked:
            assert parameters(skeleton(MaskedPredictor, masked)) == predictor
        case MaskedPredictorV21Config() as masked_v21:
            assert parameters(skeleton(MaskedPredictorV21, masked_v21)) == predictor


@pytest.mark.parametrize(("name", "count"), [("ssv2-vitl-16x2x3", 49_514_670), ("ssv2-vitg-384-64x2x3", 93_494_190)])
def test_a_released_probe_has_so_many_parameters(name: str, count: int) -> None:
    assert parameters(skeleton(AttentiveClassifier, PROBES[name])) == count


@pytest.mark.parametrize(
    ("name", "width"), [("vit-tiny", 20), ("vit-huge", 26), ("vit-giant", 28), ("vit-gigantic", 34)]
)
def test_the_parts_of_a_head_turned_by_rope_have_the_released_width(name: str, width: int) -> None:
    assert Rope(ENCODERS[name].head_dim, "tiled").part == width


def test_the_predictor_of_a_bundle_takes_what_its_encoder_gives() -> None:
    for bundle in RELEASED.values():
        assert bundle.predictor.embed_dim == bundle.encoder.embed_dim
        assert bundle.predictor.grid == bundle.encoder.grid


def test_a_skeleton_takes_no_memory_and_keeps_the_asked_for_precision() -> None:
    model = skeleton(ACPredictor, AC_PREDICTOR, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
