"""Local mixing: a 3 × 3 convolution mixes each patch of a frame with the eight around it, before attention sees all.

What a convolution learns at one place holds at all. So it need not be learned place by place that a thing moves over
from the next patch. Ours, not V-JEPA 2's (convolutions between blocks of a transformer: Wu et al., CvT, 2021).

Legend: B batch, N tokens, D width, T time steps, S tokens of a step, P its patches, H, W rows and columns of them,
F frames (B · T).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LocalMixing(nn.Module):
    """Adds to every patch a 3 × 3 convolution of the normalised patches of its frame; other tokens stay as they are.

    It starts at zero, where it changes nothing; so it can also be added to trained weights.
    """

    def __init__(self, dim: int, grid: tuple[int, int], conditioning: int, *, norm_eps: float) -> None:
        super().__init__()
        self.grid, self.conditioning = grid, conditioning
        self.norm = nn.LayerNorm(dim, eps=norm_eps)
        self.convolution = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, x_BND: Tensor) -> Tensor:
        """Tokens [B, N, D], each step as conditioning tokens and patches row by row, to [B, N, D]."""
        patches = self.grid[0] * self.grid[1]
        x_BTSD = torch.unflatten(x_BND, 1, (-1, self.conditioning + patches))
        patches_BTPD = x_BTSD[:, :, self.conditioning :]
        maps_FDHW = torch.unflatten(self.norm(patches_BTPD).flatten(0, 1).mT, -1, self.grid)
        heard_BTPD = torch.unflatten(self.convolution(maps_FDHW).flatten(2).mT, 0, x_BTSD.shape[:2])
        return torch.cat((x_BTSD[:, :, : self.conditioning], patches_BTPD + heard_BTPD), dim=2).flatten(1, 2)

    @torch.no_grad()
    def silence(self) -> None:
        """Set the convolution to zero, so that mixing changes nothing."""
        self.convolution.weight.zero_()
        if self.convolution.bias is not None:
            self.convolution.bias.zero_()
