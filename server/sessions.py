"""A session: one robot's pursuit of a goal, with everything that carries over from one observation to the next."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from planner.camera import CameraTurn
from planner.mpc import ControlConfig, Controller, Status, Step
from planner.planning import PlannerConfig
from planner.seeing import see
from server.answers import Stages
from server.goals import Goal
from server.intake import Observed
from server.messages import Session as SessionMessage
from server.model import InterruptibleWorld
from server.recording import RecordingPlanner
from server.traces import stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """A camera's turn, and how many exploratory moves it was estimated from."""

    turn: CameraTurn
    moves: int


class Session:
    """One robot's pursuit of a goal. Only the worker's thread may call `step` or set `calibrated`."""

    def __init__(
        self,
        goal: Goal,
        config: PlannerConfig,
        control: ControlConfig,
        camera: CameraTurn | None,
        seed: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.key, self.clock, self.warnings = uuid.uuid4().hex, clock, warnings
        self.goal, self.config, self.control, self.camera, self.seed = goal, config, control, camera, seed
        self.status: Status = "going"
        self.sub_goal, self.steps = 0, 0
        self.planner: RecordingPlanner | None = None
        self._calibrated: Calibrated | None = None
        self._controller: Controller | None = None
        self._pictures: list[str] = []  # SHA-256 of those that plans were made from, newest last

    @property
    def seen(self) -> list[str]:
        """SHA-256 of the pictures of the earlier observations that the last plan made use of."""
        asked = self.planner and self.planner.asked
        count = len(asked.earlier) if asked and asked.earlier else 0
        return self._pictures[-1 - count : -1]

    @property
    def calibrated(self) -> Calibrated | None:
        """The camera's turn as estimated from this session's exploratory moves; None without any."""
        return self._calibrated

    @calibrated.setter
    def calibrated(self, found: Calibrated | None) -> None:
        self._calibrated = found
        if self.planner is not None:
            self.planner.camera = self._turn

    @property
    def _turn(self) -> CameraTurn | None:
        """The camera's turn that plans use: the estimated one, else the one given when the session was opened."""
        return self._calibrated.turn if self._calibrated else self.camera

    def step(self, world: InterruptibleWorld, observed: Observed, deadline: float | None, times: Stages) -> Step:
        """What to do next. A goal that was reached and lost again is pursued again."""
        controller = self._control(world, times)
        with stage("encode"):
            observed_VND = see(world, observed.picture.frame_HW3, self.config.cost.hues)
        step = controller.step(observed_VND, observed.pose, commanded=observed.commanded, deadline=deadline)
        if step.plan is not None:
            self._pictures = [*self._pictures, observed.picture.sha256][-1 - len(controller.past) :]
        self.status, self.sub_goal, self.steps = step.status, step.goal, controller.steps
        return step

    def describe(self, expires_in_s: float) -> SessionMessage:
        """The message that describes the session to callers."""
        return SessionMessage(
            session_id=self.key,
            status=self.status,
            sub_goal=self.sub_goal,
            sub_goals=len(self.goal),
            steps=self.steps,
            expires_in_s=expires_in_s,
        )

    def _control(self, world: InterruptibleWorld, times: Stages) -> Controller:
        if self._controller is None:
            self.planner = RecordingPlanner(world, self.config, camera=self._turn, clock=self.clock)
            with times.stage("goal"):
                goals = self.goal.latents(world, self.config.cost.hues)
            self._controller = Controller(self.planner, goals, self.control, seed=self.seed)
        return self._controller
