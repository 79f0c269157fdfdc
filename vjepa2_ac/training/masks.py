"""3-D multi-block masks: which tokens the encoder sees and which the predictor must predict (V-JEPA 2, section 2).

Legend: T, H, W token grid · B batch · K tokens kept. A token's id is t·H·W + h·W + w.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from vjepa2_ac.errors import ConfigError

TRIES = 1000  # attempts to draw blocks that leave a token visible


class Masks(NamedTuple):
    """Token ids [B, K] (int64): what the encoder sees, and what the predictor must predict."""

    context_BK: Tensor
    target_BK: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiBlockConfig:
    """Blocks cut out of the clip; their union is predicted from what remains."""

    blocks: int = 8
    spatial_scale: tuple[float, float] = (0.15, 0.15)  # share of a frame's tokens in one block
    temporal_scale: tuple[float, float] = (1.0, 1.0)  # share of the clip's steps that one block spans
    aspect_ratio: tuple[float, float] = (0.75, 1.5)  # height / width
    max_context_share: float = 1.0  # of the clip's steps, counted from the first, that the encoder may see
    max_keep: int | None = None  # the most context tokens; None: all
    targets_are_complement: bool = False  # predict all that is not in the truncated context
    context_is_complement: bool = False  # show all that is not in the truncated targets
    swapped: bool = False  # predict the surroundings from the blocks

    def __post_init__(self) -> None:
        if self.blocks < 1:
            raise ConfigError(f"a mask needs at least one block, got blocks={self.blocks}")
        if self.targets_are_complement and self.context_is_complement:
            raise ConfigError("only one of targets_are_complement and context_is_complement can hold")
        for name in ("spatial_scale", "temporal_scale", "aspect_ratio"):
            low, high = getattr(self, name)
            if not 0 < low <= high < math.inf:
                raise ConfigError(f"{name} must be two rising positive numbers, got {low}, {high}")
        if self.temporal_scale[1] > 1 or not 0 < self.max_context_share <= 1:
            raise ConfigError("temporal_scale and max_context_share are shares of the clip's steps, up to 1")
        if self.max_keep is not None and self.max_keep < 1:
            raise ConfigError(f"max_keep is at least 1 token, or null for all; got {self.max_keep}")


class MultiBlockMasks:
    """Draws masks for batches; one block size per call, block positions per sample.

    Sizes come from a generator seeded with the number of the call, so that every process cuts blocks of the same size;
    positions come from `generator` (default: torch's global one).
    """

    def __init__(self, grid_THW: tuple[int, int, int], config: MultiBlockConfig) -> None:
        self.grid_THW = grid_THW
        self.config = config
        self.calls = 0
        _, height, width = grid_THW
        area = int(height * width * config.spatial_scale[0])
        flattest, narrowest = config.aspect_ratio
        if not round(math.sqrt(area * flattest)) or not round(math.sqrt(area / narrowest)):
            raise ConfigError(
                f"blocks of {area} of {height} x {width} tokens may hide none; spatial_scale is {config.spatial_scale}"
            )

    def __call__(self, batch: int, generator: torch.Generator | None = None) -> Masks:
        """Masks for `batch` clips, truncated to the shortest of the batch (the first ids are kept)."""
        size_THW = self.next_block_size()
        visible_BN = torch.stack([self._visible(size_THW, generator) for _ in range(batch)])
        return self._collate(visible_BN)

    def next_block_size(self) -> tuple[int, int, int]:
        """Steps, rows and columns of the blocks of this call; each call advances `calls`."""
        T, H, W = self.grid_THW
        generator = torch.Generator().manual_seed(self.calls)
        self.calls += 1
        steps = max(1, int(T * _uniform(self.config.temporal_scale, generator)))
        area = int(H * W * _uniform(self.config.spatial_scale, generator))
        aspect = _uniform(self.config.aspect_ratio, generator)
        return steps, min(H, round(math.sqrt(area * aspect))), min(W, round(math.sqrt(area / aspect)))

    def _visible(self, size_THW: tuple[int, int, int], generator: torch.Generator | None) -> Tensor:
        """Which tokens [T·H·W] are in no block and within `max_context_share`; drawn again until at least one is."""
        T, H, W = self.grid_THW
        t, h, w = size_THW
        for _ in range(TRIES):
            visible_THW = torch.ones(T, H, W, dtype=torch.bool)
            for _ in range(self.config.blocks):
                top, left, start = (_below(n, generator) for n in (H - h + 1, W - w + 1, T - t + 1))
                visible_THW[start : start + t, top : top + h, left : left + w] = False
            visible_THW[max(1, int(T * self.config.max_context_share)) :] = False
            if visible_THW.any():
                return visible_THW.flatten()
        raise ConfigError(
            f"{self.config.blocks} blocks of {t} x {h} x {w} tokens hide all of {T} x {H} x {W}: {self.config}"
        )

    def _collate(self, visible_BN: Tensor) -> Masks:
        config = self.config
        context_keep = int(visible_BN.sum(dim=1).min())
        target_keep = int((~visible_BN).sum(dim=1).min())
        if config.max_keep is not None:
            context_keep = min(context_keep, config.max_keep)
        context_BK = _first_ids(visible_BN, context_keep)
        target_BK = _first_ids(~visible_BN, target_keep)
        if config.targets_are_complement:
            target_BK = _complement(context_BK, visible_BN.shape[1])
        elif config.context_is_complement:
            context_BK = _complement(target_BK, visible_BN.shape[1])
        return Masks(target_BK, context_BK) if config.swapped else Masks(context_BK, target_BK)


def _uniform(bounds: tuple[float, float], generator: torch.Generator) -> float:
    low, high = bounds
    return low + float(torch.rand(1, generator=generator)) * (high - low)


def _below(n: int, generator: torch.Generator | None) -> int:
    return int(torch.randint(0, n, (1,), generator=generator))


def _first_ids(chosen_BN: Tensor, keep: int) -> Tensor:
    return torch.stack([row_N.nonzero().flatten()[:keep] for row_N in chosen_BN])


def _complement(ids_BK: Tensor, tokens: int) -> Tensor:
    rest_BN = torch.ones(ids_BK.shape[0], tokens, dtype=torch.bool).scatter_(1, ids_BK, value=False)
    return _first_ids(rest_BN, tokens - ids_BK.shape[1])
