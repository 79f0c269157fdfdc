"""Opening any source of weights: what it is, which models it holds, and what of it is left aside.

Nothing is read into memory here but names, shapes and small configurations. Official files keep several copies of an
encoder. Unless told otherwise, the moving average is taken (`target_encoder`, or `ema_encoder` where it is called so),
with which the published results were obtained; from V-JEPA 2-AC files `encoder`, as the public loader does, where the
training kept both the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from vjepa2_ac.checkpoints.architecture import (
    AnyEncoderConfig,
    AnyPredictorConfig,
    Hints,
    classifier_config,
    encoder_config,
    img_size_in,
    predictor_config,
)
from vjepa2_ac.checkpoints.contents import PARTS, Contents, Part
from vjepa2_ac.checkpoints.huggingface import is_hugging_face, is_sharded, read_hugging_face
from vjepa2_ac.checkpoints.ignored import ENCODERS, Ignored, why_entry_is_ignored, without_position_tables
from vjepa2_ac.checkpoints.kinds import Kind, kind_of
from vjepa2_ac.checkpoints.official import State, plain_name, plain_state, read_entries
from vjepa2_ac.checkpoints.places import find
from vjepa2_ac.checkpoints.release import CONFIG, WEIGHTS, is_release, read_release
from vjepa2_ac.config import nearest
from vjepa2_ac.errors import CheckpointError
from vjepa2_ac.images import Preprocessing
from vjepa2_ac.models.encoder import EncoderConfig
from vjepa2_ac.models.encoder_v21 import EncoderV21Config
from vjepa2_ac.models.masked_predictor_v21 import MaskedPredictorV21Config

AC_ENCODERS = ("encoder", "target_encoder", "ema_encoder")  # in files with an action-conditioned predictor
PROBES = "classifiers"

Overrides = Mapping[str, Mapping[str, Any]]


def read(source: str | Path, *, which: str | None = None, overrides: Overrides | None = None) -> Contents:
    """The contents of `source`: a path, the name of a downloaded model, or "default".

    `which` chooses an encoder of an official file. `overrides` says what its shapes do not tell, by model:
    `{"encoder": {"num_heads": 2}}`. Raises `CheckpointError` (or `ConfigError`) naming the file and the fault.
    """
    path = find(source)
    known = overrides or {}
    for name in known:
        if name not in PARTS:
            meant = nearest(name, PARTS)
            hint = f"did you mean {meant}?" if meant else f"there can be {', '.join(PARTS)}"
            raise CheckpointError(f"no model is called '{name}'; {hint}")
    if path.is_file() and kind_of(path) is not Kind.SAFETENSORS:
        return _read_official(path, which, known)
    folder = path if path.is_dir() else folder_of(path)
    if which is not None or known:
        raise CheckpointError(f"{path} says itself what it holds; which and overrides are for official .pt files")
    config = _read_config(folder, path)
    if is_release(config):
        return read_release(folder, config)
    if is_hugging_face(config):
        return read_hugging_face(folder, config)
    raise CheckpointError(
        f"{folder / CONFIG} is neither a vjepa2-ac release's nor a V-JEPA 2 model's of transformers "
        f"(its model_type is {config.get('model_type')!r})"
    )


def folder_of(file: Path) -> Path:
    """The folder of a safetensors file. Raises CheckpointError where its `config.json` describes another file."""
    if file.name != WEIGHTS and (file.parent / CONFIG).exists() and not is_sharded(file.parent):
        raise CheckpointError(f"{file} is none of the weights that {file.parent / CONFIG} describes: {WEIGHTS} is")
    return file.parent


def _read_config(folder: Path, asked: Path) -> dict[str, Any]:
    file = folder / CONFIG
    if not file.exists():
        if (folder / "release" / CONFIG).is_file():
            raise CheckpointError(f"{asked} is a training run's folder; what it made is {folder / 'release'}")
        raise CheckpointError(f"{asked} cannot be read without a {CONFIG}, and {folder} has none")
    try:
        config = json.loads(file.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # no JSON, or one that Python will not read
        raise CheckpointError(f"{file} is damaged: it is no JSON") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{file} holds no settings by name")
    return config


# --- official files --------------------------------------------------------------------------------------------------


def _read_official(file: Path, which: str | None, overrides: Overrides) -> Contents:
    entries = read_entries(file)
    if entries and all(isinstance(value, Tensor) for value in entries.values()):
        entries = _as_entries(plain_state(entries, file, "the file"), file)
    states = _chosen_states(entries, file, which)
    _refuse_settings_of_others(overrides, [_model_in(entry, state) for entry, state in states.items()], file)
    reader = _Reader(file, overrides, is_mapped=kind_of(file) is Kind.TORCH_ZIP)
    for entry, state in states.items():
        reader.take(entry, state, states.get("predictor"))
    left = [why_entry_is_ignored(name, entries[name]) for name in entries if name not in states]
    if PROBES in states and isinstance(entries[PROBES], list | tuple) and len(entries[PROBES]) > 1:
        left.append(why_entry_is_ignored(PROBES, None))
    return reader.contents(left)


def _chosen_states(entries: Mapping[str, Any], file: Path, which: str | None) -> dict[str, State]:
    """The tensors of the models to read, by entry; of several encoders only the chosen one."""
    encoders = [name for name in (AC_ENCODERS if _acts(entries) else ENCODERS) if name in entries]
    if which is not None and which not in encoders:
        raise CheckpointError(f"{file} has no encoder '{which}'; it has {', '.join(encoders) or 'none'}")
    wanted = [which or encoders[0]] if encoders else []
    wanted += [name for name in ("predictor", PROBES) if name in entries]
    if not wanted:
        held = ", ".join(list(entries)[:6]) or "nothing"
        raise CheckpointError(f"{file} holds no encoder, predictor or classifiers; it holds {held}")
    return {name: plain_state(entries[name], file, f"entry '{name}'") for name in wanted}


def _model_in(entry: str, state: State) -> str:
    """Which of our models an entry's tensors are."""
    if entry == PROBES:
        return "classifier"
    if entry != "predictor":
        return "encoder"
    return "predictor" if "action_encoder.weight" in state else "masked_predictor"


def _refuse_settings_of_others(overrides: Overrides, held: Sequence[str], file: Path) -> None:
    """Raise CheckpointError for settings of a model that is not in the file, which would do nothing."""
    for name in overrides:
        if name not in held:
            raise CheckpointError(f"{file} holds no {name}; it holds {', '.join(held)}")


def _acts(entries: Mapping[str, Any]) -> bool:
    predictor = entries.get("predictor")
    return isinstance(predictor, Mapping) and any(
        plain_name(str(key)).startswith("action_encoder.") for key in predictor
    )


def _as_entries(state: State, file: Path) -> dict[str, Any]:
    """One model's bare tensors under the entry they would have in a training file."""
    if "patch_embed.proj.weight" in state:
        return {"encoder": state}
    if "predictor_norm.weight" in state:
        return {"predictor": state}
    if "pooler.query_tokens" in state:
        return {PROBES: [state]}
    raise CheckpointError(f"{file} holds tensors ({next(iter(state))}, ...) of no model this project knows")


class _Reader:
    """Collects the models of one official file, and what is left aside."""

    def __init__(self, file: Path, overrides: Overrides, *, is_mapped: bool) -> None:
        self.file, self.overrides, self.is_mapped = file, overrides, is_mapped
        self.parts: dict[str, Part] = {}
        self.ignored: list[Ignored] = []
        self.metadata: dict[str, Any] = {}

    def take(self, entry: str, state: State, predictor: State | None) -> None:
        """Add the model of one entry; an encoder comes before its predictor."""
        name = _model_in(entry, state)
        hints = self._hints(name, f"{name} (entry '{entry}' of {self.file})")
        if name == "classifier":
            self._add(name, classifier_config(state, hints), state)
        elif entry == "predictor":
            config = predictor_config(state, hints, self._encoder())
            state, ignored = without_position_tables(state, entry, use_rope=getattr(config, "use_rope", True))
            self.ignored += ignored
            self._add(name, config, state)
        else:
            encoder = encoder_config(state, hints, predictor)
            state, ignored = without_position_tables(state, entry, use_rope=getattr(encoder, "use_rope", True))
            self.ignored += ignored
            self.metadata["encoder_entry"] = entry
            self._add(name, encoder, state)

    def contents(self, left: Iterable[Ignored]) -> Contents:
        shown = self._encoder_or_predictor()
        img_size = shown.img_size if shown else img_size_in(self.file.name) or (256, 256)
        acts = "predictor" in self.parts
        return Contents(
            source=self.file,
            layout=self._layout(),
            parts=self.parts,
            preprocessing=Preprocessing(name="droid" if acts else "hub", img_size=img_size),
            ignored=(*left, *self.ignored),
            metadata=self.metadata,
        )

    def _layout(self) -> str:
        configs = [part.config for part in self.parts.values()]
        acts = "-AC" if "predictor" in self.parts else ""
        if any(isinstance(config, EncoderV21Config | MaskedPredictorV21Config) for config in configs):
            return f"V-JEPA 2.1{acts} training file"
        if acts:
            return "V-JEPA 2-AC training file"
        shown = self._encoder_or_predictor()
        if shown is None:
            return "attentive probe file"
        is_rotary = getattr(shown, "use_rope", True)
        return "V-JEPA 2 training file" if is_rotary else "V-JEPA 1 training file"

    def _encoder(self) -> AnyEncoderConfig | None:
        part = self.parts.get("encoder")
        return part.config if part and isinstance(part.config, EncoderConfig | EncoderV21Config) else None

    def _encoder_or_predictor(self) -> AnyEncoderConfig | AnyPredictorConfig | None:
        """The encoder's configuration, or that of a predictor that stands alone; None where there are probes only."""
        configs = [part.config for part in self.parts.values()]
        return next((found for found in configs if isinstance(found, AnyEncoderConfig | AnyPredictorConfig)), None)

    def _hints(self, name: str, where: str) -> Hints:
        return Hints(where, img_size_in(self.file.name), self.overrides.get(name, {}))

    def _add(self, name: str, config: Any, state: State) -> None:
        self.parts[name] = Part(config, dict(state), is_mapped=self.is_mapped)
