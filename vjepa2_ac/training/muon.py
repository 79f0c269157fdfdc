"""Muon as timm has it, but with matrices of float32 where a machine is slow at bf16.

Muon makes every direction of a matrix equally long by some products of matrices (Newton and Schulz's iteration), which
timm computes in bf16 wherever it runs. A processor that has no instructions for that takes several times as long for
them as for all gradients.
"""

from __future__ import annotations

import functools
from typing import Any

import timm.optim.muon as timms
import torch


class Float32Muon(timms.Muon):
    """timm's Muon, whose matrices are made orthogonal in float32."""

    def step(self, closure: Any = None) -> Any:
        """One update, as of timm's; of the type in which it computes timm lets nobody say but by this function."""
        in_bf16 = timms.zeropower_via_newtonschulz
        timms.zeropower_via_newtonschulz = functools.partial(in_bf16, dtype=torch.float32)
        try:
            return super().step(closure)  # type: ignore[no-untyped-call]
        finally:
            timms.zeropower_via_newtonschulz = in_bf16
