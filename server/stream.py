"""Streams of observations that come faster than plans: the newest one wins, and the answer says which one it was.

A camera does not wait. While a plan is searched, each new observation replaces the one that waits, because a plan for
an old picture is worth less than none.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine
from typing import Any

from server import messages as m
from server.errors import DrainingError, NotFoundError, TooManyError, TooSlowError, problem_of
from server.service import PlanningService
from server.traces import stage

Incoming = m.StepRequest | Exception
"""A step request, or the error that answers what came and could not be read as one."""
Arrived = tuple[Incoming, float]
Answer = m.StepResponse | m.StreamProblem


class Newest:
    """Holds one item and the time at which it came [s]; a newer one replaces it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock, self.dropped = clock, 0
        self._item: Arrived | None = None
        self._closed = False
        self._changed = asyncio.Event()

    def put(self, item: Incoming) -> None:
        """Take in an item, in place of one that still waits."""
        self.dropped += self._item is not None
        self._item = item, self.clock()
        self._changed.set()

    def close(self) -> None:
        """Say that nothing more will come."""
        self._closed = True
        self._changed.set()

    async def take(self) -> tuple[Arrived, int] | None:
        """Wait for an item: the newest one and how many it replaced, or None at the end."""
        while self._item is None:
            if self._closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        item, dropped = self._item, self.dropped
        self._item, self.dropped = None, 0
        return item, dropped


async def answer_newest(
    service: PlanningService, session_id: str, requests: AsyncIterable[Incoming]
) -> AsyncGenerator[Answer]:
    """Answer the newest observation of a session, again and again. A bad one gets a problem, and the stream goes on.

    Raises TooManyError at once when too many streams are open, NotFoundError when the session is gone, DrainingError
    when the service shuts down, TooSlowError when nothing comes for as long as sessions are kept, and what `requests`
    raises, even during a search: whoever has hung up wants no answer.
    """
    if service.streams >= service.settings.max_streams:
        raise TooManyError(f"{service.streams} streams are open; no more can be", 5.0)
    newest = Newest(service.clock)
    reader = asyncio.create_task(_read(requests, newest))
    closer = asyncio.create_task(_close_when_draining(service, newest))
    service.streams += 1
    try:
        while (taken := await _next(newest, service.settings.session_idle_s)) is not None:
            (request, arrived_at), dropped = taken
            service.metrics.stale.inc(dropped)
            answer = await _until_hang_up(reader, _answer(service, session_id, request, arrived_at))
            yield answer.model_copy(update={"dropped": dropped})
        if service.draining.is_set():
            raise DrainingError("the service is shutting down; open a session at another one, or again later", 5.0)
        if reader.done() and (error := reader.exception()):
            raise error
    finally:
        service.streams -= 1
        for task in (reader, closer):
            task.cancel()
            with contextlib.suppress(BaseException):
                await task


async def _next(newest: Newest, idle_s: float) -> tuple[Arrived, int] | None:
    """The next item. Raises TooSlowError where none comes within `idle_s`, after which a session would have expired."""
    try:
        async with asyncio.timeout(idle_s):
            return await newest.take()
    except TimeoutError:
        raise TooSlowError(f"nothing came on this stream for {idle_s:g} s") from None


async def _until_hang_up(reader: asyncio.Task[None], answer: Coroutine[Any, Any, Answer]) -> Answer:
    """What `answer` returns, given up when `reader` fails. A caller who merely has no more to send still gets it."""
    answering = asyncio.ensure_future(answer)
    try:
        await asyncio.wait((answering, reader), return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            reader.result()
        return await answering
    finally:
        answering.cancel()


async def _answer(service: PlanningService, session_id: str, request: Incoming, arrived_at: float) -> Answer:
    observation_id = None
    try:
        if isinstance(request, Exception):
            raise request
        observation_id = request.observation.id
        with stage("step"):
            return await service.step(session_id, request, arrived_at=arrived_at)
    except (NotFoundError, DrainingError):
        raise
    except Exception as error:
        problem = problem_of(error)
        if problem.is_fault:
            raise
        return m.StreamProblem(
            code=problem.row.code,
            detail=problem.detail,
            field=problem.field,
            observation_id=observation_id,
            retry_after_s=problem.retry_after_s,
        )


async def _read(requests: AsyncIterable[Incoming], newest: Newest) -> None:
    try:
        async for request in requests:
            newest.put(request)
    finally:
        newest.close()


async def _close_when_draining(service: PlanningService, newest: Newest) -> None:
    await service.draining.wait()
    newest.close()
