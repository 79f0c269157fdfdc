"""Planning with a world model in this process, by the same steps as the service."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import torch

from planner.budget import refuse_fixed_size, within
from planner.checks import check_pose
from planner.failure_model import FailureModel, read
from planner.plan import DT_S, Plan
from planner.planning import Planner, PlannerConfig, Request
from planner.presets import preset, refuse_unused
from planner.protocols import World
from planner.seeing import see, shown
from planner.single.answer import Answer
from planner.single.landscape import around
from planner.single.question import Question, Wishes
from planner.warm_up import warm_up
from vjepa2_ac.client.answers import Plan as ToldPlan
from vjepa2_ac.config import with_settings
from vjepa2_ac.devices import finish
from vjepa2_ac.errors import PlanningError
from vjepa2_ac.poses import Array

DEFAULT_PRESET = "balanced"
Opened = tuple[World, dict[str, str], tuple[FailureModel, ...]]
"""A world to plan in, its name and version as plans report them, and the failure models fitted for it."""


def open_model(source: str, precision: str, device: str | None) -> Opened:
    """The model of that name, with what is known of its failures. Raises CheckpointError where there is none."""
    from vjepa2_ac.model_version import confidence_file, fingerprint, version_of
    from vjepa2_ac.world_model import WorldModel

    model = WorldModel.open(source, precision=precision, device=device)
    path = confidence_file(source)
    failures = () if path is None else read(path, weights=fingerprint(source))
    return model, {"name": source, "version": version_of(model)}, failures


def plan_here(question: Question, opened: Callable[[], Opened], *, points: int) -> Answer:
    """The plan of the model that `opened` returns, and the energies around it, on maps of `points` moves a side."""
    config = configured(question.wishes)
    check_pose(question.pose.tolist(), "--pose", config.limits)
    world, model, failures = opened()
    config, doubts = _in_time(config.expecting(failures), world, question.wishes)
    planner = Planner(world, config)
    times = _Laps(world.device)
    deadline_ms = question.wishes.deadline_ms
    deadline = None if deadline_ms is None else planner.clock() + deadline_ms / 1e3
    goal_VND = see(world, question.goal.picture.frame_HW3, config.cost.hues)
    times.lap("goal")
    latents_VND = see(world, question.observation.picture.frame_HW3, config.cost.hues)
    times.lap("encode")
    request = Request(**shown(latents_VND, goal_VND), pose=question.pose, seed=question.wishes.seed)
    plan = planner.plan(request, deadline=deadline)
    told = _told(plan, model, times.all() | plan.timings, doubts)

    def score(actions_SH7: Array) -> Array:
        pose_17, actions_1SH7 = (torch.from_numpy(each).float()[None] for each in (question.pose, actions_SH7))
        return world.score(latents_VND[:1], pose_17, actions_1SH7, planner.cost_of(request))[0].double().cpu().numpy()

    landscape = around(plan.wanted_H7, points, score)
    return Answer(question=question, plan=told, landscape=landscape)


def configured(wishes: Wishes) -> PlannerConfig:
    """The preset changed by what was asked for. Raises ConfigError for settings and a budget that cannot be used."""
    config = with_settings(preset(wishes.preset or DEFAULT_PRESET), wishes.settings)
    refuse_unused(config, wishes.settings)
    if wishes.budget_ms is not None:
        refuse_fixed_size(config)
    limits = replace(config.limits, dry_run=config.limits.dry_run or wishes.dry_run)
    return config.held_to(limits)


def _in_time(config: PlannerConfig, world: World, wishes: Wishes) -> tuple[PlannerConfig, tuple[str, ...]]:
    """The configuration that a budget allows, and warnings about it.

    With a budget or a deadline, the machine is warmed up first, so that its slow first calls do not count.
    """
    if not wishes.is_timed:
        return config, ()
    speed = warm_up(world, config)
    if wishes.budget_ms is None:
        return config, ()
    choice = within(wishes.budget_ms, config, speed)
    return choice.config, choice.doubts


class _Laps:
    """How long each part took on a device [ms]."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.started = self.lap_started = time.perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        finish(self.device)
        now = time.perf_counter()
        self.laps[name], self.lap_started = 1e3 * (now - self.lap_started), now

    def all(self) -> dict[str, float]:
        return self.laps | {"total": 1e3 * (time.perf_counter() - self.started)}


def _told(plan: Plan, model: dict[str, str], timings: dict[str, float], doubts: tuple[str, ...]) -> ToldPlan:
    """A plan with the fields of a served one. Raises PlanningError where its cost is not finite."""
    if not math.isfinite(plan.cost):
        raise PlanningError("the cost of the best plan is no number; the robot must not move on it")
    content: dict[str, Any] = plan.to_dict() | {
        "plan_id": uuid.uuid4().hex,
        "model": model,
        "dt_s": DT_S,
        "trace": [cost for cost in plan.trace if math.isfinite(cost)],
        "gripper_costs": {name: cost for name, cost in plan.gripper_costs.items() if math.isfinite(cost)},
        "warnings": [*plan.warnings, *doubts],
        "timings_ms": {name: round(took_ms, 3) for name, took_ms in timings.items()},
    }
    return ToldPlan.of({entry.name: content[entry.name] for entry in fields(ToldPlan) if entry.name in content})
