"""A plan: the moves to make, where they lead, and why one may or may not trust them.

Shapes: H steps, 7 numbers of a pose or an action.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from planner.confidence import Confidence
from planner.limits import Clipping
from planner.problem import StopReason
from vjepa2_ac.poses import Array

DT_S = 0.25  # [s] between actions: the models were trained on 4 frames a second


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """What a search found, made safe. In a dry run `actions` stand still and `wanted` holds what would be done."""

    actions_H7: Array  # to make one after the other, dt apart
    targets_H7: Array  # the absolute poses they lead to
    wanted_H7: Array  # as the search found them, before they were made safe
    cost: float
    idle_cost: float  # of doing nothing
    trace: tuple[float, ...]  # the best cost known after each iteration, before a gripper option is chosen
    confidence: Confidence
    failure_probability: float | None = None  # that the plan's episode fails; None: no fitted model can tell
    stop_reason: StopReason
    seed: int
    iterations: int
    evaluations: int
    gripper_costs: dict[str, float] = field(default_factory=dict)
    clipped: tuple[Clipping, ...] = ()
    warnings: tuple[str, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)  # [ms] by stage
    dry_run: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists, ready for JSON."""
        content: dict[str, Any] = {}
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            name = entry.name.removesuffix("_H7")
            content[name] = value.tolist() if isinstance(value, np.ndarray) else value
        content["trace"], content["warnings"] = list(self.trace), list(self.warnings)
        content["confidence"] = dataclasses.asdict(self.confidence)
        content["clipped"] = [dataclasses.asdict(clipping) for clipping in self.clipped]
        return content
