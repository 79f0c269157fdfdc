"""The table of an evaluation from records that are written down here by hand."""

from __future__ import annotations

from typing import Any

import pytest

from sim.bounds import wilson
from sim.evaluate.summary import rows, signs, table

NOT_ASKED = {"cost": None, "imagined_cost": None, "plan_ms": 900.0, "status": "done", "confidence": {}}


def turn(cost: float, gain: float, plan_ms: float) -> dict[str, Any]:
    confidence = {"elite_spread": 0.01, "gain": gain, "flatness": 0.5, "goal_out_of_reach": False, "cycle_error": None}
    return {"cost": cost, "imagined_cost": 0.1, "plan_ms": plan_ms, "status": "going", "confidence": confidence}


def record(seed: int, *turns: dict[str, Any], end: bool, ever: bool = True, **fields: Any) -> dict[str, Any]:
    plans = sum(each["imagined_cost"] is not None for each in turns)
    episode = {"driver": "planner", "task": "grasp", "object": "box", "seed": seed, "turns": list(turns)}
    episode |= {"success_end": end, "success_any": ever, "first_done": 3 if ever else -1, "plans": plans}
    return {**episode, "evaluations": 20 * plans, "failure": "" if end else "closed early", **fields}


DONE = record(1, turn(0.9, 0.5, 10.0), turn(0.2, 0.5, 20.0), NOT_ASKED, end=True, first_done=0)
LATE = record(2, turn(0.9, 0.4, 30.0), turn(0.3, 0.4, 40.0), NOT_ASKED, end=True, first_done=9)
LOST = record(3, turn(0.1, 0.1, 50.0), turn(0.4, 0.1, 60.0), NOT_ASKED, end=False, failure="done, then lost")
NEVER = record(4, turn(0.1, 0.0, 70.0), turn(0.5, 0.0, 80.0), turn(0.6, 0.0, 90.0), end=False, ever=False)


def test_a_row_tells_the_end_from_any_time_and_averages_over_plans() -> None:
    (row,) = rows([DONE, LATE, LOST, NEVER])
    assert (row.episodes, row.at_end, row.any_time, row.failed_seeds) == (4, 2, 3, (3, 4))
    assert (row.at_end_interval, row.any_time_interval) == (wilson(2, 4), wilson(3, 4))
    assert row.median_steps == 3  # of 0, 3 and 9: one was done before its first step, one never
    assert (row.evaluations, row.plan_ms) == (20, 50)  # a step without a plan is none
    assert row.failures == {"done, then lost": 1, "closed early": 1}


def test_a_line_shows_the_paper_beside_the_planner_alone() -> None:
    expert = record(1, NOT_ASKED, end=True, driver="expert", first_done=8)
    assert [row.paper for row in rows([DONE, expert])] == [0.25, None]
    planner, other = (line.split("|")[1:-1] for line in table(rows([NEVER, LOST, DONE, expert])).splitlines()[2:])
    assert [cell.strip() for cell in planner] == [
        "grasp", "box", "planner", "3", "33.3%", "6.1% – 79.2%", "66.7%", "25%", "2", "20", "60",
    ]  # fmt: skip
    assert [cell.strip() for cell in other][2:8] == ["expert", "1", "100.0%", "20.7% – 100.0%", "100.0%", "–"]


def test_every_sign_is_turned_so_that_more_of_it_means_failure() -> None:
    aurocs = {sign.name: sign.auroc for sign in signs([DONE, LATE, LOST, NEVER, {**NEVER, "driver": "oracle"}])}
    assert aurocs["cost of the last picture"] == aurocs["mean gain, negative"] == 1.0
    assert aurocs["steps before it held still"] == pytest.approx(0.75)  # two of three steps, but for one failure
    assert aurocs["mean flatness"] == 0.5
    assert aurocs["mean cycle error"] is None


def test_steps_count_as_a_share_of_those_that_the_episode_had() -> None:
    going = turn(0.5, 0.5, 10.0)
    soon = record(1, going, NOT_ASKED, NOT_ASKED, NOT_ASKED, end=True, task="reach")
    late = record(1, going, going, NOT_ASKED, NOT_ASKED, end=False, task="pick_and_place")
    assert {sign.name: sign.auroc for sign in signs([soon, late])}["steps before it held still"] == 1.0
