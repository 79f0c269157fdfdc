"""The attentive read-out: one learned query per quantity looks where it likes among a frame's tokens.

Tokens are told apart by a learned position each, because a rotary encoder need not write positions into its latents and
it is not the read-out's part to find them out.

Shapes: M frames to learn from, B a batch, Q frames asked about, N tokens, D latent width, W the read-out's, K targets.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vjepa2_ac.models.pooler import AttentivePooler, AttentivePoolerConfig

WIDTH, HEADS = 128, 4
BATCH = 64
RATE, DECAY = 2e-3, 0.05


class AttentiveReadOut(nn.Module):
    """Tokens to numbers; each of the quantities (so many numbers wide) has a query of its own."""

    def __init__(self, tokens: int, width: int, quantities: list[int]) -> None:
        super().__init__()
        self.embed = nn.Linear(width, WIDTH)
        self.positions_1NW = nn.Parameter(torch.zeros(1, tokens, WIDTH))
        self.pooler = AttentivePooler(
            AttentivePoolerConfig(embed_dim=WIDTH, num_heads=HEADS, num_queries=len(quantities), mlp_ratio=2.0)
        )
        self.heads = nn.ModuleList(nn.Linear(WIDTH, numbers) for numbers in quantities)

    def initialise(self, generator: torch.Generator) -> None:
        """First weights from a seed."""
        for layer in (self.embed, *self.heads):
            assert isinstance(layer, nn.Linear)
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5, generator=generator)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.positions_1NW, std=0.5, generator=generator)
        self.pooler.initialise(generator)
        nn.init.normal_(self.pooler.query_tokens, std=0.5, generator=generator)

    def forward(self, latents_BND: Tensor) -> Tensor:
        """[B, K]."""
        answers_BQW = self.pooler(self.embed(latents_BND) + self.positions_1NW)
        return torch.cat([head(answers_BQW[:, place]) for place, head in enumerate(self.heads)], dim=-1)


def learn(known_MND: Tensor, targets_MK: Tensor, quantities: list[int], *, steps: int, seed: int) -> AttentiveReadOut:
    """A read-out trained on `known_MND`, on its device; `targets_MK` must have mean 0 and deviation 1."""
    generator = torch.Generator().manual_seed(seed)
    readout = AttentiveReadOut(known_MND.shape[1], known_MND.shape[2], quantities)
    readout.initialise(generator)
    readout.to(known_MND.device)
    optimizer = torch.optim.AdamW(readout.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=RATE, total_steps=steps)
    targets_MK = targets_MK.float().to(known_MND.device)
    for _ in range(steps):
        drawn_B = torch.randint(len(known_MND), (BATCH,), generator=generator).to(known_MND.device)
        loss = F.smooth_l1_loss(readout(known_MND[drawn_B].float()), targets_MK[drawn_B], beta=0.1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types here
        optimizer.step()
        schedule.step()
    return readout.eval()


@torch.no_grad()
def read(readout: AttentiveReadOut, asked_QND: Tensor) -> Tensor:
    """What a read-out says of frames, [Q, K]."""
    return torch.cat([readout(piece.float()) for piece in torch.split(asked_QND, 4 * BATCH)])
