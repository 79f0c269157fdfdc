"""Feature points: where in a frame each of some things is that were learned to matter, and what is seen there.

Convolutions over the grid of tokens make a map of each thing, so what is learned of it at one place holds at all of
them. The softmax of a map over places gives the place that is expected of the thing, more finely than a token, and the
mean of what the tokens hold there (Finn et al., Deep Spatial Autoencoders for Visuomotor Learning, 2016, section IV).

Legend: B frames, N tokens of a grid H x W, D width of a token, C channels, P points, K numbers kept of each, F told.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vjepa2_ac.config import require
from vjepa2_ac.models.build import draw, draw_weights

GROUPS = 8  # of channels that are normalised together


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturePointsConfig:
    """How feature points are found."""

    grid: tuple[int, int]  # rows and columns of a frame's tokens, which come row by row
    dim: int  # of a token
    channels: int = 96
    layers: int = 4  # of residual 3 x 3 convolutions
    points: int = 32
    kept: int = 32  # numbers that are told of a point beside its place

    def __post_init__(self) -> None:
        sizes = (*self.grid, self.dim, self.channels, self.points, self.kept)
        require(min(sizes) > 0 <= self.layers, f"feature points have positive sizes, got {self}")
        require(self.channels % GROUPS == 0, f"channels must be a multiple of {GROUPS}, got {self.channels}")

    @property
    def told(self) -> int:
        """F, the numbers that are told of each point: row and column, and what is there."""
        return 2 + self.kept


class FeaturePoints(nn.Module):
    """Tokens [B, N, D] to points [B, P, F]; rows and columns lie within -1 … 1."""

    def __init__(self, config: FeaturePointsConfig) -> None:
        super().__init__()
        self.config = config
        C = config.channels
        self.embed = nn.Linear(config.dim, C)
        self.norms = nn.ModuleList(nn.GroupNorm(GROUPS, C) for _ in range(config.layers))
        self.convolutions = nn.ModuleList(nn.Conv2d(C, C, 3, padding=1) for _ in range(config.layers))
        self.maps = nn.Linear(C, config.points, bias=False)  # one for all places would say nothing
        self.keep = nn.Linear(C, config.kept)

    def forward(self, tokens_BND: Tensor) -> Tensor:
        """What is told of each point."""
        return self.found(self.features(tokens_BND))

    def features(self, tokens_BND: Tensor) -> Tensor:
        """Each token beside its neighbours, [B, N, C]: what maps are made of."""
        x_BCHW = self.embed(tokens_BND).mT.unflatten(-1, self.config.grid)
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            x_BCHW = x_BCHW + F.silu(convolution(norm(x_BCHW)))
        features_BNC: Tensor = x_BCHW.flatten(2).mT
        return features_BNC

    def found(self, features_BNC: Tensor) -> Tensor:
        """What is told of each point [B, P, F] where tokens look like that."""
        is_there_BPN = self.maps(features_BNC).float().softmax(dim=1).mT
        rows, columns = (torch.linspace(-1, 1, side, device=features_BNC.device) for side in self.config.grid)
        with torch.autocast(features_BNC.device.type, enabled=False):  # bf16 would round places to half a pixel
            places_BP2 = is_there_BPN @ torch.cartesian_prod(rows, columns)
        kept_BPK = self.keep(is_there_BPN.to(features_BNC.dtype) @ features_BNC)
        return torch.cat((places_BP2, kept_BPK.float()), dim=-1)

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Draw first weights, small enough that maps begin flat."""
        draw_weights(self, generator)
        for layer in self.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                draw(layer.weight, generator, std=(3 * layer.weight[0].numel()) ** -0.5)
