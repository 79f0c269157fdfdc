"""Reading `.pt` files as the V-JEPA training scripts write them, without running anything that is in them.

A training script saves a dictionary: models under `encoder`, `target_encoder` (its moving average; `ema_encoder` in
some V-JEPA 2.1 files) and `predictor`, probes under `classifiers`, and beside them the state of the run. The keys of a
model hold the names of the wrappers it was trained in, which are removed here.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vjepa2_ac.checkpoints.kinds import Kind, kind_of
from vjepa2_ac.errors import CheckpointError

WRAPPERS = frozenset({"module", "backbone", "_orig_mod"})  # distributed training, the training wrapper, torch.compile

State = dict[str, Tensor]


def read_state(path: str | Path, entry: str | None) -> State:
    """The tensors of one entry of a `.pt` file, by their plain names and mapped, not yet read into memory.

    `entry` is a key of the file ("encoder", "target_encoder", "predictor", ...); of an entry that is a list of models
    (the probes' "classifiers"), the first is taken. None: the file itself is one model's tensors.
    Raises `CheckpointError` where the file cannot be used or has no such entry.
    """
    file = Path(path)
    entries = read_entries(file)
    if entry is None:
        return plain_state(entries, file, "the file")
    if entry not in entries:
        raise CheckpointError(f"{file} has no entry '{entry}'; it has {', '.join(map(str, entries)) or 'nothing'}")
    return plain_state(entries[entry], file, f"entry '{entry}'")


def read_entries(file: Path) -> dict[str, Any]:
    """Everything a `.pt` file holds, tensors mapped from disk where its layout allows; code in it is refused."""
    kind = kind_of(file)
    if kind is Kind.SAFETENSORS:
        raise CheckpointError(f"{file} is a safetensors file, which has no entries; expected a torch .pt file")
    try:
        contents = torch.load(file, map_location="cpu", weights_only=True, mmap=kind is Kind.TORCH_ZIP)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_why_refused(file, str(error))) from error
    except Exception as error:  # what torch raises on damaged bytes is anything, from EOFError to AssertionError
        raise CheckpointError(f"{file} is cut short or damaged: torch cannot read it") from error
    if not isinstance(contents, Mapping):
        raise CheckpointError(f"{file} holds {_a(contents)}; expected a dictionary of models or of tensors")
    return {str(key): value for key, value in contents.items()}


def plain_state(value: object, file: Path, where: str) -> State:
    """One model's tensors by their plain names: those of `value`, or of the first where it is a list of models."""
    if isinstance(value, list | tuple) and value:
        value = value[0]
    if not isinstance(value, Mapping):
        raise CheckpointError(f"{where} of {file} holds {_a(value)}; expected a model's tensors by name")
    state: State = {}
    for key, tensor in value.items():
        if not isinstance(tensor, Tensor):
            raise CheckpointError(f"{where} of {file} is not one model: '{key}' is {_a(tensor)}, expected a tensor")
        if tensor.is_meta or tensor.layout is not torch.strided:
            kind = "a tensor without numbers" if tensor.is_meta else "a sparse tensor"
            raise CheckpointError(f"{where} of {file} cannot be used: '{key}' is {kind}")
        name = plain_name(str(key))
        if not name.isprintable():
            raise CheckpointError(f"{where} of {file} is damaged: it names a tensor {name!r}")
        if name in state:
            raise CheckpointError(f"{where} of {file} names '{name}' twice once its wrappers' names are taken off")
        state[name] = tensor
    return state


def plain_name(key: str) -> str:
    """A parameter's name without those of training wrappers: module.backbone.norm.bias -> norm.bias."""
    return ".".join(part for part in key.split(".") if part not in WRAPPERS)


def _why_refused(file: Path, message: str) -> str:
    if "weights_only" not in message.lower() and "weights only" not in message.lower():
        return f"{file} is cut short or damaged: it is no readable pickle"
    named = re.search(r"GLOBAL ([A-Za-z_]\w*(?:\.\w+)+)", message)
    if named is None:
        return f"{file} is damaged, or holds more than tensors and plain values; nothing in it was run"
    return f"{file} holds code ({named.group(1)}), which is never run; expected tensors and plain values only"


def _a(value: object) -> str:
    if isinstance(value, Mapping):
        return "a dictionary"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
