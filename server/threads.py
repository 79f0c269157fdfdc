"""Reads large requests in threads, so that the event loop stays free for others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

LARGE = 64 * 1024  # [bytes] beyond which a request is read in a thread
T = TypeVar("T")


async def in_thread_if_large(size: int, read: Callable[[], T]) -> T:
    """What `read` returns for a request of `size` bytes, called in a thread if that is large."""
    return await asyncio.to_thread(read) if size > LARGE else read()
