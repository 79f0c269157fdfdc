"""A control loop that never waits for the planner: the next chunk is fetched while the present one is being made."""

from __future__ import annotations

import sys
import time
from typing import Any

from vjepa2_ac.client import ChunkBroker, Plan, PlannerClient, PlannerError


def follow_smoothly(robot: Any, goal: Any, moves: int, url: str = "http://127.0.0.1:8000", dt_s: float = 0.25) -> None:
    """Make so many moves towards a goal picture, in chunks of four. `robot` is that of robot_loop.py."""
    with PlannerClient(url) as planner:

        def fetch() -> Plan:
            plan = planner.plan(robot.look(), robot.pose(), goal, horizon=4, deadline_ms=1000, timeout_s=2.0)
            for sign in ("view_unfamiliar", "goal_out_of_reach"):
                if getattr(plan.confidence, sign):  # a robot must never move on a guess
                    raise PlannerError("; ".join(plan.warnings), code=sign)
            return plan

        with ChunkBroker(fetch, ahead=2, patience_s=2.0, oldest_s=2.0) as broker:
            for _ in range(moves):
                started = time.monotonic()
                try:
                    move = broker.next()
                except PlannerError as error:
                    if not error.may_pass:
                        raise
                    print(f"holding still: {error}", file=sys.stderr)  # until a plan comes that can be followed
                    move = None
                if move is not None:
                    robot.move_to(move.target)
                time.sleep(max(0.0, dt_s - (time.monotonic() - started)))
