"""Fixed sine-cosine position tables, for models without rotary positions, and their resizing to other input sizes.

Tables are computed in float64 and stored in float32. A width that does not divide as the scheme wants is rounded up and
the table cut to width, so any width works; where the released code runs, the result is the same.

Legend: N tokens, D width.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def sincos_video(width: int, grid: tuple[int, int, int], *, uniform_power: bool) -> Tensor:
    """The [1, N, D] table of a (steps, rows, columns) grid.

    Time, row and column get a half and two quarters of the channels, or (`uniform_power`) a third each.
    """
    if uniform_power:
        parts = (2 * math.ceil(width / 6),) * 3
    else:
        parts = (_even(width // 2), _even(width // 4), _even(width // 4))
    return _table(width, grid, parts)


def sincos_image(width: int, grid: tuple[int, int]) -> Tensor:
    """The [1, N, D] table of a (rows, columns) grid, half of the channels for each."""
    return _table(width, grid, (_even(width // 2),) * 2)


def resize_video(table_1ND: Tensor, built: tuple[int, int, int], wanted: tuple[int, int, int]) -> Tensor:
    """The table for another grid: fewer steps of the same picture size are cut off, anything else is interpolated."""
    if built == wanted:
        return table_1ND
    if built[1:] == wanted[1:] and wanted[0] < built[0]:
        return table_1ND[:, : math.prod(wanted)]
    return _interpolate(table_1ND, built, wanted, "trilinear")


def resize_image(table_1ND: Tensor, built: tuple[int, int], wanted: tuple[int, int]) -> Tensor:
    """The table for another grid of patches, interpolated.

    The released code scales both sides by sqrt(new tokens / old tokens). So a picture that is not square but has a
    square number of patches gets the table of that square, kept here. Where its rounding fails, the true grid is used.
    """
    if built == wanted:
        return table_1ND
    side = math.isqrt(math.prod(wanted))
    is_square_count = side * side == math.prod(wanted) and built[0] == built[1]
    return _interpolate(table_1ND, built, (side, side) if is_square_count else wanted, "bicubic")


def _interpolate(table_1ND: Tensor, built: tuple[int, ...], wanted: tuple[int, ...], mode: str) -> Tensor:
    table = torch.unflatten(table_1ND, 1, built).movedim(-1, 1)
    return F.interpolate(table, size=wanted, mode=mode).flatten(2).transpose(1, 2)


def _table(width: int, grid: tuple[int, ...], parts: tuple[int, ...]) -> Tensor:
    axes = [torch.arange(side, dtype=torch.float64, device="cpu") for side in grid]
    positions = torch.meshgrid(*axes, indexing="ij")
    columns = [_waves(part, position.flatten()) for part, position in zip(parts, positions, strict=True)]
    return torch.cat(columns, dim=1)[None, :, :width].float().contiguous()


def _waves(width: int, position_N: Tensor) -> Tensor:
    frequency = 1.0 / 10000 ** (torch.arange(width // 2, dtype=torch.float64, device="cpu") / (width / 2))
    angles = position_N[:, None] * frequency
    return torch.cat((angles.sin(), angles.cos()), dim=1)


def _even(width: int) -> int:
    return width + width % 2
