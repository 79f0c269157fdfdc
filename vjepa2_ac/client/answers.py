"""What a planning service answers, in numpy.

Shapes: H steps of the horizon, S candidates, N tokens, D width of a latent, 7 numbers of a pose or an action.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from vjepa2_ac.client.errors import something_else

AnswerT = TypeVar("AnswerT")
Array = NDArray[np.float64]
Status = Literal["going", "done", "timed out"]


def understood(read: Callable[[dict[str, Any]], AnswerT], answer: dict[str, Any]) -> AnswerT:
    """What `read` makes of an answer. Raises PlannerUnavailableError where something else has answered."""
    try:
        return read(answer)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise something_else(str(answer)[:80]) from None


def known(kind: type[AnswerT], answer: dict[str, Any]) -> AnswerT:
    """An answer of that kind; what a newer service says beside it is left out."""
    names = {each.name for each in fields(cast("Any", kind))}
    return kind(**{name: value for name, value in answer.items() if name in names})


@dataclass(frozen=True, slots=True)
class Confidence:
    """How far a plan can be trusted."""

    elite_spread: float  # [m] how far apart the first moves of the elites are
    gain: float  # share by which the plan's cost is below that of doing nothing
    flatness: float  # near 1: moves hardly matter
    gripper_contrast: float
    goal_reached: bool
    goal_out_of_reach: bool
    view_unfamiliar: bool = False  # the model does not know such a view, judging by `cycle_error`
    goal_uncertainty: float | None = None  # [m] how far off the hand in the goal is expected to be located
    cycle_error: float | None = None  # [m] by how much the ways to the hand in the goal and back contradict each other


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """An action chunk, where it leads, and everything the service says about it."""

    plan_id: str
    model: dict[str, str]  # name, version
    dt_s: float
    actions: Array  # [H, 7] to be made one after the other, dt_s apart
    targets: Array  # [H, 7] the absolute poses that the actions lead to
    wanted: Array  # [H, 7] actions as found, before they were made safe
    cost: float
    idle_cost: float  # cost of doing nothing; NaN if not known
    trace: Array
    confidence: Confidence
    stop_reason: str
    seed: int
    iterations: int
    evaluations: int
    gripper_costs: dict[str, float] = field(default_factory=dict)
    clipped: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    timings_ms: dict[str, float] = field(default_factory=dict)
    dry_run: bool = False
    failure_probability: float | None = None  # probability that the plan's episode will fail; None if not known
    observation_id: str | None = None

    @classmethod
    def of(cls, answer: dict[str, Any]) -> Plan:
        """From the fields of an answer."""
        arrays = {name: np.array(answer[name], dtype=np.float64) for name in ("actions", "targets", "wanted", "trace")}
        confidence = known(Confidence, answer["confidence"])
        return known(cls, {"idle_cost": float("nan"), **answer, **arrays, "confidence": confidence})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """What to do next in a session. Without a plan, the robot stays where it is."""

    session_id: str
    status: Status
    sub_goal: int
    cost: float
    passed: list[dict[str, Any]]
    plan: Plan | None
    observation_id: str | None = None
    dropped: int = 0

    @classmethod
    def of(cls, answer: dict[str, Any]) -> Step:
        """From the fields of an answer."""
        plan = answer.get("plan")
        return known(cls, {**answer, "plan": None if plan is None else Plan.of(plan)})


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal that the service keeps. Pass it wherever a goal is expected."""

    goal_id: str
    sub_goals: int
    expires_in_s: float


@dataclass(frozen=True, slots=True)
class SessionState:
    """The progress of a session."""

    session_id: str
    status: Status
    sub_goal: int
    sub_goals: int
    steps: int
    expires_in_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How a session's camera is turned, compared with the camera that the model knows."""

    session_id: str
    camera_turn: list[float]  # roll pitch yaw [rad] from the model's frame to the robot's base
    about: list[float]  # x y z [m] of the point that the turn leaves in place
    residual: float  # share of the motion that the turn leaves unexplained; near 1: a bad view
    moves: int  # number of moves that the turn was estimated from
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Rollout:
    """Where candidates lead: poses [S, H, 7], energies [S, H] if there is a goal, latents [S, H, N, D] if requested."""

    poses: Array
    energies: Array | None
    latents: NDArray[np.float32] | None

    @classmethod
    def of(cls, answer: dict[str, Any]) -> Rollout:
        """From the fields of an answer."""
        tensor = answer.get("latents")
        latents = None
        if tensor is not None:
            latents = np.frombuffer(tensor["data"], "<f4").reshape(tensor["shape"])
        energies = np.array(answer["energies"]) if answer["energies"] else None
        return cls(np.array(answer["poses"]), energies, latents)
