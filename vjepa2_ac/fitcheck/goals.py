"""Which goals a model meets: one verdict for each, with the figure reached and the limit."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from vjepa2_ac.fitcheck.estimates import Estimate, NotMeasured
from vjepa2_ac.fitcheck.figures import Figure, Goal, sections
from vjepa2_ac.fitcheck.report import Column, Report

MOST_DIGITS = 6  # as many as the JSON holds


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal and the figure that a model reached; `is_met` is None where it was not measured."""

    words: str
    goal: Goal
    value: float | None
    digits: int
    is_met: bool | None
    reason: str | None = None  # why it was not measured

    def __str__(self) -> str:
        return f"{self.words} {self._told()} (goal {self.goal})"

    def _told(self) -> str:
        """The figure, with enough digits that one just beyond its limit is not rounded to it."""
        if self.value is None:
            return "not measured"
        digits = self.digits
        while self.is_met is False and digits < MOST_DIGITS and round(self.value, digits) == self.goal.limit:
            digits += 1
        return f"{self.value:.{digits}f}"


def verdicts(column: Column, horizon: int) -> list[Verdict]:
    """A verdict for every goal, in the order of the table; of lines with the same claim the best counts."""
    claims: defaultdict[str, list[Figure]] = defaultdict(list)
    for heading, figures in sections(horizon).items():
        for figure in figures:
            if figure.goal is not None:
                claims[figure.claim or f"{heading}: {figure.words}"].append(figure)
    return [_verdict(words, figures, column) for words, figures in claims.items()]


def as_dict(report: Report) -> dict[str, Any]:
    """The verdicts of every model, for JSON."""
    return {
        column.name: [
            {
                "goal": verdict.words,
                "at " + verdict.goal.at: verdict.goal.limit,
                "value": None if verdict.value is None else round(verdict.value, MOST_DIGITS),
                "met": verdict.is_met,
            }
            | ({"not measured": verdict.reason} if verdict.reason else {})
            for verdict in verdicts(column, report.config.horizon)
        ]
        for column in report.columns
    }


def sentences(report: Report) -> list[str]:
    """Lines of text for each model: how many goals it meets, then those met, missed and not measured."""
    lines = []
    for column in report.columns:
        found = verdicts(column, report.config.horizon)
        met, missed, unknown = ([each for each in found if each.is_met is wanted] for wanted in (True, False, None))
        lines.append(f"{column.name}: meets {len(met)} of {len(found)} goals")
        lines += [f"  ✓ {each}" for each in met] + [f"  ✗ {each}" for each in missed]
        lines += [f"  – {each.words}: not measured" for each in unknown]
    return lines


def _verdict(words: str, figures: list[Figure], column: Column) -> Verdict:
    goal = figures[0].goal
    assert goal is not None
    found = [figure.of(column) for figure in figures]
    values = [each.value for each in found if isinstance(each, Estimate) and not math.isnan(each.value)]
    if not values:
        reasons = [each.reason for each in found if isinstance(each, NotMeasured)]
        return Verdict(words, goal, None, figures[0].digits, None, reasons[0] if reasons else "there was nothing in it")
    best = min(values) if goal.at == "most" else max(values)
    return Verdict(words, goal, best, figures[0].digits, goal.is_met(best))
