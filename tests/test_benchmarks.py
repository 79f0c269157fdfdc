from __future__ import annotations

import asyncio
import importlib
import mmap
import socket
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest
import torch
from grpc.aio import AioRpcError, Metadata
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import _result
from benchmarks._peaks import peak_of
from benchmarks._result import ratio, taking_turns
from benchmarks.models import step_flops
from benchmarks.planning import TOP, Peak, agreement
from benchmarks.soak import end_of, http_request, is_late_write, whole_answer
from tests.models.small import ac_predictor, draw
from tests.server.running import running
from vjepa2_ac.client.rpc import refusal_of
from vjepa2_ac.pb import planning_pb2 as pb
from vjepa2_ac.pb import planning_pb2_grpc
from vjepa2_ac.world_model import WorldModel

INTERNAL, CORE = grpc.StatusCode.INTERNAL, "Internal error from Core"
WRITE = 'Failed "execute_batch": (<grpc._cython.cygrpc.SendMessageOperation object>,)'


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A10", 125),
        ("NVIDIA L40S", 362),
        ("Tesla T4", None),
    ],
)
def test_a_chip_is_known_by_the_longest_name_in_its_own(name: str, peak: float | None) -> None:
    assert peak_of(name) == peak


BENCHMARKS = sorted(path.stem for path in Path(_result.__file__).parent.glob("[a-z]*.py"))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_says_what_it_can_be_asked(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit, match="0"):
        importlib.import_module(f"benchmarks.{name}").main()
    assert f"usage: ./dev bench {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("models --candidates 0", "expected a whole number above 0, got 0"),
        ("server --seconds 0", "expected a number above 0, got 0"),  # which had meant for ever
        ("server --memory -5", "expected a whole number from 0 on, got -5"),  # which had measured none
        ("aim --seed-base -5", "expected a whole number from 0 on, got -5"),
        ("soak --minutes nan", "expected a number above 0, got nan"),
        ("data --jobs", "unrecognized arguments"),
        ("planning --quick --only 6", "which --quick leaves out"),
    ],
)
def test_what_a_benchmark_cannot_be_asked_is_refused(
    words: str, complaint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", words.split())
    with pytest.raises(SystemExit, match="2"):
        importlib.import_module(f"benchmarks.{words.split()[0]}").main()
    assert complaint in capsys.readouterr().err


def test_a_model_that_is_not_there_is_named_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        _result.run(lambda: WorldModel.open("nope"))
    assert capsys.readouterr().err.startswith("error: there is no file or folder nope")


@pytest.mark.parametrize("changes", [{}, {"local_mixing": True}, {"copy_gate": True}], ids=str)
@torch.inference_mode()
def test_the_arithmetic_of_a_step_is_what_torch_counts(changes: dict[str, Any]) -> None:
    predictor = ac_predictor(**changes)
    with FlopCounterMode(display=False) as counted:
        predictor.step(draw(1, 12, 20), draw(1, 7), draw(1, 7), predictor.empty_cache(1, 1))
    estimated = step_flops(cast("WorldModel", SimpleNamespace(predictor=predictor)))
    assert estimated == pytest.approx(counted.get_total_flops(), rel=0.1)


def test_a_ranking_agrees_with_itself_and_not_with_its_reverse() -> None:
    costs_S = torch.arange(3.0 * TOP)
    same, reverse = agreement(2 * costs_S, costs_S), agreement(-costs_S, costs_S)
    assert same["rank correlation (Spearman)"] == pytest.approx(1)
    assert same[f"shared of the top {TOP}"] == 1
    assert reverse["rank correlation (Spearman)"] == pytest.approx(-1)
    assert reverse[f"shared of the top {TOP}"] == 0
    assert same["regret of the first choice"] == 0
    assert reverse["regret of the first choice"] > 1


def test_kinds_of_work_take_turns() -> None:
    done: list[str] = []
    times = taking_turns({"a": lambda: done.append("a"), "b": lambda: done.append("b")}, repeats=2, warm_up=False)
    assert done == ["a", "b", "a", "b"]
    assert [len(each) for each in times.values()] == [2, 2]
    assert ratio([2.0, 6.0, 30.0], [1.0, 2.0, 3.0]) == 3


def test_memory_that_was_held_is_seen() -> None:
    with Peak() as peak, mmap.mmap(-1, 64 << 20) as held:  # fresh pages, whatever the allocator keeps from earlier
        held.write(bytes(64 << 20))
        time.sleep(0.1)
    assert 48 << 20 < peak.grown < 256 << 20


def test_the_soak_knows_a_write_after_the_end_from_a_fault_of_the_service() -> None:
    late = AioRpcError(INTERNAL, details=CORE, debug_error_string=WRITE, trailing_metadata=Metadata())
    with_metadata = AioRpcError(
        INTERNAL, details=CORE, debug_error_string=WRITE, trailing_metadata=Metadata(("a", "b"))
    )
    fault = AioRpcError(INTERNAL, details="something went wrong", trailing_metadata=Metadata())
    read = AioRpcError(INTERNAL, details=CORE, debug_error_string="ReceiveMessageOperation")
    assert [is_late_write(error) for error in (late, with_metadata, fault, read)] == [True, False, False, False]


def test_a_stream_that_is_refused_while_its_caller_writes_ends_in_the_reason_or_a_late_write() -> None:
    async def ended(address: str) -> str:
        async with grpc.aio.insecure_channel(address) as channel:
            call = planning_pb2_grpc.PlanningStub(channel).PlanStream()
            try:
                for _ in range(200):
                    await call.write(pb.PlanStreamRequest(step=pb.StreamObservation()))
                await call.read()
            except asyncio.InvalidStateError:
                return getattr(await end_of(call), "code", "?")
            except AioRpcError as error:
                return "late write" if is_late_write(error) else refusal_of(error).code
        return "no end"

    with running() as (_, where):
        endings = [asyncio.run(ended(where.grpc)) for _ in range(20)]
    assert set(endings) <= {"late write", "malformed_request"}, endings


def test_what_the_soak_writes_byte_by_byte_is_answered() -> None:
    with running() as (_, where):
        host, _, port = where.url.removeprefix("http://").rpartition(":")
        with socket.create_connection((host, int(port))) as sock:
            sock.sendall(http_request())
            came = b"".join(iter(lambda: sock.recv(1 << 16), b""))
    status, answer = whole_answer(came)
    assert status == 200, answer


def test_the_soak_takes_whole_answers_alone() -> None:
    assert whole_answer(b"HTTP/1.1 429 Too Many\r\nContent-Length: 2\r\n\r\n{}") == (429, {})
    for part in (b"", b"HTTP/1.1 429 Too Many\r\nContent-Length: 2\r\n\r\n{"):
        with pytest.raises(AssertionError):
            whole_answer(part)
