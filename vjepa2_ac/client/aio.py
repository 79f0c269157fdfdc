"""The same client for asyncio: `AsyncPlannerClient`. A test holds that it offers what `PlannerClient` does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

import numpy as np
from numpy.typing import ArrayLike

from vjepa2_ac.client import calls
from vjepa2_ac.client.answers import (
    AnswerT,
    Array,
    Calibration,
    Goal,
    Plan,
    Rollout,
    SessionState,
    Step,
    known,
    understood,
)
from vjepa2_ac.client.calls import Call, Exploration, GoalLike, ObservationDetails, Options
from vjepa2_ac.client.errors import Attempts, PlannerError, PlannerUnavailableError
from vjepa2_ac.client.pictures import Picture
from vjepa2_ac.client.wires import Address


class AsyncPlannerClient:
    """`PlannerClient` for asyncio: the same methods, to be awaited."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        token: str | None = None,
        timeout_s: float = 30.0,
        retries: int = 3,
        ca: Path | None = None,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        self.timeout_s, self.retries = timeout_s, retries
        self._is_closed = False
        self._wire = Address(url, token, ca, certificate).open_async()

    async def plan(
        self,
        frame: Picture,
        pose: ArrayLike,
        goal: GoalLike,
        *,
        sub_goal: int | None = None,
        deadline_ms: float | None = None,
        timeout_s: float | None = None,
        details: ObservationDetails | None = None,
        **options: Unpack[Options],
    ) -> Plan:
        """A plan from `frame`, with the hand at `pose` [7], towards `goal`; nothing is remembered."""
        fields = calls.without_none(
            observation=calls.observation(frame, pose, details or {}),
            goal=calls.goal(goal),
            sub_goal=sub_goal,
            deadline_ms=deadline_ms,
            options=calls.options(options),
        )
        return await self._ask("plan", timeout_s, fields, Plan.of)

    async def session(self, goal: GoalLike, **options: Unpack[Options]) -> AsyncSession:
        """A session that pursues the goal's pictures in order. Use it in an `async with` block, or close it."""
        fields = {"goal": calls.goal(goal), "options": calls.options(options)}
        return AsyncSession(self, await self._ask("open_session", None, fields, partial(known, SessionState)))

    async def energy(
        self,
        frame: Picture,
        pose: ArrayLike,
        goal: GoalLike,
        actions: ArrayLike,
        *,
        sub_goal: int | None = None,
        timeout_s: float | None = None,
    ) -> Array:
        """The energies [S] of action sequences [S, H, 7]; lower is nearer to the goal."""
        fields = calls.without_none(
            observation=calls.observation(frame, pose, {}),
            goal=calls.goal(goal),
            sub_goal=sub_goal,
            candidates=calls.candidates(actions),
        )
        return await self._ask("energy", timeout_s, fields, lambda told: np.array(told["energies"], dtype=np.float64))

    async def rollout(
        self,
        frame: Picture,
        pose: ArrayLike,
        actions: ArrayLike,
        *,
        goal: GoalLike | None = None,
        with_latents: bool = False,
        timeout_s: float | None = None,
    ) -> Rollout:
        """Where action sequences [S, H, 7] lead."""
        fields = calls.without_none(
            observation=calls.observation(frame, pose, {}),
            goal=None if goal is None else calls.goal(goal),
            candidates=calls.candidates(actions),
            with_latents=with_latents,
        )
        return await self._ask("rollout", timeout_s, fields, Rollout.of)

    async def register_goal(self, goal: Picture | list[Picture]) -> Goal:
        """Have the service encode a goal once and keep it. The same pictures are the same goal."""
        fields = {"pictures": calls.pictures(goal)}
        return await self._ask("register_goal", None, fields, partial(known, Goal))

    async def goals(self) -> list[Goal]:
        """All goals that the service keeps."""
        return await self._ask("list_goals", None, {}, lambda told: [known(Goal, each) for each in told["goals"]])

    async def delete_goal(self, goal: Goal | str) -> None:
        """Delete a goal from the service."""
        await self._ask("delete_goal", None, {"goal_id": goal if isinstance(goal, str) else goal.goal_id}, dict)

    async def info(self) -> dict[str, Any]:
        """Conventions, limits and versions of the service."""
        return await self._ask("info", None, {}, dict)

    async def models(self) -> list[dict[str, Any]]:
        """The service's models and their states."""
        return await self._ask("models", None, {}, lambda told: list(told["models"]))

    async def close(self) -> None:
        """Close the connection."""
        self._is_closed = True
        await self._wire.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask(
        self, name: str, timeout_s: float | None, fields: dict[str, Any], read: Callable[[dict[str, Any]], AnswerT]
    ) -> AnswerT:
        """What `read` makes of the answer."""
        call = Call(name, fields)
        attempts = Attempts(self.timeout_s if timeout_s is None else timeout_s, self.retries, call.method.is_repeatable)
        while not self._is_closed:
            try:
                answer = await self._wire.send(call.after(attempts.waited_s), attempts.time_left_s)
            except PlannerError as error:
                if not self._is_closed:
                    await asyncio.sleep(attempts.pause_after(error))
            else:
                return understood(read, answer)
        raise PlannerUnavailableError("the client has been closed", code="closed")


class AsyncSession:
    """One robot's pursuit of a goal, closed at the end of its `async with` block."""

    def __init__(self, client: AsyncPlannerClient, opened: SessionState) -> None:
        self.client, self.id = client, opened.session_id
        self.status, self.sub_goal, self.sub_goals = opened.status, opened.sub_goal, opened.sub_goals

    async def step(
        self,
        frame: Picture,
        pose: ArrayLike,
        *,
        deadline_ms: float | None = None,
        timeout_s: float | None = None,
        details: ObservationDetails | None = None,
    ) -> Step:
        """What to do next, after the first action of the previous plan was made."""
        fields = calls.without_none(
            session_id=self.id, observation=calls.observation(frame, pose, details or {}), deadline_ms=deadline_ms
        )
        step = await self.client._ask("step", timeout_s, fields, Step.of)
        self.status, self.sub_goal = step.status, step.sub_goal
        return step

    async def state(self) -> SessionState:
        """The session's progress."""
        return await self.client._ask("get_session", None, {"session_id": self.id}, partial(known, SessionState))

    async def calibrate(
        self, moves: Sequence[Exploration], *, yaw_only: bool = True, timeout_s: float | None = None
    ) -> Calibration:
        """Estimate from exploratory moves how the camera is turned; the session's later plans take it into account.

        Good moves go a few centimetres along each axis, there and back. `residual` says whether the view is good.
        """
        fields = {"session_id": self.id, "moves": calls.explored(moves), "yaw_only": yaw_only}
        return await self.client._ask("calibrate", timeout_s, fields, partial(known, Calibration))

    async def calibration(self) -> Calibration:
        """The session's calibration. Raises PlannerError with the code `not_found` if there is none."""
        return await self.client._ask("get_calibration", None, {"session_id": self.id}, partial(known, Calibration))

    async def forget_calibration(self) -> None:
        """Delete the calibration; the session plans again as when it was opened."""
        await self.client._ask("delete_calibration", None, {"session_id": self.id}, dict)

    async def close(self) -> None:
        """Close the session; one that has expired is closed already."""
        try:
            await self.client._ask("close_session", None, {"session_id": self.id}, dict)
        except PlannerError as error:
            if error.code != "not_found":
                raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except PlannerError:
            if error is None:  # else what ended the block goes first, Ctrl-C and cancellation among it
                raise
