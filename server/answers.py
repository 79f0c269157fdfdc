"""Turns what the planner and the model return into the messages that callers get."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import torch

from planner.mpc import Step
from planner.plan import DT_S, Plan
from server import messages as m
from server import traces
from server.model import ModelHost, Served
from server.planlog import versions
from server.settings import Settings
from vjepa2_ac import __version__
from vjepa2_ac.errors import PlanningError

CONVENTIONS = {
    "pose": "x y z [m], roll pitch yaw [rad] extrinsic xyz (R = Rz·Ry·Rx), gripper closedness 0 open … 1 closed",
    "action": "difference of two successive poses: Δxyz [m], Euler xyz of R₂R₁ᵀ [rad], Δgripper",
    "frame": "robot base",
    "picture": "PNG or JPEG, RGB as the camera of the model's training saw it",
    "energy": "mean absolute difference of imagined and goal latents, as published; lower is better",
    "cost": "what a preset searches by, lower is better: distance in latents, and in some the hand's way to its goal",
}


@dataclass(slots=True)
class Stages:
    """How long each part of a request took [ms]."""

    queue: float = 0.0
    decode: float = 0.0
    goal: float = 0.0
    encode: float = 0.0
    search: float = 0.0
    safety: float = 0.0
    total: float = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as the stage `name`, and trace it."""
        with traces.stage(name), self.timed(name):
            yield

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Time the block as the stage `name`; its parts are traced instead of the whole."""
        started = time.perf_counter()
        yield
        setattr(self, name, 1e3 * (time.perf_counter() - started))

    def to_dict(self) -> dict[str, float]:
        """The times [ms] by stage, rounded to microseconds."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


def plan_response(
    plan: Plan, served: Served, observation_id: str | None, times: Stages, warnings: Sequence[str] = ()
) -> m.PlanResponse:
    """The answer with a plan; `warnings` join the plan's own. Raises PlanningError if its cost is not finite."""
    times.search, times.safety = plan.timings.get("search", 0.0), plan.timings.get("safety", 0.0)
    if not math.isfinite(plan.cost):
        raise PlanningError("the cost of the best plan is no number; the robot must not move on it")
    return m.PlanResponse(
        plan_id=uuid.uuid4().hex,
        observation_id=observation_id,
        model=model_of(served),
        dt_s=DT_S,
        actions=plan.actions_H7.tolist(),
        targets=plan.targets_H7.tolist(),
        wanted=plan.wanted_H7.tolist(),
        cost=plan.cost,
        idle_cost=plan.idle_cost if math.isfinite(plan.idle_cost) else None,
        trace=[cost for cost in plan.trace if math.isfinite(cost)],
        confidence=m.Confidence(**asdict(plan.confidence)),
        failure_probability=plan.failure_probability,
        stop_reason=plan.stop_reason,
        seed=plan.seed,
        iterations=plan.iterations,
        evaluations=plan.evaluations,
        gripper_costs={name: cost for name, cost in plan.gripper_costs.items() if math.isfinite(cost)},
        clipped=[m.Clipping(**asdict(clipping)) for clipping in plan.clipped],
        warnings=[*plan.warnings, *warnings],
        timings_ms=times.to_dict(),
        dry_run=plan.dry_run,
    )


def step_response(
    session_id: str, observation_id: str | None, step: Step, plan: m.PlanResponse | None
) -> m.StepResponse:
    """The answer to a session's observation; without a `plan` the robot stays where it is."""
    return m.StepResponse(
        session_id=session_id,
        observation_id=observation_id,
        status=step.status,
        sub_goal=step.goal,
        cost=step.cost,
        passed=[m.PassedGoal(sub_goal=number, verdict=verdict) for number, verdict in step.passed],
        plan=plan,
    )


def model_of(served: Served) -> m.Model:
    """The name and version of the model that answered."""
    return m.Model(name=served.name, version=served.version)


def model_info(host: ModelHost) -> m.ModelInfo:
    """The model's state, and its version and details once it is ready."""
    if host.state != "ready":
        return m.ModelInfo(name=host.name, version="", state=host.state, reason=host.reason, details={})
    served = host.served
    return m.ModelInfo(name=served.name, version=served.version, state="ready", details=served.details)


def server_info(settings: Settings, presets: Sequence[str]) -> m.ServerInfo:
    """Conventions, limits, presets and versions. Infinite limits are left out: JSON has no infinity."""
    limits = settings.limits
    counted = {
        "max_body_bytes": settings.max_body_bytes,
        "max_picture_side": settings.max_picture_side,
        "max_candidate_steps": settings.max_candidate_steps,
        "max_horizon": settings.max_horizon,
        "queue_size": settings.queue_size,
        "max_sessions": settings.max_sessions,
        "max_goals": settings.max_goals,
        "step_m": limits.step,
        "turn_rad": limits.turn,
        "distance_m": limits.distance,
        "oldest_observation_s": limits.oldest,
    }
    corners = {
        f"workspace_{side}_{axis}_m": value
        for side, corner in (("lowest", limits.lowest), ("highest", limits.highest))
        for axis, value in zip("xyz", corner, strict=True)
    }
    return m.ServerInfo(
        version=__version__,
        api="vjepa2_ac.v1",
        dt_s=DT_S,
        conventions=CONVENTIONS,
        limits={name: float(value) for name, value in (counted | corners).items() if math.isfinite(value)},
        presets=list(presets),
        versions=versions(),
    )


def tensor_of(values: torch.Tensor) -> m.Tensor:
    """The values as little-endian float32 bytes, with their shape."""
    array = values.detach().float().cpu().contiguous().numpy().astype("<f4")
    return m.Tensor(shape=list(array.shape), data=array.tobytes())


def finite(values: list[float], what: str) -> list[float]:
    """The values, all of which are finite. Raises PlanningError otherwise, which calls them `what`."""
    if not all(map(math.isfinite, values)):
        raise PlanningError(f"some {what} are no numbers")
    return values
