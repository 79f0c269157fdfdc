"""Whether a sub-goal is reached: judged by progress, never by counting steps.

Two things pass a goal. Its cost is one that achieved goals have (known from pictures of goals that really were
achieved); or it has fallen well, stopped falling, and stands at its own best, which is as near as this planner gets.
A goal that does neither in time is given up, for good: looks at a robot that stands still pass it no more.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vjepa2_ac.config import require

Verdict = Literal["going", "achieved", "settled", "timed out"]
PASSED = ("achieved", "settled")


@dataclass(frozen=True, slots=True, kw_only=True)
class AchievedGoals:
    """What the cost is like where a goal has truly been achieved: no two pictures of one situation are the same."""

    mean: float
    deviation: float

    def __post_init__(self) -> None:
        for told in (self.mean, self.deviation):
            require(0 <= told < math.inf, f"costs are not negative, nor without end, got {self}")

    @classmethod
    def from_costs(cls, costs: Sequence[float]) -> AchievedGoals:
        """From the costs between final pictures of achieved goals and the goal pictures."""
        require(len(costs) >= 2, f"a distribution needs at least 2 costs, got {len(costs)}")
        return cls(mean=statistics.fmean(costs), deviation=statistics.stdev(costs))

    def limit(self, deviations: float) -> float:
        """The largest cost that still belongs to them."""
        return self.mean + deviations * self.deviation


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressConfig:
    """When a goal counts as passed, and when it is given up."""

    achieved: AchievedGoals | None = None  # not known: only settling passes a goal
    deviations: float = 1.0  # above their mean at which a cost still counts as achieved
    loose_deviations: float = 4.0  # and at which a goal may settle
    window: int = 4  # [steps] without progress after which the cost has stopped falling
    least_progress: float = 0.03  # share of the way come by which the cost must fall to count as progress
    near_best: float = 0.25  # share of that way, from the first cost to the best, within which a cost is at its best
    least_fall: float = 0.3  # share by which the cost must have fallen since the start to settle
    timeout: int = 40  # [steps] after which the goal is given up

    def __post_init__(self) -> None:
        require(self.window >= 1, f"window is at least 1 step, got {self.window}")
        require(self.timeout > self.window, f"timeout must be longer than the window of {self.window} steps")
        for name in ("deviations", "loose_deviations"):
            require(math.isfinite(getattr(self, name)), f"{name} is a number, got {getattr(self, name)}")
        for name in ("least_progress", "near_best", "least_fall"):
            require(0 <= getattr(self, name) < 1, f"{name} lies within 0…1, got {getattr(self, name)}")


class Progress:
    """The costs of one goal as the robot goes towards it."""

    def __init__(self, config: ProgressConfig) -> None:
        self.config = config
        self.first: float | None = None
        self.pursued = 0  # [steps] since the beginning, or since it was last passed
        self.best = float("inf")
        self.mark = float("inf")  # the cost at the last progress; many small steps down add up to progress too
        self.since_progress = 0  # steps
        self.verdict: Verdict = "going"  # of the last look

    def update(self, cost: float, *, may_settle: bool = True) -> Verdict:
        """What the cost of the present picture says; where it `may_settle`, that can be that it has."""
        if self.verdict == "timed out":
            return self.verdict
        self.first = cost if self.first is None else self.first
        self.best = min(self.best, cost)
        way_come = self.first - self.best
        if cost < self.mark - self.config.least_progress * way_come:
            self.mark, self.since_progress = cost, 0
        else:
            self.since_progress += 1
        self.pursued += 1
        before, self.verdict = self.verdict, self._judge(cost, self.first, may_settle=may_settle)
        if self.verdict in PASSED:
            self.pursued = 0  # lost again, it has as much time as before
        elif before in PASSED:
            self.mark, self.since_progress = cost, 0  # it is lost: what brings it back is progress, too
        return self.verdict

    def untried(self) -> None:
        """Take back that a step was made: there was no plan to follow."""
        self.pursued -= 1
        self.unmoved()

    def unmoved(self) -> None:
        """Take back that the cost did not fall: the robot stood still, so nothing tells that it leads no farther."""
        self.since_progress -= 1  # below 0 after progress: the next look sees the same again

    def _judge(self, cost: float, first: float, *, may_settle: bool) -> Verdict:
        if self._is_achieved(cost):
            return "achieved"
        if may_settle and self._has_settled(cost, first):
            return "settled"
        return "timed out" if self.pursued > self.config.timeout else "going"

    def _is_achieved(self, cost: float) -> bool:
        achieved = self.config.achieved
        return achieved is not None and cost <= achieved.limit(self.config.deviations)

    def _has_settled(self, cost: float, first: float) -> bool:
        config = self.config
        near_enough = config.achieved is None or cost <= config.achieved.limit(config.loose_deviations)
        return (
            near_enough
            and self.since_progress >= config.window
            and cost <= self.best + config.near_best * (first - self.best)
            and cost <= first * (1 - config.least_fall)
        )
