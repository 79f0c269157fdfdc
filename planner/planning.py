"""From an observation and a goal to a plan that is safe to follow: search, judge, hold to the limits.

This is the planner's front door: whichever search has found it, every plan goes through the same safety envelope.

Shapes: N tokens, D width of a latent, H steps, A numbers of an action (7), T steps of history.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Literal, TypedDict

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from planner.aim import aim
from planner.camera import CameraTurn
from planner.cem import CEMConfig
from planner.confidence import Confidence, ConfidenceConfig, judge
from planner.costs import CostConfig, GoalCost
from planner.failure_model import FailureModel, fitted_for, signs
from planner.limits import LimitsConfig, Safe, make_safe, too_far_from_hand
from planner.paper import search_as_published
from planner.plan import DT_S, Plan
from planner.problem import Problem, SearchResult, turn_until
from planner.protocols import World
from planner.search import search
from planner.search_config import SearchConfig
from planner.seeing import HueView
from vjepa2_ac.config import to_dict
from vjepa2_ac.errors import ConfigError, InputError
from vjepa2_ac.models.hand_location import Observations
from vjepa2_ac.poses import GRIPPER, SIZE, Array, integrate, vector
from vjepa2_ac.world_model import History

RATES_MAY_DIFFER = 0.1  # share by which a model's frame rate may be off: every fourth of 15 a second gives 3.75, not 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerConfig:
    """Which search, by which cost, within which limits."""

    method: Literal["search", "paper"] = "search"
    search: SearchConfig = field(default_factory=SearchConfig)
    paper: CEMConfig = field(default_factory=CEMConfig)
    cost: CostConfig = field(default_factory=CostConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    confidence: ConfidenceConfig = field(default_factory=ConfidenceConfig)

    @property
    def horizon(self) -> int:
        """Steps of a plan."""
        return self.search.horizon if self.method == "search" else self.paper.horizon

    def held_to(self, limits: LimitsConfig) -> PlannerConfig:
        """The same configuration, its search narrowed to `limits`: what may not be done in a step is not imagined.

        Otherwise the plan would be clipped afterwards, and its cost and confidence would be those of another one.
        """
        search = self.search
        gripper = search.gripper
        if limits.grip < gripper.limit:
            gripper = replace(gripper, limit=limits.grip, deadband=min(gripper.deadband, limits.grip / 2))
        search = replace(
            search,
            gripper=gripper,
            step_limit=min(search.step_limit, limits.step),
            descent_limit=search.descent_limit and min(search.descent_limit, limits.step),
            turn_limit=search.turn_limit and min(search.turn_limit, limits.turn),
        )
        paper = replace(
            self.paper,
            step_limit=min(self.paper.step_limit, limits.step),
            gripper_limit=min(self.paper.gripper_limit, limits.grip),
        )
        return replace(self, limits=limits, search=search, paper=paper)

    def expecting(self, failures: Sequence[FailureModel]) -> PlannerConfig:
        """The same configuration with the failure model fitted for its cost, if there is one and it has none yet."""
        failure = self.confidence.failure or fitted_for(to_dict(self.cost), failures)
        return replace(self, confidence=replace(self.confidence, failure=failure))


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request to the planner; poses and actions are in the robot's base frame."""

    latents_ND: Tensor  # of the observation
    pose: ArrayLike  # [7]
    goal_ND: Tensor
    seed: int = 0
    commanded: ArrayLike | None = None  # [7] where the hand was told to be, if actions should start from there
    history: History | None = None  # of this request alone
    earlier: Observations | None = None  # of this scene, by which the located hand is corrected
    turned: tuple[HueView, ...] = ()  # latents, goal and `earlier` with hues turned: the hand is located there as well
    set_down: ArrayLike | None = None  # [7] the pose in which the hand let go of what it held, to be left alone now
    changing: float = 0.0  # 1: the fingers are closing and should go on, -1: opening and should go on, 0: neither
    leaving: bool = False  # the hand still stands where the previous sub-goal or keyframe was passed
    last_actions: ArrayLike | None = None  # [H, 7] of the previous plan, whose first step has been made
    surprise_ND: Tensor | None = None  # the observation's latents minus those that the previous plan had imagined


class Watched(TypedDict):
    """What may end a search early: a deadline on a clock [s], and a caller who no longer wants the plan."""

    clock: Callable[[], float]
    deadline: float | None
    is_wanted: Callable[[], bool]


class Planner:
    """Plans with one world model and one configuration, whose search is narrowed to its limits.

    `camera` is the turn of a camera that stands elsewhere than in training; deadlines are times on `clock` [s]. Raises
    ConfigError for a world whose steps do not last as long as those of a plan.
    """

    def __init__(
        self,
        world: World,
        config: PlannerConfig | None = None,
        *,
        camera: CameraTurn | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if abs(world.fps * DT_S - 1) > RATES_MAY_DIFFER:
            raise ConfigError(
                f"the model has learned from {world.fps:g} pictures a second; moves are planned {DT_S:g} s apart: "
                f"take one that has learned from {1 / DT_S:g}"
            )
        config = config or PlannerConfig()
        self.world, self.config = world, config.held_to(config.limits)
        self.camera, self.clock = camera, clock

    def plan(
        self, request: Request, *, deadline: float | None = None, is_wanted: Callable[[], bool] = lambda: True
    ) -> Plan:
        """The plan for one request; see `plan_together`."""
        return self.plan_together([request], deadline=deadline, is_wanted=is_wanted)[0]

    def plan_together(
        self,
        requests: Sequence[Request],
        *,
        deadline: float | None = None,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> list[Plan]:
        """A plan for each request, searched in one batch until `deadline` on the planner's clock [s].

        Requests with histories of another length make another batch, and the published search takes one request after
        the other; they share the time there is. `is_wanted` is asked before each iteration. Raises CancelledError once
        it says no, DeadlineError when not one iteration could be finished in time, PlanningError when there is no plan
        that would be safe to follow, InputError for a pose that cannot be used. If that happens to one request, none
        of them gets a plan.
        """
        for request in requests:
            _check_poses(request, self.config.limits)
        plans: dict[int, Plan] = {}
        for group in _of_equal_history(requests):
            until = turn_until(deadline, self.clock, len(group) / (len(requests) - len(plans)))
            started = self.clock()
            found = self._search([self._problem(requests[i]) for i in group], until, is_wanted)
            took_ms = 1e3 * (self.clock() - started)
            plans |= {i: self._finished(requests[i], each, took_ms) for i, each in zip(group, found, strict=True)}
        return [plans[i] for i in range(len(requests))]

    def imagine(self, request: Request, action: ArrayLike) -> Tensor:
        """The latents [N, D] that one action [7] of the robot would lead to."""
        problem = self._problem(request)
        action_111A = _tensor(self.camera.actions_to_model(action) if self.camera else action).view(1, 1, 1, -1)
        rollout = self.world.rollout(problem.latents_ND[None], problem.pose_7[None], action_111A, problem.history)
        return rollout.last[0, 0]

    def cost_of(self, request: Request) -> GoalCost:
        """The cost by which a plan for the request is searched."""
        return aim(self.world, [self._problem(request)], self.config.cost).cost

    def _search(
        self, problems: Sequence[Problem], deadline: float | None, is_wanted: Callable[[], bool]
    ) -> list[SearchResult]:
        config = self.config
        watched: Watched = {"clock": self.clock, "deadline": deadline, "is_wanted": is_wanted}
        if config.method == "paper":
            return search_as_published(self.world, problems, config.paper, config.cost, **watched)
        return search(self.world, problems, config.search, config.cost, **watched)

    def _problem(self, request: Request) -> Problem:
        pose, last, history = hand_pose(request.pose, "pose"), request.last_actions, request.history
        set_down = request.set_down
        if last is not None and (np.ndim(last) != 2 or np.shape(last)[0] < 1 or np.shape(last)[1] != SIZE):
            raise InputError(f"the last actions are [steps, {SIZE}], got {list(np.shape(last))}")
        last = None if last is None else vector(last, "last actions")
        if self.camera:
            pose = self.camera.poses_to_model(pose)
            last = None if last is None else self.camera.actions_to_model(last)
            set_down = None if set_down is None else self.camera.poses_to_model(set_down)
            history = history and replace(
                history,
                poses_BT7=_tensor(self.camera.poses_to_model(history.poses_BT7.cpu())),
                actions_BTA=_tensor(self.camera.actions_to_model(history.actions_BTA.cpu())),
            )
        return Problem(
            latents_ND=request.latents_ND,
            pose_7=_tensor(pose),
            goal_ND=request.goal_ND,
            seed=request.seed,
            history=history,
            earlier=self._to_model(request.earlier),
            turned=tuple(view._replace(earlier=self._to_model(view.earlier)) for view in request.turned),
            set_down_7=None if set_down is None else _tensor(set_down),
            changing=request.changing,
            leaving=request.leaving,
            last_HA=None if last is None else _tensor(last),
            surprise_ND=request.surprise_ND,
        )

    def _to_model(self, earlier: Observations | None) -> Observations | None:
        if earlier is None or self.camera is None:
            return earlier
        return replace(earlier, poses_T7=_tensor(self.camera.poses_to_model(earlier.poses_T7.cpu())))

    def _finished(self, request: Request, found: SearchResult, took_ms: float) -> Plan:
        started = self.clock()
        limits = self.config.limits
        wanted = np.asarray(found.actions_HA.double())
        if self.camera:
            wanted = self.camera.actions_to_base(wanted)
        start = _start(request, wanted)
        safe = make_safe(start, wanted, limits)
        confidence = judge(found, self.config.confidence)
        actions, targets = safe.actions_H7, safe.targets_H7
        if limits.dry_run:
            actions, targets = np.zeros_like(actions), _standing(request, len(actions))
        return Plan(
            actions_H7=actions,
            targets_H7=targets,
            wanted_H7=wanted,
            cost=found.cost,
            idle_cost=found.idle_cost,
            trace=found.trace,
            confidence=confidence,
            failure_probability=self._failure(found, confidence),
            stop_reason=found.stop_reason,
            seed=request.seed,
            iterations=found.iterations,
            evaluations=found.evaluations,
            gripper_costs=found.gripper_costs,
            clipped=safe.clipped,
            warnings=tuple(self._warnings(safe, confidence, found.idle_cost)),
            timings={"search": took_ms, "safety": 1e3 * (self.clock() - started)},
            dry_run=limits.dry_run,
        )

    def _failure(self, found: SearchResult, confidence: Confidence) -> float | None:
        model = self.config.confidence.failure
        if model is None or confidence.view_unfamiliar:  # the failure model knows nothing of such views
            return None
        return model.probability(signs(asdict(confidence), found.cost, found.idle_cost))

    def _warnings(self, safe: Safe, confidence: Confidence, idle_cost: float) -> list[str]:
        said = []
        # A clipped gripper is not worth a warning: it may well be told to go farther than it can.
        if held_back := [clip for clip in safe.clipped if clip.part != "gripper"]:
            said.append(f"{len(held_back)} numbers were clipped for safety; first, {held_back[0]}")
        if confidence.goal_out_of_reach:
            gain = 100 * confidence.gain
            brings = f"lowers the cost by {gain:.1f} % only"
            if gain < 0:
                brings = f"costs {-gain:.1f} % more than doing nothing"
            elif not math.isfinite(idle_cost):
                brings = "cannot be compared with doing nothing, which costs no number"
            said.append(f"the goal looks out of reach: the best plan {brings}")
        if confidence.view_unfamiliar:
            said.append(_unfamiliar(confidence.cycle_error))
        if self.camera and self.camera.warning:
            said.append(self.camera.warning)
        if self.config.limits.dry_run:
            said.append("dry run: the robot is asked to stay where it is")
        return said


def _unfamiliar(cycle_error: float | None) -> str:
    wrong = "are no numbers" if cycle_error is None else f"contradict each other by {100 * cycle_error:.0f} cm"
    return f"the model does not know such a view: its ways to the goal's hand and back {wrong}"


def _of_equal_history(requests: Sequence[Request]) -> list[list[int]]:
    groups: dict[int, list[int]] = {}
    for i, request in enumerate(requests):
        groups.setdefault(len(request.history) if request.history else 0, []).append(i)
    return list(groups.values())


def _start(request: Request, wanted_H7: Array) -> Array:
    """The pose that targets start from: the commanded one, but with the measured gripper if the first step changes it.

    A gripper that was told to close around an object stands half open. If it is kept, it goes on closing; if it is
    opened, it opens from where it is.
    """
    measured = vector(request.pose, "pose")
    if request.commanded is None:
        return measured
    start = vector(request.commanded, "commanded pose")
    if wanted_H7[0, GRIPPER].any():
        start[GRIPPER] = measured[GRIPPER]
    return start


def hand_pose(values: ArrayLike, what: str) -> Array:
    """One pose [7], or an InputError that says what is wrong with `what`."""
    pose = vector(values, what)
    if pose.ndim != 1:
        raise InputError(f"{what} has shape {list(pose.shape)}; expected that of one pose, [{SIZE}]")
    return pose


def _check_poses(request: Request, limits: LimitsConfig) -> None:
    """Raise InputError for a pose that is none, and for a commanded one far from the hand.

    Actions start from the commanded pose, and limits count from the start.
    """
    pose = hand_pose(request.pose, "pose")
    if request.commanded is None:
        return
    if far := too_far_from_hand(hand_pose(request.commanded, "commanded pose"), pose, limits):
        raise InputError(
            f"the commanded pose is {far}; at most {limits.step:g} m along an axis and {limits.turn:g} rad"
        )


def _standing(request: Request, steps: int) -> Array:
    """Targets [steps, 7] that leave the hand where it is, its fingers as commanded, so that they go on holding."""
    pose = vector(request.pose, "pose")
    if request.commanded is not None:
        pose[GRIPPER] = vector(request.commanded, "commanded pose")[GRIPPER]
    return np.tile(integrate(pose, np.zeros(7)), (steps, 1))


def _tensor(values: ArrayLike) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float32))
