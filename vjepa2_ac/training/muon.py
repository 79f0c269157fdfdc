"""timm's Muon, computed in float32 for machines that are slow at bf16.

Muon makes each update equally long in all directions of a matrix by a few matrix products (the Newton–Schulz
iteration), which timm computes in bf16 on every machine. A processor without bf16 instructions takes several times as
long for these products as for all gradients.
"""

from __future__ import annotations

import functools
from typing import Any

import timm.optim.muon as timms
import torch


class Float32Muon(timms.Muon):
    """timm's Muon, which orthogonalises its updates in float32."""

    def step(self, closure: Any = None) -> Any:
        """One update as timm makes it; timm has no setting for the type, so its function is replaced meanwhile."""
        in_bf16 = timms.zeropower_via_newtonschulz
        timms.zeropower_via_newtonschulz = functools.partial(in_bf16, dtype=torch.float32)
        try:
            return super().step(closure)  # type: ignore[no-untyped-call]
        finally:
            timms.zeropower_via_newtonschulz = in_bf16
