"""Letting go of a mapped file's pages once they have been read, so that reading a file does not fill the memory."""

from __future__ import annotations

import ctypes
import mmap
import sys

from torch import Tensor


def give_back(mapped: Tensor) -> None:
    """Let go of the memory behind a tensor that is mapped from a file; touched again, it is read again.

    Otherwise the pages read so far count as this process's memory until somebody else needs the room. Only for tensors
    that truly lie in a file: the same advice would empty ordinary memory.
    """
    if sys.platform != "linux":
        return
    storage = mapped.untyped_storage()
    first = -(-storage.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    length = storage.data_ptr() + storage.nbytes() - first
    if length >= mmap.PAGESIZE:
        length -= length % mmap.PAGESIZE
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), mmap.MADV_DONTNEED)
