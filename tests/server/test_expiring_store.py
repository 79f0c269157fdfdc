"""What callers leave with the service is kept while it is used, and within bounds."""

from __future__ import annotations

import asyncio
import weakref

import numpy as np
import pytest

from server.errors import NotFoundError, TooManyError
from server.expiring_store import ExpiringStore
from server.goals import RECENT, Goals
from server.messages import GoalReference
from tests.planner.worlds import Clock
from vjepa2_ac.pictures import Picture, fingerprint


def test_what_is_used_is_kept_and_the_rest_goes() -> None:
    clock = Clock()
    store: ExpiringStore[int] = ExpiringStore("session", 3, 10.0, clock)
    store.put("a", 1)
    store.put("b", 2)
    clock.now = 8.0
    assert store.get("a") == 1
    clock.now = 12.0
    assert store.items() == {"a": 1}
    assert store.expires_in_s("a") == 6.0
    with pytest.raises(NotFoundError, match="no session 'b'"):
        store.get("b")


def test_what_is_in_use_does_not_expire_and_is_kept_anew_afterwards() -> None:
    clock = Clock()
    store: ExpiringStore[int] = ExpiringStore("session", 3, 10.0, clock)
    store.put("a", 1)
    with store.using("a") as item, store.using("a"):
        clock.now = 25.0
        assert (item, store.items(), store.expires_in_s("a")) == (1, {"a": 1}, 10.0)
    clock.now = 34.0
    assert store.get("a") == 1
    with store.using("a"):
        store.remove("a")
    assert "a" not in store


def test_a_full_store_says_when_there_will_be_room() -> None:
    clock = Clock()
    store: ExpiringStore[int] = ExpiringStore("goal", 3, 10.0, clock)
    store.put("a", 1, weight=2)
    clock.now = 4.0
    store.put("b", 2)
    with pytest.raises(TooManyError, match="room for 3 goals") as caught:
        store.put("c", 3)
    assert caught.value.retry_after_s == 6.0


def test_what_has_expired_takes_no_room() -> None:
    clock = Clock()
    store: ExpiringStore[int] = ExpiringStore("session", 1, 10.0, clock)
    store.put("a", 1)
    clock.now = 11.0
    store.put("b", 2)
    assert store.items() == {"b": 2}


def test_of_goals_that_came_with_requests_only_recent_ones_are_kept() -> None:
    async def decoded(data: bytes, field: str) -> Picture:
        return Picture(np.zeros((8, 8, 3), np.uint8), fingerprint(data), data)

    async def main() -> Goals:
        goals = Goals(room=1, idle_s=10.0, decode=decoded)
        for number in range(RECENT + 3):
            first = await goals.find(GoalReference(pictures=[b"first"]))
            await goals.find(GoalReference(pictures=[bytes([number])]))
        assert await goals.find(GoalReference(pictures=[b"first"])) is first  # it was used all along
        return goals

    assert len(asyncio.run(main()).recent) == RECENT


def test_of_a_goals_pictures_no_more_are_held_as_frames_than_are_decoded_at_once() -> None:
    frames: list[weakref.ref[object]] = []
    held: list[int] = []

    async def decoded(data: bytes, field: str) -> Picture:
        held.append(sum(frame() is not None for frame in frames))
        frame = np.zeros((8, 8, 3), np.uint8)
        frames.append(weakref.ref(frame))
        return Picture(frame, fingerprint(data), data)

    goals = Goals(room=1, idle_s=10.0, decode=decoded)
    pictures = [bytes([number]) for number in range(16)]
    goal = asyncio.run(goals.find(GoalReference(pictures=pictures)))
    assert held == [0] * 16
    assert [name for name, _ in goal.pictures] == [fingerprint(data) for data in pictures]


def test_requests_at_the_same_time_share_a_goal_and_so_its_latents() -> None:
    async def decoded(data: bytes, field: str) -> Picture:
        await asyncio.sleep(0.01)
        return Picture(np.zeros((8, 8, 3), np.uint8), fingerprint(data), data)

    async def main() -> None:
        goals = Goals(room=1, idle_s=10.0, decode=decoded)
        asked = GoalReference(pictures=[b"one"])
        first, second, registered = await asyncio.gather(goals.find(asked), goals.find(asked), goals.read([b"one"]))
        assert first is second is registered

    asyncio.run(main())
