"""The curves of an episode: what was seen, what had been imagined where it was due, and when a sub-goal was passed."""

from __future__ import annotations

import re
from typing import Any

import pytest

from sim.evaluate.curves import EDGE, HEIGHT, WIDTH, costs


def turn(goal: int, cost: float | None, imagined: float | None = None, horizon: int = 0) -> dict[str, Any]:
    return {"goal": goal, "cost": cost, "imagined_cost": imagined, "horizon": horizon}


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
    turns = [turn(0, 0.4, 0.3, 2), turn(0, 0.3, 0.1, 1), turn(1, 0.8, 0.2, 2), turn(1, 0.2)]
    (imagined, seen), passed = drawn(*turns)
    for points, wanted in (
        (imagined, [(2, 0.3), (2, 0.1), (4, 0.2)]),
        (seen, [(0, 0.4), (1, 0.3), (2, 0.8), (3, 0.2)]),
    ):
        for found, expected in zip(points, wanted, strict=True):
            assert found == pytest.approx(expected, abs=0.03)
    assert passed == pytest.approx([2], abs=0.03)


def test_a_driver_without_costs_has_no_curves() -> None:
    assert costs({"turns": [turn(0, None), turn(0, None)]}) == ""
    assert "polyline" in costs({"turns": [turn(0, 0.0)]})  # at its goal, and nothing was planned
