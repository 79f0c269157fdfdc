"""Building models in memory from what a source holds: strictly, and with each weight in memory once.

A model is first made without storage, then filled tensor by tensor. Every tensor is copied out of the mapped file into
memory of its own, in its final precision and on its device, and the file's pages are released at once. So the peak is
the weights as they will be used plus one tensor, and a file may be replaced while its model is in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vjepa2_ac.checkpoints.contents import KEPT_IN, MODELS, Joined, Part, Weight, pieces
from vjepa2_ac.checkpoints.mapped import give_back
from vjepa2_ac.errors import CheckpointError
from vjepa2_ac.models.build import skeleton

SHOWN = 3  # names in a message; the rest are counted
EXACT = ("inverse", "keyframes")  # the networks that locate hands, which compute in float32


def assemble(
    parts: Mapping[str, Part], source: Path, *, device: torch.device | str, dtype: torch.dtype | None
) -> dict[str, nn.Module]:
    """The models of all parts, ready to run, on `device` and as `dtype` (None: as the file keeps them).

    Where a `dtype` is given, networks that locate hands are float32 instead: they compute in nothing else.
    Raises `CheckpointError`, before any weight is read, where a tensor is missing, unknown or of another shape.
    """
    models = {name: shape_of(part.config) for name, part in parts.items()}
    for name, part in parts.items():
        require_fit(models[name], part.weights, f"{source}: {name}")
    for name, part in parts.items():
        is_exact = dtype is not None and name in EXACT
        fill(models[name], part, device=device, dtype=torch.float32 if is_exact else dtype)
    return models


def fill(model: nn.Module, part: Part, *, device: torch.device | str, dtype: torch.dtype | None) -> None:
    """Give a model without storage the weights of a part, one by one."""
    state: dict[str, Tensor] = {}
    for name, weight in part.weights.items():
        state[name] = owned(weight, device, dtype)
        if part.is_mapped:
            for piece in pieces(weight):
                give_back(piece)
    model.load_state_dict(state, strict=True, assign=True)
    model.eval()


def shape_of(config: Any) -> nn.Module:
    """The model that a config describes, without storage for its weights."""
    return skeleton(MODELS[type(config)], config)


def require_fit(model: nn.Module, weights: Mapping[str, Weight], where: str) -> None:
    """Raise CheckpointError, naming the fault, unless the weights are exactly the model's."""
    expected = model.state_dict()
    faults = [
        _listed("lacks", expected.keys() - weights.keys()),
        _listed("has the unknown", weights.keys() - expected.keys()),
        _wrong_shapes(expected, weights),
        _listed("has in a type of number that no weights are kept in", _unusual(weights)),
    ]
    found = [fault for fault in faults if fault]
    if found:
        raise CheckpointError(f"{where} does not fit the model it looks like: it {' and '.join(found)}")


def _unusual(weights: Mapping[str, Weight]) -> set[str]:
    return {name for name, weight in weights.items() if weight.dtype not in KEPT_IN}


def owned(weight: Weight, device: torch.device | str, dtype: torch.dtype | None) -> Tensor:
    """A copy of a weight in memory of its own."""
    whole = torch.empty(weight.shape, dtype=dtype or weight.dtype, device=device)
    if not isinstance(weight, Joined):
        return whole.copy_(weight)
    start = 0
    for piece in weight.pieces:
        whole[start : start + len(piece)].copy_(piece)
        start += len(piece)
    return whole


def _listed(verb: str, names: Iterable[str]) -> str:
    """`lacks norm.bias, norm.weight and 3 more`, or nothing where there are none."""
    ordered = sorted(names)
    if not ordered:
        return ""
    more = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return f"{verb} {', '.join(ordered[:SHOWN])}{more}"


def _wrong_shapes(expected: Mapping[str, Tensor], weights: Mapping[str, Weight]) -> str:
    wrong = [
        f"{name} {list(weights[name].shape)} (expected {list(tensor.shape)})"
        for name, tensor in expected.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    return _listed("has the wrong shape of", wrong)
