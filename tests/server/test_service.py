"""What the service counts and times of its own doings, whichever wire they came by."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any

import pytest
from torch import Tensor

from server import messages as m
from server.errors import DrainingError, NotFoundError, QueueFullError
from server.model import Served
from server.service import PlanningService
from server.settings import Settings
from server.worker import FIRST_GUESS_S, Worker
from tests.planner.worlds import HOME, Clock, PointWorld, moved
from tests.server import pictures
from tests.server.running import point_world, served
from vjepa2_ac.errors import DeadlineError, StaleObservationError
from vjepa2_ac.images import Frames

GOAL = m.GoalReference(pictures=[pictures.of(moved(0.05, 0, 0))])


def seen(**more: Any) -> m.Observation:
    return m.Observation(picture=pictures.of(HOME), pose=list(HOME), **more)


def in_service(test: Callable[[PlanningService, Clock], Awaitable[None]]) -> None:
    async def main() -> None:
        clock = Clock()
        service = PlanningService(Settings(), point_world, clock)
        await service.start()
        await test(service, clock)
        assert await service.drain(10)

    asyncio.run(asyncio.wait_for(main(), 60))


def value_of(service: PlanningService, name: str, **labels: str) -> float | None:
    return service.metrics.registry.get_sample_value(f"vjepa2_ac_{name}", labels)


def test_plans_are_counted_by_why_they_stopped_those_of_sessions_too() -> None:
    async def test(service: PlanningService, clock: Clock) -> None:
        plan = await service.plan(m.PlanRequest(observation=seen(), goal=GOAL))
        session = await service.open_session(m.OpenSessionRequest(goal=GOAL))
        step = await service.step(session.session_id, m.StepRequest(observation=seen()))
        assert step.plan is not None
        counts = [value_of(service, "plans_total", stop_reason=reason) or 0 for reason in ("converged", "iterations")]
        assert sum(counts) == 2
        assert value_of(service, "plan_iterations_sum") == plan.iterations + step.plan.iterations
        assert value_of(service, "plan_cost_sum") == pytest.approx(plan.cost + step.plan.cost)
        assert value_of(service, "stage_seconds_count", stage="search") == 2
        assert value_of(service, "queue_wait_seconds_count") == 2

    in_service(test)


def test_missed_deadlines_and_stale_pictures_are_counted() -> None:
    async def test(service: PlanningService, clock: Clock) -> None:
        with pytest.raises(DeadlineError):
            await service.plan(m.PlanRequest(observation=seen(), goal=GOAL), time_left_s=0.0)
        with pytest.raises(StaleObservationError):
            await service.plan(m.PlanRequest(observation=seen(age_ms=5000.0), goal=GOAL))
        assert value_of(service, "deadlines_missed_total") == 1
        assert value_of(service, "stale_observations_dropped_total") == 1
        assert value_of(service, "plans_total", stop_reason="iterations") is None

    in_service(test)


def test_a_picture_from_a_clock_that_is_a_little_ahead_is_planned_from() -> None:
    async def test(service: PlanningService, clock: Clock) -> None:
        assert (await service.plan(m.PlanRequest(observation=seen(age_ms=-40.0), goal=GOAL))).actions

    in_service(test)


def test_a_service_that_stops_opens_no_session() -> None:
    async def test(service: PlanningService, clock: Clock) -> None:
        service.refuse_new()
        with pytest.raises(DrainingError):
            await service.open_session(m.OpenSessionRequest(goal=GOAL))
        assert len(service.sessions) == 0

    in_service(test)


def test_what_is_kept_is_told() -> None:
    async def test(service: PlanningService, clock: Clock) -> None:
        def kept() -> list[float | None]:
            return [value_of(service, name) for name in ("sessions", "goals", "streams", "queue_depth", "model_ready")]

        assert kept() == [0, 0, 0, 0, 1]
        await service.open_session(m.OpenSessionRequest(goal=GOAL))
        await service.register_goal(m.RegisterGoalRequest(pictures=GOAL.pictures))
        service.streams += 1
        assert kept() == [1, 1, 1, 0, 1]
        clock.now += max(service.settings.session_idle_s, service.settings.goal_idle_s) + 1
        service.streams -= 1
        assert kept() == [0, 0, 0, 0, 1]
        service.refuse_new()
        assert kept()[-1] == 0

    in_service(test)


def test_a_session_outlives_a_step_that_takes_longer_than_it_would_be_kept() -> None:
    async def test(service: PlanningService, clock: Clock) -> None:
        class Slow(PointWorld):
            def encode(self, frames: Frames) -> Tensor:
                clock.now += service.settings.session_idle_s + 1
                assert len(service.sessions) == 1  # whoever asks meanwhile is told of it
                return super().encode(frames)

        session = await service.open_session(m.OpenSessionRequest(goal=GOAL))
        service.host.world.world = Slow()
        for _ in range(2):
            assert (await service.step(session.session_id, m.StepRequest(observation=seen()))).plan is not None
        clock.now += service.settings.session_idle_s + 1
        with pytest.raises(NotFoundError):
            await service.step(session.session_id, m.StepRequest(observation=seen()))

    in_service(test)


def test_how_long_a_model_takes_to_load_does_not_keep_callers_away() -> None:
    def take_all(worker: Worker, places: ExitStack) -> None:
        while True:
            places.enter_context(worker.place())

    async def main() -> None:
        clock = Clock()

        def loads_slowly() -> Served:
            clock.now += 100.0
            return point_world()

        service = PlanningService(Settings(), loads_slowly, clock)
        await service.start()
        with ExitStack() as places, pytest.raises(QueueFullError) as caught:
            take_all(service.worker, places)
        full = service.settings.queue_size + 1  # with the one that an idle worker takes at once
        assert caught.value.retry_after_s <= FIRST_GUESS_S * full
        assert await service.drain(10)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_the_stages_of_an_answer_come_to_no_more_than_all_of_it() -> None:
    async def test(service: PlanningService) -> None:
        session = await service.open_session(m.OpenSessionRequest(goal=GOAL, options=m.PlanOptions(samples=300)))
        step = await service.step(session.session_id, m.StepRequest(observation=seen()))
        plan = await service.plan(m.PlanRequest(observation=seen(), goal=GOAL))
        for answer in (step.plan, plan):
            assert answer is not None
            stages = dict(answer.timings_ms)
            total = stages.pop("total")
            assert stages["search"] > 0
            assert stages["decode"] > 0
            assert 0 < sum(stages.values()) <= total
            assert min(stages.values()) >= 0

    async def main() -> None:
        service = PlanningService(Settings(), point_world)
        await service.start()
        await test(service)
        assert await service.drain(10)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_the_time_to_encode_a_goal_is_told_as_such_whatever_is_asked() -> None:
    class Slow(PointWorld):
        def encode(self, frames: Frames) -> Tensor:
            time.sleep(0.02)
            return super().encode(frames)

    async def main() -> None:
        service = PlanningService(Settings(), served(Slow()))
        await service.start()
        goals = [m.GoalReference(pictures=[pictures.of(moved(0.02 + 0.01 * n, 0, 0))]) for n in range(3)]
        session = await service.open_session(m.OpenSessionRequest(goal=goals[0], options=m.PlanOptions(samples=8)))
        steps = [await service.step(session.session_id, m.StepRequest(observation=seen())) for _ in range(2)]
        first, second = (step.plan for step in steps)
        asked = {"observation": seen(), "candidates": [[[0.0] * 7]]}
        energy = await service.energy(m.EnergyRequest(**asked, goal=goals[1]))
        rollout = await service.rollout(m.RolloutRequest(**asked, goal=goals[2]))
        for answer in (first, energy, rollout):
            assert answer is not None
            stages = dict(answer.timings_ms)
            assert min(stages["goal"], stages["encode"]) >= 20
            assert stages.pop("total") >= sum(stages.values())  # and so neither is told twice
        assert second is not None
        assert second.timings_ms["goal"] == 0
        assert await service.drain(10)

    asyncio.run(asyncio.wait_for(main(), 60))
