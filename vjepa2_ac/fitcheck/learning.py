"""Training of a read-out's network: AdamW, one cycle of the learning rate, and a smooth L1 loss.

Noise on the latents keeps a network from memorising scenes.

Shapes: M frames to learn from, B a batch, Q frames asked about, N tokens, D latent width, K targets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMOOTH_L1_BETA = 0.1  # [standard deviations of the target] error beyond which the loss grows linearly
LARGEST_GRADIENT = 1.0
ASKED_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class LearningConfig:
    """The settings of one training: its length, batches, rate and regularisation."""

    steps: int
    batch: int
    rate: float
    decay: float = 0.05
    noise: float = 0.0  # added in training, as a share of the standard deviation of the latents
    seed: int = 0


class ReadOutNetwork(nn.Module):
    """A network from latents [B, N, D] to numbers [B, K]."""

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the initial weights."""
        raise NotImplementedError


def learn(
    network: ReadOutNetwork,
    train_MND: Tensor,
    targets_MK: Tensor,
    config: LearningConfig,
    device: torch.device | str = "cpu",
) -> ReadOutNetwork:
    """The network, trained on `device`; `targets_MK` must have mean 0 and standard deviation 1.

    Latents may lie on any device. Where they are bf16, the network computes in bf16 too: they come from a machine that
    is fast at it.
    """
    generator = torch.Generator().manual_seed(config.seed)
    network.initialise(generator)
    network.to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.rate, weight_decay=config.decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate_at(step / config.steps))
    targets_MK = targets_MK.float().to(device)
    for _ in range(config.steps):
        drawn_B = torch.randint(len(train_MND), (config.batch,), generator=generator)
        answers_BK = _answers(network, _noisy(train_MND[drawn_B], config.noise, generator).to(device))
        loss = F.smooth_l1_loss(answers_BK, targets_MK[drawn_B.to(device)], beta=SMOOTH_L1_BETA)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types here
        nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
        optimizer.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def read(network: ReadOutNetwork, asked_QND: Tensor) -> Tensor:
    """The answers [Q, K] of a trained network about frames."""
    return torch.cat([_answers(network, piece) for piece in torch.split(asked_QND, ASKED_AT_ONCE)])


def _noisy(latents_BND: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    if noise == 0:
        return latents_BND
    return latents_BND + noise * latents_BND.std() * torch.randn(latents_BND.shape, generator=generator).to(latents_BND)


def _rate_at(progress: float) -> float:
    """The factor on the learning rate: it rises over the first tenth, then falls to 0 along a cosine."""
    return min(1.0, 10 * progress + 0.01) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def _answers(network: ReadOutNetwork, latents_BND: Tensor) -> Tensor:
    is_bf16 = latents_BND.dtype == torch.bfloat16
    with torch.autocast(latents_BND.device.type, torch.bfloat16, enabled=is_bf16):
        answers_BK: Tensor = network(latents_BND)
    return answers_BK.float()
