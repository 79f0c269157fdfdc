"""A copy gate: each patch of the next frame may stay as it was.

From one step to the next, most patches of a robot's picture do not change, but a transformer that has to carry each of
them through all its blocks predicts a little change even there. With a gate, it also predicts how much of a patch is
new (highway networks: Srivastava et al., 2015; masks that compose a predicted picture with the one before: Finn et al.,
Unsupervised Learning for Physical Interaction, 2016). Ours, not V-JEPA 2's.

Legend: B batch, N patches of all steps, W predictor width, D encoder width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

OPEN = 3.0  # logit of an untrained gate for every patch: its sigmoid, 95 %, is new


class CopyGate(nn.Module):
    """Mixes every predicted patch with the patch as it was, by a share read from the predictor's tokens.

    For latents that are normalised token by token, as the released predictor's are. It starts open, where it changes
    little; so it can also be added to trained weights.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.share = nn.Linear(dim, 1)

    def forward(self, tokens_BNW: Tensor, predicted_BND: Tensor, before_BND: Tensor) -> Tensor:
        """Latents [B, N, D] in float32, each between `before_BND` and `predicted_BND`, which is normalised first."""
        share_BN1 = torch.sigmoid(self.share(tokens_BNW).float())
        new_BND = F.layer_norm(predicted_BND.float(), predicted_BND.shape[-1:])
        return torch.lerp(before_BND.float(), new_BND, share_BN1)

    @torch.no_grad()
    def open(self) -> None:
        """Set the gate to call every patch new, by the share that `OPEN` gives."""
        self.share.weight.zero_()
        self.share.bias.fill_(OPEN)
