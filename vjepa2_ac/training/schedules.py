"""Learning rate, weight decay and momentum as plain functions of the update's number.

Updates are counted from 1, as in the released training code: the first update already uses the value at step 1. A
function of the step has no state, so a resumed run needs nothing but its step to go on exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any


def warmup_stable_decay(
    step: int, *, warmup_steps: int, anneal_steps: int, total_steps: int, start: float, peak: float, final: float
) -> float:
    """Linear from `start` to `peak`, constant, then linear to `final` over the last `anneal_steps`.

    The schedule of the released action-conditioned post-training (V-JEPA 2, section 3 and appendix).
    """
    if step < warmup_steps:
        return _linear(start, peak, step / max(1, warmup_steps))
    annealing_from = total_steps - anneal_steps
    if step < annealing_from:
        return peak
    return _linear(peak, final, (step - annealing_from) / max(1, anneal_steps))


def warmup_cosine(step: int, *, warmup_steps: int, total_steps: int, start: float, peak: float, final: float) -> float:
    """Linear from `start` to `peak`, then half a cosine to `final`; past `total_steps` the cosine turns up again."""
    if step < warmup_steps:
        return _linear(start, peak, step / max(1, warmup_steps))
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return max(final, _half_cosine(peak, final, progress))


def cosine(step: int, *, total_steps: int, first: float, final: float) -> float:
    """Half a cosine from `first` to `final`, never past `final`: the released weight-decay schedule."""
    value = _half_cosine(first, final, step / total_steps)
    return max(final, value) if final <= first else min(final, value)


def linear_decay(step: int, *, total_steps: int, first: float, final: float) -> float:
    """A straight line from `first` to `final`: the released cooldown."""
    return _linear(first, final, step / total_steps)


def ema_momentum(step: int, *, total_steps: float, first: float, final: float) -> float:
    """The momentum of the target encoder when `step` updates are done (from 0 on), linear over `total_steps`."""
    return first + step * (final - first) / total_steps


def context_weight(step: int, *, full: float, ramp_from: int = 15_000, ramp_to: int = 30_000) -> float:
    """The weight of V-JEPA 2.1's context loss: 0, then linear between two updates, then `full`."""
    return _linear(0.0, full, min(1.0, max(0.0, (step - ramp_from) / (ramp_to - ramp_from))))


def set_rates(groups: Iterable[dict[str, Any]], *, lr: float | None = None, weight_decay: float | None = None) -> None:
    """Write the rates of this update into an optimiser's parameter groups.

    A group's `lr_scale` multiplies its learning rate; a group marked `no_decay` keeps its weight decay.
    """
    for group in groups:
        if lr is not None:
            group["lr"] = lr * group.get("lr_scale", 1.0)
        if weight_decay is not None and not group.get("no_decay", False):
            group["weight_decay"] = weight_decay


def _linear(first: float, last: float, progress: float) -> float:
    return first + progress * (last - first)


def _half_cosine(first: float, last: float, progress: float) -> float:
    return last + (first - last) * 0.5 * (1.0 + math.cos(math.pi * progress))
