"""What the kernel is told of files that are mapped into memory: what will be read of them, and what to let go of."""

from __future__ import annotations

import ctypes
import mmap
import sys
from functools import lru_cache

from torch import Tensor


def read_soon(first: int, length: int) -> None:
    """Begin to read these bytes of a mapped file, which are about to be touched, and no others.

    Unless it is told, the kernel reads what lies around a page that is touched, too, many times as much as a small row.
    """
    _advise("MADV_WILLNEED", begin := first - first % mmap.PAGESIZE, first + length - begin)


def give_back(mapped: Tensor) -> None:
    """Let go of the memory behind a tensor that is mapped from a file; touched again, it is read again.

    Otherwise the pages read so far count as this process's memory until somebody else needs the room. Only for tensors
    that truly lie in a file: the same advice would empty ordinary memory.
    """
    storage = mapped.untyped_storage()
    first = -(-storage.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    length = storage.data_ptr() + storage.nbytes() - first
    if length >= mmap.PAGESIZE:
        _advise("MADV_DONTNEED", first, length - length % mmap.PAGESIZE)


def _advise(advice: str, first: int, length: int) -> None:
    """Tell the kernel about bytes from the page that begins at `first`; others than Linux mean something else by it."""
    if sys.platform == "linux":
        _c_library().madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), getattr(mmap, advice))


@lru_cache
def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL(None)
