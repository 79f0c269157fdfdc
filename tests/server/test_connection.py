"""What HTTP connections owe to callers who are slow, and what they do not."""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from server.run import Listening
from tests.server.running import running

IDLE_S = 0.5
BODY = 20_000  # [bytes] more than LIMIT
LIMIT = 10_000
HEAD = f"POST /v1/plan HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BODY}\r\n"


@pytest.fixture(scope="module")
def small() -> Iterator[Listening]:
    """A service that has little patience, and takes small requests."""
    with running(idle_connection_s=IDLE_S, max_body_bytes=LIMIT) as (_, where):
        yield where


@contextlib.contextmanager
def line_to(where: Listening) -> Iterator[socket.socket]:
    host, _, port = where.url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        yield line


def everything_of(line: socket.socket) -> bytes:
    came = b""
    while piece := line.recv(65536):
        came += piece
    return came


def answer_of(line: socket.socket) -> bytes:
    """One answer, on a connection that may go on."""
    with line.makefile("rb") as file:
        head = b"".join(iter(file.readline, b"\r\n")) + b"\r\n"
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        assert length
        return head + file.read(int(length[1]))


def write_slowly(line: socket.socket, data: bytes, pieces: int = 5, pause_s: float = 0.02) -> None:
    size = -(-len(data) // pieces)
    for at in range(0, len(data), size):
        line.sendall(data[at : at + size])
        pause(pause_s)


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def problem_of(answer: bytes, status: int) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), head
    assert b"application/problem+json" in head
    problem: dict[str, Any] = json.loads(body)
    assert problem["status"] == status
    assert problem["request_id"]
    return problem


def test_who_still_writes_when_refused_reads_why(small: Listening) -> None:
    with line_to(small) as line:
        line.sendall((HEAD + "Connection: close\r\n\r\n").encode())
        write_slowly(line, b" " * BODY)
        assert problem_of(everything_of(line), 413)["code"] == "too_large"


def test_who_still_writes_what_is_no_http_reads_why(small: Listening) -> None:
    with line_to(small) as line:
        write_slowly(line, b"no request at all\r\n" * 100)
        assert problem_of(everything_of(line), 400)["code"] == "malformed_request"


def test_a_body_that_becomes_unreadable_is_refused_once(small: Listening) -> None:
    with line_to(small) as line:
        line.sendall(b"POST /v1/plan HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")
        pause(0.05)
        write_slowly(line, b"no chunk\r\n" * 100)
        assert problem_of(everything_of(line), 400)["code"] == "malformed_request"


def test_a_connection_goes_on_after_the_rest_of_a_refused_request(small: Listening) -> None:
    with line_to(small) as line:
        line.sendall((HEAD + "\r\n").encode())
        write_slowly(line, b" " * BODY)
        problem_of(answer_of(line), 413)
        line.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer_of(line).startswith(b"HTTP/1.1 200 ")


def test_a_head_that_does_not_end_is_refused(small: Listening) -> None:
    with line_to(small) as line:
        line.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nx-slow: ")
        assert problem_of(trickle(line), 408)["code"] == "too_slow"


def test_a_body_that_does_not_end_is_refused(small: Listening) -> None:
    with line_to(small) as line:
        line.sendall(b"POST /v1/plan HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
        assert problem_of(trickle(line), 408)["code"] == "too_slow"


def test_a_connection_on_which_nothing_comes_is_closed(small: Listening) -> None:
    started = time.monotonic()
    with line_to(small) as line:
        assert everything_of(line) == b""
    assert time.monotonic() - started < 10 * IDLE_S


def test_the_rest_of_a_refused_request_does_not_hold_its_connection_for_ever(small: Listening) -> None:
    for more in ("", "Connection: close\r\n"):
        with line_to(small) as line:
            line.sendall((HEAD + more + "\r\n").encode())
            problem_of(answer_of(line), 413)
            trickle(line)


def trickle(line: socket.socket, pause_s: float = IDLE_S / 10) -> bytes:
    """What comes while a byte at a time is written, until the service has had enough and takes no more."""
    came = b""
    line.settimeout(pause_s)
    for _ in range(100):
        try:
            line.sendall(b"a")
            came += line.recv(65536)
        except TimeoutError:
            pass
        except OSError:
            return came
        else:
            pause(pause_s)
    raise AssertionError("the service would have taken more than 100 bytes, one at a time")


def test_who_does_not_take_answers_is_cut_off(small: Listening) -> None:
    with line_to(small) as line:
        line.sendall(
            b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000
        )  # more than fits between here and there
        poll = select.poll()
        poll.register(line, select.POLLERR)
        assert poll.poll(20_000)
        with pytest.raises(ConnectionResetError):
            everything_of(line)


def test_who_takes_an_answer_slowly_gets_it_whole(small: Listening) -> None:
    with line_to(small) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        came = b""
        while piece := line.recv(4096):
            came += piece
            pause(0.01)
    assert json.loads(came.partition(b"\r\n\r\n")[2])["openapi"]


def test_who_still_writes_after_a_refusal_does_not_hold_up_the_end() -> None:
    with running(max_body_bytes=LIMIT) as (program, where), line_to(where) as line:
        line.sendall((HEAD + "Connection: close\r\n\r\n").encode())
        problem_of(answer_of(line), 413)
        started = time.monotonic()
        program.stop()
        assert everything_of(line) == b""
        assert time.monotonic() - started < 10
