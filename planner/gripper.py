"""The gripper's choice, made apart from the motion.

Few samples of a plain search hit both the right motion and the right gripper, and its costs are nearly flat in the
gripper until the hand is there. So each thing the gripper can do (keep, open, close) gets a search of its own over the
motion, all in one batch and with the same draws, and the best of their answers wins. A gate may hold the gripper while
there is still way to go: it changes only once the best plan that keeps it hardly moves, which is what stops a hand
from closing early and from opening in transit.

Shapes: H steps of the horizon, G options.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vjepa2_ac.config import require

SAME = 0.05  # closing or opening by less than this is keeping


@dataclass(frozen=True, slots=True, kw_only=True)
class GripperConfig:
    """How the gripper is decided.

    `sampled`: searched like any other number, as published. `branches`: one search for each option. `held`: never.
    """

    mode: Literal["sampled", "branches", "held"] = "branches"
    limit: float = 0.75  # largest change of closedness in one step
    deadband: float = 0.25  # sampled: smaller changes count as none
    margin: float = 0.0  # branches: how much cheaper, as a share, a change must be than keeping
    gate: float | None = None  # [m] branches: no change while the plan that keeps the gripper moves at least this far

    def __post_init__(self) -> None:
        require(0 < self.limit <= 1, f"gripper.limit lies within 0…1, got {self.limit}")
        require(0 <= self.deadband < self.limit, f"gripper.deadband lies within 0…limit, got {self.deadband}")
        require(0 <= self.margin < 1, f"gripper.margin lies within 0…1, got {self.margin}")
        require(self.gate is None or self.gate > 0, f"gripper.gate is a length in metres, got {self.gate}")
        require(self.gate is None or self.mode == "branches", "gripper.gate needs gripper.mode = branches")


@dataclass(frozen=True, slots=True)
class Option:
    """One thing the gripper can do, as its changes of closedness in each step."""

    name: str
    changes_H: tuple[float, ...]


def options(config: GripperConfig, closedness: float, horizon: int) -> tuple[Option, ...]:
    """What a gripper that is `closedness` closed can do; keeping comes first, and what would change nothing is out."""
    keep = Option("keep", (0.0,) * horizon)
    if config.mode != "branches":
        return (keep,)
    ends = [(name, end) for name, end in (("open", 0.0), ("close", 1.0)) if abs(end - closedness) >= SAME]
    return (keep, *(Option(name, _towards(end, closedness, config.limit, horizon)) for name, end in ends))


def choose(config: GripperConfig, costs_G: Sequence[float], keeping_moves: float) -> int:
    """The option to take, given the best cost of each and how far [m] the best plan of the first one, keep, moves."""
    best = min(range(len(costs_G)), key=lambda option: costs_G[option])
    keep = costs_G[0]
    if best == 0 or not math.isfinite(keep):
        return best
    if config.gate is not None and keeping_moves >= config.gate:
        return 0
    return best if costs_G[best] < keep * (1 - config.margin) else 0


def _towards(end: float, closedness: float, limit: float, horizon: int) -> tuple[float, ...]:
    changes = []
    for _ in range(horizon):
        change = max(-limit, min(limit, end - closedness))
        closedness += change
        changes.append(change)
    return tuple(changes)
