"""The log on stderr: JSON lines for machines, each with the id of its request, or text lines for people."""

from __future__ import annotations

import contextvars
import json
import logging
import re
import sys
import uuid
from datetime import UTC, datetime
from typing import Any, Literal

from server.traces import trace_id

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")

_OURS = ("server", "planner", "vjepa2_ac")
_OTHERS = ("uvicorn", "uvicorn.error", "asyncio", "grpc", "python_multipart", "opentelemetry")
LOGGERS = _OURS + _OTHERS  # whose records are written here
_PLAIN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
# uvicorn logs this of each WebSocket that was refused with an answer, although the refusal has a line of its own.
_UNTRUE = "ASGI callable returned without completing handshake."
_SAFE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def new_request_id(given: str | None = None) -> str:
    """The caller's own id where it is safe to repeat, else a new one."""
    return given if given and _SAFE_ID.fullmatch(given) else uuid.uuid4().hex


def set_up(level: str, form: Literal["auto", "json", "text"]) -> None:
    """Send our log, and the warnings of uvicorn and other libraries, to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    wants_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler.setFormatter(TextLines() if wants_text else JSONLines())
    handler.addFilter(lambda record: record.msg != _UNTRUE)
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level.upper() if name in _OURS else "WARNING")


class JSONLines(logging.Formatter):
    """Formats each record as one JSON object on a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        if found := request_id.get():
            line["request_id"] = found
        if traced := trace_id():
            line["trace_id"] = traced
        line |= _extra(record)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextLines(logging.Formatter):
    """Formats each record as text: time, level, message, extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        clock = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        extra = " ".join(f"{key}={value}" for key, value in _extra(record).items())
        words = _in_one_line(f"{clock} {record.levelname.lower():7} {record.getMessage()}  {extra}".rstrip())
        return f"{words}\n{self.formatException(record.exc_info)}" if record.exc_info else words


def _in_one_line(text: str) -> str:
    """The text with control characters escaped: paths come from callers, and could forge lines or steer a terminal."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _PLAIN}
