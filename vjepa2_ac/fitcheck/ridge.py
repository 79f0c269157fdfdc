"""Ridge regression on all tokens of a frame, in the dual form.

With fewer frames than features the solution is a weighted sum of the frames, so only their inner products are needed:
F = N · D features may be a million, and no matrix is larger than frames by frames.

Shapes: M frames to learn from, Q frames asked about, N tokens, D latent width, K targets.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

TOKENS_AT_ONCE = 16
STRENGTHS = tuple(10.0**power for power in range(-5, 2))  # of the penalty, in units of a frame's mean square


def predict(
    train_MND: Tensor, targets_MK: Tensor, test_QND: Tensor, groups_M: Sequence[str], validation: set[str]
) -> Tensor:
    """The predicted targets [Q, K] of `test_QND`, in float64.

    Each target's penalty is the one with the least error on the groups of `validation` when the others are learned
    from; the prediction then uses all of `train_MND`.
    """
    targets_MK = targets_MK.double()
    inner_MM, inner_QM = inner_products(train_MND, test_QND)
    penalties_K = _penalties(inner_MM, targets_MK, torch.tensor([group in validation for group in groups_M]))
    mean_K = targets_MK.mean(dim=0)
    identity_MM = torch.eye(len(inner_MM), dtype=torch.float64, device=inner_MM.device)
    answers = []
    for k, penalty in enumerate(penalties_K):
        weights_M = torch.linalg.solve(inner_MM + penalty * identity_MM, targets_MK[:, k] - mean_K[k])
        answers.append(inner_QM @ weights_M + mean_K[k])
    return torch.stack(answers, dim=1)


def inner_products(train_MND: Tensor, test_QND: Tensor) -> tuple[Tensor, Tensor]:
    """The inner products [M, M] and [Q, M], in float64, of features minus their mean over the frames to learn from."""
    frames = len(train_MND)
    total = torch.zeros(frames + len(test_QND), frames, dtype=torch.float64, device=train_MND.device)
    for start in range(0, train_MND.shape[1], TOKENS_AT_ONCE):
        tokens = slice(start, start + TOKENS_AT_ONCE)
        train = train_MND[:, tokens].flatten(1).float()
        test = test_QND[:, tokens].flatten(1).float()
        centre = train.mean(dim=0)
        total += (torch.cat((train, test)) - centre) @ (train - centre).T
    return total[:frames], total[frames:]


def _penalties(inner_MM: Tensor, targets_MK: Tensor, is_validation_M: Tensor) -> list[float]:
    learn, judge = (~is_validation_M).nonzero()[:, 0], is_validation_M.nonzero()[:, 0]
    scale = float(inner_MM.diagonal().mean())
    values_L, vectors_LL = torch.linalg.eigh(inner_MM[learn][:, learn])
    mean_K = targets_MK[learn].mean(dim=0)
    turned_LK = vectors_LL.T @ (targets_MK[learn] - mean_K)
    seen_JL = inner_MM[judge][:, learn] @ vectors_LL
    errors = []
    for strength in STRENGTHS:
        guess_JK = seen_JL @ (turned_LK / (values_L.clamp(min=0) + strength * scale)[:, None]) + mean_K
        errors.append((guess_JK - targets_MK[judge]).square().mean(dim=0))
    return [STRENGTHS[int(best)] * scale for best in torch.stack(errors).argmin(dim=0)]
