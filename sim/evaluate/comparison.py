"""Two planners on the same episodes: which won where the other lost, and whether that could be chance.

Episodes of equal task, object and seed are pairs, so that luck with the scene falls out. Only pairs that differ say
anything (McNemar); whether one side has too many of them is an exact sign test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb, sqrt
from typing import Any

Key = tuple[str, str, int]  # task, object, seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """A planner against the baseline, over the episodes that both have played."""

    pairs: int
    won: int  # done here, not by the baseline
    lost: int  # the other way round
    difference: float  # of the rates of success, positive where this one is better
    interval: tuple[float, float]  # of the difference, 95 %
    p: float  # of a sign test, two-sided: the chance of so uneven a count where both are as good


def outcomes(records: Sequence[Mapping[str, Any]]) -> dict[Key, bool]:
    """Success at the end of each episode, by what makes it a pair."""
    return {(each["task"], each["object"], int(each["seed"])): bool(each["success_end"]) for each in records}


def paired(ours: Mapping[Key, bool], baseline: Mapping[Key, bool]) -> Paired:
    """How `ours` compares over the episodes that are in both."""
    both = [key for key in ours if key in baseline]
    won = sum(ours[key] and not baseline[key] for key in both)
    lost = sum(baseline[key] and not ours[key] for key in both)
    return Paired(
        pairs=len(both),
        won=won,
        lost=lost,
        difference=(won - lost) / len(both) if both else 0.0,
        interval=difference_interval(won, lost, len(both)),
        p=sign_test(won, lost),
    )


def sign_test(won: int, lost: int) -> float:
    """Exact, two-sided: the chance that fair coins fall as unevenly as `won` to `lost`, or more."""
    tosses, fewer = won + lost, min(won, lost)
    return min(1.0, 2 * sum(comb(tosses, k) for k in range(fewer + 1)) / (1 << tosses))


def difference_interval(won: int, lost: int, pairs: int, z: float = 1.96) -> tuple[float, float]:
    """Of a difference of paired rates, 95 %: Wald's with half a pair added to each cell (Agresti and Min 2005)."""
    if pairs == 0:
        return (-1.0, 1.0)
    b, c, n = won + 0.5, lost + 0.5, pairs + 2.0
    middle, half = (b - c) / n, z * sqrt(b + c - (b - c) ** 2 / n) / n
    return (max(-1.0, middle - half), min(1.0, middle + half))


def holm(chances: Sequence[float]) -> list[float]:
    """The same p-values, raised for how many were looked at (Holm 1979)."""
    order = sorted(range(len(chances)), key=lambda index: chances[index])
    raised, worst = [0.0] * len(chances), 0.0
    for rank, index in enumerate(order):
        worst = max(worst, min(1.0, (len(chances) - rank) * chances[index]))
        raised[index] = worst
    return raised
