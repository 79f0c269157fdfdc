"""What all benchmarks share: running as a program, timing, and a result that names machine, commit and command."""

from __future__ import annotations

import argparse
import json
import math
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from vjepa2_ac.errors import VJEPA2ACError

RESULTS = Path(__file__).parent / "results"

Row = Mapping[str, Any]


def run(measure: Callable[[], None]) -> None:
    """Run a benchmark as a program: a VJEPA2ACError is printed as a sentence, and the exit code is 2."""
    try:
        measure()
    except VJEPA2ACError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def count(text: str) -> int:
    """The value of an option that says how many: a whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text}")
    return int(text)


def from_nought(text: str) -> int:
    """The value of an option that counts from 0: a whole number."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 on, got {text}")
    return int(text)


def positive(text: str) -> float:
    """The value of an option that says how long: a finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return number


def publish(name: str, tables: Mapping[str, Sequence[Row]], notes: Mapping[str, Any] | None = None) -> Path:
    """Print the tables and write them to `results/NAME-DATE.json`, so that a later run can be set beside this one."""
    for title, rows in tables.items():
        show(title, rows)
    now = datetime.now(UTC)
    path = RESULTS / f"{name}-{now:%Y-%m-%dT%H%M%SZ}.json"
    path.parent.mkdir(exist_ok=True)
    record = {
        "benchmark": name,
        "date": now.isoformat(timespec="seconds"),
        "commit": commit(),
        "command": shlex.join(["./dev", "bench", name, *sys.argv[1:]]),
        "machine": machine(),
        "notes": dict(notes or {}),
        "tables": {title: [dict(row) for row in rows] for title, rows in tables.items()},
    }
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    Console(stderr=True).print(f"wrote {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    return path


def show(title: str, rows: Sequence[Row]) -> None:
    """The rows as a table on the terminal."""
    table = Table(title=title, title_justify="left")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        table.add_column(column, justify="left" if isinstance(rows[0].get(column), str) else "right")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def machine() -> dict[str, Any]:
    """What the numbers depend on besides the code: processor, cores, memory, accelerator, versions."""
    import psutil
    import torch

    facts: dict[str, Any] = {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load": [round(load, 2) for load in psutil.getloadavg()],
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if torch.cuda.is_available():
        facts["accelerator"] = torch.cuda.get_device_name()
    return facts


def commit() -> str:
    """The commit the code came from, marked where the working tree differs from it."""

    if shutil.which("git") is None:
        return "unknown"

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=RESULTS.parent, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no")
    return (git("rev-parse", "HEAD") or "unknown") + (" with changes" if changed else "")


def timed(work: Any, *, repeats: int = 5, seconds: float = 2.0) -> float:
    """The shortest time [s] of several calls of `work`, after one to warm up; slow work is measured less often."""
    work()
    times: list[float] = []
    while len(times) < repeats and (len(times) < 2 or sum(times) < seconds):
        times.append(seconds_of(work))
    return min(times)


def taking_turns(works: Mapping[str, Any], repeats: int, *, warm_up: bool = True) -> dict[str, list[float]]:
    """The times [s] of each kind of work, repeat by repeat: they take turns, so that a busy machine slows all alike."""
    for work in works.values() if warm_up else ():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            times[name].append(seconds_of(work))
    return times


def ratio(times: Sequence[float], baseline: Sequence[float]) -> float:
    """How many times as long as the baseline it took: the median over repeats that were made side by side."""
    return statistics.median(time / other for time, other in zip(times, baseline, strict=True))


def seconds_of(work: Any) -> float:
    """The time one call takes [s], the accelerator's part included."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.processor()


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)
