"""Large requests are read beside the event loop, so that nobody else waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

LARGE = 64 * 1024  # [bytes]
T = TypeVar("T")


async def beside(size: int, read: Callable[[], T]) -> T:
    """What `read` makes of a request of that size [bytes]: at once, or in a thread where it may take a while."""
    return await asyncio.to_thread(read) if size > LARGE else read()
