"""Checks what a request brings, before it waits for its turn: poses, pictures, candidates, deadlines.

Pictures are decoded and candidates checked in threads, so that the event loop stays free for others.

Times are on `clock` [s] unless they end in _ms.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial

from planner import checks
from server import messages as m
from server import traces
from server.logs import request_id
from server.settings import Settings
from vjepa2_ac.pictures import Picture, decode
from vjepa2_ac.poses import Array

head_came_at: ContextVar[float | None] = ContextVar("head_came_at", default=None)
"""When the head of the current request arrived [s], by time.monotonic; its body with the pictures may arrive later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """An observation that has been checked, with its picture decoded."""

    picture: Picture
    pose: Array
    commanded: Array | None
    taken_at: float | None
    id: str | None
    request_id: str
    arrived_at: float
    decode_ms: float


class Intake:
    """Checks observations, pictures, candidates and deadlines of requests, and decodes the pictures."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self.settings, self.clock = settings, clock
        self._threads = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode")

    def arrival(self) -> float:
        """When the head of the current request came; the age of its observation and its deadline count from then."""
        began = head_came_at.get()
        return self.clock() - (0.0 if began is None else time.monotonic() - began)

    async def observe(
        self, observation: m.Observation, arrived_at: float | None = None, *, kept_near: bool = False
    ) -> Observed:
        """A checked observation, which arrived just now or at `arrived_at`. Raises FieldError.

        A commanded pose far from the hand is refused, unless `kept_near` says that the session will keep it near.
        """
        started = self.clock()
        arrived_at = started if arrived_at is None else arrived_at
        limits, margin = self.settings.limits, self.settings.workspace_margin
        pose = checks.check_pose(observation.pose, "observation.pose", limits, margin)
        commanded = None
        if observation.commanded is not None:
            commanded = checks.check_pose(observation.commanded, "observation.commanded", limits, margin)
            if not kept_near:
                checks.check_near(commanded, pose, "observation.commanded", limits)
        picture = await self.decode(observation.picture, "observation.picture")
        return Observed(
            picture=picture,
            pose=pose,
            commanded=commanded,
            taken_at=None if observation.age_ms is None else arrived_at - observation.age_ms / 1e3,
            id=observation.id,
            request_id=request_id.get(),
            arrived_at=arrived_at,
            decode_ms=1e3 * (self.clock() - started),
        )

    async def decode(self, data: bytes, field: str) -> Picture:
        """The picture of a PNG or JPEG that came in `field`. Raises FieldError."""
        loop = asyncio.get_running_loop()
        with traces.stage("decode"):
            return await loop.run_in_executor(self._threads, decode, data, field, self.settings.max_picture_side)

    async def candidates(self, candidates: list[list[m.Vector]], most: int) -> Array:
        """Checked action sequences [S, H, 7], of at most `most` steps in all. Raises FieldError."""
        check = partial(checks.check_candidates, candidates, "candidates", self.settings.max_horizon, most)
        return await asyncio.get_running_loop().run_in_executor(self._threads, check)

    def deadline(
        self, deadline_ms: float | None, time_left_s: float | None, arrived_at: float | None = None
    ) -> float | None:
        """The earlier of the caller's deadline, counted from arrival, and the gRPC call's own; None without either."""
        now, ends = self.clock(), []
        if deadline_ms is not None:
            ends.append((now if arrived_at is None else arrived_at) + deadline_ms / 1e3)
        if time_left_s is not None:
            ends.append(now + time_left_s)
        return min(ends, default=None)

    def close(self) -> None:
        """Take in nothing more to decode or check."""
        self._threads.shutdown(wait=False)
