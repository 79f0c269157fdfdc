"""Rotary positions on a (time, height, width) grid of tokens, with the two channel pairings of the released models.

The channels of each head have three equal parts, turned by a token's time, height and width; channels left over are not
turned. Channels (2i, 2i+1) form a pair. `pairwise` (V-JEPA 2.1) gives both channels of a pair the same angle, a true
rotation. `tiled` (V-JEPA 2) repeats the sequence of a part's angles instead, so that the two channels of a pair mostly
get different angles: norms and relative positions are not preserved. The released V-JEPA 2 weights were trained with
exactly that.

Legend: B batch, N tokens, K kept tokens, C channels of one head, P angles per part.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Pairing = Literal["tiled", "pairwise"]

SMALLEST_HEAD = 12  # below this a part has a single angle, which the released code cannot compute


class Rotation(NamedTuple):
    """Cosines and signed sines, [N, C] for all samples or [B, 1, N, C] for each; a permutation that swaps each pair."""

    cos: Tensor
    sin: Tensor
    partner_CC: Tensor


def rotate(x_BHNC: Tensor, rotation: Rotation) -> Tensor:
    """Turn queries or keys [..., N, C] by their tokens' positions.

    The channels of each pair trade places by a product with a permutation matrix: exact, and at the default model's
    size on a CPU half the time of flipping or indexing.
    """
    x_BHNC = x_BHNC.contiguous()  # slices of a projection lie apart in memory, which slows down every product
    return torch.addcmul(x_BHNC * rotation.cos, x_BHNC @ rotation.partner_CC, rotation.sin)


@dataclass(frozen=True, slots=True)
class Grid:
    """The grid on which tokens lie: counted in patches, then scaled. `steps` may be cut out of a longer sequence."""

    steps: int
    height: int
    width: int
    height_scale: float = 1.0
    width_scale: float = 1.0
    first_step: int = 0
    conditioning: int = 0  # tokens in front of each step's patches that have a time alone, at row and column 0


@dataclass(frozen=True, slots=True)
class Rope:
    """The rotary scheme of one model; its tables are made once per grid, device and precision and shared by layers."""

    head_dim: int
    pairing: Pairing

    @property
    def part(self) -> int:
        """Channels turned by each of time, height and width."""
        return 2 * ((self.head_dim // 3) // 2)

    def of_grid(self, grid: Grid, device: torch.device, dtype: torch.dtype) -> Rotation:
        """The rotation of all tokens of a grid in (step, row, column) order; cached for the next call."""
        return _grid_rotation(self, grid, device, dtype)

    def of_ids(self, ids_BK: Tensor, grid: Grid, dtype: torch.dtype) -> Rotation:
        """The rotation of the tokens id = (step · height + row) · width + column, per sample."""
        time_BK, within_BK = ids_BK // (grid.height * grid.width), ids_BK % (grid.height * grid.width)
        positions_BK3 = torch.stack(
            (
                time_BK.float(),
                (within_BK // grid.width).float() * grid.height_scale,
                (within_BK % grid.width).float() * grid.width_scale,
            ),
            dim=-1,
        )
        cos_BKC, sin_BKC = self._turns(positions_BK3)
        partner_CC = _partners(self.head_dim, ids_BK.device, dtype)
        return Rotation(cos_BKC.to(dtype).unsqueeze(1), sin_BKC.to(dtype).unsqueeze(1), partner_CC)

    def _turns(self, positions_N3: Tensor) -> tuple[Tensor, Tensor]:
        # fp32 whatever the model's precision: bf16 cannot hold the slow angles.
        half = self.part // 2
        exponent_P = torch.arange(half, dtype=torch.float32, device=positions_N3.device) / half
        angles_N3P = positions_N3.unsqueeze(-1) * (1.0 / 10000.0**exponent_P)
        if self.pairing == "tiled":
            angles_NC = torch.cat((angles_N3P, angles_N3P), dim=-1).flatten(-2)
        else:
            angles_NC = angles_N3P.repeat_interleave(2, dim=-1).flatten(-2)
        angles_NC = F.pad(angles_NC, (0, self.head_dim - 3 * self.part))
        sin_NC = angles_NC.sin()
        sin_NC[..., 0::2] *= -1  # (a, b) turns to (a cos - b sin, b cos + a sin)
        return angles_NC.cos(), sin_NC


@functools.lru_cache(maxsize=128)
def _grid_rotation(rope: Rope, grid: Grid, device: torch.device, dtype: torch.dtype) -> Rotation:
    # A table first needed inside inference_mode must still serve a later training step.
    with torch.inference_mode(mode=False), torch.no_grad():
        step = torch.arange(grid.first_step, grid.first_step + grid.steps, dtype=torch.float32, device=device)
        row = torch.arange(grid.height, dtype=torch.float32, device=device) * grid.height_scale
        column = torch.arange(grid.width, dtype=torch.float32, device=device) * grid.width_scale
        patches = torch.stack(torch.meshgrid(step, row, column, indexing="ij"), dim=-1).flatten(1, 2)
        heads = torch.stack((step, 0 * step, 0 * step), dim=-1).unsqueeze(1).expand(-1, grid.conditioning, -1)
        cos_NC, sin_NC = rope._turns(torch.cat((heads, patches), dim=1).flatten(0, 1))
        return Rotation(cos_NC.to(dtype), sin_NC.to(dtype), _partners(rope.head_dim, device, dtype))


@functools.lru_cache(maxsize=32)
def _partners(channels: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The permutation matrix that swaps channels 2i and 2i + 1; an odd last one stays (its sine is zero)."""
    with torch.inference_mode(mode=False), torch.no_grad():
        partner = torch.arange(channels, device=device) ^ 1
        return torch.eye(channels, dtype=dtype, device=device)[partner.clamp(max=channels - 1)]
