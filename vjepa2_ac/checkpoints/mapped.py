"""Advice to the kernel about files that are mapped into memory: what to read ahead, and what to release."""

from __future__ import annotations

import ctypes
import mmap
import sys
from functools import lru_cache

from torch import Tensor


def read_soon(first: int, length: int) -> None:
    """Begin to read these bytes of a mapped file, which are about to be used, and no others.

    Without this, the kernel also reads what lies around each page that is used, many times as much as a small row.
    """
    _advise("MADV_WILLNEED", begin := first - first % mmap.PAGESIZE, first + length - begin)


def give_back(mapped: Tensor) -> None:
    """Release the memory behind a tensor that is mapped from a file; if used again, the tensor is read again.

    Otherwise the pages read so far count as this process's memory until somebody else needs the room. Only for tensors
    that truly lie in a file: the same advice would empty ordinary memory.
    """
    storage = mapped.untyped_storage()
    first = -(-storage.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    length = storage.data_ptr() + storage.nbytes() - first
    if length >= mmap.PAGESIZE:
        _advise("MADV_DONTNEED", first, length - length % mmap.PAGESIZE)


def _advise(advice: str, first: int, length: int) -> None:
    """Advise the kernel on bytes from the page that begins at `first`; only on Linux does the advice mean this."""
    if sys.platform == "linux":
        _c_library().madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), getattr(mmap, advice))


@lru_cache
def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL(None)
