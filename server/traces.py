"""Traces: what happened to each request and how long each stage took, for a collector that speaks OpenTelemetry.

A span is begun at the gate of either wire, as a child of the `traceparent` that the caller sent. Its stages (decode,
queue, encode, search, …) are spans below it, in whichever thread they happen. Unless traces are asked for there is no
span, and a stage costs one look at a context variable. What needs OpenTelemetry itself is in `otlp`, which is imported
only when they are.
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
    """One thing that takes time."""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits, shared by everything that one caller's action led to."""

    def child(self, name: str, began_ns: int | None = None) -> Span:
        """A span within this one, from now on or since `began_ns`."""

    def note(self, attributes: Mapping[str, Value]) -> None:
        """Say something of it."""

    def rename(self, name: str) -> None:
        """Call it something else."""

    def fail(self, code: str, words: str, *, is_ours: bool) -> None:
        """Say how it failed, and whether the service is to blame."""

    def end(self) -> None:
        """It is over."""


class Traces(Protocol):
    """Where spans go."""

    def begin(self, name: str, carrier: Mapping[str, str], attributes: Mapping[str, Value]) -> Span:
        """The span of a request whose headers (or metadata) are `carrier`, keys in lower case."""

    def close(self) -> None:
        """Send what has not been sent yet."""


_current: ContextVar[Span | None] = ContextVar("span", default=None)


def open_traces(asked: bool | None, environment: Mapping[str, str] = os.environ) -> Traces | None:
    """Where spans go, if anybody asks for them. Raises ConfigError where they are asked for and cannot be made."""
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


def enter(span: Span | None) -> None:
    """What follows in this task belongs to `span`."""
    _current.set(span)


def stage(name: str) -> AbstractContextManager[None]:
    """A span around what is done inside, where there are spans at all."""
    outer = _current.get()
    return NOTHING if outer is None else _stage(outer, name)


def past(name: str, seconds: float) -> None:
    """A span for what has just been waited for."""
    outer = _current.get()
    if outer is not None:
        outer.child(name, time.time_ns() - int(seconds * 1e9)).end()


def note(attributes: Mapping[str, Value]) -> None:
    """Say something of the present span."""
    span = _current.get()
    if span is not None:
        span.note(attributes)


def failed(error: BaseException, span: Span | None = None) -> None:
    """Say of a span (the present one, unless named) how it failed, in the words that callers get."""
    span = span or _current.get()
    if span is not None:
        problem = problem_of(error)
        span.fail(problem.row.code, problem.detail, is_ours=problem.row.http >= 500)


def trace_id() -> str | None:
    """Of the present request, for the log."""
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
