"""The transformer block that all models share, its two kinds of MLP, and its optional modulation by a condition.

Legend: B batch, N tokens, D width, T time steps, S tokens per step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import Tensor, nn

from vjepa2_ac.config import require
from vjepa2_ac.models.attention import Attention, PastKeys
from vjepa2_ac.models.rope import Rotation


class MLP(nn.Module):
    """Two linear layers with the exact GELU between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x_BND: Tensor) -> Tensor:
        """Tokens [B, N, D] to [B, N, D]."""
        narrowed: Tensor = self.fc2(F.gelu(self.fc1(x_BND)))
        return narrowed


class SwiGLU(nn.Module):
    """A gated MLP: fc3(silu(fc1 x) · fc2 x). `wide` shrinks the hidden width by a third, to a multiple of 8."""

    def __init__(self, dim: int, hidden: int, *, wide: bool) -> None:
        super().__init__()
        if wide:
            hidden = -(-(2 * hidden // 3) // 8) * 8
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(dim, hidden)
        self.fc3 = nn.Linear(hidden, dim)

    def forward(self, x_BND: Tensor) -> Tensor:
        """Tokens [B, N, D] to [B, N, D]."""
        narrowed: Tensor = self.fc3(F.silu(self.fc1(x_BND)) * self.fc2(x_BND))
        return narrowed


class ShiftScaleGate(NamedTuple):
    """The modulation of one half of a block: shift and scale of its input, gate of its output; each [B, T, D]."""

    shift: Tensor
    scale: Tensor
    gate: Tensor

    def before(self, x_BND: Tensor) -> Tensor:
        """Normalised tokens, scaled and shifted step by step."""
        scale_BT1D, shift_BT1D = 1 + self.scale.unsqueeze(2), self.shift.unsqueeze(2)
        return torch.addcmul(shift_BT1D, _by_step(x_BND, self.scale), scale_BT1D).flatten(1, 2)

    def add(self, x_BND: Tensor, branch_BND: Tensor) -> Tensor:
        """Tokens plus a branch's output, scaled step by step."""
        gate_BT1D = 1 + self.gate.unsqueeze(2)
        return torch.addcmul(_by_step(x_BND, self.gate), _by_step(branch_BND, self.gate), gate_BT1D).flatten(1, 2)


class Modulation(nn.Linear):
    """From a condition [B, T, D] to shift, scale and gate of a block's attention and MLP (AdaLN, Peebles and Xie 2023).

    It starts at zero, where the modulated block equals the plain one; so it can also be added to trained weights.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(dim, 6 * dim)

    def for_attention_and_mlp(self, condition_BTD: Tensor) -> tuple[ShiftScaleGate, ShiftScaleGate]:
        """The modulation of the attention and that of the MLP."""
        parts = self(condition_BTD).chunk(6, dim=-1)
        return ShiftScaleGate(*parts[:3]), ShiftScaleGate(*parts[3:])


class Block(nn.Module):
    """Pre-norm attention and MLP, each added to its input; V-JEPA 2 and 2.1 differ only in the rotation handed in."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        norm_eps: float = 1e-6,
        use_silu: bool = False,
        wide_silu: bool = True,
        modulated: bool = False,
    ) -> None:
        super().__init__()
        hidden = int(dim * mlp_ratio)
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attn = Attention(dim, num_heads, qkv_bias=qkv_bias)
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp: nn.Module = SwiGLU(dim, hidden, wide=wide_silu) if use_silu else MLP(dim, hidden)
        self.modulation = Modulation(dim) if modulated else None

    def forward(
        self,
        x_BND: Tensor,
        rotation: Rotation | None = None,
        may_attend_NN: Tensor | None = None,
        past: PastKeys | None = None,
        condition_BTD: Tensor | None = None,
    ) -> Tensor:
        """Tokens [B, N, D] to [B, N, D]; a modulated block needs the condition of each of the T steps in them."""
        if self.modulation is None or condition_BTD is None:
            x_BND = x_BND + self.attn(self.norm1(x_BND), rotation, may_attend_NN, past)
            plain_BND: Tensor = x_BND + self.mlp(self.norm2(x_BND))
            return plain_BND
        attention, mlp = self.modulation.for_attention_and_mlp(condition_BTD)
        x_BND = attention.add(x_BND, self.attn(attention.before(self.norm1(x_BND)), rotation, may_attend_NN, past))
        return mlp.add(x_BND, self.mlp(mlp.before(self.norm2(x_BND))))


class StackShape(Protocol):
    """The part of a model's configuration that shapes its blocks."""

    @property
    def depth(self) -> int: ...  # noqa: D102
    @property
    def num_heads(self) -> int: ...  # noqa: D102
    @property
    def mlp_ratio(self) -> float: ...  # noqa: D102
    @property
    def qkv_bias(self) -> bool: ...  # noqa: D102
    @property
    def norm_eps(self) -> float: ...  # noqa: D102
    @property
    def use_silu(self) -> bool: ...  # noqa: D102
    @property
    def wide_silu(self) -> bool: ...  # noqa: D102


def check_stack(shape: StackShape, dim: int) -> None:
    """Raise ConfigError for blocks that cannot be made, or not of width `dim`."""
    require(shape.depth > 0, f"depth must be positive, got {shape.depth}")
    require(
        shape.num_heads > 0 and dim > 0 and dim % shape.num_heads == 0,
        f"width {dim} must divide by num_heads {shape.num_heads}",
    )
    is_wide = math.isfinite(shape.mlp_ratio) and int(dim * shape.mlp_ratio) > 0
    require(is_wide, f"mlp_ratio times width {dim} must be a number of channels, got {shape.mlp_ratio}")
    require(0 <= shape.norm_eps < math.inf, f"norm_eps must not be negative, got {shape.norm_eps}")


def stack(shape: StackShape, dim: int, *, depth: int | None = None, modulated: bool = False) -> nn.ModuleList:
    """`depth` blocks of one shape (by default as many as the configuration says)."""
    return nn.ModuleList(
        Block(
            dim,
            shape.num_heads,
            mlp_ratio=shape.mlp_ratio,
            qkv_bias=shape.qkv_bias,
            norm_eps=shape.norm_eps,
            use_silu=shape.use_silu,
            wide_silu=shape.wide_silu,
            modulated=modulated,
        )
        for _ in range(shape.depth if depth is None else depth)
    )


def run_block(
    block: Callable[..., Tensor],
    x_BND: Tensor,
    rotation: Rotation | None = None,
    may_attend_NN: Tensor | None = None,
    condition_BTD: Tensor | None = None,
    *,
    recompute: bool,
) -> Tensor:
    """Apply a block; with `recompute`, its inner results are computed again in the backward pass to save memory."""
    if recompute and torch.is_grad_enabled():
        recomputed: Tensor = torch.utils.checkpoint.checkpoint(
            block, x_BND, rotation, may_attend_NN, None, condition_BTD, use_reentrant=False
        )
        return recomputed
    return block(x_BND, rotation, may_attend_NN, None, condition_BTD)


def _by_step(x_BND: Tensor, per_step_BTD: Tensor) -> Tensor:
    return torch.unflatten(x_BND, 1, (per_step_BTD.shape[1], -1))
