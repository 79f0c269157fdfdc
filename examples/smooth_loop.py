"""A control loop that never waits for the planner: the next chunk is fetched while the present one is being made."""

from __future__ import annotations

import time
from typing import Any

from vjepa2_ac.client import ChunkBroker, LateError, Plan, PlannerClient


def follow_smoothly(robot: Any, goals: Any, url: str = "http://127.0.0.1:8000", dt_s: float = 0.25) -> int:
    """Make the moves of chunks of four as they come; answers how many were made. `robot` as in robot_loop.py, and
    `move_by(action)`."""
    moves = 0
    with PlannerClient(url) as planner, planner.session(goals, horizon=4) as session:

        def fetch() -> Plan | None:
            return session.step(robot.look(), robot.pose()).plan

        with ChunkBroker(fetch, ahead=2, patience_s=2.0) as broker:
            while True:
                started = time.monotonic()
                try:
                    action = broker.next()
                except LateError:
                    continue  # hold still until a plan comes
                if action is None:
                    return moves
                robot.move_by(action)
                moves += 1
                time.sleep(max(0.0, dt_s - (time.monotonic() - started)))
