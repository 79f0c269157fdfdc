"""Drivers of the arm: the planner under evaluation, a planning service, and the baselines to compare them with.

A driver that is evaluated is given goal pictures once, then a frame and a pose at every step, and nothing else: no
object pose, no verdict, no simulator. Baselines that may know more are given the environment when they are built.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from planner import calibration
from planner.calibration import CalibrationConfig
from planner.camera import CameraTurn
from planner.mpc import ControlConfig, Controller
from planner.planning import Planner
from sim.bounds import Policy, actor
from sim.env import FrankaEnv
from sim.evaluate.exploring import Explored
from vjepa2_ac.client import Exploration, ObservationDetails, Options, PlannerClient, PlannerError
from vjepa2_ac.errors import PlanningError

Array = NDArray[np.float64]
Frame = NDArray[np.uint8]

STAY = np.zeros(7)
NO_PLAN = ("no_plan", "deadline_exceeded")  # a service's error codes when no plan would be safe to follow


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DriverStep:
    """A driver's next action and, if it plans, what it expects; a driver that does not plan leaves the rest out."""

    action_7: Array
    status: str = "going"
    goal: int = 0
    cost: float | None = None  # of the present picture, against the sub-goal
    imagined_cost: float | None = None  # of what the plan is imagined to end in
    horizon: int = 0  # [steps] that the plan looks ahead
    idle_cost: float | None = None  # of what doing nothing is imagined to end in
    confidence: dict[str, Any] = field(default_factory=dict)
    failure_probability: float | None = None  # as stated by the plan
    gripper_costs: dict[str, float] = field(default_factory=dict)
    evaluations: int = 0
    stop_reason: str = ""
    clipped: int = 0
    passed: tuple[tuple[int, str], ...] = ()  # sub-goals passed in this step, and how
    plan_ms: float = 0.0
    error: str = ""


class Driver(Protocol):
    """Drives one episode."""

    def step(self, frame: Frame, pose: Array) -> DriverStep:
        """What to do next, given the present `frame` and the hand's `pose` [7]."""

    def calibrate(self, explored: Sequence[Explored]) -> CameraTurn | None:
        """Learn from exploratory moves how the camera is turned; None for a driver that does not look through it."""

    def close(self) -> None:
        """End the episode; release what was held for it."""


class PlannedDriver:
    """The closed loop under evaluation, in this process."""

    def __init__(self, planner: Planner, goals: list[Any], control: ControlConfig, seed: int) -> None:
        self.control = Controller(planner, goals, control, seed=seed)

    def step(self, frame: Frame, pose: Array) -> DriverStep:
        """The first action of a fresh plan; the robot stays where it is when there is none."""
        return followed(self.control, frame, pose)

    def calibrate(self, explored: Sequence[Explored]) -> CameraTurn:
        """The camera's turn, found from pictures by the model that plans."""
        planner = self.control.planner
        self.control.planner = calibrated(planner, explored, lambda frame: planner.world.encode(frame)[0])
        assert self.control.planner.camera is not None
        return self.control.planner.camera

    def close(self) -> None:
        """Nothing to let go of."""


class ServedDriver:
    """The same loop through a planning service, as a robot would run it."""

    def __init__(self, client: PlannerClient, goals: list[Frame], options: dict[str, Any], seed: int) -> None:
        asked: Options = {**options, "seed": seed}  # type: ignore[typeddict-item]  # the client checks the names
        self.session = client.session(goals, **asked)
        self.told: ObservationDetails = {}  # the pose that the hand was last sent to, once there is one

    def step(self, frame: Frame, pose: Array) -> DriverStep:
        """The first action of the service's plan; the robot stays where it is when there is none."""
        started = time.perf_counter()
        try:
            step = self.session.step(frame, pose, details=self.told)
        except PlannerError as error:
            if error.code not in NO_PLAN:
                raise
            return DriverStep(action_7=STAY, goal=self.session.sub_goal, error=str(error))
        if step.plan is not None:
            self.told = {"commanded": step.plan.targets[0]}
        passed = tuple((int(each["sub_goal"]), str(each["verdict"])) for each in step.passed)
        return as_driver_step(step, step.sub_goal, passed, started)

    def calibrate(self, explored: Sequence[Explored]) -> CameraTurn:
        """The camera's turn, found from pictures by the service."""
        moves = [
            Exploration(before=each.before, after=each.after, pose_before=each.pose_before, pose_after=each.pose_after)
            for each in explored
        ]
        found = self.session.calibrate(moves)
        (roll, pitch, yaw), (x, y, z) = found.camera_turn, found.about
        return CameraTurn(roll=roll, pitch=pitch, yaw=yaw, residual=found.residual, about=(x, y, z))

    def close(self) -> None:
        """End the session."""
        self.session.close()


class ScriptedDriver:
    """A scripted baseline: expert, nothing or random."""

    def __init__(self, env: FrankaEnv, policy: Policy, seed: int) -> None:
        self.act: Callable[[], Any] = actor(env, policy, seed)

    def step(self, frame: Frame, pose: Array) -> DriverStep:
        """The script's next move; an expert that is done stays where it is."""
        action = self.act()
        return DriverStep(action_7=STAY, status="done") if action is None else DriverStep(action_7=np.asarray(action))

    def calibrate(self, explored: Sequence[Explored]) -> None:
        """Nothing to learn: scripts do not look through the camera."""

    def close(self) -> None:
        """Nothing to let go of."""


def calibrated(
    planner: Planner,
    explored: Sequence[Explored],
    encode: Callable[[Any], Tensor],
    config: CalibrationConfig | None = None,
) -> Planner:
    """The same planner, with the camera's turn that explains the exploratory moves best."""
    moves = [
        calibration.Exploration(
            before_ND=encode(each.before),
            after_ND=encode(each.after),
            pose_before=each.pose_before,
            pose_after=each.pose_after,
        )
        for each in explored
    ]
    camera = calibration.calibrate(planner.world, moves, config)
    return Planner(planner.world, planner.config, camera=camera, clock=planner.clock)


def followed(control: Controller, seen: Any, pose: Array) -> DriverStep:
    """A step of a loop in this process, as a driver's; the robot stays where it is when there is no plan."""
    started = time.perf_counter()
    try:
        step = control.step(seen, pose)
    except PlanningError as error:
        return DriverStep(action_7=STAY, goal=control.goal, error=str(error))
    return as_driver_step(step, step.goal, step.passed, started)


def as_driver_step(step: Any, goal: int, passed: tuple[tuple[int, str], ...], started: float) -> DriverStep:
    """A step of the planner or of the service, as a driver's; both name their fields alike."""
    plan, plan_ms = step.plan, 1e3 * (time.perf_counter() - started)
    if plan is None:
        return DriverStep(action_7=STAY, status=step.status, goal=goal, cost=step.cost, passed=passed, plan_ms=plan_ms)
    actions = plan.actions_H7 if hasattr(plan, "actions_H7") else plan.actions
    return DriverStep(
        action_7=np.asarray(actions[0], dtype=np.float64),
        status=step.status,
        goal=goal,
        cost=step.cost,
        imagined_cost=plan.cost,
        horizon=len(actions),
        idle_cost=plan.idle_cost,
        confidence=asdict(plan.confidence),
        failure_probability=plan.failure_probability,
        gripper_costs=dict(plan.gripper_costs),
        evaluations=plan.evaluations,
        stop_reason=plan.stop_reason,
        clipped=len(plan.clipped),
        passed=passed,
        plan_ms=plan_ms,
    )
