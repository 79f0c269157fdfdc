"""The queue is short, deadlines hold while waiting, and nobody's work is done for nobody."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Callable

import pytest

from server.errors import DrainingError, QueueFullError
from server.worker import Job, Worker
from tests.planner.worlds import Clock
from vjepa2_ac.errors import CancelledError, DeadlineError


class Gate:
    """Work that starts, tells so, and ends when it is let."""

    def __init__(self) -> None:
        self.started, self.may_end = threading.Event(), threading.Event()
        self.job: Job | None = None

    def __call__(self, job: Job) -> str:
        self.job = job
        self.started.set()
        assert self.may_end.wait(10)
        job.refuse_if_gone()
        return "done"


def run(test: Callable[[Worker], AsyncIterator[None]] | Callable, size: int = 2) -> None:  # type: ignore[type-arg]
    async def main() -> None:
        worker = Worker(size)
        worker.start()
        try:
            await asyncio.wait_for(test(worker), 20)
        finally:
            await worker.drain(5)

    asyncio.run(main())


async def until(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 10)


def test_jobs_are_done_in_order() -> None:
    async def test(worker: Worker) -> None:
        done: list[int] = []
        await asyncio.gather(*(worker.run(lambda _, n=n: done.append(n)) for n in range(5)))  # type: ignore[misc]
        assert done == [0, 1, 2, 3, 4]

    run(test, size=5)


def test_an_error_belongs_to_its_caller_and_the_worker_lives_on() -> None:
    async def test(worker: Worker) -> None:
        with pytest.raises(ZeroDivisionError):
            await worker.run(lambda _: 1 // 0)
        assert await worker.run(lambda _: "next") == "next"

    run(test)


def test_a_full_queue_says_when_to_come_back() -> None:
    async def test(worker: Worker) -> None:
        gate = Gate()
        running = asyncio.create_task(worker.run(gate))
        await until(gate.started)
        waiting = [asyncio.create_task(worker.run(lambda _: None)) for _ in range(2)]
        await asyncio.sleep(0.01)
        with pytest.raises(QueueFullError, match="2 requests are waiting") as caught:
            await worker.run(lambda _: None)
        assert caught.value.retry_after_s > 0
        gate.may_end.set()
        await asyncio.gather(running, *waiting)

    run(test)


def test_when_to_come_back_follows_from_how_long_jobs_take_and_how_many_wait() -> None:
    async def main() -> None:
        clock = Clock()
        worker = Worker(2, clock)
        worker.start()

        def takes_ten_seconds(job: Job) -> None:
            clock.now += 10.0

        for _ in range(30):
            await worker.run(takes_ten_seconds)
        gate = Gate()
        running = asyncio.create_task(worker.run(gate))
        await until(gate.started)
        waiting = [asyncio.create_task(worker.run(lambda job: job.waited_s)) for _ in range(2)]
        await asyncio.sleep(0.01)
        with pytest.raises(QueueFullError) as caught:
            worker.refuse_if_full()
        assert caught.value.retry_after_s == pytest.approx(20.0, rel=1e-3)
        clock.now += 3.0
        gate.may_end.set()
        assert await asyncio.gather(*waiting) == [3.0, 3.0]
        assert await running == "done"
        assert await worker.drain(5)

    asyncio.run(asyncio.wait_for(main(), 20))


def test_whatever_a_job_raises_the_worker_lives_on() -> None:
    class Odd(BaseException):
        pass

    def raises(job: Job) -> None:
        raise Odd

    async def test(worker: Worker) -> None:
        with pytest.raises(Odd):
            await worker.run(raises)
        assert await worker.run(lambda _: "next") == "next"

    run(test)


def test_a_job_that_is_done_is_not_kept_until_its_deadline() -> None:
    async def test(worker: Worker) -> None:
        def work(job: Job) -> None:
            pass

        kept = weakref.ref(work)
        await worker.run(work, deadline=worker.clock() + 3600)
        del work
        for _ in range(100):
            gc.collect()
            if kept() is None:
                return
            await asyncio.sleep(0.01)
        pytest.fail("it is kept though nothing else came")

    run(test)


def test_a_place_is_kept_for_a_job_that_is_made_ready() -> None:
    async def test(worker: Worker) -> None:
        gate = Gate()
        running = asyncio.create_task(worker.run(gate))
        await until(gate.started)
        with worker.place() as first, worker.place():
            for refused in (worker.refuse_if_full, worker.place().__enter__):
                with pytest.raises(QueueFullError, match="2 requests are waiting"):
                    refused()
            with pytest.raises(QueueFullError):
                await worker.run(lambda _: None)
            waiting = asyncio.create_task(worker.run(lambda _: "kept", place=first))
            await asyncio.sleep(0.01)
            with pytest.raises(QueueFullError):
                worker.refuse_if_full()
        worker.refuse_if_full()  # the place that was not used is free again
        gate.may_end.set()
        assert await waiting == "kept"
        assert await running == "done"

    run(test)


def test_an_idle_worker_takes_one_more_than_may_wait() -> None:
    async def test(worker: Worker) -> None:
        with worker.place(), worker.place(), worker.place() as last:
            with pytest.raises(QueueFullError):
                worker.refuse_if_full()
            assert await worker.run(lambda _: "done", place=last) == "done"

    run(test)


def test_a_deadline_that_passes_in_the_queue_is_told_at_once() -> None:
    async def test(worker: Worker) -> None:
        gate = Gate()
        running = asyncio.create_task(worker.run(gate))
        await until(gate.started)
        with pytest.raises(DeadlineError, match="went by in the queue"):
            await worker.run(lambda _: pytest.fail("it was done"), deadline=worker.clock() + 0.05)
        assert not gate.may_end.is_set()
        assert worker.depth == 0
        gate.may_end.set()
        await running

    run(test)


def test_a_deadline_that_passed_before_the_queue_is_not_said_to_have_passed_in_it() -> None:
    async def test(worker: Worker) -> None:
        gate = Gate()
        running = asyncio.create_task(worker.run(gate))
        await until(gate.started)
        with pytest.raises(DeadlineError, match="the time was up before the request was read"):
            await worker.run(lambda _: pytest.fail("it was done"), deadline=worker.clock() - 0.05)
        gate.may_end.set()
        await running

    run(test)


def test_a_caller_who_goes_away_takes_the_waiting_job_along() -> None:
    async def test(worker: Worker) -> None:
        gate = Gate()
        running = asyncio.create_task(worker.run(gate))
        await until(gate.started)
        waiting = asyncio.create_task(worker.run(lambda _: pytest.fail("it was done")))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert worker.depth == 0
        gate.may_end.set()
        await running

    run(test)


def test_a_job_that_is_cancelled_when_its_turn_comes_harms_nobody() -> None:
    async def main() -> None:
        worker = Worker(2)
        job = worker._enqueue(lambda _: None, None, None)
        job.future.cancel()  # and the loop has not got round to taking it out of the queue
        worker.start()
        assert await asyncio.wait_for(worker.run(lambda _: "done"), 10) == "done"
        await worker.drain(5)

    asyncio.run(main())


def test_work_under_way_learns_that_its_caller_is_gone() -> None:
    async def test(worker: Worker) -> None:
        gate = Gate()
        running = asyncio.create_task(worker.run(gate))
        await until(gate.started)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert gate.job is not None
        with pytest.raises(CancelledError):
            gate.job.refuse_if_gone()
        gate.may_end.set()
        assert await worker.run(lambda _: "next") == "next"

    run(test)


def test_draining_finishes_what_was_accepted_and_takes_no_more() -> None:
    async def test(worker: Worker) -> None:
        gate = Gate()
        running = asyncio.create_task(worker.run(gate))
        await until(gate.started)
        waiting = asyncio.create_task(worker.run(lambda _: "too"))
        await asyncio.sleep(0.01)
        draining = asyncio.create_task(worker.drain(5))
        await asyncio.sleep(0.01)
        with pytest.raises(DrainingError):
            await worker.run(lambda _: None)
        gate.may_end.set()
        assert await running == "done"
        assert await waiting == "too"
        assert await draining

    run(test)


def test_draining_gives_up_in_the_end() -> None:
    async def test(worker: Worker) -> None:
        gate = Gate()
        running = asyncio.create_task(worker.run(gate))
        await until(gate.started)
        assert not await worker.drain(0.05)
        gate.may_end.set()
        await running

    run(test)
