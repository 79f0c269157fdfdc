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
class _Place(Generic[T]):
    item: T
    weight: int
    used_at: float
    users: int = 0  # how many use it now


class Shelf(Generic[T]):
    """Items by id, with a weight of at most `room` together, each kept for `idle_s` after its last use."""

    def __init__(self, what: str, room: int, idle_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.what, self.room, self.idle_s, self.clock = what, room, idle_s, clock
        self._places: dict[str, _Place[T]] = {}

    def put(self, key: str, item: T, weight: int = 1) -> None:
        """Keep an item. Raises TooManyError when there is no room left."""
        self.refuse_if_full(weight)
        self._places[key] = _Place(item, weight, self.clock())

    def refuse_if_full(self, weight: int = 1) -> None:
        """Raise TooManyError when there is no room for another item."""
        self._throw_away()
        taken = sum(place.weight for place in self._places.values())
        if taken + weight > self.room:
            soonest_s = min((self.expires_in_s(other) for other in self._places), default=self.idle_s)
            raise TooManyError(f"there is room for {self.room} {self.what}s, and {taken} are kept", soonest_s)

    def get(self, key: str) -> T:
        """The item of that id, kept for another `idle_s`. Raises NotFoundError."""
        return self._place(key).item

    @contextmanager
    def using(self, key: str) -> Iterator[T]:
        """The item of that id, which does not expire within the block; its `idle_s` starts anew at the end."""
        place = self._place(key)
        place.users += 1
        try:
            yield place.item
        finally:
            place.users -= 1
            place.used_at = self.clock()

    def remove(self, key: str) -> None:
        """Forget an item. Raises NotFoundError."""
        self.get(key)
        del self._places[key]

    def items(self) -> dict[str, T]:
        """Everything that is kept, oldest first."""
        self._throw_away()
        return {key: place.item for key, place in self._places.items()}

    def expires_in_s(self, key: str) -> float:
        """How long an item will be kept if nobody uses it."""
        place = self._places[key]
        return self.idle_s if place.users else max(0.0, place.used_at + self.idle_s - self.clock())

    def __contains__(self, key: str) -> bool:
        self._throw_away()
        return key in self._places

    def __len__(self) -> int:
        self._throw_away()
        return len(self._places)

    def _place(self, key: str) -> _Place[T]:
        self._throw_away()
        if key not in self._places:
            raise NotFoundError(f"there is no {self.what} {key!r}; it may have expired")
        self._places[key].used_at = self.clock()
        return self._places[key]

    def _throw_away(self) -> None:
        oldest = self.clock() - self.idle_s
        kept = {key: place for key, place in self._places.items() if place.users or place.used_at >= oldest}
        self._places = kept
