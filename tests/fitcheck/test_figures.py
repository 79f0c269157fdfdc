"""Every line of the report shows the figure that its words name, in their unit; goals are held against the best."""

from __future__ import annotations

import math
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from vjepa2_ac.fitcheck.axes import Axis
from vjepa2_ac.fitcheck.controls import Controls
from vjepa2_ac.fitcheck.drift import Drift
from vjepa2_ac.fitcheck.estimates import Estimate, NotMeasured
from vjepa2_ac.fitcheck.figures import Goal, sections
from vjepa2_ac.fitcheck.goals import Verdict, verdicts
from vjepa2_ac.fitcheck.located import HandErrors, Locating
from vjepa2_ac.fitcheck.pairs import Pairs
from vjepa2_ac.fitcheck.questions import FitCheckConfig
from vjepa2_ac.fitcheck.ranking import GRIPPER_CASES, Ranking
from vjepa2_ac.fitcheck.readout import ReadOut
from vjepa2_ac.fitcheck.report import Column, Report
from vjepa2_ac.fitcheck.table import show
from vjepa2_ac.fitcheck.whereabouts import Whereabouts


def said(value: float) -> Estimate:
    return Estimate(value, math.nan, math.nan, 1, np.empty(0))


def in_a_row(first: float) -> list[Estimate]:
    """Of three steps."""
    return [said(first + step) for step in range(3)]


def read(hand: float) -> dict[str, Estimate | NotMeasured]:
    return {"hand": said(hand), "object": said(hand + 0.1), "closedness": said(hand + 0.2)}


def located(first: float) -> Locating:
    alone, told = (HandErrors(said(at), said(at + 0.1), said(at + 0.2)) for at in (first, first + 1))
    return Locating(alone, told, cycle=said(first + 2), lost=said(first + 3), way=said(first + 4))


COLUMN = Column(
    name="made up",
    drift=Drift(in_a_row(10), in_a_row(20), in_a_row(900), in_a_row(900)),
    ranking=Ranking(said(30), {case: said(31 + place) for place, case in enumerate(GRIPPER_CASES)}),
    controls=Controls(said(2.0), said(1.24)),
    pairs=Pairs(in_a_row(50), in_a_row(60), in_a_row(900), in_a_row(900)),
    axes={
        axis: Axis(np.empty(0), np.empty(0), np.empty(0), [], said(70 + place))
        for place, axis in enumerate(("x", "y", "z", "gripper"))
    },
    readout=ReadOut(read(1.2), read(0.9), read(1.1), read(0.3), 0, 0, 0, 0),
    whereabouts=Whereabouts({"hand": in_a_row(80), "object": in_a_row(90)}, {"hand": in_a_row(900)}),
    located=located(100),
    keyframes=located(200),
    facts={},
    seconds={},
)


def test_a_line_shows_what_its_words_name() -> None:
    shown = [
        [(found.value if isinstance(found, Estimate) else None) for found in (line.of(COLUMN) for line in lines)]
        for lines in sections(3).values()
    ]
    inverse = [100, 100.1, 100.2, 101, 101.1, 101.2, 102, 103, 104]  # of which closedness is no centimetres
    in_cm = [[at if place in (2, 5) else 100 * at for place, at in enumerate(inverse)]]
    in_cm += [[at if place in (2, 5) else 100 * at for place, at in enumerate(100 + at for at in inverse)]]
    expected = [
        [10, 12, 22],
        [30, 31, 32, 33, 34],
        [2.0, 1.24],
        [5000, 5200, 62],
        [7000, 7100, 7200, 73],
        [1.2, 1.3, 1.4, 0.9, 1.0, 1.1, 1.1, 1.2, 1.3, 0.3, 0.4, 0.5],
        [80, 82, 90, 92],
        *in_cm,
    ]
    for line, wanted in zip(shown, expected, strict=True):
        np.testing.assert_allclose(np.array(line, dtype=float), wanted)


@pytest.mark.parametrize(
    ("value", "goal", "digits", "told"),
    [
        (0.503366, Goal("most", 0.5), 2, "0.503"),
        (0.51, Goal("most", 0.5), 2, "0.51"),
        (0.5, Goal("most", 0.5), 2, "0.50"),
        (98.96, Goal("least", 99.0), 1, "98.96"),
        (0.50000001, Goal("most", 0.5), 2, "0.500000"),
    ],
)
def test_a_figure_that_misses_its_goal_is_not_told_by_the_goals_own_number(
    value: float, goal: Goal, digits: int, told: str
) -> None:
    verdict = Verdict("a figure", goal, value, digits, goal.is_met(value))
    assert str(verdict) == f"a figure {told} (goal {goal})"


def test_a_figure_of_nothing_is_not_called_missed() -> None:
    copied = replace(COLUMN, name="", drift=Drift([said(math.nan)] * 3, in_a_row(20), in_a_row(900), in_a_row(900)))
    found = {"source": "", "scenes": 0, "episodes": 0, "frames": 0, "left out": {}}
    with (console := Console(file=StringIO(), width=132)).capture() as captured:
        show(Report([copied], FitCheckConfig(horizon=3), found), console=console)
    lines = captured.get().splitlines()
    assert [line.replace("│", " ").split() for line in lines if line.startswith("  1 step ")] == [
        ["1", "step", "–", "≤", "0.5"]
    ]
    assert "  – latent error ÷ copying the last frame: 1 step: not measured" in lines


def test_goals_are_those_that_are_documented_and_the_best_read_out_counts() -> None:
    found = {each.words.rpartition(": ")[2]: (str(each.goal), each.value, each.is_met) for each in verdicts(COLUMN, 3)}
    assert found == {
        "1 step": ("≤ 0.5", 10.0, False),
        "3 steps, open loop": ("≤ 0.6", 12.0, False),
        "move, among others as long": ("≤ 2", 30.0, False),
        "actions shuffled": ("≥ 2", 2.0, True),
        "gripper zeroed where it moves": ("≥ 1.25", 1.24, False),
        "ranked right at the end [%]": ("≥ 99", 5200.0, True),
        "hand, best read-out [cm]": ("≤ 1", 0.9, True),
        "object, best read-out [cm]": ("≤ 1.5", 1.0, True),
    }
