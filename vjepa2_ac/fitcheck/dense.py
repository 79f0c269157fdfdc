"""The dense read-out: every token, made small, in its place; then a network that sees them all at once.

Nothing is averaged over tokens, so a position is read as finely as the tokens hold it. It needs many scenes to learn
from, and with them reads best: a fixed camera means that a place in the picture is a place in the world, nearly.

Shapes: B frames, N tokens, D latent width, K targets.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vjepa2_ac.fitcheck.learning import ReadOutNetwork

LOOK, KEPT = 64, 32  # numbers made of a token on the way, and kept of it
WIDTH = 512


class DenseReadOut(ReadOutNetwork):
    """Tokens to so many numbers."""

    def __init__(self, tokens: int, width: int, numbers: int) -> None:
        super().__init__()
        self.look = nn.Linear(width, LOOK)
        self.keep = nn.Linear(LOOK, KEPT)
        self.gather = nn.Linear(tokens * KEPT, WIDTH)
        self.think = nn.Linear(WIDTH, WIDTH)
        self.say = nn.Linear(WIDTH, numbers)

    def initialise(self, generator: torch.Generator) -> None:
        """First weights from a seed."""
        for layer in (self.look, self.keep, self.gather, self.think, self.say):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5, generator=generator)
            nn.init.zeros_(layer.bias)

    def forward(self, latents_BND: Tensor) -> Tensor:
        """[B, K]."""
        all_BW = F.gelu(self.gather(self.keep(F.gelu(self.look(latents_BND))).flatten(1)))
        answers_BK: Tensor = self.say(F.gelu(self.think(all_BW)))
        return answers_BK
