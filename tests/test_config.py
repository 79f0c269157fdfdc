from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

import pytest

from vjepa2_ac.config import from_dict, require, settings_named, to_dict, with_settings
from vjepa2_ac.errors import ConfigError
from vjepa2_ac.models.ac_predictor import ACPredictorConfig
from vjepa2_ac.models.encoder import EncoderConfig
from vjepa2_ac.models.encoder_v21 import EncoderV21Config
from vjepa2_ac.models.masked_predictor import MaskedPredictorConfig
from vjepa2_ac.models.masked_predictor_v21 import MaskedPredictorV21Config
from vjepa2_ac.models.pooler import AttentiveClassifierConfig, AttentivePoolerConfig

MODEL_CONFIGS = (
    EncoderConfig,
    MaskedPredictorConfig,
    ACPredictorConfig,
    EncoderV21Config,
    MaskedPredictorV21Config,
    AttentivePoolerConfig,
    AttentiveClassifierConfig,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    rate: float = 0.5
    depth: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    name: str
    size: tuple[int, int] = (2, 3)
    weights: tuple[float, ...] = ()
    kind: Literal["near", "far"] = "near"
    limit: int | None = None
    inner: Inner = field(default_factory=Inner)
    extra: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(self.limit is None or self.limit > 0, f"limit must be positive, got {self.limit}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Nested:
    outer: Outer


@pytest.mark.parametrize("config", MODEL_CONFIGS)
def test_every_model_config_survives_json(config: type) -> None:
    assert from_dict(config, json.loads(json.dumps(to_dict(config()))), "config.json") == config()


def test_nested_values_and_lists_come_back_as_they_were() -> None:
    config = Outer(name="a", weights=(1.0, 2.5), limit=4, inner=Inner(rate=0.1), extra={"x": 1.0})
    assert from_dict(Outer, json.loads(json.dumps(to_dict(config))), "here") == config


def test_an_unknown_key_is_refused_and_the_nearest_known_one_is_named() -> None:
    with pytest.raises(
        ConfigError, match=r"config\.json: EncoderConfig has no 'embeding_dim'; did you mean 'embed_dim'"
    ):
        from_dict(EncoderConfig, {"embeding_dim": 192}, "config.json")


def test_a_key_in_another_case_is_an_unknown_key() -> None:
    with pytest.raises(ConfigError, match="did you mean 'use_silu'"):
        from_dict(EncoderConfig, {"use_SiLU": True}, "config.json")


def test_a_key_unlike_any_other_gets_the_list_of_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"it has .*num_heads"):
        from_dict(EncoderConfig, {"zzz": 1}, "config.json")


def test_a_missing_key_without_default_is_named() -> None:
    with pytest.raises(ConfigError, match="here: Outer needs name"):
        from_dict(Outer, {}, "here")


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"name": 3}, "name must be text, got 3"),
        ({"name": "a", "size": [1]}, r"size must hold 2 values, got \[1\]"),
        ({"name": "a", "size": [1, "b"]}, r"size\[1\] must be a whole number, got 'b'"),
        ({"name": "a", "size": "12"}, "size must be a list, got '12'"),
        ({"name": "a", "kind": "away"}, "kind must be one of 'near', 'far', got 'away'"),
        ({"name": "a", "limit": True}, "limit must be a whole number, got True"),
        ({"name": "a", "limit": -1}, "limit must be positive, got -1"),
        ({"name": "a", "inner": {"rat": 1}}, "Inner has no 'rat'; did you mean 'rate'"),
        ({"name": "a", "inner": 1}, "expected settings of Inner by name, got 1"),
        ({"name": "a", "extra": {"x": "b"}}, "extra.x must be a number, got 'b'"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_its_place(values: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=f"here: .*{complaint}"):
        from_dict(Outer, values, "here")


def test_a_whole_number_serves_as_a_number_but_not_the_other_way_round() -> None:
    assert from_dict(Inner, {"rate": 1}, "here").rate == 1.0
    with pytest.raises(ConfigError):
        from_dict(EncoderConfig, {"depth": 12.0}, "here")


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"num_heads": 5}, "width 1024 must divide by num_heads 5"),
        ({"embed_dim": 16, "num_heads": 2}, "heads of 12 channels or more"),
        ({"img_size": [250, 256]}, r"must divide by patch_size 16"),
        ({"num_frames": 3}, "num_frames must be 1 or divide by tubelet_size 2"),
        ({"depth": 0}, "depth must be positive"),
        ({"patch_size": 0}, "must be positive"),
        ({"embed_dim": -16, "num_heads": 2}, "width -16 must divide by num_heads 2"),
        ({"mlp_ratio": -4.0}, "mlp_ratio times width 1024 must be a number of channels, got -4.0"),
        ({"mlp_ratio": float("inf")}, "mlp_ratio times width 1024 must be a number of channels, got inf"),
        ({"mlp_ratio": 0.0001}, "mlp_ratio times width 1024 must be a number of channels"),
        ({"norm_eps": -1e-6}, "norm_eps must not be negative"),
    ],
)
def test_a_model_that_cannot_be_is_refused(values: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        from_dict(EncoderConfig, values, "config.json")


@pytest.mark.parametrize("name", ["num_frames", "tubelet_size", "in_chans"])
@pytest.mark.parametrize("config", [EncoderConfig, EncoderV21Config])
def test_an_encoder_of_clips_that_hold_nothing_is_refused(config: type, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be positive, got 0"):
        from_dict(config, {name: 0}, "config.json")


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (ACPredictorConfig, "embed_dim"),
        *product((MaskedPredictorConfig, MaskedPredictorV21Config), ("embed_dim", "num_frames", "tubelet_size")),
        (MaskedPredictorV21Config, "teacher_embed_dim"),
    ],
)
def test_a_predictor_of_tokens_or_clips_that_hold_nothing_is_refused(config: type, name: str) -> None:
    for size in (0, -4):
        with pytest.raises(ConfigError, match=f"{name} must be positive.*, got {size}"):
            from_dict(config, {name: size}, "--set")


def test_settings_change_a_config_by_their_dotted_names() -> None:
    changed = with_settings(Outer(name="a"), ["size=[1, 2]", "inner.rate=0.25", "kind=far"])
    assert (changed.size, changed.inner.rate, changed.kind) == ((1, 2), 0.25, "far")


def test_a_mapping_changes_of_a_config_within_what_it_names_and_leaves_the_rest() -> None:
    config = Nested(outer=Outer(name="a", limit=4, inner=Inner(rate=0.1)))
    changed = with_settings(config, ["outer.limit=5", 'outer={"kind": "far", "inner": {"depth": 3}}'])
    assert changed.outer == Outer(name="a", limit=5, kind="far", inner=Inner(rate=0.1, depth=3))


def test_a_mapping_of_numbers_by_name_is_given_as_a_whole() -> None:
    outer = Outer(name="a", extra={"x": 1.0})
    assert with_settings(outer, ['extra={"y": 2}']).extra == {"y": 2.0}
    assert with_settings(outer, ["extra.y=2"]).extra == {"x": 1.0, "y": 2.0}


def test_a_setting_names_what_it_gives_a_value() -> None:
    assert settings_named("inner.rate = 0.25") == ["inner.rate"]
    assert settings_named('inner={"rate": 1, "deep": {"size": [1, 2]}}') == ["inner.rate", "inner.deep.size"]
    assert settings_named("kind=far") == ["kind"]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("rate", "is written like search.samples=48; cannot read 'rate'"),
        ("inner.rat=1", "did you mean 'rate'"),
        ("limit.most=1", "'limit' has no parts"),
    ],
)
def test_settings_that_cannot_be_are_refused(given: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        with_settings(Outer(name="a"), [given])
