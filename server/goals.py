"""Goals: pictures of what should be true, encoded once and found again by the hash of their bytes."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence

from torch import Tensor

from planner.presets import preset
from planner.protocols import World
from planner.seeing import see
from server.expiring_store import ExpiringStore
from server.messages import Goal as GoalMessage
from server.messages import GoalReference
from server.planlog import KeptPicture
from vjepa2_ac.errors import FieldError
from vjepa2_ac.pictures import Picture, decode, fingerprint

KEYFRAME_HUES = preset("keyframes").cost.hues
ANY_SIDE = 1 << 16  # [pixels] in effect no limit: a picture's size is checked when it comes
RECENT = 64  # how many goals that came with a request are kept, as they may come again
Decode = Callable[[bytes, str], Awaitable[Picture]]


class Goal:
    """Sub-goal pictures in order, which the worker encodes when their latents are first needed."""

    def __init__(self, key: str, pictures: Sequence[KeptPicture]) -> None:
        self.key = key
        self.pictures = list(pictures)  # for the plan log
        self._unseen: list[bytes] | None = [data for _, data in pictures]
        self._latents: list[Tensor] = []

    def __len__(self) -> int:
        return len(self.pictures)

    def latents(self, world: World, hues: int = 1) -> list[Tensor]:
        """The latents [V, N, D] of each sub-goal; for the worker's thread only.

        V is 1, or if `hues` is above 1 the number of hues that keyframes are found in (1 in a world that finds none).
        """
        if self._unseen is not None:  # kept as files: decoded, they could fill the memory
            most = KEYFRAME_HUES if world.finds_keyframes else 1
            self._latents = [see(world, decode(data, "goal", ANY_SIDE).frame_HW3, most) for data in self._unseen]
            self._unseen = None
        return self._latents if hues > 1 else [latents_VND[:1] for latents_VND in self._latents]

    def check(self, sub_goal: int | None) -> int:
        """The sub-goal's number, 0 unless given. Raises FieldError where there is no such sub-goal."""
        number = sub_goal or 0
        if number >= len(self):
            raise FieldError("sub_goal", f"{number}, of a goal with {len(self)} pictures", f"0 … {len(self) - 1}")
        return number


class Goals:
    """Registered goals, and those that came with recent requests."""

    def __init__(
        self,
        room: int,
        idle_s: float,
        decode: Decode,
        *,
        keep_pictures: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registered: ExpiringStore[Goal] = ExpiringStore("goal", room, idle_s, clock)
        self.recent: OrderedDict[str, Goal] = OrderedDict()
        self._decode, self._keep_pictures = decode, keep_pictures

    async def read(self, pictures: Sequence[bytes]) -> Goal:
        """The goal of these pictures, the same for the same pictures. Raises FieldError, TooManyError without room."""
        goal = await self._of_pictures(pictures, "pictures")
        if goal.key not in self.registered:
            self.registered.refuse_if_full(len(goal))
        return goal

    def register(self, goal: Goal) -> GoalMessage:
        """Keep a goal until nobody has used it for `idle_s`, and return what callers are told of it."""
        if goal.key not in self.registered:
            self.registered.put(goal.key, goal, weight=len(goal))
        return self.describe(goal)

    def describe(self, goal: Goal) -> GoalMessage:
        """The message that describes a registered goal to callers."""
        expires_in_s = self.registered.expires_in_s(goal.key)
        return GoalMessage(goal_id=goal.key, sub_goals=len(goal), expires_in_s=expires_in_s)

    async def find(self, reference: GoalReference) -> Goal:
        """The goal that a request names by its id or brings as pictures. Raises FieldError, NotFoundError."""
        if reference.id is not None:
            if reference.pictures:
                raise FieldError("goal", "pictures and an id", "one of them")
            return self.registered.get(reference.id)
        return await self._of_pictures(reference.pictures, "goal.pictures")

    async def _of_pictures(self, pictures: Sequence[bytes], field: str) -> Goal:
        if not pictures:
            raise FieldError(field, "no picture", "a PNG or JPEG of what should be true, or several in order")
        key = _key(pictures)
        if key in self.registered:
            return self.registered.get(key)
        if key not in self.recent:
            usable = await asyncio.gather(*(self._check(data, f"{field}[{i}]") for i, data in enumerate(pictures)))
            self.recent.setdefault(key, Goal(key, usable))  # another request may have brought it meanwhile
        self.recent.move_to_end(key)
        while len(self.recent) > RECENT:
            self.recent.popitem(last=False)
        goal = self.recent[key]
        if not self._keep_pictures:
            goal.pictures = [(sha256, b"") for sha256, _ in goal.pictures]
        return goal

    async def _check(self, data: bytes, field: str) -> KeptPicture:
        """Name and file of a picture that can be decoded; its frame is not kept, as many could fill the memory."""
        return (await self._decode(data, field)).sha256, data


def _key(pictures: Sequence[bytes]) -> str:
    names = "".join(fingerprint(data) for data in pictures)
    return hashlib.sha256(names.encode()).hexdigest()[:32]
