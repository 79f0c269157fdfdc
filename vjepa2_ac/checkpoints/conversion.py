"""Conversion of any readable source to our release format or Hugging Face's, without optimiser state, without loss."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from vjepa2_ac import __version__
from vjepa2_ac.checkpoints.assemble import require_fit, shape_of
from vjepa2_ac.checkpoints.contents import Contents, Part
from vjepa2_ac.checkpoints.huggingface import LABELS, write_hugging_face
from vjepa2_ac.checkpoints.places import find
from vjepa2_ac.checkpoints.reading import Overrides, read
from vjepa2_ac.checkpoints.release import require_replaceable, write_release
from vjepa2_ac.errors import CheckpointError
from vjepa2_ac.images import Preprocessing

Layout = Literal["release", "huggingface"]
WRITERS = {"release": write_release, "huggingface": write_hugging_face}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def convert(
    source: str | Path,
    target: str | Path,
    to: Layout,
    *,
    dtype: str | None = None,
    which: str | None = None,
    beside: Sequence[str | Path] = (),
    without: Sequence[str] = (),
    overrides: Overrides | None = None,
    force: bool = False,
) -> Contents:
    """Write what `source` holds as a folder `target`, and return what was written.

    `dtype` is "fp32" or "bf16" (None: as it is). Models of the sources in `beside` join it, as a probe joins its
    encoder; those named in `without` stay out. The folder appears whole or not at all, and replaces another only with
    `force`. Raises `CheckpointError` where the layout has no place for a model.
    """
    folder = Path(target).resolve()
    if folder.exists() and not force:
        raise CheckpointError(f"{folder} exists; give another name, or --force to replace it")
    _refuse_loss(folder, (source, *beside))
    if dtype is not None and dtype not in DTYPES:
        raise CheckpointError(f"no precision {dtype!r} to keep weights in; there are {', '.join(DTYPES)}")
    contents = _leave_out(_join(read(source, which=which, overrides=overrides), beside), without)
    for name, part in contents.parts.items():
        require_fit(shape_of(part.config), part.weights, f"{contents.source}: {name}")
    origin = {
        "converted_from": contents.source.name,
        "layout": contents.layout,
        "converted_by": f"vjepa2-ac {__version__}",
    }
    contents = replace(contents, metadata=origin | contents.metadata)  # converted twice, it keeps the first source
    WRITERS[to](contents, folder, DTYPES[dtype] if dtype else None)
    return contents


def _refuse_loss(folder: Path, sources: Sequence[str | Path]) -> None:
    """Raise CheckpointError if `folder` holds one of the sources, or is there and is neither a model nor empty."""
    for source in sources:
        if find(source).resolve().is_relative_to(folder):
            raise CheckpointError(f"{source} lies in {folder}, which would be replaced; give another name")
    require_replaceable(folder)


def _join(contents: Contents, beside: Sequence[str | Path]) -> Contents:
    parts, metadata, normalize_latents = dict(contents.parts), dict(contents.metadata), contents.normalize_latents
    preprocessings = dict.fromkeys(contents.parts, contents.preprocessing)
    for source in beside:
        joining = read(source)
        for name, part in joining.parts.items():
            if name in parts:
                raise CheckpointError(f"both {contents.source} and {source} hold the {name}")
            parts[name], preprocessings[name] = part, joining.preprocessing
        if "predictor" in joining.parts:
            normalize_latents = joining.normalize_latents
        metadata |= {name: said for name, said in joining.metadata.items() if name in _metadata_keys_of(joining.parts)}
    if beside:
        _require_same_tokens(contents.source, parts)
    return replace(
        contents,
        parts=parts,
        normalize_latents=normalize_latents,
        preprocessing=_joined_preprocessing(preprocessings, contents.preprocessing),
        metadata=metadata,
    )


def _joined_preprocessing(for_part: Mapping[str, Preprocessing], otherwise: Preprocessing) -> Preprocessing:
    """The joined models' preprocessing: the predictor's, else the encoder's, at the encoder's picture size."""
    encoder = for_part.get("encoder", otherwise)
    return replace(for_part.get("predictor", encoder), img_size=encoder.img_size)


def _require_same_tokens(source: Path, parts: Mapping[str, Part]) -> None:
    """Raise CheckpointError unless every model takes tokens of the encoder's width, in its rows and columns."""
    if "encoder" not in parts:
        return
    seen: Any = parts["encoder"].config
    width, grid = seen.embed_dim, seen.grid
    for name, part in parts.items():
        theirs = getattr(part.config, "embed_dim", width)
        if theirs != width:
            raise CheckpointError(f"the {name} is for tokens {theirs} wide, the encoder of {source} gives {width}")
        rows, columns = getattr(part.config, "grid", grid)
        if (rows, columns) != grid:
            raise CheckpointError(
                f"the {name} is for {rows} x {columns} tokens of a frame, "
                f"the encoder of {source} gives {grid[0]} x {grid[1]}"
            )


def _leave_out(contents: Contents, names: Sequence[str]) -> Contents:
    for name in names:
        if name not in contents.parts:
            held = ", ".join(contents.parts)
            raise CheckpointError(f"{contents.source} holds no {name} that could be left out; it holds {held}")
    parts = {name: part for name, part in contents.parts.items() if name not in names}
    if not parts:
        raise CheckpointError(f"nothing of {contents.source} is left to write")
    metadata = {name: said for name, said in contents.metadata.items() if name not in _metadata_keys_of(names)}
    return replace(contents, parts=parts, metadata=metadata)


def _metadata_keys_of(parts: Collection[str]) -> set[str]:
    """The keys of metadata about these parts alone: a classifier's labels, how networks for the hand were trained."""
    return {name for name in ("inverse", "keyframes") if name in parts} | set(LABELS if "classifier" in parts else ())
