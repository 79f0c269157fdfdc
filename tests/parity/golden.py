"""Golden cases: arrays recorded from the reference implementation, read from the folder `VJEPA2_GOLDEN` names."""

from __future__ import annotations

import functools
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

FOLDER = Path(os.environ.get("VJEPA2_GOLDEN") or Path(__file__).parent.parent / "golden")

NETWORK_TOLERANCE = 5e-5  # outputs are of order 1; float32 noise is below 1e-5


@dataclass(frozen=True)
class Case:
    """One recorded computation: its configuration, weights, inputs and outputs."""

    name: str
    kind: str
    config: dict[str, Any]
    weights: str | list[str] | None
    record: dict[str, Any]

    def input(self, name: str) -> NDArray[Any]:
        shared = self.record.get("shared_inputs", {}).get(name)
        if shared is not None:
            return np.load(FOLDER / shared[0])["a"]
        return self.arrays[f"in_{name}"]

    def inputs(self) -> dict[str, NDArray[Any]]:
        names = [key[3:] for key in self.arrays if key.startswith("in_")] + list(self.record.get("shared_inputs", {}))
        return {name: self.input(name) for name in names}

    def output(self, name: str) -> NDArray[Any]:
        return self.arrays[f"out_{name}"]

    def outputs(self) -> dict[str, NDArray[Any]]:
        return {key[4:]: value for key, value in self.arrays.items() if key.startswith("out_")}

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        return _arrays(self.record["file"])


@functools.cache
def _arrays(file: str) -> dict[str, NDArray[Any]]:
    with np.load(FOLDER / file) as stored:
        return {key: stored[key] for key in stored.files}


@functools.cache
def cases() -> tuple[Case, ...]:
    manifest = json.loads((FOLDER / "manifest.json").read_text())
    return tuple(
        Case(name, record["kind"], record["config"], record.get("weights"), record) for name, record in manifest.items()
    )


def cases_of(*kinds: str) -> list[Case]:
    return [case for case in cases() if case.kind in kinds]


def npz_state(file: str) -> dict[str, torch.Tensor]:
    """The state dict in `weights_*.npz`, as float32 (the float16 it is stored in loses nothing)."""
    return {key: torch.from_numpy(array.astype(np.float32)) for key, array in _arrays(file).items()}
