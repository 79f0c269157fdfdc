"""Progress of long work (a bar on a terminal, plain lines elsewhere), and the command line as results record it."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

PLAIN_LINE_EVERY = 10.0  # [s]


def command_line() -> str:
    """The command line of this process, as results record it, quoted so that it can be pasted into a shell."""
    return shlex.join(["vjepa2-ac", *sys.argv[1:]])


class Advance(Protocol):
    """The function to call as work goes on: how much more is done, and optionally a note (a loss, a success rate)."""

    def __call__(self, steps: int = 1, note: str = "") -> None:
        """Count `steps` more as done."""


@contextmanager
def progress(what: str, total: int | None, *, done: int = 0, unit: str = "") -> Iterator[Advance]:
    """Show how far `what` has come out of `total`; `unit="bytes"` shows sizes and speed.

    It is written to stderr, so that what a command prints on stdout can be piped.
    """
    if sys.stderr.isatty():
        with _bar(unit) as bar:
            task = bar.add_task(what, total=total, completed=done, note="")
            yield lambda steps=1, note="": bar.update(task, advance=steps, note=note)
    else:
        lines = _PlainLines(what, total, done, unit)
        yield lines
        lines.finish()


def _bar(unit: str) -> Progress:
    columns = [TextColumn("{task.description}"), BarColumn()]
    if unit == "bytes":
        columns += [DownloadColumn(), TransferSpeedColumn()]
    else:
        columns += [MofNCompleteColumn(), TextColumn(unit)]
    columns += [TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[note]}")]
    return Progress(*columns, console=Console(stderr=True))


class _PlainLines:
    """The same facts as the bar, one line every ten seconds and one at the end."""

    def __init__(self, what: str, total: int | None, done: int, unit: str) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.first = self.done = done
        self.note = ""
        self.started = self.told = time.monotonic()

    def __call__(self, steps: int = 1, note: str = "") -> None:
        self.done += steps
        self.note = note or self.note
        if time.monotonic() - self.told >= PLAIN_LINE_EVERY:
            self.told = time.monotonic()
            self.say()

    def say(self) -> None:
        seconds = time.monotonic() - self.started
        rate = (self.done - self.first) / max(seconds, 1e-9)
        of = f"/{self._amount(self.total)}" if self.total is not None else ""
        left = f", {(self.total - self.done) / rate:.0f} s left" if self.total and rate > 0 else ""
        note = f", {self.note}" if self.note else ""
        speed = f"{rate / 1e6:.1f} MB/s" if self.unit == "bytes" else f"{rate:.1f}/s"
        unit = " MB" if self.unit == "bytes" else self.unit and f" {self.unit}"
        print(
            f"{self.what}: {self._amount(self.done)}{of}{unit} in {seconds:.0f} s ({speed}{left}){note}",
            file=sys.stderr,
        )

    def _amount(self, count: int) -> str:
        return f"{count / 1e6:.1f}" if self.unit == "bytes" else str(count)

    def finish(self) -> None:
        self.say()
