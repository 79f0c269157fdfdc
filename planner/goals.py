"""Whether a sub-goal is reached: judged by the progress of its cost, never by counting steps.

A goal is passed in one of two ways. Its cost is one that achieved goals have (known from pictures of goals that really
were achieved); or its cost has fallen far enough, has stopped falling and is at its own best, which is as near as this
planner gets. A goal that does neither in time is given up for good, whatever is seen of the standing robot later.
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
    """The distribution of costs where a goal was really achieved: no two pictures of one situation are the same."""

    mean: float
    deviation: float

    def __post_init__(self) -> None:
        for told in (self.mean, self.deviation):
            require(0 <= told < math.inf, f"costs are not negative, nor without end, got {self}")

    @classmethod
    def from_costs(cls, costs: Sequence[float]) -> AchievedGoals:
        """The distribution of the costs between final pictures of achieved goals and the goal pictures."""
        require(len(costs) >= 2, f"a distribution needs at least 2 costs, got {len(costs)}")
        return cls(mean=statistics.fmean(costs), deviation=statistics.stdev(costs))

    def limit(self, deviations: float) -> float:
        """The largest cost within so many standard deviations above the mean."""
        return self.mean + deviations * self.deviation


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressConfig:
    """When a goal counts as passed, and when it is given up."""

    achieved: AchievedGoals | None = None  # None: not known, so that only settling passes a goal
    deviations: float = 1.0  # above the mean of achieved goals, up to which a cost counts as achieved
    loose_deviations: float = 4.0  # above that mean, up to which a goal may settle
    window: int = 4  # [steps] without progress after which the cost has stopped falling
    least_progress: float = 0.03  # share of the way come by which the cost must fall to count as progress
    near_best: float = 0.25  # share of that way, from the first cost to the best, within which a cost is at its best
    least_fall: float = 0.3  # share by which the cost must have fallen since the start for the goal to settle
    timeout: int = 40  # [steps] after which the goal is given up

    def __post_init__(self) -> None:
        require(self.window >= 1, f"window is at least 1 step, got {self.window}")
        require(self.timeout > self.window, f"timeout must be longer than the window of {self.window} steps")
        for name in ("deviations", "loose_deviations"):
            require(math.isfinite(getattr(self, name)), f"{name} is a number, got {getattr(self, name)}")
        for name in ("least_progress", "near_best", "least_fall"):
            require(0 <= getattr(self, name) < 1, f"{name} lies within 0…1, got {getattr(self, name)}")


class Progress:
    """Follows the cost of one goal as the robot goes towards it."""

    def __init__(self, config: ProgressConfig) -> None:
        self.config = config
        self.first: float | None = None
        self.pursued = 0  # [steps] since the beginning, or since the goal was last passed
        self.best = float("inf")
        self.mark = float("inf")  # the cost at the last progress: many small steps down add up to progress too
        self.since_progress = 0  # steps
        self.verdict: Verdict = "going"  # of the last observation

    def update(self, cost: float, *, may_settle: bool = True) -> Verdict:
        """The verdict on the goal after an observation with this cost; it is `settled` only where it `may_settle`."""
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
            self.pursued = 0  # if it is lost again, it has as much time as before
        elif before in PASSED:
            self.mark, self.since_progress = cost, 0  # the goal was lost: what brings it back is progress, too
        return self.verdict

    def undo_step(self) -> None:
        """Do not count the last observation as a step, because there was no plan to follow."""
        self.pursued -= 1
        self.undo_stall()

    def undo_stall(self) -> None:
        """Do not count the last observation as one without progress: the robot stood still, so none could be made."""
        self.since_progress -= 1  # below 0 after progress: the next observation is of the same picture

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
