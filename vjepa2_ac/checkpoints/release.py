"""This project's release format: a folder of `config.json` and `model.safetensors`.

The config says what each model is and how frames are prepared for it, so that nothing is guessed when it is read. The
names of tensors begin with their model's name: `encoder.norm.weight`, `predictor.action_encoder.bias`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vjepa2_ac.checkpoints.contents import PARTS, Contents, Part, Weights
from vjepa2_ac.checkpoints.safetensors import read_tensors, size_of, write_tensors
from vjepa2_ac.checkpoints.writing import new_folder, require_room
from vjepa2_ac.config import from_dict, nearest, to_dict
from vjepa2_ac.errors import CheckpointError, ConfigError
from vjepa2_ac.images import Preprocessing

FORMAT = "vjepa2-ac"
VERSION = 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"
KEYS = ("format", "version", "models", "preprocessing", "normalize_latents", "metadata")  # of a config.json
MODEL_KEYS = ("type", "config")  # of a model in it

TYPES = {  # the names models have in config.json
    part: {config.__name__.removesuffix("Config"): config for config in configs} for part, configs in PARTS.items()
}


def save(
    folder: str | Path,
    *,
    encoder: nn.Module,
    predictor: nn.Module | None = None,
    inverse: nn.Module | None = None,
    keyframes: nn.Module | None = None,
    masked_predictor: nn.Module | None = None,
    classifier: nn.Module | None = None,
    preprocessing: Preprocessing,
    normalize_latents: bool = True,
    metadata: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write models as a release, whole or not at all; an existing model at `folder` is replaced, and nothing else is.

    `normalize_latents` is False for a predictor that was trained on the encoder's raw outputs. `metadata` is anything
    JSON holds, for people to read. `dtype` is how weights are kept (None: as they are).
    """
    models = {"encoder": encoder, "predictor": predictor, "inverse": inverse, "keyframes": keyframes}
    models |= {"masked_predictor": masked_predictor, "classifier": classifier}
    parts = {
        name: Part(_config_of(name, model), dict(model.state_dict()))
        for name, model in models.items()
        if model is not None
    }
    target = Path(folder)
    contents = Contents(
        source=target,
        layout="release",
        parts=parts,
        preprocessing=preprocessing,
        normalize_latents=normalize_latents,
        metadata=dict(metadata or {}),
    )
    write_release(contents, target, dtype)


def write_release(contents: Contents, folder: Path, dtype: torch.dtype | None = None) -> None:
    """Write contents, from whatever source, as a release."""
    require_replaceable(folder)
    weights: Weights = {
        f"{name}.{key}": weight for name, part in contents.parts.items() for key, weight in part.weights.items()
    }
    require_room(folder.parent, size_of(weights, dtype))
    config = {
        "format": FORMAT,
        "version": VERSION,
        "models": {
            name: {"type": _type_name(part.config), "config": to_dict(part.config)}
            for name, part in contents.parts.items()
        },
        "preprocessing": to_dict(contents.preprocessing),
        "normalize_latents": contents.normalize_latents,
        "metadata": contents.metadata,
    }
    try:
        text = json.dumps(config, indent=2) + "\n"
    except TypeError as error:
        raise ConfigError(f"the metadata of a release must be what JSON holds: {error}") from error
    with new_folder(folder) as aside:
        (aside / CONFIG).write_text(text)
        write_tensors(aside / WEIGHTS, weights, dtype, is_mapped=contents.is_mapped)


def require_replaceable(folder: Path) -> None:
    """Raise CheckpointError if `folder` is there and is neither a model nor an empty folder."""
    is_model = (folder / CONFIG).is_file() and any(folder.glob("*.safetensors"))  # others have a config.json, too
    if folder.exists() and not is_model and not (folder.is_dir() and not any(folder.iterdir())):
        raise CheckpointError(f"{folder} is no folder of a model, so nothing replaces it; give another name")


def is_release(config: Mapping[str, Any]) -> bool:
    """Whether this `config.json` is a release's."""
    return config.get("format") == FORMAT


def read_release(folder: Path, config: Mapping[str, Any]) -> Contents:
    """The contents of a release. Raises `CheckpointError` or `ConfigError` naming the file and the fault."""
    where = f"{folder / CONFIG}"
    if config.get("version") != VERSION:
        raise CheckpointError(f"{where} has version {config.get('version')!r}; this installation reads {VERSION}")
    _refuse_unknown(config, KEYS, where)
    if "preprocessing" not in config:
        raise CheckpointError(f"{where} does not say how frames are prepared: it has no 'preprocessing'")
    models = config.get("models")
    if not isinstance(models, Mapping) or not models:
        raise CheckpointError(f"{where} names no models")
    normalize_latents = config.get("normalize_latents", True)
    if not isinstance(normalize_latents, bool):
        raise CheckpointError(f"{where}: normalize_latents is {normalize_latents!r}; expected true or false")
    weights = read_tensors(folder / WEIGHTS)
    parts: dict[str, Part] = {}
    for name, model in models.items():
        cls = _config_class(name, model, where)
        prefix = f"{name}."
        mine: Weights = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
        parts[name] = Part(from_dict(cls, model.get("config", {}), f"{where}: {name}"), mine, is_mapped=True)
    metadata = config.get("metadata") or {}
    if not isinstance(metadata, Mapping):
        raise CheckpointError(f"{where}: metadata must be facts by name, got {metadata!r}")
    strangers = [key for key in weights if key.partition(".")[0] not in parts]
    if strangers:
        raise CheckpointError(f"{folder / WEIGHTS} holds {strangers[0]}, which belongs to no model in {CONFIG}")
    return Contents(
        source=folder,
        layout="release",
        parts=parts,
        preprocessing=from_dict(Preprocessing, config["preprocessing"], f"{where}: preprocessing"),
        normalize_latents=normalize_latents,
        metadata=dict(metadata),
    )


def _config_class(name: str, model: Any, where: str) -> type[Any]:
    if name not in PARTS:
        raise CheckpointError(f"{where} names a model '{name}'; there can be {', '.join(PARTS)}")
    kind = model.get("type") if isinstance(model, Mapping) else None
    if kind not in list(TYPES[name]):
        is_known = any(kind in list(types) for types in TYPES.values())
        fault = f"is of {'type' if is_known else 'unknown type'} {kind!r}"
        raise CheckpointError(f"{where}: {name} {fault}; expected {' or '.join(TYPES[name])}")
    _refuse_unknown(model, MODEL_KEYS, f"{where}: {name}")
    return TYPES[name][kind]


def _refuse_unknown(given: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in given:
        if key not in known:
            meant = nearest(key, known)
            raise CheckpointError(f"{where} has an unknown '{key}'{f'; did you mean {meant}?' if meant else ''}")


def _type_name(config: object) -> str:
    return type(config).__name__.removesuffix("Config")


def _config_of(name: str, model: nn.Module) -> Any:
    config = getattr(model, "config", None)
    if type(config) not in PARTS[name]:
        kind, expected = type(model).__name__, " or ".join(TYPES[name])
        raise CheckpointError(f"a {kind} cannot be kept in a release as its {name}; expected {expected}")
    return config
