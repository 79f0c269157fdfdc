"""A private planning service: started on loopback, ready when it is handed out, ended with its context or process.

It is the same program that a robot would use, `vjepa2-ac serve`, in a process of its own. Its standard input is a pipe
from this process: when that closes, however this process has ended, the service stops.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from planner.limits import LimitsConfig
from sim.evaluate.episode import TOKEN
from vjepa2_ac.client import PlannerClient, PlannerError, PlannerUnavailableError
from vjepa2_ac.files import make_folder, write

PATIENCE_S = 180.0  # for a service to become ready
STOPS_WITHIN_S = 30.0
POLL_S = 0.05


@contextmanager
def planning_service(model: str, limits: LimitsConfig, log: Path, patience_s: float = PATIENCE_S) -> Iterator[str]:
    """The address of a service that is ready to plan with `model` within `limits`; it writes to `log`.

    Raises PlannerUnavailableError with the service's own words where it cannot be brought up.
    """
    make_folder(log.parent)
    write(log, "")  # raises where it cannot be written
    with log.open("a", encoding="utf-8") as written:
        process = subprocess.Popen(
            [*_COMMAND, "--model", model],
            stdin=subprocess.PIPE,
            stdout=written,
            stderr=written,
            env={**_ONE_THREAD, **_environment(), "VJEPA2_AC_LIMITS": json.dumps(asdict(limits))},
            start_new_session=True,  # Ctrl-C is for us; the service is stopped when we are done with it
        )
    try:
        yield _ready(process, log, time.monotonic() + patience_s)
    finally:
        _stop(process)


def served_by(url: str) -> str:
    """Names and versions of the models of a service."""
    with PlannerClient(url, token=os.environ.get(TOKEN)) as client:
        return ", ".join(f"{each['name']} {each['version']}" for each in client.models())


# As in the loop of this process, unless the environment says otherwise: threads of a small model mostly wait.
_ONE_THREAD = {"OMP_NUM_THREADS": "1"}
_WHO_MAY_COME = ("VJEPA2_AC_TOKEN_FILE", "VJEPA2_AC_TLS_")
_COMMAND = (
    *(sys.executable, "-m", "vjepa2_ac.cli", "serve", "--stop-with-stdin"),
    *("--host", "127.0.0.1", "--port", "0", "--no-grpc", "--log-format", "text"),
)


def _environment() -> dict[str, str]:
    """The environment of this process, but for what says who may come: this service is nobody else's."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(_WHO_MAY_COME)}


def _ready(process: subprocess.Popen[bytes], log: Path, until: float) -> str:
    url = None
    while time.monotonic() < until:
        if process.poll() is not None:
            raise _unavailable("the planning service did not start", _last_line(log))
        url = url or _address(log)
        if url is not None and _is_ready(url):
            return url
        time.sleep(POLL_S)
    raise _unavailable("the planning service did not become ready in time", _last_line(log))


def _address(log: Path) -> str | None:
    told = re.search(r"^serving .* at (https?://\S+?);", log.read_text(encoding="utf-8"), re.MULTILINE)
    return told[1] if told else None


def _is_ready(url: str) -> bool:
    with PlannerClient(url, token=os.environ.get(TOKEN), retries=0) as client:
        try:
            (model,) = client.models()
        except PlannerUnavailableError:
            return False
    if model["state"] == "failed":
        raise _unavailable("the planning service has no model", str(model.get("reason", "")))
    return bool(model["state"] == "ready")


def _unavailable(what: str, why: str) -> PlannerError:
    return PlannerUnavailableError(f"{what}: {why.removeprefix('error: ')}", code="unreachable")


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    return lines[-1] if lines else f"it said nothing; see {log}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None  # it was asked for
    process.stdin.close()
    try:
        process.wait(STOPS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
