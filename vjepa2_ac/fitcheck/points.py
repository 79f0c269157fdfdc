"""The read-out by feature points: where things are that it has learned to look for, and what is seen there.

It reads best of the three. What a hand looks like is the same wherever it is, which a network that sees each place for
itself must learn place by place; and a place in the picture is a place in the world, nearly, since the camera is fixed.

Shapes: B frames, N tokens, D latent width, K targets.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vjepa2_ac.fitcheck.learning import ReadOutNetwork
from vjepa2_ac.models.build import draw
from vjepa2_ac.models.feature_points import FeaturePoints, FeaturePointsConfig

WIDTH = 512


class PointsReadOut(ReadOutNetwork):
    """Tokens in a grid (rows, columns) to so many numbers."""

    def __init__(self, grid: tuple[int, int], width: int, numbers: int) -> None:
        super().__init__()
        config = FeaturePointsConfig(grid=grid, dim=width)
        self.points = FeaturePoints(config)
        self.think = nn.Linear(config.points * config.told, WIDTH)
        self.say = nn.Linear(WIDTH, numbers)

    def initialise(self, generator: torch.Generator) -> None:
        """First weights from a seed."""
        self.points.initialise(generator)
        for layer in (self.think, self.say):
            draw(layer.weight, generator, std=(3 * layer.in_features) ** -0.5)
            nn.init.zeros_(layer.bias)

    def forward(self, latents_BND: Tensor) -> Tensor:
        """[B, K]."""
        answers_BK: Tensor = self.say(F.gelu(self.think(self.points(latents_BND).flatten(1))))
        return answers_BK
