"""`./dev bench server`: whole requests against bare plans, saturation, and memory after thousands of requests.

A real service in a process of its own is sent requests over loopback, on the processors that this process has. The
bare plan is the same search in this process, with the same inputs and seed. Both take turns, so that they see the same
machine, and the actions must be equal to the last bit. On a machine that is busy with other work, times by the clock
mean little; the processor time of each process hardly depends on that work, and is reported beside them.

`--model point` (the default) is the tests' point world, whose plans take milliseconds, so that overhead shows;
`--model default`, or any other, is a real one. `--requests` says how many requests are timed for each protocol and
number of clients, `--memory` how many are sent from the first reading of memory to the last.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import psutil

from benchmarks._result import Row, count, from_nought, positive, publish, run
from benchmarks._service import POINT, Service, open_served, service
from planner.plan import Plan as BarePlan
from planner.planning import Planner, Request
from server.messages import PlanOptions
from server.options import planner_config
from server.settings import Settings
from vjepa2_ac.client import Options, Plan, PlannerClient, PlannerError

WIRES = ("rest", "grpc")
CLIENTS = (1, 4, 16)
SIDE = 256  # [pixels]
POSE = (0.4, 0.0, 0.3, 3.14, 0.0, 0.0, 0.0)
QUICK: Options = {"preset": "fast", "samples": 64, "iterations": 3}
STAGES = ("queue", "decode", "goal", "encode", "search", "safety")
CROWDS = (4, 8, 16, 32)  # callers of a service where 4 may wait
PATIENCE = {"as told": None, "after 10 ms": 0.01}  # [s] until refused callers ask again; None: as the refusal says
WARM_UP = 20  # requests that are not counted
FILL = 1000  # requests before memory is first read: until then caches fill


def main() -> None:
    options = argparse.ArgumentParser(prog="./dev bench server")
    options.add_argument("--model", default=POINT)
    options.add_argument("--requests", type=count, default=300, help="of each wire and number of clients")
    options.add_argument("--memory", type=from_nought, default=10_000, help="requests between the readings of memory")
    options.add_argument("--seconds", type=positive, default=5.0, help="of saturation, for each crowd and wire")
    asked = options.parse_args()
    plan_bare = bare_planner(asked.model)
    with service(asked.model) as running:
        tables: dict[str, list[Row]] = latencies(running, plan_bare, asked.requests)
        tables["memory"] = memory(running, asked.memory) if asked.memory else []
    with service(asked.model, queue_size=4) as running:
        tables["saturation: 4 may wait, the refused ask again"] = [
            saturation(running, wire, crowd, again, asked.seconds)
            for wire in WIRES
            for crowd in CROWDS
            for again in (PATIENCE if crowd > CROWDS[0] else ["as told"])
        ]
    publish("server", {title: rows for title, rows in tables.items() if rows}, {"model": asked.model, "options": QUICK})


def picture(seed: int = 0) -> bytes:
    """A JPEG of 256 x 256 pixels with as much detail as a camera's."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    fine = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) + rng.normal(0, 4, (SIDE, SIDE, 3))
    return bytes(cv2.imencode(".jpg", np.clip(fine, 0, 255).astype(np.uint8))[1])


def frame_of(data: bytes) -> Any:
    """The picture as the service sees it, [H, W, 3] RGB."""
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


OBSERVED, WANTED = picture(1), picture(2)


def bare_planner(model: str) -> Callable[[int], BarePlan]:
    """The least work behind a request, as a function of the seed: encode the picture, and search for a known goal."""
    world = open_served(model).world
    config = planner_config(PlanOptions(**QUICK), Settings(model=model))
    frame_HW3, goal_ND = frame_of(OBSERVED), world.encode(frame_of(WANTED))[0]

    def plan(seed: int) -> BarePlan:
        latents_ND = world.encode(frame_HW3)[0]
        request = Request(latents_ND=latents_ND, pose=np.array(POSE), goal_ND=goal_ND, seed=seed)
        return Planner(world, config).plan(request)

    return plan


# --- latency ---------------------------------------------------------------------------------------------------------


@dataclass
class Taken:
    """What callers saw: seconds of each answer, its stages, and how often they were refused."""

    whole_s: list[float] = field(default_factory=list)
    stages_ms: list[dict[str, float]] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)
    wall_s: float = 0.0
    service_s: float = 0.0  # of the processor, in the service's process
    client_s: float = 0.0  # of the processor, in this one

    def ask(self, client: PlannerClient, seed: int) -> Plan | PlannerError:
        """One request: its answer, or its refusal."""
        started = time.perf_counter()
        try:
            plan = client.plan(OBSERVED, POSE, WANTED, seed=seed, **QUICK)
        except PlannerError as error:
            self.refused_s.append(time.perf_counter() - started)
            self.codes[error.code] += 1
            return error
        self.whole_s.append(time.perf_counter() - started)
        self.stages_ms.append(plan.timings_ms)
        return plan


def latencies(running: Service, plan_bare: Callable[[int], BarePlan], requests: int) -> dict[str, list[Row]]:
    """Whole requests at several numbers of clients, and the stages they went through."""
    alone, bare, empty_s = in_turns(running, plan_bare, requests)
    taken = {(wire, 1): alone[wire] for wire in WIRES}
    for clients in CLIENTS[1:]:
        for wire in WIRES:
            taken[wire, clients] = at_once(running, wire, clients, most=requests)
    return {
        "whole requests [ms]": [
            whole_row("none: the bare plan", 1, bare, bare),
            *(whole_row(wire, clients, each, bare) for (wire, clients), each in taken.items()),
        ],
        "where the time goes, medians [ms]": [
            stage_row(wire, clients, each, empty_s[wire]) for (wire, clients), each in taken.items()
        ],
    }


def in_turns(
    running: Service, plan_bare: Callable[[int], BarePlan], requests: int
) -> tuple[dict[str, Taken], Taken, dict[str, list[float]]]:
    """What bare plans, the same plans over each protocol, and calls that do nothing [s] take, all in turns."""
    taken, bare = {wire: Taken() for wire in WIRES}, Taken()
    empty_s: dict[str, list[float]] = {wire: [] for wire in WIRES}
    with connected(running, *WIRES) as clients:
        for seed in range(-WARM_UP, requests):  # the first of them are not counted
            with measured(bare if seed >= 0 else Taken(), running):
                plan = plan_bare(max(0, seed))
            for wire, client in zip(WIRES, clients, strict=True):
                into = taken[wire] if seed >= 0 else Taken()
                with measured(into, running, is_whole=False):
                    served = into.ask(client, max(0, seed))
                if isinstance(served, PlannerError) or not np.array_equal(served.actions, plan.actions_H7):
                    raise SystemExit(f"{wire} answers another plan than the bare planner with seed {seed}")
                started = time.perf_counter()
                client.models()
                empty_s[wire].append(time.perf_counter() - started)
    return taken, bare, empty_s


@contextmanager
def measured(taken: Taken, running: Service, *, is_whole: bool = True) -> Iterator[None]:
    """Add to `taken` the processor time of both processes in the block, and if it `is_whole` its time by the clock."""
    process = psutil.Process(running.pid)
    service, client, started = _processor_s(process), time.process_time(), time.perf_counter()
    yield
    if is_whole:
        taken.whole_s.append(time.perf_counter() - started)
    taken.client_s += time.process_time() - client
    taken.service_s += _processor_s(process) - service


def _processor_s(process: psutil.Process) -> float:
    """Processor time of all threads [s]; the kernel counts hundredths: only sums over many requests mean something."""
    times = process.cpu_times()
    return float(times.user + times.system)


def at_once(
    running: Service,
    wire: str,
    clients: int,
    *,
    most: int | None = None,
    seconds: float | None = None,
    patience_s: float | None = None,
) -> Taken:
    """What callers see who each ask again as soon as they are answered, for `most` requests or for `seconds`.

    A caller who is refused waits as long as the refusal says, or for `patience_s`.
    """
    taken, numbers = Taken(), iter(range(10**9))
    ends_at = time.perf_counter() + (seconds or 1e9)
    started = threading.Barrier(clients + 1)

    def call() -> None:
        with connected(running, wire) as (client,):
            client.models()
            started.wait()
            while time.perf_counter() < ends_at and (seed := next(numbers)) < (most or 10**9):
                answer = taken.ask(client, seed)
                if isinstance(answer, PlannerError):
                    time.sleep(patience_s or answer.retry_after_s or 0.0)

    threads = [threading.Thread(target=call) for _ in range(clients)]
    for thread in threads:
        thread.start()
    started.wait()
    with measured(taken, running, is_whole=False):
        begun = time.perf_counter()
        for thread in threads:
            thread.join()
        taken.wall_s = time.perf_counter() - begun
    return taken


def whole_row(wire: str, clients: int, taken: Taken, bare: Taken) -> Row:
    """Percentiles, and what an answer costs beyond the bare plan.

    "Over" is by the median for one client, and by the answers a second for several. "Over" by the processor counts both
    processes: all that a request costs this machine beyond the plan.
    """
    answers = len(taken.whole_s)
    each_ms = 1e3 * (float(np.median(taken.whole_s)) if clients == 1 else taken.wall_s / answers)
    processor_ms = 1e3 * (taken.service_s + taken.client_s) / answers
    return {
        "wire": wire,
        "clients": clients,
        "requests": answers,
        **spread(taken.whole_s),
        "answers/s": round(1e3 / each_ms, 1),
        "over": None if taken is bare else round(each_ms - spread(bare.whole_s)["p50"], 2),
        "processor ms: service": round(1e3 * taken.service_s / answers, 2),
        "client": round(1e3 * taken.client_s / answers, 2),
        "over by processor": (
            None if taken is bare else round(processor_ms - 1e3 * bare.client_s / len(bare.whole_s), 2)
        ),
    }


def stage_row(wire: str, clients: int, taken: Taken, empty_s: list[float]) -> Row:
    """Medians of the stages that answers report, and of what is left: reading, writing, the protocol and the client."""
    whole_ms = 1e3 * np.array(taken.whole_s)
    totals = np.array([stages["total"] for stages in taken.stages_ms])
    medians = {name: float(np.median([stages[name] for stages in taken.stages_ms])) for name in STAGES}
    return {
        "wire": wire,
        "clients": clients,
        "whole": round(float(np.median(whole_ms)), 2),
        **{name: round(value, 2) for name, value in medians.items()},
        "wire and client": round(float(np.median(whole_ms - totals)), 2),
        "a call that does nothing": round(1e3 * float(np.median(empty_s)), 2) if clients == 1 else None,
    }


# --- saturation and memory -------------------------------------------------------------------------------------------


def saturation(running: Service, wire: str, crowd: int, again: str, seconds: float) -> Row:
    """More callers than may wait: who is answered, who is refused, how quickly, and what that costs the service."""
    taken = at_once(running, wire, crowd, seconds=seconds, patience_s=PATIENCE[again])
    others = {code: count for code, count in taken.codes.items() if code != "queue_full"}
    return {
        "wire": wire,
        "callers": crowd,
        "the refused ask again": again,
        "answers/s": round(len(taken.whole_s) / taken.wall_s, 1),
        **{f"answer {name}": value for name, value in spread(taken.whole_s).items()},
        "refused": f"{100 * taken.codes['queue_full'] / (len(taken.whole_s) + sum(taken.codes.values())):.0f} %",
        "refusal p50": spread(taken.refused_s)["p50"] if taken.refused_s else None,
        "refusals/s": round(len(taken.refused_s) / taken.wall_s, 1),
        "processor: service": round(taken.service_s / taken.wall_s, 2),
        "clients": round(taken.client_s / taken.wall_s, 2),
        "other refusals": str(others or "none"),
    }


def memory(running: Service, requests: int, parts: int = 4) -> list[Row]:
    """What the service holds after more and more requests, over both wires in turn, with ever new goals."""
    process, rows, number = psutil.Process(running.pid), list[Row](), -FILL
    with connected(running, *WIRES) as clients:
        for upto in range(0, requests + 1, max(1, requests // parts)):
            while number < upto:
                goal = picture(abs(number)) if number % 10 == 0 else WANTED
                clients[number % 2].plan(OBSERVED, POSE, goal, preset="fast", samples=8, iterations=1)
                number += 1
            rows.append(
                {
                    "requests": upto,
                    "RSS MiB": round(process.memory_info().rss / 2**20, 1),
                    "open files": process.num_fds(),
                    "threads": process.num_threads(),
                }
            )
    return rows


@contextmanager
def connected(running: Service, *wires: str) -> Iterator[list[PlannerClient]]:
    """A client for each protocol, without retries."""
    with ExitStack() as stack:
        yield [stack.enter_context(PlannerClient(running.address(wire), retries=0, timeout_s=60)) for wire in wires]


def spread(seconds: list[float]) -> dict[str, float]:
    """The 50th, 95th and 99th percentile [ms]; NaN without any values."""
    if not seconds:
        return dict.fromkeys(("p50", "p95", "p99"), float("nan"))
    values = np.percentile(1e3 * np.array(seconds), (50, 95, 99)).round(2).tolist()
    return dict(zip(("p50", "p95", "p99"), values, strict=True))


if __name__ == "__main__":
    run(main)
