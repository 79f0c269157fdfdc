"""Compares two planners on the same episodes: which won where the other lost, and whether that could be chance.

Episodes of equal task, object and seed are pairs, so that luck with the scene cancels out. Episodes of one seed show
the same scene and go well or badly together, so scenes are what is counted: an exact sign-flip test over scenes tells
whether one side wins too many, and intervals are as wide as scenes differ.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from sim.bounds import wilson

Key = tuple[str, str, int]  # task, object, seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """A planner against the baseline, over the episodes that both have played."""

    pairs: int
    won: int  # done here, not by the baseline
    lost: int  # the other way round
    difference: float  # of the rates of success, positive where this one is better
    interval: tuple[float, float]  # of the difference, 95 %
    p: float  # two-sided, of a sign-flip test over scenes: the chance of so uneven a count if both were equally good


def outcomes(records: Sequence[Mapping[str, Any]]) -> dict[Key, bool]:
    """Success at the end of each episode, by the key that pairs it."""
    return {(each["task"], each["object"], int(each["seed"])): bool(each["success_end"]) for each in records}


def paired(ours: Mapping[Key, bool], baseline: Mapping[Key, bool]) -> Paired:
    """How `ours` compares over the episodes that are in both."""
    both = [key for key in ours if key in baseline]
    scores = defaultdict[int, list[int]](list)
    for key in both:
        scores[key[2]].append(ours[key] - baseline[key])
    sums = [sum(scene) for scene in scores.values()]
    won = sum(ours[key] and not baseline[key] for key in both)
    lost = sum(baseline[key] and not ours[key] for key in both)
    return Paired(
        pairs=len(both),
        won=won,
        lost=lost,
        difference=(won - lost) / len(both) if both else 0.0,
        interval=difference_interval(won, lost, list(scores.values())),
        p=sign_flip_test(sums),
    )


def rate_interval(done: Mapping[Key, bool]) -> tuple[float, float]:
    """The 95 % Wilson interval of the rate of success over all episodes, for their effective number.

    That is the number of episodes divided by the design effect (Kish 1965): so many separate scenes would tell as much.
    Where all ended alike, each scene was played once, or there is only one, it is the number of scenes.
    """
    scenes = defaultdict[int, list[bool]](list)
    for key, is_done in done.items():
        scenes[key[2]].append(is_done)
    episodes, rate = len(done), sum(done.values()) / len(done)
    if rate in (0.0, 1.0) or len(scenes) in (1, episodes):
        return wilson(rate * len(scenes), len(scenes))
    worth = min(episodes, rate * (1 - rate) / max(_variance(list(scenes.values()), rate), 1e-12))
    return wilson(rate * worth, worth)


def sign_flip_test(scores: Sequence[int]) -> float:
    """The exact two-sided p-value: the chance that with random signs, the scores sum to as far from 0 or farther.

    With scores of ±1 this is McNemar's exact test.
    """
    ways = Counter({0: 1})
    for score in filter(None, scores):
        flipped = Counter[int]()
        for total, count in ways.items():
            flipped[total + score] += count
            flipped[total - score] += count
        ways = flipped
    reached = abs(sum(scores))
    return sum(count for total, count in ways.items() if abs(total) >= reached) / sum(ways.values())


def difference_interval(
    won: float, lost: float, scenes: Sequence[Sequence[int]], z: float = 1.96
) -> tuple[float, float]:
    """The 95 % interval of a difference of paired rates, from each pair's score by scene: 1 won, -1 lost, 0 alike.

    Wald's with half a pair added to each cell (Agresti and Min 2005), or wider where scenes differ more than pairs.
    """
    pairs: float = sum(map(len, scenes))
    if pairs == 0:
        return (-1.0, 1.0)
    if len(scenes) < 2 or len({score for scene in scenes for score in scene}) == 1:  # nothing tells how scenes differ
        won, lost, pairs = (count * len(scenes) / pairs for count in (won, lost, pairs))
    b, c, n = won + 0.5, lost + 0.5, pairs + 2.0
    middle = (b - c) / n
    between = _variance(scenes, (won - lost) / pairs)
    half = z * sqrt(max((b + c - (b - c) ** 2 / n) / n**2, between))
    return (max(-1.0, middle - half), min(1.0, middle + half))


def _variance(scenes: Sequence[Sequence[int]], mean: float) -> float:
    """The variance of the mean of all scores, from how far scenes are from it (that of the ratio estimator)."""
    count, episodes = len(scenes), sum(map(len, scenes))
    if count < 2:
        return 0.0
    return count / (count - 1) * sum((sum(scene) - mean * len(scene)) ** 2 for scene in scenes) / episodes**2


def holm(chances: Sequence[float]) -> list[float]:
    """The same p-values, raised to account for how many there are (Holm 1979)."""
    order = sorted(range(len(chances)), key=lambda index: chances[index])
    raised, worst = [0.0] * len(chances), 0.0
    for rank, index in enumerate(order):
        worst = max(worst, min(1.0, (len(chances) - rank) * chances[index]))
        raised[index] = worst
    return raised
