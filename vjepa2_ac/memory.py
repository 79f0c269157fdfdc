"""Evaluation of any number of items in pieces that fit in memory.

A piece is as large as half of the free memory allows, and on a CPU no larger than suits its caches. Should memory run
out all the same, pieces are halved, which is logged and remembered; it is an error only if a single item does not fit.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path

import psutil
import torch
from torch import Tensor

from vjepa2_ac.errors import NotEnoughMemoryError

log = logging.getLogger(__name__)

SHARE = 0.5  # of the free memory; the rest is for errors of the estimate and for other processes

# What a layer works on at once on a CPU. Measured on a Sapphire Rapids core for predictors of width 192 to 1024: from
# 8 to 50 MB every size is within a tenth of the fastest, below and above it is up to a third (bf16) slower.
CPU_WORKING_BYTES = 24 << 20

# Torch's words for memory that ran out where it has no error class for that: on a CPU, and in CUDA's libraries.
OUT_OF_MEMORY = ("DefaultCPUAllocator", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")

# The size of a block (of at most 32 MiB) whose release raises glibc's thresholds; see `keep_freed_memory`.
THRESHOLD_BLOCK_BYTES = 31 << 20


class Pieces:
    """Decides how many items a device works on at once, and takes fewer after memory has run out."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.share = SHARE
        if device.type == "cpu":
            keep_freed_memory()

    def size(self, bytes_each: int, working_bytes_each: int = 1) -> int:
        """How many items to take at once if each needs `bytes_each` in all and `working_bytes_each` in a layer."""
        fitting = int(self.share * available_bytes(self.device)) // bytes_each
        if self.device.type == "cpu":
            fitting = min(fitting, CPU_WORKING_BYTES // working_bytes_each)
        return max(1, fitting)

    def evaluate(
        self, work: Callable[[slice], Tensor], count: int, bytes_each: int, working_bytes_each: int = 1, *, dim: int = 0
    ) -> Tensor:
        """The result of `work(slice(0, count))`, computed in as few and as equal pieces as fit, joined along `dim`."""
        done: list[Tensor] = []
        start, size = 0, self.size(bytes_each, working_bytes_each)
        while start < count:
            left = count - start
            piece = slice(start, start + math.ceil(left / math.ceil(left / size)))
            if (result := self._try(work, piece)) is not None:
                done.append(result)
                start = piece.stop
            else:
                size = self._halve(piece.stop - piece.start, bytes_each)
        return done[0] if len(done) == 1 else torch.cat(done, dim=dim)

    def _try(self, work: Callable[[slice], Tensor], piece: slice) -> Tensor | None:
        try:
            return work(piece)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        return None  # outside of the handler, so that the traceback no longer holds the tensors that filled the memory

    def _halve(self, size: int, bytes_each: int) -> int:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if size == 1:
            raise NotEnoughMemoryError(
                f"out of memory on {self.device} with a single item of about {_readable(bytes_each)}; "
                f"{_readable(available_bytes(self.device))} are free"
            )
        self.share /= 2
        log.warning("out of memory on %s with %d items at once; going on with %d", self.device, size, size // 2)
        return size // 2


def available_bytes(device: torch.device) -> int:
    """The memory available on `device` now, within the limit of a container where there is one."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + cached
    return min(int(psutil.virtual_memory().available), _container_room())


def keep_freed_memory() -> None:
    """Let the C library keep up to 62 MiB of freed memory, instead of returning it and asking for it again.

    A layer frees and takes megabytes many times a second, and each time the system would map and clear every page:
    200 000 page faults and 40 % of the time of a plan with the default model. glibc returns what is free beyond twice
    the largest block (of at most 32 MiB) that was ever freed. So one such block is taken and freed here, which costs
    nothing because it is never touched. Other C libraries are not affected.
    """
    torch.empty(THRESHOLD_BLOCK_BYTES, dtype=torch.uint8)


def _container_room() -> int:
    """The bytes that the control group (version 2 or 1) still allows; a very large number where nothing limits them."""
    unlimited, groups = 1 << 62, Path("/sys/fs/cgroup")
    for limit, usage, stat, idle in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
    ):
        try:
            allowed, used = (int((groups / name).read_text()) for name in (limit, usage))
            facts = dict(line.split() for line in (groups / stat).read_text().splitlines())
            return max(0, allowed - used + int(facts.get(idle, 0)))  # cached files make room when it is needed
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return unlimited


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch ran out of memory, which some of its errors say only in their message."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)


def _readable(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
