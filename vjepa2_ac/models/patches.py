"""Patch embedding of pixels to tokens, and the selection of the tokens that a mask keeps.

Legend: B batch, C colours, T frames, H and W pixels, N tokens, K kept tokens, D width, P pixels of one patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vjepa2_ac.errors import InputError


class PatchEmbed(nn.Module):
    """One linear map of every patch to a token, in (time, row, column) order.

    It is stored as the released convolution (over space, or over space and time) and applied as the matrix product that
    a convolution with stride = kernel is. On a CPU, this takes a quarter of the time in bf16 (and up to half more in
    fp32, where it takes little time).
    """

    def __init__(self, patch: tuple[int, ...], in_chans: int, dim: int) -> None:
        super().__init__()
        self.patch = patch
        convolution: Any = nn.Conv3d if len(patch) == 3 else nn.Conv2d
        self.proj: nn.Module = convolution(in_chans, dim, kernel_size=patch, stride=patch)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pictures [B, C, H, W] or clips [B, C, T, H, W] to tokens [B, N, D]."""
        weight, bias = cast("Tensor", self.proj.weight), cast("Tensor", self.proj.bias)
        return F.linear(self.cut(pixels), weight.flatten(1), bias)

    def cut(self, pixels: Tensor) -> Tensor:
        """The patches [B, N, P] as rows of pixels."""
        counts = [size // step for size, step in zip(pixels.shape[2:], self.patch, strict=True)]
        sides = [side for pair in zip(counts, self.patch, strict=True) for side in pair]
        split = pixels.reshape(*pixels.shape[:2], *sides)
        grid, inside = range(2, split.dim(), 2), range(3, split.dim(), 2)
        return split.permute(0, *grid, 1, *inside).flatten(1, len(self.patch)).flatten(2)


def grid_of(pixels: Tensor, patch: tuple[int, ...], in_chans: int) -> tuple[int, ...]:
    """The number of patches along each axis of a picture or clip. Raises InputError for one that does not divide."""
    wanted = "[batch, colours, frames, height, width]" if len(patch) == 3 else "[batch, colours, height, width]"
    if pixels.dim() != 2 + len(patch):
        raise InputError(f"this model takes pixels as {wanted}, got {list(pixels.shape)}")
    if pixels.shape[1] != in_chans:
        raise InputError(f"this model takes {in_chans} colours in pixels {wanted}, got {list(pixels.shape)}")
    if any(size % step or not size for size, step in zip(pixels.shape[2:], patch, strict=True)):
        raise InputError(f"frames, height and width must divide by {list(patch)}, got {list(pixels.shape[2:])}")
    return tuple(size // step for size, step in zip(pixels.shape[2:], patch, strict=True))


def keep(x_BND: Tensor, ids_BK: Tensor) -> Tensor:
    """The tokens with the given ids, sample by sample: [B, K, D]."""
    return x_BND.gather(1, ids_BK.unsqueeze(-1).expand(-1, -1, x_BND.shape[-1]))


def keep_each(x_BND: Tensor, masks: Sequence[Tensor]) -> Tensor:
    """The tokens that each of several masks of equal length keeps, stacked along the batch: [masks · B, K, D]."""
    for ids_BK in masks:
        check_ids(ids_BK, len(x_BND))
    return torch.cat([keep(x_BND, ids_BK) for ids_BK in masks], dim=0)


def check_ids(ids_BK: Tensor, batch: int, count: int | None = None) -> None:
    """Raise InputError unless ids are int64 [batch, count]; their values are not checked, which would stall a GPU."""
    if ids_BK.dim() != 2 or len(ids_BK) != batch or count not in (None, ids_BK.shape[1]) or ids_BK.dtype != torch.int64:
        wanted = f"[{batch}, {'tokens' if count is None else count}]"
        raise InputError(f"expected int64 token ids {wanted}, got {ids_BK.dtype} {list(ids_BK.shape)}")
