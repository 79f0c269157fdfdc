"""What a planning service refuses, as exceptions with its stable codes; and when asking again is right."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from vjepa2_ac.errors import InputError, VJEPA2ACError

NOTHING_DONE = {"queue_full", "not_ready", "draining", "too_many_kept", "unreachable"}
MAYBE_DONE = {"connection_lost"}
# What no later observation changes: the request itself, who asks it and where, or a session or broker that is gone.
LASTING = {
    "invalid_field", "invalid_input", "malformed_request", "too_large", "unauthenticated", "foreign_origin",
    "not_found", "no_such_route", "method_not_allowed", "closed",
}  # fmt: skip
FIRST_PAUSE_S = 0.1


class PlannerError(VJEPA2ACError):
    """The service refused or failed: a stable `code`, the `field` at fault, the `request_id` in the service's log."""

    def __init__(
        self,
        detail: str,
        *,
        code: str,
        field: str | None = None,
        retry_after_s: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.code, self.field, self.retry_after_s, self.request_id = code, field, retry_after_s, request_id

    @property
    def may_pass(self) -> bool:
        """Whether a robot that holds still and looks again may get an answer; if not, somebody must see to it."""
        return self.code not in LASTING


class PlannerUnavailableError(PlannerError):
    """The service could not be reached, or gave no answer in time."""


def something_else(words: str) -> PlannerUnavailableError:
    """Whatever listens at a service's address, with what it said."""
    return PlannerUnavailableError(f"no planning service answered there, but: {words}", code="not_a_planning_service")


class Attempts:
    """How often and when to ask again within a time-out: only where nothing was done, or doing it twice is harmless."""

    def __init__(
        self, timeout_s: float, retries: int, is_repeatable: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if not math.isfinite(timeout_s):
            raise InputError(f"a call must end: its time-out is a number of seconds, got {timeout_s}")
        self.clock, self.began_at = clock, clock()
        self.ends_at = self.began_at + timeout_s
        self.left, self.is_repeatable = retries, is_repeatable
        self.pause_s = FIRST_PAUSE_S

    @property
    def time_left_s(self) -> float:
        """Until the time-out; never quite 0, which some libraries take for no time-out at all."""
        return max(0.001, self.ends_at - self.clock())

    @property
    def waited_s(self) -> float:
        """Since the call began."""
        return self.clock() - self.began_at

    def pause_after(self, error: PlannerError) -> float:
        """Seconds to wait before asking again; raises the error itself where asking again would be wrong."""
        may_ask = error.code in NOTHING_DONE or (self.is_repeatable and error.code in MAYBE_DONE)
        pause_s = max(self.pause_s, error.retry_after_s or 0.0)
        if not may_ask or self.left <= 0 or pause_s >= self.time_left_s:
            raise error
        self.left -= 1
        self.pause_s *= 2
        return pause_s
