"""What requests bring counts from when it came."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from server import messages as m
from server.intake import Intake
from server.service import PlanningService
from server.settings import Settings
from tests.planner.worlds import HOME, Clock, moved
from tests.server import pictures
from tests.server.running import point_world
from vjepa2_ac.errors import DeadlineError, StaleObservationError


def test_a_deadline_is_the_callers_or_the_wires_whichever_is_earlier() -> None:
    intake = Intake(Settings(), clock=lambda: 100.0)
    assert intake.deadline(2000.0, None, 99.0) == 101.0  # it counts from arrival
    assert intake.deadline(2000.0, 0.5, 99.0) == 100.5
    assert intake.deadline(200.0, 5.0) == 100.2
    assert intake.deadline(None, None) is None


@pytest.mark.parametrize("what", ["energy", "rollout"])
def test_reading_candidates_makes_an_observation_older_and_uses_up_time(what: str) -> None:
    async def main() -> None:
        clock = Clock()
        service = PlanningService(Settings(), point_world, clock)
        await service.start()
        read = service.intake.candidates

        async def slow(*asked: Any) -> Any:
            clock.now += 0.9
            return await read(*asked)

        service.intake.candidates = slow  # type: ignore[method-assign]
        ask = getattr(service, what)
        kind = {"energy": m.EnergyRequest, "rollout": m.RolloutRequest}[what]
        goal = m.GoalReference(pictures=[pictures.of(moved(0.05, 0, 0))])

        def asked(age_ms: float, deadline_ms: float) -> Any:
            seen = m.Observation(picture=pictures.of(HOME), pose=HOME, age_ms=age_ms)
            return kind(observation=seen, goal=goal, candidates=[[[0.0] * 7]], deadline_ms=deadline_ms)

        await ask(asked(age_ms=50, deadline_ms=1000))
        with pytest.raises(StaleObservationError):
            await ask(asked(age_ms=200, deadline_ms=1000))
        with pytest.raises(DeadlineError):
            await ask(asked(age_ms=50, deadline_ms=800))
        assert await service.drain(10)

    asyncio.run(main())
