"""One move at a time from chunks of moves: the next chunk is fetched while the present one is being made.

A control loop ticks at its own pace and must not wait for a planner. The broker asks for the next chunk ahead of time;
when it arrives, the moves that were made since its picture was taken are skipped. A chunk that comes too late to be of
use is dropped. A loop that has run out of moves waits for a bounded time; then LateError is raised.

A move is an action and the pose it should end in. Where chunks are fetched ahead, follow the poses: actions of one
chunk after those of another add up to a drift, poses do not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self

from vjepa2_ac.client.answers import Array, Plan
from vjepa2_ac.client.errors import PlannerError

Fetch = Callable[[], Plan | None]
"""Takes an observation and returns a plan, or None when there is nothing left to do."""


class Move(NamedTuple):
    """An action [7] and the absolute pose [7] it should end in."""

    action: Array
    target: Array


class LateError(PlannerError):
    """No move is left, and none came in time; the robot should hold still."""


class ChunkBroker:
    """Hands out one move at a time; the next chunk is fetched when only `ahead` moves are left.

    `fetch` runs in its own thread: it takes a picture, reads the pose, and asks a client or a session. A chunk whose
    fetch took longer than `oldest_s` (by default `patience_s`) is dropped, whether moves were made meanwhile or not. So
    is what is left of a chunk when the loop asks for a move that much later than it was due. (A loop slower than the
    plan's `dt_s` falls behind with every move until the next chunk: give it short ones.) When nothing is left to do,
    the remaining moves are dropped.
    """

    def __init__(self, fetch: Fetch, *, ahead: int = 1, patience_s: float = 5.0, oldest_s: float | None = None) -> None:
        self.fetch, self.ahead, self.patience_s = fetch, ahead, patience_s
        self.oldest_s = patience_s if oldest_s is None else oldest_s
        self.plan: Plan | None = None  # of the present chunk
        self.dropped = 0  # chunks that came, or whose moves were asked for, too late
        self._left: list[Move] = []
        self._due_at = 0.0  # [s] for the first of them, at the pace of their chunk from its picture on
        self._since_fetch = 0  # moves handed out since the running fetch began
        self._is_fetching = self._is_done = self._is_closed = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def next(self) -> Move | None:
        """The next move, or None when there is nothing left to do.

        Raises LateError when none came within `patience_s`, or when the broker is closed and none is left. Once no move
        is left, also raises what `fetch` raised.
        """
        with self._changed:
            self._drop_overdue()
            self._fetch_ahead()
            if not self._left and not self._changed.wait_for(self._can_go_on, self.patience_s):
                raise LateError(f"no plan came within {self.patience_s:g} s", code="late")
            if self._left and self.plan:
                self._since_fetch += 1
                self._due_at += self.plan.dt_s
                return self._left.pop(0)
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            if self._is_closed and not self._is_done:
                raise LateError("the broker has been closed, and no move is left", code="closed")
            return None

    def close(self) -> None:
        """Fetch no more. A fetch that is running is left to end, and its answer is ignored."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _can_go_on(self) -> bool:
        if not (self._left or self._error or self._is_done):
            self._fetch_ahead()  # the chunk before came too late
        return bool(self._left or self._error or self._is_done or self._is_closed)

    def _fetch_ahead(self) -> None:
        if self._is_fetching or self._is_done or self._is_closed or self._error or len(self._left) > self.ahead:
            return
        self._is_fetching, self._since_fetch = True, 0
        threading.Thread(target=self._fetch, name="chunk-broker", daemon=True).start()

    def _fetch(self) -> None:
        began_at = time.monotonic()
        try:
            plan, error = self.fetch(), None
        except BaseException as raised:  # it belongs to the control loop
            plan, error = None, raised
        with self._changed:
            self._is_fetching = False
            if self._is_closed:
                return
            self._error = error
            if error is None:
                self._take(plan, began_at)
            self._changed.notify_all()

    def _take(self, plan: Plan | None, began_at: float) -> None:
        if plan is None:
            self._is_done, self._left = True, []
            return
        moves = [Move(action, target) for action, target in zip(plan.actions, plan.targets, strict=True)]
        fresh = moves[self._since_fetch :]
        if not fresh or time.monotonic() - began_at > self.oldest_s:
            self.dropped += 1
            return
        self.plan, self._left = plan, fresh
        self._due_at = began_at + self._since_fetch * plan.dt_s

    def _drop_overdue(self) -> None:
        """A loop that was held up does not go on with what it had: the world has moved on."""
        if self._left and time.monotonic() - self._due_at > self.oldest_s:
            self._left = []
            self.dropped += 1
