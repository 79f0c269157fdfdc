"""A planning service in a process of its own, on free ports of loopback, as benchmarks and the soak measure it.

`python -m benchmarks._service MODEL [SETTING=JSON …]` runs one until SIGTERM; `service(…)` starts that and stops it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

POINT = "point"
"""The model name of the tests' point world, which answers at once; other names are opened as in `serve`."""

START_S = 300.0  # for a model to be opened and warmed up, on a machine that may be busy
END_S = 300.0  # for a service to end after SIGTERM
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Service:
    """A running service: its process and its two addresses."""

    pid: int
    url: str
    grpc: str

    def address(self, wire: str) -> str:
        """The URL for a client that speaks `wire`, which is rest or grpc."""
        return self.url if wire == "rest" else f"grpc://{self.grpc}"


@contextlib.contextmanager
def service(model: str = POINT, log: Path | None = None, **settings: Any) -> Iterator[Service]:
    """Run a service from when it is ready until the end of the block; what it writes to stderr goes to `log`.

    SIGTERM ends it. Raises RuntimeError where it does not become ready, or ends with another code than 0.
    """
    words = [f"{name}={json.dumps(value)}" for name, value in settings.items()]
    command = [sys.executable, "-m", "benchmarks._service", model, *words]
    with open(log or os.devnull, "wb") as log_file:  # noqa: PTH123 - os.devnull is no place of ours
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log_file, text=True)
        try:
            assert process.stdout is not None
            listening = json.loads(process.stdout.readline() or "null")
            if listening is None:
                raise RuntimeError(f"the service of {model} ended with {process.wait(10)}; see its log")
            started = Service(process.pid, listening["url"], listening["grpc"])
            _wait_until_ready(started.url)
            yield started
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                ended = process.wait(END_S)
            finally:
                process.kill()
    if ended != 0:
        raise RuntimeError(f"the service ended with {ended}")


def open_served(model: str) -> Any:
    """The model that a service of that name serves (`server.model.Served`)."""
    from server.model import Served, open_model

    if model == POINT:
        from tests.planner.worlds import PointWorld

        return Served(world=PointWorld(), name=POINT, version="1")
    return open_model(model)


def _wait_until_ready(url: str) -> None:
    ends_at, reason = time.monotonic() + START_S, "it did not listen"
    while time.monotonic() < ends_at and "failed" not in reason:
        with contextlib.suppress(httpx.TransportError):  # it names its address before it listens there
            answer = httpx.get(url + "/readyz")
            if answer.status_code == 200:
                return
            reason = answer.text
        time.sleep(0.05)
    raise RuntimeError(f"the service did not become ready: {reason}")


def _main(model: str, *words: str) -> None:
    from server.logs import set_up
    from server.run import Listening, Running
    from server.service import PlanningService
    from server.settings import Settings

    settings = {name: json.loads(value) for name, _, value in (word.partition("=") for word in words)}
    set_up("warning", "json")
    made = PlanningService(
        Settings(**{"port": 0, "grpc_port": 0, "model": model, **settings}), partial(open_served, model)
    )

    def tell(where: Listening) -> None:
        print(json.dumps({"url": where.url, "grpc": where.grpc}), flush=True)

    sys.exit(0 if asyncio.run(Running(made).run(tell)) else 1)


if __name__ == "__main__":
    _main(*sys.argv[1:])
