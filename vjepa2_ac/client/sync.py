"""A client for programs that wait: `PlannerClient`."""

from __future__ import annotations

import time
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


class PlannerClient:
    """A client of a planning service over REST (`http://…`) or gRPC (`grpc://…`); `https` and `grpcs` are encrypted.

    Every call ends within its time-out, except over REST on a connection that stalls: there connecting, sending and the
    last wait for an answer may each take that long. A call is repeated only where the service said that nothing was
    done, or where doing it twice is harmless. Raises PlannerError with the service's own message.
    """

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
        self._wire = Address(url, token, ca, certificate).open()

    def plan(
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
        return self._ask("plan", timeout_s, fields, Plan.of)

    def session(self, goal: GoalLike, **options: Unpack[Options]) -> Session:
        """A session that pursues the goal's pictures in order. Use it in a `with` block, or close it."""
        fields = {"goal": calls.goal(goal), "options": calls.options(options)}
        return Session(self, self._ask("open_session", None, fields, partial(known, SessionState)))

    def energy(
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
        return self._ask("energy", timeout_s, fields, lambda told: np.array(told["energies"], dtype=np.float64))

    def rollout(
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
        return self._ask("rollout", timeout_s, fields, Rollout.of)

    def register_goal(self, goal: Picture | list[Picture]) -> Goal:
        """Have the service encode a goal once and keep it. The same pictures are the same goal."""
        fields = {"pictures": calls.pictures(goal)}
        return self._ask("register_goal", None, fields, partial(known, Goal))

    def goals(self) -> list[Goal]:
        """All goals that the service keeps."""
        return self._ask("list_goals", None, {}, lambda told: [known(Goal, each) for each in told["goals"]])

    def delete_goal(self, goal: Goal | str) -> None:
        """Delete a goal from the service."""
        self._ask("delete_goal", None, {"goal_id": goal if isinstance(goal, str) else goal.goal_id}, dict)

    def info(self) -> dict[str, Any]:
        """Conventions, limits and versions of the service."""
        return self._ask("info", None, {}, dict)

    def models(self) -> list[dict[str, Any]]:
        """The service's models and their states."""
        return self._ask("models", None, {}, lambda told: list(told["models"]))

    def close(self) -> None:
        """Close the connection."""
        self._is_closed = True
        self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(
        self, name: str, timeout_s: float | None, fields: dict[str, Any], read: Callable[[dict[str, Any]], AnswerT]
    ) -> AnswerT:
        """What `read` makes of the answer."""
        call = Call(name, fields)
        attempts = Attempts(self.timeout_s if timeout_s is None else timeout_s, self.retries, call.method.is_repeatable)
        while not self._is_closed:
            try:
                answer = self._wire.send(call.after(attempts.waited_s), attempts.time_left_s)
            except PlannerError as error:
                if not self._is_closed:
                    time.sleep(attempts.pause_after(error))
            except (RuntimeError, ValueError):  # the wire's own words, where another thread has closed it just now
                if not self._is_closed:
                    raise
            else:
                return understood(read, answer)
        raise PlannerUnavailableError("the client has been closed", code="closed")


class Session:
    """One robot's pursuit of a goal, closed at the end of its `with` block."""

    def __init__(self, client: PlannerClient, opened: SessionState) -> None:
        self.client, self.id = client, opened.session_id
        self.status, self.sub_goal, self.sub_goals = opened.status, opened.sub_goal, opened.sub_goals

    def step(
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
        step = self.client._ask("step", timeout_s, fields, Step.of)
        self.status, self.sub_goal = step.status, step.sub_goal
        return step

    def state(self) -> SessionState:
        """The session's progress."""
        return self.client._ask("get_session", None, {"session_id": self.id}, partial(known, SessionState))

    def calibrate(
        self, moves: Sequence[Exploration], *, yaw_only: bool = True, timeout_s: float | None = None
    ) -> Calibration:
        """Estimate from exploratory moves how the camera is turned; the session's later plans take it into account.

        Good moves go a few centimetres along each axis, there and back. `residual` says whether the view is good.
        """
        fields = {"session_id": self.id, "moves": calls.explored(moves), "yaw_only": yaw_only}
        return self.client._ask("calibrate", timeout_s, fields, partial(known, Calibration))

    def calibration(self) -> Calibration:
        """The session's calibration. Raises PlannerError with the code `not_found` if there is none."""
        return self.client._ask("get_calibration", None, {"session_id": self.id}, partial(known, Calibration))

    def forget_calibration(self) -> None:
        """Delete the calibration; the session plans again as when it was opened."""
        self.client._ask("delete_calibration", None, {"session_id": self.id}, dict)

    def close(self) -> None:
        """Close the session; one that has expired is closed already."""
        try:
            self.client._ask("close_session", None, {"session_id": self.id}, dict)
        except PlannerError as error:
            if error.code != "not_found":
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except PlannerError:
            if error is None:  # else what ended the block goes first, Ctrl-C and cancellation among it
                raise
