"""The configuration that builds a model, found from the shapes of its tensors.

Widths, depths, patch and MLP sizes can be read from the shapes. Three things cannot, and are found otherwise:

- the number of attention heads, looked up by width in the table of released sizes;
- whether positions are rotary: a file without a position table has rotary positions, and so has one whose table is
  all zeros; one with another table is read as V-JEPA 1 unless its predictor is action-conditioned or has more than
  V-JEPA 1's two mask tokens (V-JEPA 2's have six or ten, and its training used rotary positions throughout);
- the picture size: the one in the file's name (224, 256 or 384), else 256, or 384 for V-JEPA 2.1. Rotary encoders do
  not depend on it; a sine-cosine table tells its own.

Each of them can be overridden (`overrides={"encoder": {"num_heads": 2}}`, `--set encoder.num_heads=2`).
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from vjepa2_ac.checkpoints.official import State
from vjepa2_ac.config import from_dict
from vjepa2_ac.errors import CheckpointError
from vjepa2_ac.models.ac_predictor import ACPredictorConfig
from vjepa2_ac.models.anticipation import AnticipationClassifierConfig
from vjepa2_ac.models.encoder import EncoderConfig
from vjepa2_ac.models.encoder_v21 import EncoderV21Config
from vjepa2_ac.models.masked_predictor import MaskedPredictorConfig
from vjepa2_ac.models.masked_predictor_v21 import MaskedPredictorV21Config
from vjepa2_ac.models.pooler import AttentiveClassifierConfig
from vjepa2_ac.models.positions import sincos_image, sincos_video

AnyEncoderConfig = EncoderConfig | EncoderV21Config
AnyPredictorConfig = ACPredictorConfig | MaskedPredictorConfig | MaskedPredictorV21Config
AnyClassifierConfig = AttentiveClassifierConfig | AnticipationClassifierConfig
ConfigT = TypeVar("ConfigT")

ENCODER_HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16, 1408: 22, 1664: 26}
PREDICTOR_HEADS = {384: 12, 1024: 16}
PROBE_HEADS = {768: 16, 1024: 16, 1280: 16, 1408: 16, 1664: 16}

V_JEPA_1_MASK_TOKENS = 2
SINCOS_TOLERANCE = 1e-4  # float32 tables computed elsewhere differ in their last digits only


@dataclass(frozen=True, slots=True)
class Hints:
    """What shapes do not tell: where the tensors come from (for messages), the picture size, the user's settings."""

    where: str
    img_size: tuple[int, int] | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)


def img_size_in(name: str) -> tuple[int, int] | None:
    """The picture size in a released file's name: 384 in `vitg-384.pt`; None where the name has none.

    Training files are named by their epoch: the 384 in `e384.pt` is no picture size.
    """
    found = re.search(r"(?<!\d)(?<!\be)(224|256|384)(?!\d)", name)
    return (int(found.group(1)),) * 2 if found else None


def encoder_config(state: State, hints: Hints, predictor: State | None = None) -> AnyEncoderConfig:
    """The configuration of the encoder with these tensors; a predictor in the same file tells more about it."""
    shapes = _Shapes(state, hints.where)
    dim, in_chans, *patch = shapes.of("patch_embed.proj.weight", (4, 5))
    is_video = len(patch) == 3
    values: dict[str, Any] = {
        "patch_size": patch[-1],
        "tubelet_size": patch[0] if is_video else 2,
        "num_frames": 64 if is_video else 1,
        "in_chans": in_chans,
        "embed_dim": dim,
        "num_heads": ENCODER_HEADS.get(dim),
        **_blocks(shapes, "blocks", dim),
    }
    if shapes.has("norms_block.0.weight"):
        values |= {
            "img_size": hints.img_size or (384, 384),
            "img_temporal_dim_size": 1 if shapes.has("patch_embed_img.proj.weight") else None,
            "modality_embedding": shapes.has("video_mod_embed"),
            "n_output_distillation": _levels_joined(predictor, hints.where),
        }
        return _config(EncoderV21Config, values, hints)
    values["img_size"] = hints.img_size or (256, 256)
    table_1ND = state.get("pos_embed")
    values["use_rope"] = hints.overrides.get("use_rope", is_rotary(table_1ND, predictor))
    if not values["use_rope"]:
        values |= _explain_table(table_1ND, patch[-1], patch[0] if is_video else None, hints)
    return _config(EncoderConfig, values, hints)


def predictor_config(state: State, hints: Hints, encoder: AnyEncoderConfig | None) -> AnyPredictorConfig:
    """The configuration of the predictor with these tensors: action-conditioned, masked, or V-JEPA 2.1's masked one."""
    shapes = _Shapes(state, hints.where)
    dim = shapes.of("predictor_norm.weight", (1,))[0]
    values: dict[str, Any] = {
        "predictor_embed_dim": dim,
        "num_heads": PREDICTOR_HEADS.get(dim),
        "img_size": encoder.img_size if encoder else hints.img_size or (256, 256),
        "patch_size": encoder.patch_size if encoder else 16,
        **_blocks(shapes, "predictor_blocks", dim),
    }
    if shapes.has("action_encoder.weight"):
        values["embed_dim"] = shapes.of("predictor_embed.weight", (2,))[1]
        values["action_embed_dim"] = shapes.of("action_encoder.weight", (2,))[1]
        values["modulation"] = "adaln" if shapes.has("condition_encoder.0.weight") else "none"
        values["local_mixing"] = shapes.has("local_mixing.0.norm.weight")
        values["copy_gate"] = shapes.has("copy_gate.share.weight")
        return _config(ACPredictorConfig, values, hints)
    values["num_frames"] = encoder.num_frames if encoder else 64
    values["tubelet_size"] = encoder.tubelet_size if encoder else 2
    values["num_mask_tokens"] = count_mask_tokens(state)
    if shapes.has("video_mod_embed") or shapes.has("predictor_embed.0.weight"):
        return _config(MaskedPredictorV21Config, values | _levels(shapes, encoder, hints), hints)
    values["embed_dim"] = shapes.of("predictor_embed.weight", (2,))[1]
    table_1ND = state.get("predictor_pos_embed")
    values["use_rope"] = hints.overrides.get("use_rope", is_rotary(table_1ND, state))
    if not values["use_rope"]:
        values |= _explain_table(table_1ND, values["patch_size"], values["tubelet_size"], hints)
    return _config(MaskedPredictorConfig, values, hints)


def classifier_config(state: State, hints: Hints) -> AnyClassifierConfig:
    """The configuration of the probe with these tensors: an attentive classifier, or one that anticipates actions."""
    shapes = _Shapes(state, hints.where)
    dim = shapes.of("pooler.query_tokens", (3,))[2]
    values: dict[str, Any] = {
        "embed_dim": dim,
        "num_heads": PROBE_HEADS.get(dim),
        "depth": 1 + shapes.count("pooler.blocks"),
        "mlp_ratio": _ratio(shapes.of("pooler.cross_attention_block.mlp.fc1.weight", (2,))[0], dim),
    }
    if shapes.has("action_classifier.weight"):
        names_parts = shapes.has("verb_classifier.weight")
        values["num_verbs"] = shapes.of("verb_classifier.weight", (2,))[0] if names_parts else 0
        values["num_nouns"] = shapes.of("noun_classifier.weight", (2,))[0] if names_parts else 0
        values["num_actions"] = shapes.of("action_classifier.weight", (2,))[0]
        return _config(AnticipationClassifierConfig, values, hints)
    values["num_classes"] = shapes.of("linear.weight", (2,))[0]
    return _config(AttentiveClassifierConfig, values, hints)


def count_mask_tokens(state: State) -> int:
    """The number of mask tokens, which stand for what is hidden."""
    return sum(name.startswith("mask_tokens.") for name in state)


def is_rotary(table_1ND: Tensor | None, predictor: State | None) -> bool:
    """Whether a model with this position table in its file uses rotary positions instead (see the top of this file)."""
    if table_1ND is None or not table_1ND.any() or predictor is None:
        return table_1ND is None or not table_1ND.any()
    return "action_encoder.weight" in predictor or count_mask_tokens(predictor) > V_JEPA_1_MASK_TOKENS


def _blocks(shapes: _Shapes, name: str, dim: int) -> dict[str, Any]:
    """The settings that a stack of transformer blocks shows: depth, mlp_ratio, bias, and the kind of MLP."""
    first = f"{name}.0"
    depth = shapes.count(name)
    if depth == 0:
        raise CheckpointError(f"{shapes.where} has no {name}; it is not a model this project knows")
    gated = shapes.has(f"{first}.mlp.fc3.weight")
    values = {
        "depth": depth,
        "mlp_ratio": _ratio(shapes.of(f"{first}.mlp.fc1.weight", (2,))[0], dim),
        "qkv_bias": shapes.has(f"{first}.attn.qkv.bias"),
    }
    return values | ({"use_silu": True, "wide_silu": False} if gated else {})


def _levels(shapes: _Shapes, encoder: AnyEncoderConfig | None, hints: Hints) -> dict[str, Any]:
    """The settings that only a V-JEPA 2.1 predictor has, such as the levels it reads and the width of its output."""
    levels = _levels_read(shapes)
    embed_dim = shapes.of("predictor_embed.0.weight" if levels > 1 else "predictor_embed.weight", (2,))[levels == 1]
    width_out = shapes.of("predictor_proj.weight", (2,))[0]
    return {
        "embed_dim": embed_dim,
        "n_output_distillation": levels,
        "teacher_embed_dim": None if width_out == levels * embed_dim else width_out,
        "modality_embedding": shapes.has("video_mod_embed"),
        "return_all_tokens": shapes.has("predictor_proj_context.weight"),
        "img_size": encoder.img_size if encoder else hints.img_size or (384, 384),
    }


def _levels_joined(predictor: State | None, where: str) -> int:
    """How many levels of a V-JEPA 2.1 encoder its pretraining joined, as the masked predictor tells; else all four."""
    if predictor is None or "action_encoder.weight" in predictor:
        return 4
    return _levels_read(_Shapes(predictor, where))


def _levels_read(shapes: _Shapes) -> int:
    """How many levels of the encoder a V-JEPA 2.1 predictor reads; it embeds several by two layers, one by one."""
    if not shapes.has("predictor_embed.0.weight"):
        return 1
    dim, joined = shapes.of("predictor_embed.0.weight", (2,))
    return joined // dim


def _ratio(hidden: int, dim: int) -> float:
    """The mlp_ratio that makes `int(dim * mlp_ratio)` exactly `hidden`."""
    ratio = hidden / dim
    return ratio if int(dim * ratio) == hidden else math.nextafter(ratio, math.inf)


def _explain_table(table_1ND: Tensor | None, patch_size: int, tubelet_size: int | None, hints: Hints) -> dict[str, Any]:
    """The clip length, picture size and channel layout of a sine-cosine table, found by comparing tables."""
    if table_1ND is None or table_1ND.dim() != 3:
        raise CheckpointError(f"{hints.where} has no usable position table, which sine-cosine positions need")
    tokens, width = table_1ND.shape[1:]
    if tubelet_size is None:
        side = math.isqrt(tokens)
        if side * side == tokens and _same(table_1ND, sincos_image(width, (side, side))):
            return {"img_size": (side * patch_size,) * 2, "num_frames": 1}
    else:
        for side in range(1, math.isqrt(tokens) + 1):
            steps, rest = divmod(tokens, side * side)
            for uniform in (False, True) if rest == 0 else ():
                if _same(table_1ND, sincos_video(width, (steps, side, side), uniform_power=uniform)):
                    size = (side * patch_size,) * 2
                    return {"img_size": size, "num_frames": steps * tubelet_size, "uniform_power": uniform}
    raise CheckpointError(
        f"{hints.where} has a position table of {tokens} tokens that is neither empty nor sine and cosine of a square "
        "picture; if the model uses rotary positions, say so with use_rope"
    )


def _same(one_1ND: Tensor, other_1ND: Tensor) -> bool:
    return torch.allclose(one_1ND.float(), other_1ND.float(), rtol=0, atol=SINCOS_TOLERANCE)


def _config(cls: type[ConfigT], values: dict[str, Any], hints: Hints) -> ConfigT:
    chosen = to_plain(values) | dict(hints.overrides)
    is_known = {entry.name for entry in dataclasses.fields(cast("Any", cls))}.issuperset(hints.overrides)
    if is_known and chosen["num_heads"] is None:  # an unknown override is the better thing to complain of
        width = chosen.get("predictor_embed_dim", chosen["embed_dim"])
        raise CheckpointError(
            f"{hints.where}: no released model is {width} channels wide, so its number of attention heads is unknown; "
            "say it with num_heads"
        )
    return from_dict(cls, chosen, hints.where)


def to_plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Tuples as lists, as they stand in JSON."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


class _Shapes:
    """The shapes of a model's tensors by name. Raises CheckpointError, in a sentence, for what is missing or odd."""

    def __init__(self, state: State, where: str) -> None:
        self.state, self.where = state, where

    def has(self, name: str) -> bool:
        return name in self.state

    def of(self, name: str, dims: tuple[int, ...]) -> tuple[int, ...]:
        tensor = self.state.get(name)
        if tensor is None:
            raise CheckpointError(f"{self.where} lacks {name}; it is not a model this project knows, or incomplete")
        if tensor.dim() not in dims or 0 in tensor.shape:
            expected = f"expected {dims[0]} axes, none of them 0 long"
            raise CheckpointError(f"{self.where}: {name} has shape {list(tensor.shape)}, {expected}")
        return tuple(tensor.shape)

    def count(self, name: str) -> int:
        """How many blocks there are below `name`, by their highest number."""
        pattern = re.compile(rf"{re.escape(name)}\.(\d+)\.")
        return max((int(found.group(1)) + 1 for key in self.state if (found := pattern.match(key))), default=0)
