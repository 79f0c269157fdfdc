"""Reading and writing the layout of the public `transformers` port (`VJEPA2Model`, `VJEPA2ForVideoClassification`).

Both are loss-free. In the port, names differ, queries, keys and values are kept apart, and the mask tokens are one
tensor. It knows V-JEPA 2 encoders with rotary positions, masked predictors and one classifier, and has no place for
this project's other models.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vjepa2_ac.checkpoints.contents import Contents, Joined, ModelConfig, Part, Weight, Weights, pieces
from vjepa2_ac.checkpoints.official import State
from vjepa2_ac.checkpoints.release import CONFIG, WEIGHTS
from vjepa2_ac.checkpoints.safetensors import read_tensors, size_of, write_tensors
from vjepa2_ac.checkpoints.writing import new_folder, require_room
from vjepa2_ac.config import from_dict
from vjepa2_ac.errors import CheckpointError
from vjepa2_ac.images import Preprocessing
from vjepa2_ac.models.encoder import EncoderConfig
from vjepa2_ac.models.masked_predictor import MaskedPredictorConfig
from vjepa2_ac.models.pooler import AttentiveClassifierConfig

INDEX = "model.safetensors.index.json"
LABELS = ("id2label", "label2id")  # what the classes are called, kept in the metadata
BASE = "vjepa2."  # in front of encoder and predictor in a model that also classifies

# Our name, the port's name; {i} stands for a block's number. What follows (weight, bias) is the same in both.
ENCODER_NAMES = {
    "patch_embed.proj": "encoder.embeddings.patch_embeddings.proj",
    "blocks.{i}.norm1": "encoder.layer.{i}.norm1",
    "blocks.{i}.attn.qkv": "encoder.layer.{i}.attention.{query,key,value}",
    "blocks.{i}.attn.proj": "encoder.layer.{i}.attention.proj",
    "blocks.{i}.norm2": "encoder.layer.{i}.norm2",
    "blocks.{i}.mlp.fc1": "encoder.layer.{i}.mlp.fc1",
    "blocks.{i}.mlp.fc2": "encoder.layer.{i}.mlp.fc2",
    "norm": "encoder.layernorm",
}
PREDICTOR_NAMES = {
    "predictor_embed": "predictor.embeddings.predictor_embeddings",
    "predictor_blocks.{i}.norm1": "predictor.layer.{i}.norm1",
    "predictor_blocks.{i}.attn.qkv": "predictor.layer.{i}.attention.{query,key,value}",
    "predictor_blocks.{i}.attn.proj": "predictor.layer.{i}.attention.proj",
    "predictor_blocks.{i}.norm2": "predictor.layer.{i}.norm2",
    "predictor_blocks.{i}.mlp.fc1": "predictor.layer.{i}.mlp.fc1",
    "predictor_blocks.{i}.mlp.fc2": "predictor.layer.{i}.mlp.fc2",
    "predictor_norm": "predictor.layernorm",
    "predictor_proj": "predictor.proj",
}
CLASSIFIER_NAMES = {
    "pooler.cross_attention_block.norm1": "pooler.cross_attention_layer.layer_norm1",
    "pooler.cross_attention_block.xattn.q": "pooler.cross_attention_layer.cross_attn.q_proj",
    "pooler.cross_attention_block.xattn.kv": "pooler.cross_attention_layer.cross_attn.{k_proj,v_proj}",
    "pooler.cross_attention_block.norm2": "pooler.cross_attention_layer.layer_norm2",
    "pooler.cross_attention_block.mlp.fc1": "pooler.cross_attention_layer.mlp.fc1",
    "pooler.cross_attention_block.mlp.fc2": "pooler.cross_attention_layer.mlp.fc2",
    "pooler.blocks.{i}.norm1": "pooler.self_attention_layers.{i}.layer_norm1",
    "pooler.blocks.{i}.attn.qkv": "pooler.self_attention_layers.{i}.self_attn.{q_proj,k_proj,v_proj}",
    "pooler.blocks.{i}.attn.proj": "pooler.self_attention_layers.{i}.self_attn.out_proj",
    "pooler.blocks.{i}.norm2": "pooler.self_attention_layers.{i}.layer_norm2",
    "pooler.blocks.{i}.mlp.fc1": "pooler.self_attention_layers.{i}.mlp.fc1",
    "pooler.blocks.{i}.mlp.fc2": "pooler.self_attention_layers.{i}.mlp.fc2",
    "linear": "classifier",
}
NAMES = {"encoder": ENCODER_NAMES, "masked_predictor": PREDICTOR_NAMES, "classifier": CLASSIFIER_NAMES}

QUERY_TOKENS = "pooler.query_tokens"  # named alike on both sides
MASK_TOKENS = "predictor.embeddings.mask_tokens"


# --- reading ---------------------------------------------------------------------------------------------------------


def is_hugging_face(config: Mapping[str, Any]) -> bool:
    """Whether this `config.json` is the port's."""
    return config.get("model_type") == "vjepa2"


def is_sharded(folder: Path) -> bool:
    """Whether a folder's tensors are read from shards. A single file goes before them, as in `transformers`."""
    return (folder / INDEX).exists() and not (folder / WEIGHTS).is_file()


def read_hugging_face(folder: Path, config: Mapping[str, Any]) -> Contents:
    """The contents of a folder in the port's layout. Raises `CheckpointError` naming the file and the fault."""
    where = str(folder / CONFIG)
    theirs = {name.removeprefix(BASE): tensor for name, tensor in _tensors(folder).items()}
    settings = _Settings(config, where)
    weights = _from_theirs(theirs, folder)
    if not weights:
        raise CheckpointError(f"{folder} holds no tensors")
    configs = _configs(settings, weights)
    return Contents(
        source=folder,
        layout="Hugging Face folder",
        parts={name: Part(configs[name], part, is_mapped=True) for name, part in weights.items()},
        preprocessing=Preprocessing(name="hub", img_size=(settings.number("crop_size", 256),) * 2),
        metadata={key: config[key] for key in LABELS if key in config},
    )


def _tensors(folder: Path) -> State:
    """All tensors of a folder, from one file or from the shards its index lists."""
    if not is_sharded(folder):
        return read_tensors(folder / WEIGHTS)
    index = folder / INDEX
    try:
        shards = sorted({str(shard) for shard in json.loads(index.read_bytes())["weight_map"].values()})
    except OSError as error:
        raise CheckpointError(f"{index} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{index} is damaged: it lists no weight_map") from error
    if not shards:
        raise CheckpointError(f"{index} is damaged: its weight_map names no file")
    tensors: State = {}
    for shard in shards:
        tensors |= read_tensors(folder / Path(shard).name)
    return tensors


def _from_theirs(theirs: State, folder: Path) -> dict[str, Weights]:
    """The port's tensors by our names, model by model. Raises CheckpointError for one that has no place."""
    left = dict(theirs)
    weights: dict[str, Weights] = {}
    for part, names in NAMES.items():
        mine: Weights = {}
        for our_name, their_names in names.items():
            mine |= _take(left, our_name, their_names, folder)
        weights[part] = mine
    if QUERY_TOKENS in left:
        weights["classifier"][QUERY_TOKENS] = left.pop(QUERY_TOKENS)
    if MASK_TOKENS in left:
        tokens = left.pop(MASK_TOKENS)
        weights["masked_predictor"] |= {f"mask_tokens.{i}": token for i, token in enumerate(tokens)}
    if left:
        raise CheckpointError(f"{folder} holds {next(iter(left))}, which has no place in a V-JEPA 2 model")
    return {part: mine for part, mine in weights.items() if mine}


def _take(left: State, our_name: str, their_names: str, folder: Path) -> Weights:
    """The tensors of one line of a table, taken out of `left`, by our names and with their pieces joined."""
    variants = _variants(their_names)
    pattern = re.compile(re.escape(variants[0]).replace(r"\{i\}", r"(?P<i>\d+)") + r"\.(?P<what>weight|bias)")
    taken: Weights = {}
    for name in list(left):
        found = pattern.fullmatch(name)
        if not found:
            continue
        number = found.groupdict().get("i") or ""
        wanted = [f"{variant.replace('{i}', number)}.{found['what']}" for variant in variants]
        missing = [name for name in wanted if name not in left]
        if missing:
            raise CheckpointError(f"{folder} lacks {missing[0]}, which belongs beside {name}")
        found_pieces = tuple(left.pop(name) for name in wanted)
        ours = f"{our_name.replace('{i}', number)}.{found['what']}"
        taken[ours] = found_pieces[0] if len(found_pieces) == 1 else Joined(found_pieces)
    return taken


def _configs(settings: _Settings, weights: Mapping[str, Weights]) -> dict[str, ModelConfig]:
    """Our configurations of the models that a port's `config.json` describes."""
    settings.require("hidden_act", "gelu")
    dim, eps = settings.number("hidden_size", 1024), settings.fraction("layer_norm_eps", 1e-6)
    shared = {
        "img_size": [settings.number("crop_size", 256)] * 2,
        "patch_size": settings.number("patch_size", 16),
        "num_frames": settings.number("frames_per_clip", 64),
        "tubelet_size": settings.number("tubelet_size", 2),
        "embed_dim": dim,
        "qkv_bias": bool(settings.config.get("qkv_bias", True)),
        "norm_eps": eps,
    }
    encoder = shared | {
        "in_chans": settings.number("in_chans", 3),
        "depth": settings.number("num_hidden_layers", 24),
        "num_heads": settings.number("num_attention_heads", 16),
        "mlp_ratio": settings.fraction("mlp_ratio", 4.0),
    }
    predictor = shared | {
        "predictor_embed_dim": settings.number("pred_hidden_size", 384),
        "depth": settings.number("pred_num_hidden_layers", 12),
        "num_heads": settings.number("pred_num_attention_heads", 12),
        "mlp_ratio": settings.fraction("pred_mlp_ratio", 4.0),
        "num_mask_tokens": settings.number("pred_num_mask_tokens", 10),
        "zero_init_mask_tokens": bool(settings.config.get("pred_zero_init_mask_tokens", True)),
    }
    configs: dict[str, ModelConfig] = {
        "encoder": from_dict(EncoderConfig, encoder, settings.where),
        "masked_predictor": from_dict(MaskedPredictorConfig, predictor, settings.where),
    }
    if "classifier" in weights:
        classes = weights["classifier"].get("linear.weight")
        classifier = {
            "embed_dim": dim,
            "num_heads": encoder["num_heads"],
            "depth": 1 + settings.number("num_pooler_layers", 3),
            "num_classes": classes.shape[0] if classes is not None else 0,
            "norm_eps": eps,
        }
        configs["classifier"] = from_dict(AttentiveClassifierConfig, classifier, settings.where)
    return configs


class _Settings:
    """The port's `config.json` by key. Raises CheckpointError, in a sentence, for values that make no sense."""

    def __init__(self, config: Mapping[str, Any], where: str) -> None:
        self.config, self.where = config, where

    def number(self, key: str, default: int) -> int:
        value = self.config.get(key, default)
        if isinstance(value, list) and len(set(value)) == 1:
            value = value[0]
        if type(value) is not int or value < 1:
            raise CheckpointError(f"{self.where}: {key} must be a whole number above 0, got {value!r}")
        return value

    def fraction(self, key: str, default: float) -> float:
        value = self.config.get(key, default)
        if type(value) not in (int, float) or value <= 0:
            raise CheckpointError(f"{self.where}: {key} must be a number above 0, got {value!r}")
        return float(value)

    def require(self, key: str, expected: object) -> None:
        value = self.config.get(key, expected)
        if value != expected:
            raise CheckpointError(f"{self.where}: {key} is {value!r}; only {expected!r} is known here")


# --- writing ---------------------------------------------------------------------------------------------------------


def write_hugging_face(contents: Contents, folder: Path, dtype: torch.dtype | None = None) -> None:
    """Write contents as a folder that `transformers` loads.

    Raises `CheckpointError` where the port has no place for a model or a setting; nothing is changed to make it fit.
    """
    classifies = "classifier" in contents.parts
    config = _their_config(contents, dtype)
    weights: Weights = {}
    for name, part in contents.parts.items():
        prefix = BASE if classifies and name != "classifier" else ""
        weights |= {f"{prefix}{key}": weight for key, weight in _to_theirs(NAMES[name], part.weights).items()}
    require_room(folder.parent, size_of(weights, dtype))
    with new_folder(folder) as aside:
        (aside / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
        write_tensors(aside / WEIGHTS, weights, dtype, is_mapped=contents.is_mapped)


def _to_theirs(names: Mapping[str, str], ours: Weights) -> Weights:
    theirs: Weights = {}
    tokens = [ours[f"mask_tokens.{i}"] for i in range(len(ours)) if f"mask_tokens.{i}" in ours]
    for name, weight in ours.items():
        if name == QUERY_TOKENS:
            theirs[name] = weight
        elif name == "mask_tokens.0":
            theirs[MASK_TOKENS] = Joined(tuple(piece.unsqueeze(0) for token in tokens for piece in pieces(token)))
        elif not name.startswith("mask_tokens."):
            theirs |= _split(names, name, weight)
    return theirs


def _split(names: Mapping[str, str], name: str, weight: Weight) -> Weights:
    """One of our weights under the port's name, or under each of its names."""
    stem, _, what = name.rpartition(".")
    number = next(iter(re.findall(r"\.(\d+)\.", f".{stem}.")), "")
    their_names = names[re.sub(r"\.\d+\.", ".{i}.", stem)].replace("{i}", number)
    variants = _variants(their_names)
    parts = weight.pieces if isinstance(weight, Joined) else weight.chunk(len(variants))
    return {f"{variant}.{what}": part for variant, part in zip(variants, parts, strict=True)}


def _their_config(contents: Contents, dtype: torch.dtype | None) -> dict[str, Any]:
    """The port's `config.json` for these contents. Raises CheckpointError for what it cannot express."""
    parts = contents.parts
    for name, part in parts.items():
        if not isinstance(part.config, EncoderConfig | MaskedPredictorConfig | AttentiveClassifierConfig):
            kind = type(part.config).__name__.removesuffix("Config")
            raise CheckpointError(
                f"{contents.source}: Hugging Face's layout has no place for its {name} ({kind}); "
                f"leave it out with --without {name}, or convert to a release"
            )
    if "encoder" not in parts:
        raise CheckpointError(f"{contents.source} holds no encoder, which Hugging Face's layout is built around")
    encoder = parts["encoder"].config
    predictor = parts["masked_predictor"].config if "masked_predictor" in parts else None
    classifier = parts["classifier"].config if "classifier" in parts else None
    assert isinstance(encoder, EncoderConfig)
    config = {
        "model_type": "vjepa2",
        "architectures": ["VJEPA2ForVideoClassification" if classifier else "VJEPA2Model"],
        **_encoder_settings(encoder, contents.source),
    }
    if isinstance(predictor, MaskedPredictorConfig):
        config |= _predictor_settings(predictor, encoder, contents.source)
    if isinstance(classifier, AttentiveClassifierConfig):
        config |= _classifier_settings(classifier, encoder, contents.source)
        config |= {key: contents.metadata[key] for key in LABELS if key in contents.metadata}
    dtypes = {dtype} if dtype else set.union(*(part.dtypes for part in parts.values()))
    if len(dtypes) == 1:
        config["dtype"] = str(next(iter(dtypes))).removeprefix("torch.")
    return config


def _encoder_settings(encoder: EncoderConfig, source: Path) -> dict[str, Any]:
    _require(encoder.use_rope, source, "positions that are not rotary")
    _require(not encoder.use_silu, source, "a gated MLP")
    _require(encoder.is_video, source, "an encoder of single pictures")
    _require(encoder.img_size[0] == encoder.img_size[1], source, "pictures that are not square")
    return {
        "patch_size": encoder.patch_size,
        "crop_size": encoder.img_size[0],
        "frames_per_clip": encoder.num_frames,
        "tubelet_size": encoder.tubelet_size,
        "hidden_size": encoder.embed_dim,
        "in_chans": encoder.in_chans,
        "num_attention_heads": encoder.num_heads,
        "num_hidden_layers": encoder.depth,
        "mlp_ratio": encoder.mlp_ratio,
        "layer_norm_eps": encoder.norm_eps,
        "qkv_bias": encoder.qkv_bias,
        "hidden_act": "gelu",
    }


def _predictor_settings(predictor: MaskedPredictorConfig, encoder: EncoderConfig, source: Path) -> dict[str, Any]:
    _require(predictor.use_rope, source, "positions that are not rotary")
    _require(not predictor.use_silu, source, "a gated MLP")
    _require(predictor.norm_eps == encoder.norm_eps, source, "another norm_eps in the predictor than in the encoder")
    _require(predictor.qkv_bias == encoder.qkv_bias, source, "another qkv_bias in the predictor than in the encoder")
    _require(predictor.grid == encoder.grid, source, "another picture size in the predictor than in the encoder")
    _require(not predictor.return_all_tokens, source, "a predictor that returns all tokens")
    return {
        "pred_hidden_size": predictor.predictor_embed_dim,
        "pred_num_attention_heads": predictor.num_heads,
        "pred_num_hidden_layers": predictor.depth,
        "pred_num_mask_tokens": predictor.num_mask_tokens,
        "pred_zero_init_mask_tokens": predictor.zero_init_mask_tokens,
        "pred_mlp_ratio": predictor.mlp_ratio,
    }


def _classifier_settings(classifier: AttentiveClassifierConfig, encoder: EncoderConfig, source: Path) -> dict[str, Any]:
    same_heads = classifier.num_heads == encoder.num_heads
    _require(same_heads, source, "a classifier with another number of heads than the encoder")
    _require(classifier.mlp_ratio == 4.0, source, "a classifier whose mlp_ratio is not 4")
    _require(classifier.qkv_bias and classifier.complete_block, source, "this kind of classifier")
    _require(classifier.norm_eps == encoder.norm_eps, source, "another norm_eps in the classifier than in the encoder")
    classes = range(classifier.num_classes)
    return {
        "num_pooler_layers": classifier.depth - 1,
        "id2label": {str(i): f"LABEL_{i}" for i in classes},
        "label2id": {f"LABEL_{i}": i for i in classes},
    }


def _require(condition: bool, source: Path, what: str) -> None:
    if not condition:
        raise CheckpointError(f"{source}: Hugging Face's layout cannot express {what}; convert to a release instead")


def _variants(names: str) -> list[str]:
    """`a.{x,y}` as [`a.x`, `a.y`]; `{i}` stays."""
    found = re.search(r"\{(\w+(?:,\w+)+)\}", names)
    if not found:
        return [names]
    return [names[: found.start()] + name + names[found.end() :] for name in found.group(1).split(",")]
