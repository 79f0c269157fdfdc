"""A planner that records its request and the readings of its clock, so that the plan can be made again.

A search with a deadline decides by the clock when to stop. With the same readings played back, it decides the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from planner.camera import CameraTurn
from planner.plan import Plan
from planner.planning import Planner, PlannerConfig, Request
from planner.problem import Problem, SearchResult
from planner.protocols import World
from server.traces import stage
from vjepa2_ac.errors import InputError


class RecordingPlanner(Planner):
    """Keeps its last request and, where there was a deadline, the clock's readings relative to that [s].

    Its stages appear in traces.
    """

    def __init__(
        self,
        world: World,
        config: PlannerConfig,
        *,
        camera: CameraTurn | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.asked: Request | None = None
        self.readings: list[float] = []
        self._time = clock
        super().__init__(world, config, camera=camera, clock=self._read)

    def plan(
        self, request: Request, *, deadline: float | None = None, is_wanted: Callable[[], bool] = lambda: True
    ) -> Plan:
        """As `Planner.plan`; the request and, from here on, the clock's readings are kept."""
        self.asked, self.readings = request, []
        plan = super().plan(request, deadline=deadline, is_wanted=is_wanted)
        self.readings = [] if deadline is None else [reading - deadline for reading in self.readings]
        return plan

    def _search(
        self, problems: Sequence[Problem], deadline: float | None, is_wanted: Callable[[], bool]
    ) -> list[SearchResult]:
        with stage("search"):
            return super()._search(problems, deadline, is_wanted)

    def _finished(self, request: Request, found: SearchResult, took_ms: float) -> Plan:
        with stage("safety"):
            return super()._finished(request, found, took_ms)

    def _read(self) -> float:
        now = self._time()
        self.readings.append(now)
        return now


def played_back(readings: Sequence[float]) -> Callable[[], float]:
    """A clock that shows recorded readings in turn, then raises InputError; the deadline is at 0."""
    left: Iterator[float] = iter(readings)

    def clock() -> float:
        try:
            return next(left)
        except StopIteration:
            raise InputError("the search asked for the time more often than when it was recorded") from None

    return clock
