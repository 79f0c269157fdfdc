from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.checkpoints import samples
from vjepa2_ac.checkpoints import load
from vjepa2_ac.checkpoints.architecture import (
    PROBE_HEADS,
    AnyPredictorConfig,
    Hints,
    _ratio,
    classifier_config,
    encoder_config,
    img_size_in,
    is_rotary,
    predictor_config,
)
from vjepa2_ac.checkpoints.assemble import shape_of
from vjepa2_ac.checkpoints.reading import read
from vjepa2_ac.errors import CheckpointError
from vjepa2_ac.models.ac_predictor import ACPredictorConfig
from vjepa2_ac.models.anticipation import AnticipationClassifierConfig
from vjepa2_ac.models.encoder import Encoder, EncoderConfig
from vjepa2_ac.models.encoder_v21 import EncoderV21Config
from vjepa2_ac.models.masked_predictor import MaskedPredictor, MaskedPredictorConfig
from vjepa2_ac.models.masked_predictor_v21 import MaskedPredictorV21Config
from vjepa2_ac.models.pooler import AttentiveClassifierConfig
from vjepa2_ac.models.positions import sincos_video
from vjepa2_ac.models.sizes import ENCODERS, PROBES, RELEASED


@pytest.mark.parametrize("name", RELEASED)
def test_every_released_model_is_recognised_by_its_shapes(name: str) -> None:
    bundle, hints = RELEASED[name], Hints(name, img_size_in(name))
    encoder, predictor = shape_of(bundle.encoder).state_dict(), shape_of(bundle.predictor).state_dict()
    found = encoder_config(encoder, hints, predictor)
    assert found == bundle.encoder
    assert predictor_config(predictor, hints, found) == bundle.predictor


@pytest.mark.parametrize("name", PROBES)
def test_every_released_probe_is_recognised_by_its_shapes(name: str) -> None:
    assert classifier_config(shape_of(PROBES[name]).state_dict(), Hints(name)) == PROBES[name]


@pytest.mark.parametrize(
    "changes",
    [
        {"mlp_ratio": 48 / 11},
        {"mlp_ratio": 2.1},
        {"use_silu": True, "wide_silu": True},
        {"use_silu": True, "wide_silu": False},
        {"qkv_bias": False},
        {"patch_size": 4, "tubelet_size": 1},
        {"in_chans": 4},
        {"num_frames": 1},
    ],
)
def test_whatever_stands_in_the_shapes_is_found(changes: dict[str, Any]) -> None:
    config = EncoderConfig(**({"img_size": (64, 64), "embed_dim": 44, "depth": 3, "num_heads": 2} | changes))
    found = encoder_config(shape_of(config).state_dict(), Hints("a test", overrides={"num_heads": 2}))
    assert {name: t.shape for name, t in shape_of(found).state_dict().items()} == {
        name: t.shape for name, t in shape_of(config).state_dict().items()
    }


@pytest.mark.parametrize("name", ["vit-tiny", "vit-small"])
def test_the_public_codes_smaller_encoders_are_recognised_too(name: str) -> None:
    assert encoder_config(shape_of(ENCODERS[name]).state_dict(), Hints(name)) == ENCODERS[name]


@pytest.mark.parametrize("width", PROBE_HEADS)
def test_probes_have_sixteen_heads_whatever_their_width(width: int) -> None:
    for config in (
        AttentiveClassifierConfig(embed_dim=width, num_classes=3, depth=2, mlp_ratio=2.0),
        AnticipationClassifierConfig(embed_dim=width, depth=3, mlp_ratio=2.0),
    ):
        assert classifier_config(shape_of(config).state_dict(), Hints("a test")) == config


@pytest.mark.parametrize("changes", [{}, {"modality_embedding": False, "img_temporal_dim_size": None}])
def test_whatever_stands_in_the_shapes_of_a_v21_encoder_is_found(changes: dict[str, Any]) -> None:
    config = EncoderV21Config(**({"embed_dim": 24, "depth": 12, "num_heads": 2, "patch_size": 8} | changes))
    assert encoder_config(shape_of(config).state_dict(), Hints("a test", overrides={"num_heads": 2})) == config


SHAPE: dict[str, Any] = {"embed_dim": 24, "predictor_embed_dim": 48, "depth": 1, "num_heads": 4}


@pytest.mark.parametrize(
    "config",
    [
        ACPredictorConfig(**SHAPE, action_embed_dim=9, modulation="adaln", mlp_ratio=2.5),
        ACPredictorConfig(**SHAPE, local_mixing=True),
        ACPredictorConfig(**SHAPE, copy_gate=True),
        MaskedPredictorConfig(**SHAPE, num_mask_tokens=3, qkv_bias=False),
        MaskedPredictorV21Config(**SHAPE, n_output_distillation=2, return_all_tokens=False, modality_embedding=False),
        MaskedPredictorV21Config(**SHAPE, n_output_distillation=1, teacher_embed_dim=40, num_mask_tokens=5),
    ],
)
def test_whatever_stands_in_the_shapes_of_a_predictor_is_found(config: AnyPredictorConfig) -> None:
    """The picture size stands in the file's name, or with its encoder; as does what becomes one token."""
    state, heads = shape_of(config).state_dict(), {"num_heads": 4}
    assert predictor_config(state, Hints("a test", overrides=heads), None) == config
    named = predictor_config(state, Hints("a test", (224, 224), heads), None)
    assert named == replace(config, img_size=(224, 224))
    encoder = EncoderConfig(img_size=(64, 32), patch_size=8, num_frames=12, tubelet_size=3)
    beside = predictor_config(state, Hints("a test", overrides=heads), encoder)
    tokens = {} if isinstance(config, ACPredictorConfig) else {"num_frames": 12, "tubelet_size": 3}
    assert beside == replace(config, img_size=(64, 32), patch_size=8, **tokens)


def test_every_width_of_an_mlp_has_a_ratio_that_gives_it() -> None:
    for dim in range(12, 100):
        for hidden in range(dim, 5 * dim):
            assert int(dim * _ratio(hidden, dim)) == hidden


@pytest.mark.parametrize("uniform_power", [True, False])
@pytest.mark.parametrize(("frames", "side"), [(16, 224), (16, 384), (8, 64)])
def test_a_sine_cosine_table_tells_clip_length_picture_size_and_layout(
    frames: int, side: int, uniform_power: bool, tmp_path: Path
) -> None:
    """V-JEPA 1's files: a table, and a predictor of two mask tokens."""
    config = EncoderConfig(
        img_size=(side, side),
        num_frames=frames,
        embed_dim=24,
        depth=1,
        num_heads=2,
        use_rope=False,
        uniform_power=uniform_power,
    )
    predictor = MaskedPredictorConfig(
        img_size=(side, side),
        num_frames=frames,
        embed_dim=24,
        predictor_embed_dim=12,
        depth=1,
        num_heads=1,
        num_mask_tokens=2,
        use_rope=False,
        uniform_power=uniform_power,
    )
    models = samples.random(Encoder(config)), samples.random(MaskedPredictor(predictor))
    samples.pretraining(
        tmp_path / "vitl16.pt", target_encoder=samples.wrapped(models[0]), predictor=samples.wrapped(models[1])
    )
    hints = {"encoder": {"num_heads": 2}, "masked_predictor": {"num_heads": 1}}
    loaded = load(tmp_path / "vitl16.pt", overrides=hints)
    assert loaded.encoder.config == config
    assert loaded.masked_predictor.config == predictor
    assert samples.same(loaded.encoder, models[0])
    torch.save(models[1].state_dict(), tmp_path / "predictor.pt")
    alone = load(tmp_path / "predictor.pt", overrides={"masked_predictor": {"num_heads": 1}})
    assert alone.masked_predictor.config == predictor
    for found in (loaded, alone):
        assert found.metadata["layout"] == "V-JEPA 1 training file"
        assert found.preprocessing.img_size == (side, side)


def test_a_picture_models_table_is_explained() -> None:
    config = EncoderConfig(img_size=(48, 48), num_frames=1, embed_dim=24, depth=1, num_heads=2, use_rope=False)
    found = encoder_config(Encoder(config).state_dict(), Hints("a test", overrides={"num_heads": 2}))
    assert found == config


def test_a_table_decides_for_sine_and_cosine_only_where_it_holds_something() -> None:
    table, masks = torch.ones(1, 8, 24), {f"mask_tokens.{i}": torch.zeros(1) for i in range(10)}
    assert is_rotary(None, None)
    assert is_rotary(torch.zeros(1, 8, 24), None)
    assert not is_rotary(table, None)
    assert not is_rotary(table, {f"mask_tokens.{i}": masks[f"mask_tokens.{i}"] for i in range(2)})
    assert is_rotary(table, {f"mask_tokens.{i}": masks[f"mask_tokens.{i}"] for i in range(3)})
    assert is_rotary(table, masks)
    assert is_rotary(table, {"action_encoder.weight": torch.zeros(1)})


def test_a_table_nobody_knows_is_not_guessed_at(tmp_path: Path) -> None:
    state = samples.encoder().state_dict() | {"pos_embed": torch.randn(1, 32, 24)}
    torch.save({"encoder": state}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"position table of 32 tokens .* say so with use_rope"):
        load(tmp_path / "a.pt", overrides=samples.ENCODER_ALONE)
    state["pos_embed"] = sincos_video(24, (2, 4, 4), uniform_power=False) + 1e-3  # more than rounding
    torch.save({"encoder": state}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="position table of 32 tokens"):
        load(tmp_path / "a.pt", overrides=samples.ENCODER_ALONE)
    hints = {"encoder": samples.ENCODER_HINTS | {"use_rope": True}}
    assert samples.same(load(tmp_path / "a.pt", overrides=hints).encoder, samples.encoder())


def test_a_predictors_table_is_explained_or_set_aside_as_it_is_told(tmp_path: Path) -> None:
    two = MaskedPredictor(replace(samples.MASKED, num_mask_tokens=2))
    state = samples.wrapped(two) | {"module.predictor_pos_embed": torch.randn(1, 32, 48)}
    file = samples.pretraining(tmp_path / "a.pt", predictor=state)
    hints: dict[str, dict[str, Any]] = {"encoder": samples.ENCODER_HINTS | {"use_rope": True}}
    hints["masked_predictor"] = {"num_heads": 4}
    with pytest.raises(CheckpointError, match=r"masked_predictor .* position table of 32 tokens"):
        load(file, overrides=hints)
    hints["masked_predictor"]["use_rope"] = True
    assert samples.same(load(file, overrides=hints).masked_predictor, two)


@pytest.mark.parametrize("table", [None, torch.ones(32, 24)])
def test_sine_cosine_positions_without_a_table_are_refused(table: torch.Tensor | None) -> None:
    state = samples.encoder().state_dict() | ({} if table is None else {"pos_embed": table})
    with pytest.raises(CheckpointError, match="has no usable position table"):
        encoder_config(state, Hints("a test", overrides={"num_heads": 2, "use_rope": False}))


def test_everything_left_aside_has_a_reason(tmp_path: Path) -> None:
    table = {"module.backbone.pos_embed": torch.zeros(1, 32, 24)}
    file = samples.pretraining(
        tmp_path / "a.pt",
        target_encoder=samples.wrapped(samples.encoder()) | table,
        note="hello",
        extra={"a": 1},
        text_encoder={},
    )
    contents = read(file, overrides=samples.HINTS)
    reasons = {ignored.key: ignored.reason for ignored in contents.ignored}
    assert reasons.keys() == {
        "encoder", "opt", "scaler", "epoch", "loss", "batch_size", "world_size", "lr", "note", "extra", "text_encoder",
        "target_encoder.pos_embed",
    }  # fmt: skip
    assert "unused by a model with rotary positions" in reasons["target_encoder.pos_embed"]
    assert "--which encoder" in reasons["encoder"]
    assert reasons["text_encoder"] == reasons["extra"] == "no model of this project is kept under this name"


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("vitg-384.pt", 384),
        ("vjepa2_1_vitg_384.pt", 384),
        ("ek100-vitl-256.pt", 256),
        ("vitl16-224.pt", 224),
        ("vitl.pt", None),
        ("a1384", None),
        ("e384.pt", None),
        ("size384.pt", 384),
    ],
)
def test_the_picture_size_stands_in_released_names(name: str, size: int | None) -> None:
    assert img_size_in(name) == (None if size is None else (size, size))
