"""AdamW with the parameter groups of the reference: no weight decay on biases and one-dimensional parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import AdamW

from vjepa2_ac.errors import ConfigError
from vjepa2_ac.training import schedules


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """AdamW and how its rates run over the updates; lengths are counted in updates."""

    schedule: str = "warmup_stable_decay"  # or warmup_cosine, linear_decay
    start_lr: float = 7.5e-5
    lr: float = 4.25e-4  # the peak; for linear_decay where it begins
    final_lr: float = 0.0
    warmup: int = 4_500
    anneal: int = 4_500  # of warmup_stable_decay
    stretch: float = 1.0  # cosines and linear_decay run over so many times the updates: 1.25 in the reference
    weight_decay: float = 0.04
    final_weight_decay: float = 0.04
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    clip_grad: float | None = None  # norm; the reference never clips

    def __post_init__(self) -> None:
        if self.schedule not in ("warmup_stable_decay", "warmup_cosine", "linear_decay"):
            raise ConfigError(
                f"no schedule {self.schedule!r}; there are warmup_stable_decay, warmup_cosine, linear_decay"
            )
        if min(self.start_lr, self.lr, self.final_lr, self.weight_decay, self.final_weight_decay) < 0 or self.lr == 0:
            raise ConfigError("learning rates and weight decays cannot be negative, and lr must be above 0")
        if min(self.warmup, self.anneal) < 0 or self.stretch < 1:
            raise ConfigError("warmup and anneal are numbers of updates ≥ 0, stretch is at least 1")
        if not all(0 <= beta < 1 for beta in self.betas) or self.eps <= 0:
            raise ConfigError(f"betas lie within 0 … 1 and eps above 0, got {self.betas} and {self.eps}")
        if self.clip_grad is not None and self.clip_grad <= 0:
            raise ConfigError(f"clip_grad is the largest norm allowed, above 0, or null; got {self.clip_grad}")

    def learning_rate(self, step: int, steps: int) -> float:
        """Of update `step`, counted from 1, of `steps`."""
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
        return schedules.cosine(step, total_steps=total, first=self.weight_decay, final=self.final_weight_decay)

    def check(self, steps: int) -> None:
        """Refuse a rise and a fall that do not both fit into a run of `steps` updates: the rate would jump."""
        if self.schedule == "warmup_stable_decay" and self.warmup + self.anneal > steps:
            raise ConfigError(
                f"a warmup of {self.warmup} and an anneal of {self.anneal} updates do not fit into {steps}; "
                "set optimizer.warmup and optimizer.anneal, too"
            )

    def _stretched(self, steps: int) -> int:
        """Updates until a schedule would reach its end, cut down to a whole number as the reference does."""
        return int(self.stretch * steps)


def make_optimizer(module: nn.Module, config: OptimizerConfig) -> AdamW:
    """AdamW over what `module` trains; its rates are set before every update by `set_rates`."""
    return AdamW(parameter_groups(module), lr=config.lr, betas=config.betas, eps=config.eps, fused=True)


def parameter_groups(module: nn.Module) -> list[dict[str, Any]]:
    """Matrices (and mask tokens, which have three dimensions) decay; biases and one-dimensional parameters do not."""
    from timm.optim import param_groups_weight_decay  # here, because it takes seconds

    groups = param_groups_weight_decay(module, weight_decay=1.0)  # of which `set_rates` makes each update's
    return [group if group["weight_decay"] else group | {"no_decay": True} for group in reversed(groups)]


def set_rates(optimizer: AdamW, config: OptimizerConfig, step: int, steps: int) -> float:
    """Write the rates of update `step` into the optimiser; the learning rate comes back."""
    lr = config.learning_rate(step, steps)
    schedules.set_rates(optimizer.param_groups, lr=lr, weight_decay=config.decay(step, steps))
    return lr
