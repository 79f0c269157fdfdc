"""A bounded store for what callers leave with the service, goals and sessions; what is not used for a while expires.

An item in use does not expire, however long that takes: a session, for example, while its plan is searched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from server.errors import NotFoundError, TooManyError

T = TypeVar("T")


@dataclass(slots=True)
class _Entry(Generic[T]):
    item: T
    weight: int
    used_at: float
    users: int = 0  # how many use it now


class ExpiringStore(Generic[T]):
    """Items by id, with a weight of at most `room` together, each kept for `idle_s` after its last use."""

    def __init__(self, what: str, room: int, idle_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.what, self.room, self.idle_s, self.clock = what, room, idle_s, clock
        self._entries: dict[str, _Entry[T]] = {}

    def put(self, key: str, item: T, weight: int = 1) -> None:
        """Keep an item. Raises TooManyError when there is no room left."""
        self.refuse_if_full(weight)
        self._entries[key] = _Entry(item, weight, self.clock())

    def refuse_if_full(self, weight: int = 1) -> None:
        """Raise TooManyError when there is no room for another item."""
        self._drop_expired()
        taken = sum(entry.weight for entry in self._entries.values())
        if taken + weight > self.room:
            soonest_s = min((self.expires_in_s(other) for other in self._entries), default=self.idle_s)
            raise TooManyError(f"there is room for {self.room} {self.what}s, and {taken} are kept", soonest_s)

    def get(self, key: str) -> T:
        """The item of that id, kept for another `idle_s`. Raises NotFoundError."""
        return self._entry(key).item

    @contextmanager
    def using(self, key: str) -> Iterator[T]:
        """The item of that id, which does not expire within the block; its `idle_s` starts anew at the end."""
        entry = self._entry(key)
        entry.users += 1
        try:
            yield entry.item
        finally:
            entry.users -= 1
            entry.used_at = self.clock()

    def remove(self, key: str) -> None:
        """Forget an item. Raises NotFoundError."""
        self.get(key)
        del self._entries[key]

    def items(self) -> dict[str, T]:
        """Everything that is kept, oldest first."""
        self._drop_expired()
        return {key: entry.item for key, entry in self._entries.items()}

    def expires_in_s(self, key: str) -> float:
        """How long an item will be kept if nobody uses it."""
        entry = self._entries[key]
        return self.idle_s if entry.users else max(0.0, entry.used_at + self.idle_s - self.clock())

    def __contains__(self, key: str) -> bool:
        self._drop_expired()
        return key in self._entries

    def __len__(self) -> int:
        self._drop_expired()
        return len(self._entries)

    def _entry(self, key: str) -> _Entry[T]:
        self._drop_expired()
        if key not in self._entries:
            raise NotFoundError(f"there is no {self.what} {key!r}; it may have expired")
        self._entries[key].used_at = self.clock()
        return self._entries[key]

    def _drop_expired(self) -> None:
        oldest = self.clock() - self.idle_s
        kept = {key: entry for key, entry in self._entries.items() if entry.users or entry.used_at >= oldest}
        self._entries = kept
