"""The training losses: how far predicted latents are from those of an encoder that gets no gradient.

Legend: B batch · T frames of a clip · S = T - 1 actions · N tokens of a clip · K tokens of a mask · D latent width ·
A pose or action numbers · E extrinsic numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from vjepa2_ac.training.masks import Masks


class Predicts(Protocol):
    """An action-conditioned predictor: after each frame of a clip, the latents of the next."""

    def __call__(
        self, latents_BND: Tensor, actions_BTA: Tensor, poses_BTA: Tensor, extrinsics_BTE: Tensor | None = None, /
    ) -> Tensor:
        """Latents [B, N, D], shifted by one frame."""


class ActionConditionedLoss(NamedTuple):
    """The two losses of V-JEPA 2-AC and the predicted latents behind them."""

    teacher_forcing: Tensor
    rollout: Tensor
    forced_BND: Tensor  # frames 1 … T-1, each from true frames before it
    imagined_BND: Tensor  # frames 1 … steps, from frame 0 and the imagined ones

    @property
    def total(self) -> Tensor:
        """The sum of both, with equal weight as in the paper."""
        return self.teacher_forcing + self.rollout


def action_conditioned_loss(
    predictor: Predicts,
    latents_BND: Tensor,
    actions_BSA: Tensor,
    poses_BTA: Tensor,
    extrinsics_BTE: Tensor | None = None,
    *,
    rollout_steps: int = 2,
    exponent: float = 1.0,
    normalize: bool = True,
) -> ActionConditionedLoss:
    """Teacher forcing over the clip, and a rollout from its first frame (V-JEPA 2, equations 2 and 3).

    `latents_BND` are the targets, already normalised. The rollout is fed the first frame, its own predictions and
    the true poses; gradients flow through all of it. It has `rollout_steps` steps, fewer where the clip is shorter.
    """
    frames = poses_BTA.shape[1]
    tokens = latents_BND.shape[1] // frames
    extrinsics = _first(extrinsics_BTE, frames - 1)
    forced_BND = predictor(latents_BND[:, :-tokens], actions_BSA, poses_BTA[:, :-1], extrinsics)
    if normalize:
        forced_BND = normalized(forced_BND)

    imagined_BND = forced_BND[:, :tokens]
    for steps in range(2, min(rollout_steps, frames - 1) + 1):
        history_BND = torch.cat((latents_BND[:, :tokens], imagined_BND), dim=1)
        extrinsics = _first(extrinsics_BTE, steps)
        next_BKD = predictor(history_BND, actions_BSA[:, :steps], poses_BTA[:, :steps], extrinsics)[:, -tokens:]
        imagined_BND = torch.cat((imagined_BND, normalized(next_BKD) if normalize else next_BKD), dim=1)

    return ActionConditionedLoss(
        gap(forced_BND, latents_BND[:, tokens:], exponent),
        gap(imagined_BND, latents_BND[:, tokens : tokens + imagined_BND.shape[1]], exponent),
        forced_BND,
        imagined_BND,
    )


def contrast_loss(imagined_BND: Tensor, latents_BND: Tensor) -> Tensor:
    """The mean squared error of the imagined difference between the two windows of each pair.

    Windows 2i and 2i + 1 left the same state. What they share, most of the picture, cancels in the difference and
    leaves the effect of the commands: a few tokens, which count for little in the L1 distance of whole frames. This
    loss is ours, not the paper's.
    """
    return (_within_pairs(imagined_BND) - _within_pairs(latents_BND)).square().mean()


def _within_pairs(latents_BND: Tensor) -> Tensor:
    """The second window of each pair minus the first, [B / 2, N, D]."""
    return latents_BND[1::2].float() - latents_BND[::2].float()


def masked_prediction_loss(
    predicted: Sequence[Tensor], targets_BND: Tensor, masks: Sequence[Masks], exponent: float = 1.0
) -> Tensor:
    """V-JEPA 2's pretraining loss (equation 1): predictions [B, K, D] for each mask against normalised targets."""
    gaps = [
        gap(z_BKD, tokens_at(targets_BND, mask.target_BK), exponent)
        for z_BKD, mask in zip(predicted, masks, strict=True)
    ]
    return torch.stack(gaps).mean()


def context_loss(
    predicted: Sequence[Tensor],
    targets_BND: Tensor,
    masks: Sequence[Masks],
    exponent: float = 1.0,
    grid_HW: tuple[int, int] | None = None,
    distance_divisor: int = 1,
) -> Tensor:
    """V-JEPA 2.1's loss on the visible tokens; with a grid, those near the masked ones weigh more."""
    gaps = []
    for z_BKD, mask in zip(predicted, masks, strict=True):
        weight_BK1 = None
        if grid_HW is not None:
            weight_BK1 = 1.0 / distance_to_masked(mask, grid_HW, distance_divisor).unsqueeze(-1)
        gaps.append(gap(z_BKD, tokens_at(targets_BND, mask.context_BK), exponent, weight_BK1))
    return torch.stack(gaps).mean()


def distance_to_masked(mask: Masks, grid_HW: tuple[int, int], divisor: int = 1) -> Tensor:
    """The root of each visible token's distance [B, K] to the nearest masked one, in (time, row, column) tokens."""
    nearest_BK = torch.cdist(_positions(mask.context_BK, grid_HW), _positions(mask.target_BK, grid_HW)).amin(dim=-1)
    return (nearest_BK / divisor).sqrt()


def gap(predicted: Tensor, target: Tensor, exponent: float = 1.0, weight: Tensor | None = None) -> Tensor:
    """mean(|predicted - target|^e) / e; the L1 distance for e = 1."""
    error = (predicted.float() - target.float()).abs()
    if exponent != 1.0:
        error = error**exponent / exponent
    return (error if weight is None else error * weight).mean()


def normalized(latents_BND: Tensor, levels: int = 1) -> Tensor:
    """Layer norm without affine, over each of `levels` equal parts of the width (V-JEPA 2.1 stacks four)."""
    parts_BNLD = torch.unflatten(latents_BND.float(), -1, (levels, -1))  # float32 whatever the model computes in
    return F.layer_norm(parts_BNLD, parts_BNLD.shape[-1:]).flatten(-2)


def tokens_at(latents_BND: Tensor, ids_BK: Tensor) -> Tensor:
    """The tokens [B, K, D] with these ids in each sample."""
    return latents_BND.gather(1, ids_BK.unsqueeze(-1).expand(-1, -1, latents_BND.shape[-1]))


def _positions(ids_BK: Tensor, grid_HW: tuple[int, int]) -> Tensor:
    height, width = grid_HW
    return torch.stack((ids_BK // (height * width), ids_BK // width % height, ids_BK % width), dim=-1).float()


def _first(extrinsics_BTE: Tensor | None, steps: int) -> Tensor | None:
    return None if extrinsics_BTE is None else extrinsics_BTE[:, :steps]
