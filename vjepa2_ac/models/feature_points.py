"""Feature points: for each of some learned things, where it is in a frame and what is seen there.

Convolutions over the grid of tokens make a map of each thing, so what is learned of it at one place holds at all. The
softmax of a map over all places gives the thing's expected place, more finely than a token, and the mean of the
features there (Finn et al., Deep Spatial Autoencoders for Visuomotor Learning, 2016, section IV).

Legend: B frames, N tokens of a grid H x W, D width of a token, C channels, P points, K features kept of each point, F
all numbers of a point (its place and K features).
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
    """Shape of the network that finds feature points."""

    grid: tuple[int, int]  # rows and columns of a frame's tokens, which come row by row
    dim: int  # of a token
    channels: int = 96
    layers: int = 4  # of residual 3 x 3 convolutions
    points: int = 32
    kept: int = 32  # K, the features of a point beside its place

    def __post_init__(self) -> None:
        sizes = (*self.grid, self.dim, self.channels, self.points, self.kept)
        require(min(sizes) > 0 <= self.layers, f"feature points have positive sizes, got {self}")
        require(self.channels % GROUPS == 0, f"channels must be a multiple of {GROUPS}, got {self.channels}")

    @property
    def numbers_per_point(self) -> int:
        """F, the numbers of each point: row, column, and the features kept."""
        return 2 + self.kept


class FeaturePoints(nn.Module):
    """Finds the points [B, P, F] in tokens [B, N, D]; rows and columns lie within -1 … 1."""

    def __init__(self, config: FeaturePointsConfig) -> None:
        super().__init__()
        self.config = config
        C = config.channels
        self.embed = nn.Linear(config.dim, C)
        self.norms = nn.ModuleList(nn.GroupNorm(GROUPS, C) for _ in range(config.layers))
        self.convolutions = nn.ModuleList(nn.Conv2d(C, C, 3, padding=1) for _ in range(config.layers))
        self.maps = nn.Linear(C, config.points, bias=False)  # the softmax would cancel it
        self.keep = nn.Linear(C, config.kept)

    def forward(self, tokens_BND: Tensor) -> Tensor:
        """The points [B, P, F]."""
        return self.find_points(self.features(tokens_BND))

    def features(self, tokens_BND: Tensor) -> Tensor:
        """The features [B, N, C] of each token among its neighbours, from which the maps are made."""
        x_BCHW = self.embed(tokens_BND).mT.unflatten(-1, self.config.grid)
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            x_BCHW = x_BCHW + F.silu(convolution(norm(x_BCHW)))
        features_BNC: Tensor = x_BCHW.flatten(2).mT
        return features_BNC

    def find_points(self, features_BNC: Tensor) -> Tensor:
        """The points [B, P, F] in frames whose tokens have these features."""
        is_there_BPN = self.maps(features_BNC).float().softmax(dim=1).mT
        rows, columns = (torch.linspace(-1, 1, side, device=features_BNC.device) for side in self.config.grid)
        with torch.autocast(features_BNC.device.type, enabled=False):  # bf16 would round places to half a pixel
            places_BP2 = is_there_BPN @ torch.cartesian_prod(rows, columns)
        kept_BPK = self.keep(is_there_BPN.to(features_BNC.dtype) @ features_BNC)
        return torch.cat((places_BP2, kept_BPK.float()), dim=-1)

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Draw initial weights, small enough that maps begin flat."""
        draw_weights(self, generator)
        for layer in self.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                draw(layer.weight, generator, std=(3 * layer.weight[0].numel()) ** -0.5)
