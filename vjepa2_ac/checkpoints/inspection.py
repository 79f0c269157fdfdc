"""Description of a source of weights, in words and numbers, without loading it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from vjepa2_ac.checkpoints.assemble import require_fit, shape_of
from vjepa2_ac.checkpoints.contents import Contents, Part
from vjepa2_ac.checkpoints.ignored import Ignored
from vjepa2_ac.checkpoints.kinds import Kind, kind_of, safetensors_header
from vjepa2_ac.checkpoints.official import read_entries
from vjepa2_ac.checkpoints.places import find
from vjepa2_ac.checkpoints.reading import Overrides, read
from vjepa2_ac.config import to_dict
from vjepa2_ac.errors import InputError


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a file: how many tensors and numbers it holds, in which types, and how large that is."""

    name: str
    tensors: int
    parameters: int
    bytes: int
    dtypes: tuple[str, ...]
    value: str | None = None  # of an entry that is a plain value


@dataclass(frozen=True, slots=True)
class Model:
    """One model that would load."""

    name: str
    type: str
    parameters: int
    dtypes: tuple[str, ...]
    config: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """Everything that `inspect` found; `fault` says why the source would not load, None if it would."""

    source: Path
    layout: str
    bytes: int
    entries: tuple[Entry, ...]
    models: tuple[Model, ...] = ()
    preprocessing: dict[str, Any] | None = None
    normalize_latents: bool | None = None  # whether its predictor takes normalised latents; None: it has none
    ignored: tuple[Ignored, ...] = ()
    metadata: dict[str, Any]
    fault: str | None = None

    @property
    def loads(self) -> bool:
        """Whether `load` would return its models."""
        return self.fault is None


def inspect(source: str | Path, *, which: str | None = None, overrides: Overrides | None = None) -> Inspection:
    """Describe a source: what it is, what it holds, what would load, and what is left aside and why.

    Raises `CheckpointError` where there is nothing to describe: no such file, or no weights file at all.
    """
    path = find(source)
    files = _weight_files(path)
    entries = tuple(entry for file in files for entry in _entries(file))
    size = sum(file.stat().st_size for file in files)
    try:
        contents = read(source, which=which, overrides=overrides)
        _require_fit(contents)
    except InputError as error:
        layout = kind_of(files[0]).value if files else "folder"
        return Inspection(source=path, layout=layout, bytes=size, entries=entries, metadata={}, fault=str(error))
    return Inspection(
        source=path,
        layout=contents.layout,
        bytes=size,
        entries=entries,
        models=tuple(_model(name, part) for name, part in contents.parts.items()),
        preprocessing=to_dict(contents.preprocessing),
        normalize_latents=contents.normalize_latents if "predictor" in contents.parts else None,
        ignored=contents.ignored,
        metadata=contents.metadata,
    )


def _weight_files(path: Path) -> list[Path]:
    return sorted(path.glob("*.safetensors")) if path.is_dir() else [path]


def _require_fit(contents: Contents) -> None:
    for name, part in contents.parts.items():
        require_fit(shape_of(part.config), part.weights, f"{contents.source}: {name}")


def _model(name: str, part: Part) -> Model:
    kind = type(part.config).__name__.removesuffix("Config")
    return Model(name, kind, part.parameters, _dtype_names(part.dtypes), to_dict(part.config))


def _entries(file: Path) -> list[Entry]:
    if kind_of(file) is Kind.SAFETENSORS:
        return _safetensors_entries(safetensors_header(file))
    found = [_entry(name, value) for name, value in read_entries(file).items()]
    return _bare_tensors_joined(found)


def _entry(name: str, value: Any) -> Entry:
    tensors = list(_tensors_in(value))
    if not tensors:
        shown = value if value is None or isinstance(value, bool | int | float | str) else type(value).__name__
        return Entry(name, 0, 0, 0, (), str(shown))
    return Entry(
        name,
        len(tensors),
        sum(tensor.numel() for tensor in tensors),
        sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        _dtype_names({tensor.dtype for tensor in tensors}),
    )


def _tensors_in(value: Any) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _tensors_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _tensors_in(inner)


def _bare_tensors_joined(entries: list[Entry]) -> list[Entry]:
    """A single entry where a file holds one model's bare tensors; otherwise, the entries as they are."""
    if len(entries) < 2 or any(entry.tensors != 1 for entry in entries):
        return entries
    dtypes = tuple(sorted({name for entry in entries for name in entry.dtypes}))
    parameters, size = sum(entry.parameters for entry in entries), sum(entry.bytes for entry in entries)
    return [Entry("(the file itself)", len(entries), parameters, size, dtypes)]


def _safetensors_entries(header: Mapping[str, Any]) -> list[Entry]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for name, tensor in header.items():
        if name != "__metadata__":
            groups.setdefault(name.partition(".")[0], []).append(tensor)
    return [
        Entry(
            name,
            len(tensors),
            sum(math.prod(tensor["shape"]) for tensor in tensors),
            sum(tensor["data_offsets"][1] - tensor["data_offsets"][0] for tensor in tensors),
            tuple(sorted({tensor["dtype"].lower() for tensor in tensors})),
        )
        for name, tensors in groups.items()
    ]


def _dtype_names(dtypes: Iterable[Any]) -> tuple[str, ...]:
    names = {"float32": "f32", "bfloat16": "bf16", "float16": "f16", "float64": "f64"}
    texts = (str(dtype).removeprefix("torch.") for dtype in dtypes)
    return tuple(sorted(names.get(text, text) for text in texts))
