"""The worker: one thread that owns the model and serves a short queue.

A model serves one request at a time, so everything that touches it runs in this thread, in the order of arrival. A
request whose deadline passes is refused while it waits, one whose caller is gone is dropped, and when the queue is full
the caller is told at once when to come back. A request has a place in the queue from before its pictures are decoded,
so that no picture is decoded for one that finds the queue full.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, TypeVar

from server.errors import DrainingError, QueueFullError
from vjepa2_ac.errors import CancelledError, DeadlineError

Answer = TypeVar("Answer")
FIRST_GUESS_S = 0.5  # how long a job is expected to take, before any was timed


@dataclass(eq=False)
class Job:
    """A piece of work, its deadline, and whether its caller is gone."""

    work: Callable[[Job], Any]
    queued_at: float
    deadline: float | None
    future: Future[Any] = field(default_factory=Future)
    context: Context = field(default_factory=copy_context)  # whose request it is, for log and traces
    waited_s: float = 0.0
    gone: bool = False

    def refuse_if_gone(self) -> None:
        """Raise CancelledError if the caller is gone; long work calls this between its parts."""
        if self.gone:
            raise CancelledError("the caller went away")


class Place:
    """Room in the queue, reserved for one job."""


class Worker:
    """Runs jobs one after the other in a thread of its own. Times are on `clock` [s]."""

    def __init__(self, queue_size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.queue_size, self.clock = queue_size, clock
        self._waiting: deque[Job] = deque()
        self._kept: set[Place] = set()  # reserved for jobs that are not queued yet
        self._is_idle = True
        self._changed = threading.Condition()
        self._closing = False
        self._usual_s = FIRST_GUESS_S
        self._thread = threading.Thread(target=self._loop, name="planner", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def forget_times(self) -> None:
        """Expect of jobs what was expected before any was timed."""
        self._usual_s = FIRST_GUESS_S

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def depth(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    def refuse_if_full(self) -> None:
        """Raise QueueFullError or DrainingError where a job that came now would be refused."""
        with self._changed:
            self._refuse_if_full()

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Reserve a place for a job while it is prepared; `run` takes it. Raises QueueFullError and DrainingError."""
        place = Place()
        with self._changed:
            self._refuse_if_full()
            self._kept.add(place)
        try:
            yield place
        finally:
            with self._changed:
                self._kept.discard(place)

    async def run(
        self, work: Callable[[Job], Answer], deadline: float | None = None, place: Place | None = None
    ) -> Answer:
        """What `work` returns, run in the worker's thread when its turn comes.

        Raises QueueFullError and DrainingError at once, DeadlineError when the deadline passes before its turn comes.
        If the awaiting task is cancelled, the job leaves the queue; once it runs, `refuse_if_gone` ends it.
        """
        job = self._enqueue(work, deadline, place)
        loop = asyncio.get_running_loop()
        alarm = loop.call_later(deadline - self.clock(), self._expire, job) if deadline is not None else None
        try:
            answer: Answer = await asyncio.wrap_future(job.future)
            return answer
        except asyncio.CancelledError:
            job.gone = True
            self._forget(job)
            raise
        finally:
            if alarm:
                alarm.cancel()

    async def drain(self, patience_s: float) -> bool:
        """Refuse new jobs, finish the accepted ones, and stop; False when that took longer than `patience_s`."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident is None:
            return True
        await asyncio.to_thread(self._thread.join, patience_s)
        return not self.is_alive

    def _enqueue(self, work: Callable[[Job], Any], deadline: float | None, place: Place | None) -> Job:
        with self._changed:
            self._kept.discard(place)
            self._refuse_if_full()
            job = Job(work, self.clock(), deadline)
            self._waiting.append(job)
            self._changed.notify()
            return job

    def _refuse_if_full(self) -> None:
        if self._closing:
            raise DrainingError("the service is shutting down; ask another one, or again later", 5.0)
        ahead = len(self._waiting) + len(self._kept)
        if ahead >= self.queue_size + self._is_idle:  # an idle worker takes one at once, which then does not wait
            after_s = max(0.05, self._usual_s * ahead)
            raise QueueFullError(f"{ahead} requests are waiting already; come back later", after_s)

    def _expire(self, job: Job) -> None:
        if self._forget(job) and not job.future.cancelled():
            waited_ms = 1e3 * (self.clock() - job.queued_at)
            words = f"all {waited_ms:.0f} ms went by in the queue"
            if job.deadline is not None and job.deadline <= job.queued_at:
                words = "the time was up before the request was read and its pictures were decoded"
            job.future.set_exception(DeadlineError(f"not one iteration was finished: {words}"))

    def _forget(self, job: Job) -> bool:
        """Take a job out of the queue; False when it is not there any more."""
        with self._changed:
            if job not in self._waiting:
                return False
            self._waiting.remove(job)
            return True

    def _loop(self) -> None:
        while (job := self._next()) is not None:
            started = self.clock()
            job.waited_s = started - job.queued_at
            try:
                job.refuse_if_gone()
                answer, error = job.context.run(job.work, job), None
            except BaseException as raised:  # any error goes to the caller; this thread must live on
                answer, error = None, raised
            self._usual_s += 0.3 * (self.clock() - started - self._usual_s)
            if job.future.cancelled():
                continue
            if error is None:
                job.future.set_result(answer)
            else:
                job.future.set_exception(error)
            del job, answer, error

    def _next(self) -> Job | None:
        with self._changed:
            self._is_idle = True
            while not self._waiting:
                if self._closing:
                    return None
                self._changed.wait()
            job, self._is_idle = self._waiting.popleft(), False
            job.future.set_running_or_notify_cancel()
            return job
