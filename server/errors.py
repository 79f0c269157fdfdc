"""The errors with which the service refuses requests, and the one table of their codes in REST and gRPC.

The message of such an error is written for the caller. Errors that are not in the table are faults of the service: the
caller gets a request id, the log gets the traceback.
"""

from __future__ import annotations

from dataclasses import dataclass

from vjepa2_ac.errors import (
    CancelledError,
    DeadlineError,
    FieldError,
    InputError,
    NotEnoughMemoryError,
    PlanningError,
    StaleObservationError,
    VJEPA2ACError,
)


class MalformedError(InputError):
    """A request cannot be read at all."""


class TooLargeError(InputError):
    """A request is larger than the service accepts."""


class TooSlowError(VJEPA2ACError):
    """The caller did not send what was due, or take an answer, within the time allowed."""


class UnauthenticatedError(VJEPA2ACError):
    """The caller showed no token, or a wrong one."""


class ForeignOriginError(VJEPA2ACError):
    """A browser asks on behalf of a page whose origin is not allowed."""


class NotFoundError(VJEPA2ACError):
    """There is no goal or session of that name, or it has expired."""


class RetryableError(VJEPA2ACError):
    """Nothing was done; the same request may be sent again after `retry_after_s`."""

    def __init__(self, sentence: str, retry_after_s: float = 1.0) -> None:
        super().__init__(sentence)
        self.retry_after_s = retry_after_s


class QueueFullError(RetryableError):
    """The queue is full: no more requests may wait."""


class TooManyError(RetryableError):
    """No more goals, sessions or streams can be kept."""


class NotReadyError(RetryableError):
    """The model is still loading, could not be loaded, or has lost its device."""


class DrainingError(RetryableError):
    """The service is shutting down."""


@dataclass(frozen=True, slots=True)
class Row:
    """How one kind of error is reported: its stable code, HTTP status, gRPC status, and title."""

    code: str
    http: int
    grpc: str
    title: str


TABLE: dict[type[Exception], Row] = {
    FieldError: Row("invalid_field", 422, "INVALID_ARGUMENT", "A field cannot be used"),
    MalformedError: Row("malformed_request", 400, "INVALID_ARGUMENT", "The request cannot be read"),
    TooLargeError: Row("too_large", 413, "RESOURCE_EXHAUSTED", "The request is too large"),
    TooSlowError: Row("too_slow", 408, "DEADLINE_EXCEEDED", "The caller took too long"),
    UnauthenticatedError: Row("unauthenticated", 401, "UNAUTHENTICATED", "A valid token is needed"),
    ForeignOriginError: Row("foreign_origin", 403, "PERMISSION_DENIED", "Pages of this origin may not ask"),
    NotFoundError: Row("not_found", 404, "NOT_FOUND", "There is nothing of that name"),
    QueueFullError: Row("queue_full", 429, "RESOURCE_EXHAUSTED", "Too many requests are waiting"),
    TooManyError: Row("too_many_kept", 429, "RESOURCE_EXHAUSTED", "No more can be kept"),
    NotReadyError: Row("not_ready", 503, "UNAVAILABLE", "The model is not ready"),
    DrainingError: Row("draining", 503, "UNAVAILABLE", "The service is shutting down"),
    CancelledError: Row("cancelled", 499, "CANCELLED", "The caller went away"),
    DeadlineError: Row("deadline_exceeded", 504, "DEADLINE_EXCEEDED", "There was not enough time for a plan"),
    StaleObservationError: Row("stale_observation", 409, "FAILED_PRECONDITION", "The observation is too old"),
    PlanningError: Row("no_plan", 409, "FAILED_PRECONDITION", "There is no plan that would be safe to follow"),
    NotEnoughMemoryError: Row("out_of_memory", 503, "RESOURCE_EXHAUSTED", "There is not enough memory"),
    InputError: Row("invalid_input", 422, "INVALID_ARGUMENT", "The request cannot be used"),
}
LONGEST = 1000  # [characters] of a message: gRPC carries it in trailers, of which a client takes 8 KiB
FAULT = Row("internal", 500, "INTERNAL", "A fault in the service")


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as it is reported to the caller, the same over REST and gRPC."""

    row: Row
    detail: str
    field: str | None = None
    retry_after_s: float | None = None

    @property
    def is_fault(self) -> bool:
        """Whether it is a fault of the service, whose traceback belongs in the log."""
        return self.row is FAULT


def problem_of(error: BaseException) -> Problem:
    """How `error` is reported to the caller. The message of a fault is not: it stays in the log."""
    row = next((TABLE[kind] for kind in type(error).__mro__ if kind in TABLE), FAULT)
    if row is FAULT:
        return Problem(FAULT, "something went wrong that is not your fault; the log has it under this request id")
    words = str(error)
    detail = words if len(words) <= LONGEST else words[:LONGEST] + "…"
    return Problem(row, detail, getattr(error, "field", None), getattr(error, "retry_after_s", None))
