"""The attentive read-out: one learned query per quantity attends to the tokens of a frame.

Each token gets a learned position, because a rotary encoder need not write positions into its latents, and a read-out
should not have to infer them.

Shapes: B frames, Q queries, N tokens, D latent width, W the read-out's, K targets.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vjepa2_ac.fitcheck.learning import ReadOutNetwork
from vjepa2_ac.models.pooler import AttentivePooler, AttentivePoolerConfig

WIDTH, HEADS = 128, 4


class AttentiveReadOut(ReadOutNetwork):
    """A network from tokens to numbers, with one query for each of `quantities`, given by their widths."""

    def __init__(self, tokens: int, width: int, quantities: list[int]) -> None:
        super().__init__()
        self.embed = nn.Linear(width, WIDTH)
        self.positions_1NW = nn.Parameter(torch.zeros(1, tokens, WIDTH))
        self.pooler = AttentivePooler(
            AttentivePoolerConfig(embed_dim=WIDTH, num_heads=HEADS, num_queries=len(quantities), mlp_ratio=2.0)
        )
        self.heads = nn.ModuleList(nn.Linear(WIDTH, numbers) for numbers in quantities)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the initial weights."""
        for layer in (self.embed, *self.heads):
            assert isinstance(layer, nn.Linear)
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5, generator=generator)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.positions_1NW, std=0.5, generator=generator)
        self.pooler.initialise(generator)
        nn.init.normal_(self.pooler.query_tokens, std=0.5, generator=generator)

    def forward(self, latents_BND: Tensor) -> Tensor:
        """The targets [B, K]."""
        answers_BQW = self.pooler(self.embed(latents_BND) + self.positions_1NW)
        return torch.cat([head(answers_BQW[:, place]) for place, head in enumerate(self.heads)], dim=-1)
