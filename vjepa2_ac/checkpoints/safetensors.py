"""Reading and writing safetensors files: a JSON table of contents, then the tensors' bytes.

Tensors are read mapped and written one by one, so a file of any size is converted in the memory of its largest tensor.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vjepa2_ac.checkpoints.contents import KEPT_IN, Weight, pieces
from vjepa2_ac.checkpoints.kinds import Kind, kind_of, safetensors_header
from vjepa2_ac.checkpoints.mapped import give_back
from vjepa2_ac.checkpoints.official import State
from vjepa2_ac.errors import CheckpointError
from vjepa2_ac.terminal import progress

DTYPE_NAMES = dict(zip(KEPT_IN, ("F32", "BF16", "F16", "F64"), strict=True))


def read_tensors(file: Path) -> State:
    """The tensors of a safetensors file by name, mapped and not yet read.

    Raises `CheckpointError` where the file is of another kind, cut short or damaged.
    """
    if kind_of(file) is not Kind.SAFETENSORS:
        raise CheckpointError(f"{file} is a torch file; expected a safetensors file")
    safetensors_header(file)
    try:
        with safe_open(file, framework="pt", device="cpu") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (not a dictionary)
    except SafetensorError as error:
        raise CheckpointError(f"{file} is damaged: {error}") from error


def size_of(weights: Mapping[str, Weight], dtype: torch.dtype | None) -> int:
    """The number of bytes that `weights` take as `dtype` (None: as they are)."""
    return sum(weight.numel() * (dtype or weight.dtype).itemsize for weight in weights.values())


def write_tensors(
    file: Path, weights: Mapping[str, Weight], dtype: torch.dtype | None = None, *, is_mapped: bool = False
) -> None:
    """Write a safetensors file, each tensor as `dtype` (None: as it is); `is_mapped`: all of them lie in files."""
    table: dict[str, object] = {"__metadata__": {"format": "pt"}}  # transformers asks for this mark
    place = 0
    for name, weight in weights.items():
        end = place + weight.numel() * (dtype or weight.dtype).itemsize
        table[name] = {
            "dtype": _dtype_name(dtype or weight.dtype, name),
            "shape": list(weight.shape),
            "data_offsets": [place, end],
        }
        place = end
    header = json.dumps(table, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with file.open("wb") as stream, progress(f"writing {file.name}", place, unit="bytes") as advance:
        stream.write(struct.pack("<Q", len(header)))
        stream.write(header)
        for weight in weights.values():
            for piece in pieces(weight):
                stream.write(_bytes(piece.to(dtype or weight.dtype)))
                if is_mapped:
                    give_back(piece)
            advance(weight.numel() * (dtype or weight.dtype).itemsize)


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data


def _dtype_name(dtype: torch.dtype, name: str) -> str:
    if dtype not in DTYPE_NAMES:
        raise CheckpointError(f"{name} holds {dtype}, which no weights of this project are kept in")
    return DTYPE_NAMES[dtype]
