"""The curves of an episode: what was seen, what had been imagined where it was due, and when a sub-goal was passed."""

from __future__ import annotations

import re
from typing import Any

import pytest

from sim.evaluate.curves import EDGE, HEIGHT, WIDTH, costs


def turn(cost: float | None, imagined: float | None = None, horizon: int = 0, passed: Any = ()) -> dict[str, Any]:
    return {"cost": cost, "imagined_cost": imagined, "horizon": horizon, "passed": passed}


def drawn(*turns: dict[str, Any]) -> tuple[list[list[tuple[float, float]]], list[float]]:
    """The points of the lines as (step, cost), and the steps at which sub-goals were passed."""
    svg, last = costs({"turns": list(turns)}), len(turns)
    top = float(re.findall(r">([\d.]+)</text>", svg)[0])

    def step(x: str) -> float:
        return (float(x) - EDGE) / (WIDTH - 2 * EDGE) * last

    def cost(y: str) -> float:
        return (HEIGHT - EDGE - float(y)) / (HEIGHT - 3 * EDGE) * top

    lines = [
        [(step(x), cost(y)) for x, y in (point.split(",") for point in points.split())]
        for points in re.findall(r'points="([^"]*)"', svg)
    ]
    return lines, [step(x) for x in re.findall(r'<line x1="([^"]*)"', svg)]


def test_what_is_imagined_stands_where_it_is_due() -> None:
    (imagined, seen), _ = drawn(turn(0.4, 0.3, 2), turn(0.3, 0.1, 1), turn(0.8, 0.2, 2), turn(0.2))
    for points, wanted in (
        (imagined, [(2, 0.3), (2, 0.1), (4, 0.2)]),
        (seen, [(0, 0.4), (1, 0.3), (2, 0.8), (3, 0.2)]),
    ):
        for found, expected in zip(points, wanted, strict=True):
            assert found == pytest.approx(expected, abs=0.03)


def test_every_sub_goal_is_marked_where_it_was_first_passed() -> None:
    first, last = ([0, "settled"], [1, "achieved"]), ([2, "settled"],)
    _, passed = drawn(
        turn(0.4), turn(0.3), turn(0.8, passed=first), turn(0.4), turn(0.2, passed=last), turn(0.2, passed=last)
    )
    assert passed == pytest.approx([2, 4], abs=0.03)


def test_a_driver_without_costs_has_no_curves() -> None:
    assert costs({"turns": [turn(None), turn(None)]}) == ""
    assert "polyline" in costs({"turns": [turn(0.0)]})  # at its goal, and nothing was planned
