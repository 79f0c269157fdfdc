"""Traces: a span for each request and for each of its stages, for a collector that speaks OpenTelemetry.

A request's span begins at the gate of its protocol, as a child of the `traceparent` that the caller sent. Its stages
(decode, queue, encode, search, …) are spans below it, in whichever thread they happen. Unless traces are asked for
there are no spans, and a stage costs one read of a context variable. What needs OpenTelemetry itself is in `otlp`,
which is imported only when traces are asked for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Protocol

from server.errors import problem_of
from vjepa2_ac.errors import ConfigError

Value = str | int | float | bool
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
NOTHING: AbstractContextManager[None] = nullcontext()


class Span(Protocol):
    """A request or one of its stages, from beginning to end."""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits, shared by everything that one caller's action led to."""

    def child(self, name: str, began_ns: int | None = None) -> Span:
        """A span within this one, from now on or since `began_ns`."""

    def note(self, attributes: Mapping[str, Value]) -> None:
        """Add attributes."""

    def rename(self, name: str) -> None:
        """Give it another name."""

    def fail(self, code: str, words: str, *, is_ours: bool) -> None:
        """Record its failure by code and message, and whether the service is to blame."""

    def end(self) -> None:
        """End it now."""


class Traces(Protocol):
    """Begins the spans of requests, and sends them to a collector."""

    def begin(self, name: str, carrier: Mapping[str, str], attributes: Mapping[str, Value]) -> Span:
        """The span of a request whose headers (or metadata) are `carrier`, keys in lower case."""

    def close(self) -> None:
        """Send the spans that have not been sent yet."""


_current: ContextVar[Span | None] = ContextVar("span", default=None)


def open_traces(asked: bool | None, environment: Mapping[str, str] = os.environ) -> Traces | None:
    """Traces, if `asked` or, where that is None, the environment wants them; else None.

    Raises ConfigError where they are wanted and cannot be made.
    """
    if not (wanted(environment) if asked is None else asked):
        return None
    try:
        from server.otlp import open_otlp
    except ImportError as error:
        raise ConfigError(
            f"traces are asked for, but {error.name} is not installed; install vjepa2-ac[telemetry], or say --no-traces"
        ) from None
    return open_otlp(environment)


def wanted(environment: Mapping[str, str]) -> bool:
    """Whether the standard variables of OpenTelemetry ask for traces by OTLP."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = environment.get("OTEL_TRACES_EXPORTER", "").strip()
    if exporters:
        return "otlp" in [name.strip().lower() for name in exporters.split(",")]
    return any(environment.get(name, "").strip() for name in ENDPOINTS)


def set_current_span(span: Span | None) -> None:
    """Make `span` the current one of this task: what follows belongs to it."""
    _current.set(span)


def stage(name: str) -> AbstractContextManager[None]:
    """A context that traces its block as a span below the current one; without a current span it does nothing."""
    outer = _current.get()
    return NOTHING if outer is None else _stage(outer, name)


def add_wait(name: str, seconds: float) -> None:
    """Add a span for a wait of so many seconds that ends now."""
    outer = _current.get()
    if outer is not None:
        outer.child(name, time.time_ns() - int(seconds * 1e9)).end()


def note(attributes: Mapping[str, Value]) -> None:
    """Add attributes to the current span, if there is one."""
    span = _current.get()
    if span is not None:
        span.note(attributes)


def failed(error: BaseException, span: Span | None = None) -> None:
    """Record on a span (the current one, unless named) how it failed, with the code and message that callers get."""
    span = span or _current.get()
    if span is not None:
        problem = problem_of(error)
        span.fail(problem.row.code, problem.detail, is_ours=problem.row.http >= 500)


def trace_id() -> str | None:
    """The trace id of the current request, for the log; None if it is not traced."""
    span = _current.get()
    return None if span is None else span.trace_id


@contextmanager
def _stage(outer: Span, name: str) -> Iterator[None]:
    span = outer.child(name)
    token = _current.set(span)
    try:
        yield
    except BaseException as error:
        failed(error, span)
        raise
    finally:
        _current.reset(token)
        span.end()
