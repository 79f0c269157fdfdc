from __future__ import annotations

import mmap
import time

import pytest
import torch

from benchmarks._peaks import peak_of
from benchmarks._result import ratio, taking_turns
from benchmarks.planning import TOP, Peak, agreement


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
