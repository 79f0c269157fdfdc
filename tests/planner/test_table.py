"""A plan as text: what people read before they let a robot move."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from planner.single.answer import Answer
from planner.single.question import Question, Shown
from planner.single.table import table
from tests.planner.worlds import HOME, paint
from vjepa2_ac.client.answers import Confidence, Plan
from vjepa2_ac.client.pictures import png
from vjepa2_ac.pictures import decode

SURE = Confidence(0.0123, 0.25, 0.5, 0.75, goal_reached=False, goal_out_of_reach=False)
PLAN = Plan(
    plan_id="p",
    model={"name": "point", "version": "7"},
    dt_s=0.25,
    actions=np.array([[0.05, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, -0.025, 0.0, 0.0, 0.0, 0.0, 1.0]]),
    targets=np.array([[0.45, 0.0, 0.3, 0.0, 0.0, 0.0, 0.0], [0.45, -0.025, 0.3, 0.0, 0.0, 0.0, 1.0]]),
    wanted=np.zeros((2, 7)),
    cost=0.75,
    idle_cost=1.0,
    trace=np.zeros(3),
    confidence=SURE,
    stop_reason="iterations",
    seed=9,
    iterations=3,
    evaluations=1200,
    timings_ms={"search": 120.4, "total": 200.0},
)


def told(goals: int = 1, sub_goal: int = 0, server: str | None = None, **changes: Any) -> list[str]:
    seen = decode(png(paint(HOME)), "a test", 1 << 14)
    wanted = tuple(Shown(f"goal{number}.png", seen) for number in range(goals))
    question = Question(observation=Shown("now.png", seen), pose=np.array(HOME), goals=wanted, sub_goal=sub_goal)
    return table(Answer(question=question, plan=replace(PLAN, **changes), server=server)).splitlines()


def test_every_line_says_what_the_plan_says() -> None:
    assert told() == [
        "from now.png towards goal0.png",
        "model point 7",
        "",
        "action       Δx       Δy       Δz    Δroll   Δpitch     Δyaw Δgripper   m, rad, closedness",
        "     0   0.0500   0.0000   0.0000   0.0000   0.0000   0.0000   0.0000",
        "     1   0.0000  -0.0250   0.0000   0.0000   0.0000   0.0000   1.0000",
        "target        x        y        z     roll    pitch      yaw  gripper",
        "   now   0.4000   0.0000   0.3000   0.0000   0.0000   0.0000   0.0000",
        "     0   0.4500   0.0000   0.3000   0.0000   0.0000   0.0000   0.0000",
        "     1   0.4500  -0.0250   0.3000   0.0000   0.0000   0.0000   1.0000",
        "",
        "cost        0.750000, 25.0 % below doing nothing (1.000000)",
        "search      3 iterations, 1200 candidates, stopped by all its iterations; seed 9; 120 ms of 200 ms",
        "confidence  worth its move; elites within 1.23 cm, flatness 0.5000, gripper contrast 0.7500",
    ]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"goals": 3, "sub_goal": 1}, "from now.png towards goal1.png (2 of 3)"),
        ({"goals": 2}, "from now.png towards goal0.png (1 of 2)"),
        ({"server": "grpc://there"}, "model point 7 at grpc://there"),
        ({"idle_cost": float("nan")}, "cost        0.750000"),
        (
            {"cost": 1.25, "confidence": replace(SURE, gain=-0.25)},
            "cost        1.250000, 25.0 % above doing nothing (1.000000)",
        ),
        ({"failure_probability": 0.126}, "failure     expected with a probability of 0.13"),
        ({"gripper_costs": {"keep": 0.75, "close": 0.5}}, "gripper     keep 0.750000 · close 0.500000"),
        (
            {"clipped": [{"step": 0, "part": "x", "asked": 0.2, "allowed": -0.05, "rule": "step limit"}]},
            "clipped     step 0: x +0.2000 became -0.0500 (step limit)",
        ),
        ({"warnings": ["look out"]}, "warning     look out"),
    ],
)
def test_a_line_is_there_where_it_has_something_to_say(changes: dict[str, Any], line: str) -> None:
    assert line in told(**changes)


@pytest.mark.parametrize(
    ("reason", "words"),
    [("converged", "the elites agreed"), ("deadline", "the deadline"), ("iterations", "all its iterations")],
)
def test_why_a_search_stopped_is_said(reason: str, words: str) -> None:
    assert any(f"stopped by {words}; " in line for line in told(stop_reason=reason, timings_ms={}))


@pytest.mark.parametrize(
    ("signs", "verdict"),
    [
        ({"goal_reached": True}, "goal reached"),
        ({"goal_out_of_reach": True}, "goal out of reach"),
        ({"view_unfamiliar": True, "goal_reached": True, "goal_out_of_reach": True}, "view unfamiliar"),
    ],
)
def test_the_verdict_comes_first(signs: dict[str, bool], verdict: str) -> None:
    located = replace(SURE, **signs, goal_uncertainty=0.021, cycle_error=0.034)  # type: ignore[arg-type]  # flags
    (line,) = (line for line in told(confidence=located) if line.startswith("confidence"))
    assert line.startswith(f"confidence  {verdict}; elites within ")
    assert line.endswith("0.7500, goal located within 2.1 cm, contradicting itself by 3.4 cm")
