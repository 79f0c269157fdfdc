"""A corpus of bad gRPC traffic: every entry is refused in a sentence or hung up on, and the service goes on planning.

Nothing may make a fault of ours (INTERNAL, UNKNOWN), and no caller may see where in our code something went wrong.
"""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from server.run import Listening
from tests.planner.worlds import HOME, moved, paint
from tests.server import pictures
from vjepa2_ac.client import PlannerClient
from vjepa2_ac.pb import planning_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["Planning"]
METHODS = sorted(SERVICE.methods_by_name)
FAULTS = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
TRACES = ("Traceback", ".py", "site-packages", "line ")
ODD = (float("nan"), float("inf"), -float("inf"), 1e308, -0.0, 5e-324)
SHORT = 30  # rounds of random messages for each call; test-long makes many more
LONG = 2000


@pytest.fixture
def send(point: Listening, caplog: pytest.LogCaptureFixture) -> Iterator[Callable[..., grpc.StatusCode]]:
    """Sends bytes as a call; afterwards the service still plans, and has logged no fault."""
    caplog.set_level(logging.ERROR, logger="server")
    with grpc.insecure_channel(point.grpc) as channel:
        yield lambda method, *messages: answer_to(channel, method, list(messages))
    assert plans_as_ever(point)
    assert not caplog.records


def answer_to(channel: grpc.Channel, method: str, messages: list[bytes]) -> grpc.StatusCode:
    """The status of a call that was sent so; fails for a fault, or words that are not meant for callers."""
    path = f"/{SERVICE.full_name}/{method}"
    try:
        if SERVICE.methods_by_name[method].client_streaming:
            for _ in channel.stream_stream(path)(iter(messages), timeout=60):
                pass
        else:
            channel.unary_unary(path)(messages[0], timeout=60)
    except grpc.RpcError as error:
        refused: Any = error
        assert refused.code() not in FAULTS, (method, refused.details())
        assert not any(trace in (refused.details() or "") for trace in TRACES), refused.details()
        return refused.code()  # type: ignore[no-any-return]
    return grpc.StatusCode.OK


def plans_as_ever(point: Listening) -> bool:
    """The right answer to a right question, right now."""
    with PlannerClient(f"grpc://{point.grpc}", retries=0) as client:
        plan = client.plan(paint(HOME), HOME, paint(moved(0.04, 0.0, 0.0)))
    return bool(np.allclose(plan.actions[0][:3], (0.04, 0.0, 0.0), atol=0.01))


def good_plan(**changes: Any) -> pb.PlanRequest:
    fields = {
        "observation": pb.Observation(picture=pictures.of(HOME), pose=pb.Pose(values=HOME)),
        "goal": pb.GoalReference(pictures=[pictures.of(HOME)]),
        "options": pb.PlanOptions(preset="fast", samples=8, iterations=1),
    }
    return pb.PlanRequest(**{**fields, **changes})


def varint(number: int) -> bytes:
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


PNG_HEADER = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
GOOD = good_plan().SerializeToString()
MALFORMED = {
    "cut short": GOOD[: len(GOOD) // 2],
    "cut within a length": GOOD[:2],
    "noise": random.Random(0).randbytes(500),
    "a length beyond the end": b"\x0a" + varint(2**31 - 1) + b"x",
    "a length beyond all numbers": b"\x0a" + b"\xff" * 12,
    "an endless varint": b"\x80" * 64,
    "a group that never ends": b"\x0b" * 1000,
    "nested beyond the limit": b"\x0a\x7f" * 200,
    "field number 0": b"\x00\x01",
    "an unknown wire type": b"\x0f",
    "text that is no UTF-8": b"\x12\x04\x12\x02\xc3\x28",
    "unknown fields": b"\xfa\x7f\x03abc" * 50,
    "numbers cut within one of them": b"\x0a\x09\x12\x07\x0a\x05\x00\x00\x00\x00\x00",
}
WRONG_PICTURES = {
    "a header alone": pictures.of(HOME)[:30],
    "no end": pictures.of(HOME)[:-12],
    "half a JPEG": pictures.jpeg(pictures.noise())[:300],
    "a JPEG of markers": b"\xff\xd8" + b"\xff" * 5000,
    "a JPEG whose segments are empty": b"\xff\xd8" + b"\xff\xe0\x00\x00" * 100 + b"\xff\xd9",
    "a bomb's header": PNG_HEADER + struct.pack(">II", 2**31 - 1, 2**31 - 1) + b"\x08\x02\0\0\0" + b"IEND",
    "a damaged middle": bytes(b ^ (0xFF if 40 < i < 60 else 0) for i, b in enumerate(pictures.of(HOME))),
    "another kind": b"GIF89a" + bytes(100),
    "black": pictures.png(np.zeros((64, 64, 3), np.uint8)),
}
STREAMS = {
    "a step before it is open": [pb.PlanStreamRequest(step=pb.StreamObservation()).SerializeToString()],
    "nothing": [],
    "bytes that are no message first": [b"\x0b\x0b\x0b"],
    "bytes that are no message then": [
        pb.PlanStreamRequest(open=pb.OpenSessionRequest(goal=good_plan().goal)).SerializeToString(),
        b"\x0b\x0b\x0b",
        pb.PlanStreamRequest(step=pb.StreamObservation(observation=good_plan().observation)).SerializeToString(),
    ],
    "opened twice": [pb.PlanStreamRequest(open=pb.OpenSessionRequest(goal=good_plan().goal)).SerializeToString()] * 2,
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_bytes_that_are_no_message_are_refused(send: Callable[..., grpc.StatusCode], kind: str) -> None:
    for method in METHODS:
        send(method, MALFORMED[kind])


@pytest.mark.parametrize("kind", WRONG_PICTURES)
def test_wrong_pictures_are_refused(send: Callable[..., grpc.StatusCode], kind: str) -> None:
    seen = good_plan(observation=pb.Observation(picture=WRONG_PICTURES[kind], pose=pb.Pose(values=HOME)))
    wanted = good_plan(goal=pb.GoalReference(pictures=[WRONG_PICTURES[kind]]))
    for request in (seen, wanted):
        assert send("Plan", request.SerializeToString()) is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("odd", ODD)
def test_odd_numbers_are_answered_or_refused(send: Callable[..., grpc.StatusCode], odd: float) -> None:
    for place in range(7):
        values = [odd if place == n else value for n, value in enumerate(HOME)]
        seen = pb.Observation(picture=pictures.of(HOME), pose=pb.Pose(values=values), age_ms=odd)
        send("Plan", good_plan(observation=seen, deadline_ms=odd).SerializeToString())
        action = pb.Actions(values=[pb.Action(values=values)])
        send("Energy", pb.EnergyRequest(observation=good_plan().observation, goal=good_plan().goal,
                                        candidates=[action]).SerializeToString())  # fmt: skip
    options = pb.PlanOptions(budget_ms=odd, camera_turn=pb.Numbers(values=[odd] * 3))
    send("Plan", good_plan(options=options).SerializeToString())


def test_huge_arrays_are_refused(send: Callable[..., grpc.StatusCode]) -> None:
    refused = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED
    seen = pb.Observation(picture=pictures.of(HOME), pose=pb.Pose(values=[0.0] * 1_000_000))
    assert send("Plan", good_plan(observation=seen).SerializeToString()) in refused
    assert send("Plan", good_plan(goal=pb.GoalReference(pictures=[b"x"] * 100_000)).SerializeToString()) in refused
    long = pb.Actions(values=[pb.Action(values=[0.0] * 7)] * 100_000)
    wide = [pb.Actions(values=[pb.Action(values=[0.0] * 7)])] * 50_000
    for candidates in ([long], wide):
        request = pb.RolloutRequest(observation=good_plan().observation, candidates=candidates)
        assert send("Rollout", request.SerializeToString()) in refused
    assert send("Plan", bytes(17 * 2**20)) is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("kind", STREAMS)
def test_streams_that_begin_or_go_on_badly_are_ended(send: Callable[..., grpc.StatusCode], kind: str) -> None:
    send("PlanStream", *STREAMS[kind])


@pytest.mark.parametrize("rounds", [SHORT, pytest.param(LONG, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
def test_random_fields_make_no_fault(send: Callable[..., grpc.StatusCode], rounds: int) -> None:
    rng = random.Random(rounds)
    for _ in range(rounds):
        for method in METHODS:
            kind = getattr(pb, SERVICE.methods_by_name[method].input_type.name)
            data = random_message(kind, rng).SerializeToString()
            send(method, mutated(data, rng) if rng.random() < 0.3 else data)


def random_message(kind: type[Message], rng: random.Random, depth: int = 0) -> Message:
    """A message with any of its fields set to anything that its types allow."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        if (
            rng.random() < 0.25
            or depth > 4
            or (field.containing_oneof and message.WhichOneof(field.containing_oneof.name))
        ):
            continue
        if field.is_repeated:
            items = getattr(message, field.name)
            for _ in range(rng.choice((0, 1, 1, 2, 7, 7, 20))):
                if field.message_type:
                    items.add().CopyFrom(random_message(field.message_type._concrete_class, rng, depth + 1))
                else:
                    items.append(random_value(field, rng))
        elif field.message_type:
            getattr(message, field.name).CopyFrom(random_message(field.message_type._concrete_class, rng, depth + 1))
        else:
            setattr(message, field.name, random_value(field, rng))
    return message


def random_value(field: FieldDescriptor, rng: random.Random) -> Any:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return rng.choice((b"", rng.randbytes(rng.randrange(60)), pictures.of(HOME), pictures.jpeg(pictures.noise())))
    if field.type == FieldDescriptor.TYPE_STRING:
        return rng.choice(("", "fast", "paper", "\0", "é\U0001f916" * 200, "../../etc/passwd", "%s%n"))
    if field.type == FieldDescriptor.TYPE_BOOL:
        return rng.random() < 0.5
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return rng.choice((*ODD, 0.0, 0.1, rng.uniform(-1, 1), rng.uniform(-1e6, 1e6)))
    bits = 32 if field.type == FieldDescriptor.TYPE_UINT32 else 64
    return rng.choice((0, 1, 3, 5, 2**bits - 1, rng.randrange(2**bits)))


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, left out or doubled."""
    noisy = bytearray(data)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(noisy) + 1)
        noisy[at : at + rng.randrange(4)] = rng.randbytes(rng.randrange(4))
    return bytes(noisy)


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, payload: bytes, stream: int = 0, flags: int = 0, length: int | None = None) -> bytes:
    """An HTTP/2 frame, which may lie about its length."""
    size = len(payload) if length is None else length
    return struct.pack(">I", size)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


FRAMES = {
    "half a preface": PREFACE[:10],
    "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "noise": random.Random(1).randbytes(300),
    "no settings": PREFACE + frame(1, b"\x82", 1),
    "a frame cut short": PREFACE + frame(4, b"") + frame(0, b"half", 1, length=100),
    "a frame that is too long": PREFACE + frame(4, b"") + frame(0, b"", 1, length=2**24 - 1),
    "data without a stream": PREFACE + frame(4, b"") + frame(0, GOOD, 1),
    "settings of a wrong size": PREFACE + frame(4, b"12345"),
    "an unknown frame": PREFACE + frame(4, b"") + frame(250, b"what", 3),
    "headers that do not decode": PREFACE + frame(4, b"") + frame(1, b"\xff" * 50, 1, flags=4),
    "a reset of a stream that never was": PREFACE + frame(4, b"") + frame(3, b"\0\0\0\x08", 99),
    "a window that overflows": PREFACE + frame(4, b"") + frame(8, b"\x7f\xff\xff\xff") * 2,
}


@pytest.mark.parametrize("kind", FRAMES)
def test_broken_frames_are_hung_up_on(point: Listening, kind: str) -> None:
    host, _, port = point.grpc.rpartition(":") if point.grpc else ("", "", "")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(FRAMES[kind])
        connection.settimeout(0.3)
        with contextlib.suppress(TimeoutError, ConnectionError):
            assert b"Traceback" not in connection.recv(65536)
    assert plans_as_ever(point)
