"""`./dev bench soak [--minutes 10]`: a service among callers who behave badly, and whether anything leaks or is wrong.

Callers plan over both protocols, send nonsense, hang up in the middle of a request or before its answer, read and
write a few bytes at a time, cancel calls and streams, and open sessions that they forget. Plans, whole sessions and
rollouts are compared with the known right ones: the same inputs and seed must give the same actions, whatever goes on
around them. Afterwards, when all is quiet and what was abandoned has expired, the service must be as it was before:
memory, open files, threads, tasks, sessions, goals, streams. Exits with 1 where anything was wrong.

The world is the tests' point world, so that a minute is thousands of requests. `--seed` repeats the callers' choices.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import re
import socket
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import psutil
import websockets

from benchmarks._result import Row, positive, publish, run
from benchmarks._service import POINT, Service, service
from tests.planner.worlds import HOME, moved
from tests.server import pictures
from vjepa2_ac.client import AsyncPlannerClient, PlannerError, PlannerUnavailableError
from vjepa2_ac.client.rpc import refusal_of
from vjepa2_ac.pb import planning_pb2 as pb
from vjepa2_ac.pb import planning_pb2_grpc
from vjepa2_ac.wire import to_message

WIRES = ("rest", "grpc")
CALLERS = 8
IDLE_S = 10.0  # after which sessions and goals expire, and connections on which nothing comes are closed
SETTINGS = {
    "queue_size": 6,
    "session_idle_s": IDLE_S,
    "goal_idle_s": IDLE_S,
    "idle_connection_s": IDLE_S,
    "max_sessions": 32,
}
PIECE = 400  # [bytes] that slow callers send at once
BUSY = {"queue_full", "too_many_kept", "cancelled", "deadline_exceeded"}  # refusals that are right where others ask too
OPTIONS = {"preset": "fast", "samples": 16, "iterations": 2}
GOALS = [moved(0.04, 0.0, 0.0), moved(0.0, 0.05, 0.02), moved(-0.03, 0.02, 0.0), moved(0.02, -0.05, 0.05)]
SEEDS = range(4)
SHARE = 0.2  # of the time, after which memory is read for the first time
ROOM_MIB, ROOM_FILES = 24.0, 4  # by which the service may have grown


def main() -> None:
    options = argparse.ArgumentParser(prog="./dev bench soak")
    options.add_argument("--minutes", type=positive, default=10.0)
    options.add_argument("--seed", type=int, default=0)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "service.log"
        with service(POINT, log, **SETTINGS) as running:
            soak = Soak(running, asked.seed)
            readings = asyncio.run(soak.run(60 * asked.minutes))
            wrong = soak.wrong + leaks(readings) + faults(running.url)
            wrong += [fault(line) for line in log.read_text().splitlines() if "traceback" in line.lower()]
            rows = [{"what": what, "times": count} for what, count in sorted(soak.did.items())]
            publish("soak", {"what callers did, and what came of it": rows, "the service": readings}, {"wrong": wrong})
    print(f"{len(wrong)} things were wrong" + ("; the first 20:" if len(wrong) > 20 else ""))
    for each in wrong[:20]:
        print(f"WRONG: {each[:400]}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


def fault(line: str) -> str:
    """What a line of the service's log says went wrong, without the places in the code."""
    try:
        record = json.loads(line)
        return f"logged: {record['message']}: {record['traceback'].strip().splitlines()[-1]}"
    except (ValueError, KeyError):
        return f"logged: {line}"


def faults(url: str) -> list[str]:
    """Requests that the service itself counts as its faults, in words."""
    counted = re.findall(
        r'^vjepa2_ac_requests_total\{(.*code="(?:5\d\d|INTERNAL|UNKNOWN)".*)\} ', _metrics(url), re.MULTILINE
    )
    return [f"the service counts faults of {labels}" for labels in counted if 'code="504"' not in labels]


def _metrics(url: str) -> str:
    return httpx.get(url + "/metrics", timeout=60).text


def leaks(readings: list[Row]) -> list[str]:
    """What has grown in the service between the first reading and the last, beyond the room for it, in words."""
    first, last = readings[0], readings[-1]
    room = {"RSS MiB": ROOM_MIB, "open files": ROOM_FILES}
    grown = [name for name in first if name != "when" and last[name] > first[name] + room.get(name, 0.0)]
    return [f"{name} grew from {first[name]} to {last[name]}" for name in grown]


class Soak:
    """The callers, what they did, and what was wrong."""

    def __init__(self, running: Service, seed: int) -> None:
        self.running, self.random = running, random.Random(seed)
        self.did: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.right: dict[tuple[int, int], Any] = {}  # actions by goal and seed
        self.tours: dict[int, list[Any]] = {}  # actions of whole sessions by goal
        self.clients: dict[str, AsyncPlannerClient] = {}
        self.behaviours: dict[str, tuple[float, Callable[[str], Awaitable[None]]]] = {
            "plan": (8, self.plan),
            "plan by another connection": (2, self.plan_once),
            "session to its end": (1, self.session),
            "session abandoned": (1, self.abandon),
            "goal registered and left": (1, self.register),
            "nonsense": (4, self.nonsense),
            "hang up within a request": (2, self.hang_up_early),
            "hang up before the answer": (2, self.hang_up_late),
            "a few bytes at a time": (1, self.slowly),
            "call cancelled": (2, self.cancel),
            "stream broken off": (2, self.stream),
            "metrics, health": (1, self.look),
        }

    async def run(self, seconds: float) -> list[Row]:
        """The service's state after warming up, in between, and when all is quiet again."""
        self.clients = {wire: self._client(wire) for wire in WIRES}
        await self._learn()
        await self._callers(time.monotonic() + SHARE * seconds)
        readings = [await self._quiet("after warming up")]
        ends_at = time.monotonic() + (1 - SHARE) * seconds  # however short: one reading alone tells of no leak
        while time.monotonic() < ends_at:
            await self._callers(min(ends_at, time.monotonic() + max(30.0, seconds / 4)))
            readings.append(await self._quiet(f"after {sum(self.did.values())} deeds"))
        for client in self.clients.values():
            await client.close()
        return readings

    def _client(self, wire: str) -> AsyncPlannerClient:
        return AsyncPlannerClient(self.running.address(wire), retries=0, timeout_s=120)

    async def _learn(self) -> None:
        """The right answers, from a service that is doing nothing else; both wires must agree."""
        for goal in range(len(GOALS)):
            for seed in SEEDS:
                plans = [await self._ask(wire, goal, seed) for wire in WIRES]
                if not np.array_equal(plans[0].actions, plans[1].actions):
                    self.wrong.append("the wires disagree on an idle service")
                self.right[goal, seed] = plans[0].actions
            self.tours[goal] = await self._tour("rest", goal)

    async def _callers(self, ends_at: float) -> None:
        names = list(self.behaviours)
        weights = [weight for weight, _ in self.behaviours.values()]

        async def caller() -> None:
            while time.monotonic() < ends_at:
                name, wire = self.random.choices(names, weights)[0], self.random.choice(WIRES)
                try:
                    await self.behaviours[name][1](wire)
                    self.did[name] += 1
                except PlannerError as error:
                    self.did[f"{name}: {error.code}"] += 1
                    if error.code not in BUSY:
                        self.wrong.append(f"{name} over {wire}: {error.code}: {error}")
                except Exception as error:
                    self.wrong.append(f"{name} over {wire}: {type(error).__name__}: {error}")

        await asyncio.gather(*(caller() for _ in range(CALLERS)))

    async def _quiet(self, when: str) -> Row:
        """How the service is once everything abandoned has expired."""
        await asyncio.sleep(IDLE_S + 3.0)
        process = psutil.Process(self.running.pid)
        async with httpx.AsyncClient(timeout=60) as http:
            text = (await http.get(self.running.url + "/metrics")).text
        kept = {
            name: int(float(line.split()[1]))
            for name in ("tasks", "streams", "sessions", "goals", "queue_depth")
            for line in text.splitlines()
            if line.startswith(f"vjepa2_ac_{name} ")
        }
        await asyncio.sleep(0.5)
        return {
            "when": when,
            "RSS MiB": round(process.memory_info().rss / 2**20, 1),
            "open files": process.num_fds(),
            "threads": process.num_threads(),
            **kept,
        }

    # --- callers who behave ------------------------------------------------------------------------------------------

    async def _ask(self, wire: str, goal: int, seed: int, client: AsyncPlannerClient | None = None) -> Any:
        frames = pictures.of(HOME), pictures.of(GOALS[goal])
        return await (client or self.clients[wire]).plan(frames[0], HOME, frames[1], seed=seed, **OPTIONS)  # type: ignore[arg-type]

    async def plan(self, wire: str, client: AsyncPlannerClient | None = None) -> None:
        """A plan that must be the known one."""
        goal, seed = self.random.randrange(len(GOALS)), self.random.choice(SEEDS)
        plan = await self._ask(wire, goal, seed, client)
        self._compare(plan.actions, self.right[goal, seed], f"a plan over {wire}")

    async def plan_once(self, wire: str) -> None:
        """A plan that must be the known one, over a connection of its own."""
        async with self._client(wire) as client:
            await self.plan(wire, client)

    async def session(self, wire: str) -> None:
        """A session whose every move must be the known one."""
        goal = self.random.randrange(len(GOALS))
        moves = await self._tour(wire, goal)
        self._compare(np.array(moves), np.array(self.tours[goal]), f"a session over {wire}")

    async def _tour(self, wire: str, goal: int, most: int = 6) -> list[Any]:
        pose, moves = np.array(HOME), []
        async with await self.clients[wire].session(pictures.of(GOALS[goal]), seed=goal, **OPTIONS) as session:  # type: ignore[arg-type]
            while len(moves) < most:
                step = await self._patiently(session, pose)
                if step.plan is None:
                    break
                moves.append(step.plan.actions[0])
                pose = step.plan.targets[0]
        return moves

    async def _patiently(self, session: Any, pose: Any) -> Any:
        while True:  # a full queue has done nothing
            try:
                return await session.step(pictures.of(pose), pose)
            except PlannerError as error:
                if error.code != "queue_full":
                    raise
                await asyncio.sleep(0.05)

    async def look(self, wire: str) -> None:
        """Health checks, metrics and lists, as a monitor reads them."""
        async with httpx.AsyncClient(timeout=60) as http:
            for path in ("/livez", "/readyz", "/metrics", "/v1/sessions", "/v1/goals", "/openapi.json"):
                (await http.get(self.running.url + path)).raise_for_status()

    def _compare(self, got: Any, wanted: Any, what: str) -> None:
        self.did["answers compared"] += 1
        if not np.array_equal(got, wanted):
            self.wrong.append(f"{what}: {got.tolist()} instead of {wanted.tolist()}")

    # --- callers who do not ------------------------------------------------------------------------------------------

    async def abandon(self, wire: str) -> None:
        """A session that is opened, perhaps stepped once, and forgotten."""
        session = await self.clients[wire].session(pictures.of(self.random.choice(GOALS)), **OPTIONS)  # type: ignore[arg-type]
        if self.random.random() < 0.5:
            await session.step(pictures.of(HOME), HOME)

    async def register(self, wire: str) -> None:
        """A goal that is kept until it expires."""
        await self.clients[wire].register_goal(pictures.png(pictures.noise(8, 8, seed=self.random.randrange(1000))))

    async def nonsense(self, wire: str) -> None:
        """What must be refused, each with a code that says it is the caller's mistake."""
        picture = pictures.of(HOME)
        frame, pose, goal = self.random.choice(
            [
                (picture[: self.random.randrange(len(picture) - 20)], HOME, picture),
                (self.random.randbytes(self.random.randrange(2000)), HOME, picture),
                (picture, HOME[:5], picture),
                (picture, (float("nan"), *HOME[1:]), picture),
                (picture, (400.0, 0, 300.0, 180.0, 0, 0, 0), picture),
                (picture, HOME, "no such goal"),
                (picture, HOME, [picture] * 40),
                (pictures.png(np.zeros((64, 64, 3), np.uint8)), HOME, picture),
            ]
        )
        try:
            await self.clients[wire].plan(frame, pose, goal)
        except PlannerUnavailableError:
            raise
        except PlannerError as error:
            if error.code in BUSY | {"invalid_field", "invalid_input", "malformed_request", "not_found"}:
                return
            raise
        self.wrong.append(f"nonsense was answered over {wire}: {frame[:8]!r}, {pose}")

    async def hang_up_early(self, wire: str) -> None:
        """A part of a request, then nothing more; half of them with a reset."""
        data = http_request() if wire == "rest" else _GRPC_PREFACE + self.random.randbytes(40)
        sock = await self._connect(wire)
        await asyncio.get_running_loop().sock_sendall(sock, data[: self.random.randrange(1, len(data))])
        await asyncio.sleep(self.random.choice((0.0, 0.01)))
        self._close(sock)

    async def hang_up_late(self, wire: str) -> None:
        """A whole request, whose answer nobody waits for."""
        sock = await self._connect("rest")
        await asyncio.get_running_loop().sock_sendall(sock, http_request(samples=2000))
        await asyncio.sleep(self.random.uniform(0.0, 0.05))
        self._close(sock)

    async def slowly(self, wire: str) -> None:
        """A request in small pieces, and its answer read in small pieces; it must be the whole right answer."""
        await (self._rest_slowly() if wire == "rest" else self._rpc_slowly())

    async def _rest_slowly(self) -> None:
        loop, sock = asyncio.get_running_loop(), await self._connect("rest")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        data = http_request(
            "/v1/rollout", candidates=[[[0.01 * s, *[0.0] * 6]] * 8 for s in range(8)], with_latents=True
        )
        started = time.monotonic()
        for at in range(0, len(data), PIECE):
            await loop.sock_sendall(sock, data[at : at + PIECE])
            await asyncio.sleep(0.02)
        took_s = time.monotonic() - started
        came = b""
        while piece := await loop.sock_recv(sock, 2048):
            came += piece
            await asyncio.sleep(0.02)
        sock.close()
        status, answer = whole_answer(came)
        if status == 408 and took_s > IDLE_S:  # on a machine that is too busy to write in time
            raise PlannerError(answer["detail"], code="deadline_exceeded")
        if status != 200:
            raise PlannerError(answer["detail"], code=answer["code"])
        xs = np.array(answer["poses"])[:, -1, 0]
        self._compare(np.round(xs, 4), np.round(HOME[0] + 0.08 * np.arange(8), 4), "a rollout read slowly")

    async def _rpc_slowly(self) -> None:
        async with trickle(self.running.grpc) as address, AsyncPlannerClient(f"grpc://{address}", retries=0) as client:
            await self.plan("grpc", client)

    async def cancel(self, wire: str) -> None:
        """A call that is cancelled while it is searched, or before."""
        frames = pictures.of(HOME), pictures.of(GOALS[0])
        call = self.clients[wire].plan(frames[0], HOME, frames[1], preset="fast", samples=2000, iterations=6)
        with contextlib.suppress(asyncio.TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(call, self.random.uniform(0.0, 0.05))

    async def stream(self, wire: str) -> None:
        """Observations faster than they can be answered, some of them bad; then the caller is gone without a word."""
        await (self._socket() if wire == "rest" else self._rpc_stream())

    async def _socket(self) -> None:
        session = await self.clients["rest"].session(pictures.of(GOALS[1]), **OPTIONS)  # type: ignore[arg-type]
        url = self.running.url.replace("http", "ws") + f"/v1/sessions/{session.id}/stream"
        step = _as_json({"observation": _observation()})
        async with websockets.connect(url) as stream:
            for number in range(self.random.randrange(1, 20)):
                await stream.send(step if number % 5 else self.random.choice(("{}", "no json", b"\x00", step)))
            for _ in range(self.random.randrange(3)):
                with contextlib.suppress(asyncio.TimeoutError):
                    self._check_answer(json.loads(await asyncio.wait_for(stream.recv(), 2.0)))
            if self.random.random() < 0.5:
                stream.transport.abort()
        if self.random.random() < 0.5:
            await session.close()

    async def _rpc_stream(self) -> None:
        opened = {"goal": {"pictures": [pictures.of(GOALS[1])]}, "options": OPTIONS}
        step = pb.PlanStreamRequest(step=to_message({"observation": _observation()}, pb.StreamObservation))
        is_patient = self.random.random() < 0.5  # and reads first whether the session is open
        async with grpc.aio.insecure_channel(self.running.grpc) as channel:
            call = planning_pb2_grpc.PlanningStub(channel).PlanStream()
            try:
                await call.write(pb.PlanStreamRequest(open=to_message(opened, pb.OpenSessionRequest)))
                if is_patient:
                    await asyncio.wait_for(call.read(), 5.0)
                for number in range(self.random.randrange(1, 20)):
                    await call.write(step if number % 5 else pb.PlanStreamRequest(step=pb.StreamObservation()))
                for _ in range(self.random.randrange(4)):
                    await asyncio.wait_for(call.read(), 5.0)
            except asyncio.InvalidStateError:  # a write after the end
                raise await end_of(call) from None
            except grpc.aio.AioRpcError as error:
                if is_patient or not is_late_write(error):
                    raise refusal_of(error) from error
                self.did["stream broken off: grpcio lost why"] += 1
            except TimeoutError:
                pass
            finally:
                call.cancel()

    def _check_answer(self, answer: dict[str, Any]) -> None:
        if "problem" in answer:
            if answer["problem"]["code"] in ("internal",):
                self.wrong.append(f"a stream's answer: {answer}")
        elif "plan" in answer and answer["plan"]["seed"] is None:
            self.wrong.append(f"a stream's answer: {answer}")

    async def _connect(self, wire: str) -> socket.socket:
        host, _, port = (
            self.running.url.removeprefix("http://").rpartition(":")
            if wire == "rest"
            else (self.running.grpc.rpartition(":"))
        )
        sock = socket.socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
        return sock

    def _close(self, sock: socket.socket) -> None:
        if self.random.random() < 0.5:  # a reset instead of a farewell
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()


def is_late_write(error: grpc.aio.AioRpcError) -> bool:
    """Whether a write failed because the service had ended the stream, and so the reason for that was lost.

    grpcio's asyncio streams put this status of their own over the one that had come (grpc/grpc#36066). It never came
    from the service: that has words of its own for a fault, and details with them.
    """
    return (
        error.code() == grpc.StatusCode.INTERNAL
        and error.details() == "Internal error from Core"
        and not error.trailing_metadata()
        and "SendMessageOperation" in (error.debug_error_string() or "")
    )


async def end_of(call: Any) -> Exception:
    """The error that says why a call is over."""
    try:
        await call.read()
    except grpc.aio.AioRpcError as error:
        return refusal_of(error)
    return AssertionError("a stream was ended without a reason")


def whole_answer(came: bytes) -> tuple[int, Any]:
    """Status and content of a response that must have come to its end."""
    head, _, body = came.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    if length is None or len(body) != int(length[1]):
        raise AssertionError(f"{len(body)} bytes of an answer came after the head {head!r:.200}")
    return int(head.split()[1]), json.loads(body)


@contextlib.asynccontextmanager
async def trickle(target: str) -> AsyncIterator[str]:
    """An address that passes everything on to `target` and back, a few bytes at a time."""
    host, _, port = target.rpartition(":")
    under_way: set[asyncio.Task[None]] = set()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(PIECE):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.02)
        except OSError:
            pass
        finally:
            writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(port))
        under_way.update(asyncio.ensure_future(pass_on(*ends)) for ends in ((reader, back), (there, writer)))

    server = await asyncio.start_server(connect, "127.0.0.1", 0, limit=PIECE)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


_GRPC_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"


def _observation() -> dict[str, Any]:
    return {"picture": pictures.of(HOME), "pose": list(HOME)}


def _as_json(fields: Any) -> str:
    import base64

    return json.dumps(fields, default=lambda data: base64.b64encode(data).decode())


def http_request(path: str = "/v1/plan", samples: int = 16, **fields: Any) -> bytes:
    """A whole request as it goes over the wire, to a service on this machine."""
    content: dict[str, Any] = {"observation": _observation(), **fields}
    if path == "/v1/plan":
        content |= {"goal": {"pictures": [pictures.of(GOALS[0])]}, "options": {**OPTIONS, "samples": samples}}
    body = _as_json(content).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


if __name__ == "__main__":
    run(main)
