"""The optimiser: AdamW with the reference's parameter groups, which do not decay biases and one-dimensional weights.

Or Muon for the matrices of blocks and the convolutions of local mixing, and AdamW for everything else. Muon's step is
equally long in all directions of a matrix (Jordan et al., 2024; scaled as by Liu et al., Muon is Scalable for LLM
Training, 2025).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import AdamW, Optimizer

from vjepa2_ac.errors import ConfigError
from vjepa2_ac.models.blocks import Block, Modulation
from vjepa2_ac.models.local_mixing import LocalMixing
from vjepa2_ac.precision import is_fast_at_bf16
from vjepa2_ac.training import schedules

LARGEST_MUON_LR = 1e30  # Muon multiplies the rate by a matrix's size, in float32, which ends at 3e38


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """The optimiser and the schedules of its rates; lengths are counted in updates."""

    name: str = "adamw"  # or muon
    schedule: str = "warmup_stable_decay"  # or warmup_cosine, linear_decay
    start_lr: float = 7.5e-5
    lr: float = 4.25e-4  # the peak; for linear_decay the first value
    final_lr: float = 0.0
    warmup: int = 4_500
    anneal: int = 4_500  # of warmup_stable_decay
    stretch: float = 1.0  # cosines and linear_decay run over this many times the updates: 1.25 in the reference
    weight_decay: float = 0.04
    final_weight_decay: float | None = None  # towards which it goes by a cosine; None: it stays
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    momentum: float = 0.95  # of muon
    adamw_lr_scale: float = 1.0  # with muon: the learning rate of AdamW's weights, as a multiple of Muon's
    clip_grad: float | None = None  # norm; the reference never clips

    def __post_init__(self) -> None:
        if self.name not in ("adamw", "muon"):
            raise ConfigError(f"no optimiser {self.name!r}; there are adamw, muon")
        if not (0 <= self.momentum < 1 and self.adamw_lr_scale > 0):
            raise ConfigError(
                f"momentum lies within 0 … 1 and adamw_lr_scale above 0, got {self.momentum} and {self.adamw_lr_scale}"
            )
        if self.schedule not in ("warmup_stable_decay", "warmup_cosine", "linear_decay"):
            raise ConfigError(
                f"no schedule {self.schedule!r}; there are warmup_stable_decay, warmup_cosine, linear_decay"
            )
        rates = (self.start_lr, self.lr, self.final_lr)
        if self.name == "muon" and max(rates) * max(1.0, self.adamw_lr_scale) > LARGEST_MUON_LR:
            raise ConfigError(
                f"muon takes learning rates, and adamw_lr_scale times them, up to {LARGEST_MUON_LR:g}, got "
                f"{max(rates):g} and an adamw_lr_scale of {self.adamw_lr_scale:g}"
            )
        decays = (self.weight_decay, self._last_weight_decay)
        if min(*rates, *decays) < 0 or self.lr == 0:
            raise ConfigError("learning rates and weight decays cannot be negative, and lr must be above 0")
        if math.inf in (*rates, *decays):
            raise ConfigError("learning rates and weight decays are finite")
        if min(self.warmup, self.anneal) < 0 or not 1 <= self.stretch < math.inf:
            raise ConfigError("warmup and anneal are numbers of updates ≥ 0, stretch is finite and at least 1")
        if not all(0 <= beta < 1 for beta in self.betas) or not 0 < self.eps < math.inf:
            raise ConfigError(f"betas lie within 0 … 1 and eps is finite and above 0, got {self.betas} and {self.eps}")
        if self.clip_grad is not None and self.clip_grad <= 0:
            raise ConfigError(f"clip_grad is the largest norm allowed, above 0, or null; got {self.clip_grad}")

    def learning_rate(self, step: int, steps: int) -> float:
        """The learning rate of update `step`, counted from 1, in a run of `steps`."""
        match self.schedule:
            case "warmup_stable_decay":
                return schedules.warmup_stable_decay(
                    step,
                    warmup_steps=self.warmup,
                    anneal_steps=self.anneal,
                    total_steps=steps,
                    start=self.start_lr,
                    peak=self.lr,
                    final=self.final_lr,
                )
            case "warmup_cosine":
                return schedules.warmup_cosine(
                    step,
                    warmup_steps=self.warmup,
                    total_steps=self._stretched(steps),
                    start=self.start_lr,
                    peak=self.lr,
                    final=self.final_lr,
                )
        total = self._stretched(steps)
        return schedules.linear_decay(step, total_steps=total, first=self.lr, final=self.final_lr)

    def decay(self, step: int, steps: int) -> float:
        """The weight decay of update `step`."""
        total = self._stretched(steps)
        return schedules.cosine(step, total_steps=total, first=self.weight_decay, final=self._last_weight_decay)

    def check(self, steps: int) -> None:
        """Refuse a warmup and an anneal that do not both fit into a run of `steps` updates: the rate would jump.

        And a rate that begins or ends above its peak.
        """
        begins = self.warmup > 0 and self.schedule != "linear_decay"
        ends = self.anneal > 0 or self.schedule != "warmup_stable_decay"
        for name, rate, is_used in (("start_lr", self.start_lr, begins), ("final_lr", self.final_lr, ends)):
            if is_used and rate > self.lr:
                raise ConfigError(
                    f"lr is the highest rate of a run, and {name} is higher: {rate:g}, with an lr of {self.lr:g}; "
                    f"set optimizer.{name}, too"
                )
        if self.schedule == "warmup_stable_decay" and self.warmup + self.anneal > steps:
            raise ConfigError(
                f"a warmup of {self.warmup} and an anneal of {self.anneal} updates do not fit into {steps}; "
                "set optimizer.warmup and optimizer.anneal, too"
            )

    @property
    def _last_weight_decay(self) -> float:
        return self.weight_decay if self.final_weight_decay is None else self.final_weight_decay

    def _stretched(self, steps: int) -> int:
        """Updates until a schedule would reach its end, cut down to a whole number as the reference does."""
        return int(self.stretch * steps)


def make_optimizer(module: nn.Module, config: OptimizerConfig) -> Optimizer:
    """The optimiser of the trainable weights of `module`; `set_rates` sets its rates before every update."""
    groups = parameter_groups(module)
    if config.name == "adamw":
        return AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)
    from timm.optim import Muon  # here, because it takes seconds

    from vjepa2_ac.training.muon import Float32Muon

    hidden = _hidden_matrices(module)
    adamw = {"use_fallback": True, "lr_scale": config.adamw_lr_scale, "betas": config.betas, "eps": config.eps}
    others = [
        group | adamw | {"params": [weight for weight in group["params"] if id(weight) not in hidden]}
        for group in groups
    ]
    muon = {"params": list(hidden.values()), "momentum": config.momentum, "nesterov": True}
    device = next(module.parameters()).device
    return (Muon if is_fast_at_bf16(device) else Float32Muon)([muon, *others], lr=config.lr)


def _hidden_matrices(module: nn.Module) -> dict[int, nn.Parameter]:
    """The weights that Muon trains, by `id`: matrices of attention and MLP, and convolutions, but no modulation."""
    parts = [part for part in module.modules() if isinstance(part, Block | LocalMixing)]
    modulations = {id(part.weight) for part in module.modules() if isinstance(part, Modulation)}
    weights = [weight for part in parts for weight in part.parameters() if weight.ndim > 1 and weight.requires_grad]
    return {id(weight): weight for weight in weights if id(weight) not in modulations}


def parameter_groups(module: nn.Module) -> list[dict[str, Any]]:
    """Matrices (and mask tokens, which have three dimensions) decay; biases and one-dimensional parameters do not."""
    from timm.optim import param_groups_weight_decay  # here, because it takes seconds

    groups = param_groups_weight_decay(module, weight_decay=1.0)  # marks the group; `set_rates` writes the real one
    return [group if group["weight_decay"] else group | {"no_decay": True} for group in reversed(groups)]


def set_rates(optimizer: Optimizer, config: OptimizerConfig, step: int, steps: int) -> float:
    """Write the rates of update `step` into the optimiser; returns the learning rate."""
    lr = config.learning_rate(step, steps)
    schedules.set_rates(optimizer.param_groups, lr=lr, weight_decay=config.decay(step, steps))
    return lr
