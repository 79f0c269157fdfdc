"""The read-out by feature points: it learns what to look for, finds where that is, and reads what is seen there.

It is the best of the three. A hand looks the same wherever it is, which a network that treats each place separately
must learn place by place; and since the camera is fixed, a place in the picture is nearly a place in the world.

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
    """A network from tokens in a grid (rows, columns) to `numbers` numbers."""

    def __init__(self, grid: tuple[int, int], width: int, numbers: int) -> None:
        super().__init__()
        config = FeaturePointsConfig(grid=grid, dim=width)
        self.points = FeaturePoints(config)
        self.think = nn.Linear(config.points * config.numbers_per_point, WIDTH)
        self.say = nn.Linear(WIDTH, numbers)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the initial weights."""
        self.points.initialise(generator)
        for layer in (self.think, self.say):
            draw(layer.weight, generator, std=(3 * layer.in_features) ** -0.5)
            nn.init.zeros_(layer.bias)

    def forward(self, latents_BND: Tensor) -> Tensor:
        """The targets [B, K]."""
        answers_BK: Tensor = self.say(F.gelu(self.think(self.points(latents_BND).flatten(1))))
        return answers_BK
