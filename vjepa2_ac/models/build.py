"""Creation of models: initial weights drawn from a seed the released way, and big models without doubled memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from vjepa2_ac.models.blocks import Block, Modulation

STD = 0.02  # of every drawn matrix


class Initialisable(Protocol):
    """A model that can draw its own initial weights."""

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Overwrite every weight and fixed table."""


ConfigT = TypeVar("ConfigT")
ModelT = TypeVar("ModelT", bound=nn.Module)


def build(
    model: Callable[[ConfigT], ModelT],
    config: ConfigT,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> ModelT:
    """A freshly initialised model, made directly on its device and in its precision: its weights never exist twice.

    The same seed gives the same weights on every CPU. Code that loads weights uses `skeleton` instead.
    """
    built = skeleton(model, config, dtype=dtype).to_empty(device=device)
    cast("Initialisable", built).initialise(torch.Generator(device).manual_seed(seed))
    return built


def skeleton(model: Callable[[ConfigT], ModelT], config: ConfigT, *, dtype: torch.dtype = torch.float32) -> ModelT:
    """A model without storage (on torch's meta device), for `load_state_dict(state, strict=True, assign=True)`."""
    with torch.device("meta"):
        return model(config).to(dtype)


@torch.no_grad()
def draw_weights(model: nn.Module, generator: torch.Generator | None) -> None:
    """Draw every linear map and convolution, zero their biases and all modulation, set norms to scale 1 and shift 0."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d):
            draw(module.weight, generator)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.LayerNorm | nn.GroupNorm):
            module.weight.fill_(1.0)
            module.bias.zero_()
    for module in model.modules():
        if isinstance(module, Modulation):
            module.weight.zero_()


@torch.no_grad()
def draw(weight: Tensor, generator: torch.Generator | None, std: float = STD) -> None:
    """Fill one tensor from a normal distribution, in fp32 whatever its own precision.

    The released code truncates it at ±2, a hundred standard deviations away, which costs five times as long.
    """
    if weight.is_meta:
        return
    if weight.dtype is torch.float32:
        weight.normal_(std=std, generator=generator)
    else:
        weight.copy_(torch.empty_like(weight, dtype=torch.float32).normal_(std=std, generator=generator))


def shrink_residuals(blocks: Iterable[nn.Module], first: int = 1) -> None:
    """Divide what block i adds to its input by √(2i), so that the sum over blocks keeps its size."""
    for depth, block in enumerate(cast("Iterable[Block]", blocks), first):
        shrink(block.attn.proj, depth)
        # In a gated MLP the released code shrinks the gate's linear branch, which has this name, too.
        shrink(cast("nn.Linear", block.mlp.fc2), depth)


@torch.no_grad()
def shrink(layer: nn.Linear, depth: int) -> None:
    """Divide a linear map's weight by √(2 · depth)."""
    layer.weight.div_(math.sqrt(2 * depth))
