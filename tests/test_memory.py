from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vjepa2_ac import memory
from vjepa2_ac.errors import NotEnoughMemoryError
from vjepa2_ac.memory import Pieces, available_bytes

CPU = torch.device("cpu")


class Squares:
    """Work on numbers that needs more memory than there is for more than `room` of them at once."""

    def __init__(self, room: int = 10**9) -> None:
        self.room = room
        self.sizes: list[int] = []

    def __call__(self, piece: slice) -> Tensor:
        numbers = torch.arange(100)[piece]
        if len(numbers) > self.room:
            raise torch.OutOfMemoryError("out of memory")
        self.sizes.append(len(numbers))
        return numbers**2


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda device: 2000)  # half of which may be used


@pytest.mark.usefixtures("room")
@pytest.mark.parametrize(("bytes_each", "sizes"), [(1, [100]), (20, [50, 50]), (25, [34, 33, 33]), (5000, [1] * 100)])
def test_pieces_are_few_equal_and_small_enough(bytes_each: int, sizes: list[int]) -> None:
    work = Squares()
    result = Pieces(CPU).evaluate(work, 100, bytes_each)
    assert work.sizes == sizes
    torch.testing.assert_close(result, torch.arange(100) ** 2)


def test_pieces_are_no_larger_than_caches_like() -> None:
    assert Pieces(CPU).size(bytes_each=1, working_bytes_each=memory.CPU_WORKING_BYTES // 10) == 10


@pytest.mark.usefixtures("room")
def test_out_of_memory_halves_the_pieces_says_so_and_is_remembered(caplog: pytest.LogCaptureFixture) -> None:
    pieces, work = Pieces(CPU), Squares(room=30)
    with caplog.at_level(logging.WARNING):
        result = pieces.evaluate(work, 100, bytes_each=1)
    torch.testing.assert_close(result, torch.arange(100) ** 2)
    assert [record.getMessage() for record in caplog.records] == [
        "out of memory on cpu with 100 items at once; going on with 50",
        "out of memory on cpu with 50 items at once; going on with 25",
    ]
    assert pieces.size(bytes_each=1) == 250


@pytest.mark.usefixtures("room")
def test_gives_up_when_a_single_item_does_not_fit() -> None:
    with pytest.raises(NotEnoughMemoryError, match="single item of about 9 B"):
        Pieces(CPU).evaluate(Squares(room=0), 100, bytes_each=9)


@pytest.mark.usefixtures("room")
def test_other_faults_are_not_taken_for_want_of_memory() -> None:
    def broken(piece: slice) -> Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        Pieces(CPU).evaluate(broken, 100, bytes_each=1)


def test_a_real_allocation_that_cannot_be_is_known_for_what_it_is() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert memory.is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    "words", ["CUDA error: out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"]
)
def test_a_gpus_libraries_may_run_out_of_memory_too(words: str) -> None:
    assert memory.is_out_of_memory(RuntimeError(words))


def test_what_torch_keeps_of_a_gpu_counts_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 700)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 300)
    assert available_bytes(torch.device("cuda", 0)) == 100 + 700 - 300


def test_the_machine_has_some_memory() -> None:
    assert 0 < available_bytes(CPU) < 1 << 50


@pytest.mark.skipif(sys.platform != "linux", reason="page faults are counted as Linux counts them")
@pytest.mark.parametrize("version", [1, 2])
def test_files_that_were_read_make_room_when_it_is_needed(
    tmp_path: Path, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    group = tmp_path if version == 2 else tmp_path / "memory"
    group.mkdir(exist_ok=True)
    for name, size in zip(names, (1000, 900), strict=True):
        (group / name).write_text(f"{size}\n")
    idle = "inactive_file" if version == 2 else "total_inactive_file"
    (group / "memory.stat").write_text(f"anon 250\n{idle} 600\nactive_file 50\n")
    monkeypatch.setattr(memory, "Path", lambda _: tmp_path)
    assert available_bytes(torch.device("cpu")) == 1000 - 900 + 600


def test_a_container_that_uses_more_than_it_may_has_no_memory_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (("memory.max", "1000"), ("memory.current", "1200"), ("memory.stat", "inactive_file 100")):
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setattr(memory, "Path", lambda _: tmp_path)
    assert available_bytes(CPU) == 0


def test_memory_that_was_freed_is_taken_again_without_page_faults() -> None:
    code = """
import resource, torch
from vjepa2_ac.memory import Pieces

def faults_of_taking_and_freeing():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(4 << 20, dtype=torch.uint8) for _ in range(8)]
    del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

Pieces(torch.device("cpu"))
faults_of_taking_and_freeing()
print(faults_of_taking_and_freeing())
"""  # in a process of its own: what the C library has learned stays with a process
    command = [sys.executable, "-c", code]
    found = (subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(8))
    # Half of the 8192 pages in them; where the heap happens to grow once more, another process tells.
    assert any(int(faults) < 4096 for faults in found)
