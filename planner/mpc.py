"""Receding horizon control: look, plan, let the first move be made, look again, until every sub-goal has been passed.

Shapes: N tokens, D width of a latent, H steps, T steps of history, 7 numbers of a pose or an action.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from planner.costs import GoalCost
from planner.goals import Progress, ProgressConfig, Verdict
from planner.keyframes import MORE_TIME, Keyframes
from planner.limits import refuse_stale
from planner.plan import Plan
from planner.planning import Planner, Request, hand_pose
from planner.problem import refuse_unlike
from planner.seeing import see, shown
from vjepa2_ac.config import require
from vjepa2_ac.errors import InputError
from vjepa2_ac.images import Frames
from vjepa2_ac.models.hand_location import EARLIER_OBSERVATIONS
from vjepa2_ac.poses import POSITION, ROTATION, Array, integrate, pose_difference, pose_differences
from vjepa2_ac.world_model import History

Status = Literal["going", "done", "timed out"]

LEAVING = 2  # plans in which the hand leaves a sub-goal: one may close the gripper before the next one goes on
FOLLOWED = 1e-3  # [m, rad, closedness] a plan was followed if the hand was told to go within this of its target


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlConfig:
    """How the loop is closed."""

    progress: ProgressConfig = field(default_factory=ProgressConfig)
    history: int = 0  # [steps] of the past that the model is shown
    earlier_observations: int = EARLIER_OBSERVATIONS  # [steps] of the past by which the located hand is corrected
    commanded_within: float = 0.03  # [m] targets start from the commanded pose, kept this near to the measured one
    commanded_turned_within: float = 0.1  # [rad] likewise, about each axis

    def __post_init__(self) -> None:
        for name in ("history", "earlier_observations"):
            require(getattr(self, name) >= 0, f"{name} is a number of steps, got {getattr(self, name)}")
        for name in ("commanded_within", "commanded_turned_within"):
            require(getattr(self, name) >= 0, f"{name} is not negative, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What the loop concluded from one observation. Without a plan the robot stays where it is."""

    status: Status
    plan: Plan | None
    goal: int  # index of the sub-goal that is being pursued, counted from 0
    cost: float  # of the present picture, to that sub-goal
    passed: tuple[tuple[int, Verdict], ...]  # sub-goals passed since the last step that returned, and how


@dataclass(frozen=True, slots=True)
class _Observation:
    latents_VND: Tensor
    pose_7: Array


@dataclass(frozen=True, slots=True)
class _UndoState:
    """The loop's state before its last plan, in case that is not followed, and whether the plan promised a gain."""

    promised: bool
    leaving: int
    steps_since_keyframe: int
    progress: Progress
    keyframes: Keyframes | None


class Controller:
    """Pursues a sequence of goals with a planner; remembers what the next plan can use of the last one.

    A goal is a frame [H, W, 3] uint8, its latents [N, D], or those in as many hues as the planner's cost asks for
    [V, N, D]. Call `step` four times a second, each time after the first action of the previous plan was made. If that
    was not made, say so with `commanded`; otherwise the next plan builds on what never happened: fingers that were to
    close would be kept closing.
    """

    def __init__(
        self,
        planner: Planner,
        goals: Sequence[Tensor | Frames],
        config: ControlConfig | None = None,
        *,
        seed: int = 0,
    ) -> None:
        if not goals:
            raise InputError("there is no goal to pursue")
        self.planner, self.config, self.seed = planner, config or ControlConfig(), seed
        self.goals = [self._seen(goal) for goal in goals]
        self.goal, self.steps = 0, 0
        self.passed: list[tuple[int, Verdict]] = []  # not yet reported: if planning fails, the next step does
        self.progress = Progress(self.config.progress)
        self.leaving = 0  # plans more in which the hand counts as leaving a sub-goal, unless it moves
        self.keyframes = Keyframes() if planner.config.cost.keyframes else None
        self.past: list[_Observation] = []
        self.steps_since_keyframe = 0
        self.commanded_7: Array | None = None
        self.undo_state: _UndoState | None = None
        self.last_actions_H7: Array | None = None
        self.followed: tuple[Request, Array] | None = None  # the last request, and the first action [7] of its plan

    def step(
        self,
        observation: Tensor | Frames,
        pose: ArrayLike,
        *,
        commanded: ArrayLike | None = None,
        taken_at: float | None = None,
        deadline: float | None = None,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> Step:
        """What to do next, seeing `observation` with the hand in `pose` [7].

        `commanded` [7] is where the hand was told to be, in case that is not where the last plan said. `taken_at` and
        `deadline` are on the planner's clock [s]. Raises StaleObservationError for an observation that is too old, and
        otherwise what the planner raises; the loop can go on after any of them.
        """
        if taken_at is not None:
            refuse_stale(taken_at, self.planner.clock(), self.planner.config.limits)
        observed = _Observation(self._seen(observation), hand_pose(pose, "pose"))
        if commanded is not None:
            self._heed(hand_pose(commanded, "commanded pose"))
        self.undo_state = None
        status, cost = self._judge(observed)
        plan = None
        if status == "going":
            try:
                request = self._request(observed)
                plan = self.planner.plan(request, deadline=deadline, is_wanted=is_wanted)
            except Exception:  # whatever it was, there is no plan
                self.progress.undo_step()
                raise
            self._remember(observed, request, plan)
        else:
            self.followed = None  # the robot stays, and whatever moves it later is not to be imagined
        passed, self.passed = tuple(self.passed), []
        return Step(status=status, plan=plan, goal=self.goal, cost=cost, passed=passed)

    def _heed(self, commanded_7: Array) -> None:
        """Forget the last plan if it was not followed: if the hand was told to be elsewhere than at its target."""
        known_7 = self.commanded_7
        if known_7 is not None and np.abs(pose_difference(known_7, commanded_7)).max() < FOLLOWED:
            return
        self.commanded_7, self.last_actions_H7, self.followed = commanded_7, None, None
        if undo := self.undo_state:
            self.leaving, self.steps_since_keyframe = undo.leaving, undo.steps_since_keyframe
            self.progress, self.keyframes = undo.progress, undo.keyframes
            if undo.promised:  # otherwise standing still was as near as the planner gets
                self.progress.undo_stall()

    def _judge(self, observed: _Observation) -> tuple[Status, float]:
        while True:
            cost = self._cost(observed)
            verdict = self.progress.update(cost, may_settle=self.keyframes is None or self.keyframes.has_arrived)
            if verdict in ("going", "timed out"):
                return verdict, cost
            self.passed.append((self.goal, verdict))
            if self.goal == len(self.goals) - 1:
                return "done", cost
            self.goal, self.leaving = self.goal + 1, LEAVING
            self.keyframes = self.keyframes and Keyframes()
            self.progress = Progress(self.config.progress)
            self.last_actions_H7 = None  # they led to the previous goal

    def _cost(self, observed: _Observation) -> float:
        refuse_unlike(observed.latents_VND[0], self.goals[self.goal][0])
        # Costs of different observations are compared, so this one is given neither observation nor surprise to count.
        cost = GoalCost(self.planner.config.cost, self.goals[self.goal][:1])
        return float(cost.of_frame(observed.latents_VND[:1]))

    def _request(self, observed: _Observation) -> Request:
        earlier = self._earlier()
        seen, poses = [past.latents_VND for past in earlier], [past.pose_7 for past in earlier]
        return Request(
            **shown(observed.latents_VND, self.goals[self.goal], seen, poses),
            pose=observed.pose_7,
            seed=self.seed + self.steps,
            commanded=self._commanded(observed),
            history=self._history(observed),
            leaving=self.leaving > 0,
            set_down=self.keyframes.set_down_7 if self.keyframes else None,
            changing=self.keyframes.unfinished(float(observed.pose_7[6])) if self.keyframes else 0.0,
            last_actions=self.last_actions_H7,
            surprise_ND=self._surprise(observed),
        )

    def _remember(self, observed: _Observation, request: Request, plan: Plan) -> None:
        self.steps += 1
        leaving = self.leaving
        stands = not plan.actions_H7[0, POSITION].any()
        self.leaving = self.leaving - 1 if self.leaving and stands else 0
        kept = max(self.config.history, self.config.earlier_observations if self.planner.world.locates else 0)
        self.past = [*self.past, observed][-kept:] if kept else []
        self.steps_since_keyframe += 1
        if plan.dry_run:
            return  # nothing moves, so there is nothing to build on
        promised = not (plan.confidence.goal_out_of_reach or plan.confidence.goal_reached)
        self.undo_state = _UndoState(promised, leaving, self.steps_since_keyframe, self.progress, copy(self.keyframes))
        self.commanded_7, self.last_actions_H7 = plan.targets_H7[0], plan.actions_H7
        if self.planner.config.cost.surprise > 0:
            self.followed = request, plan.actions_H7[0]
        if self.keyframes:
            self._pass_keyframe(self.keyframes, observed, plan)

    def _pass_keyframe(self, keyframes: Keyframes, observed: _Observation, plan: Plan) -> None:
        """A keyframe is passed where the gripper begins to change; the first `MORE_TIME` of a goal restart its timeout.

        Observations from before it no longer correct the located hand: between them and later ones lies a keyframe, so
        for these pairs the model answers with the keyframe and not with the move that was made.
        """
        is_passed = keyframes.follow(plan, observed.pose_7)
        if keyframes.steps:
            self.leaving, self.steps_since_keyframe = LEAVING, 0
        if is_passed and keyframes.timeout_restarts < MORE_TIME:
            keyframes.timeout_restarts += 1
            self.progress = Progress(self.config.progress)

    def _commanded(self, observed: _Observation) -> Array | None:
        """The commanded pose, kept near the measured one, starting from which would let errors add up to drift."""
        if self.commanded_7 is None:
            return None
        limits, commanded_7 = self.planner.config.limits, self.commanded_7.copy()
        near = min(self.config.commanded_within, limits.step)
        turned = min(self.config.commanded_turned_within, limits.turn)
        offset_7 = pose_difference(observed.pose_7, commanded_7)
        commanded_7[POSITION] = observed.pose_7[POSITION] + np.clip(offset_7[POSITION], -near, near)
        if (np.abs(offset_7[ROTATION]) > turned).any():
            offset_7[ROTATION] = np.clip(offset_7[ROTATION], -turned, turned)
            commanded_7[ROTATION] = integrate(observed.pose_7, offset_7)[ROTATION]
        return commanded_7

    def _history(self, observed: _Observation) -> History | None:
        """The past as the model was trained to see it: actions are differences of measured poses."""
        if not self.past or not self.config.history:
            return None
        shown = self.past[-self.config.history :]
        poses = np.stack([past.pose_7 for past in [*shown, observed]])
        return History(
            torch.stack([past.latents_VND[0] for past in shown])[None],
            torch.from_numpy(poses[:-1]).float()[None],
            torch.from_numpy(pose_differences(poses)).float()[None],
        )

    def _surprise(self, observed: _Observation) -> Tensor | None:
        """What is seen minus what the last plan leads to, which is imagined only now: a plan must not wait for it."""
        return None if self.followed is None else observed.latents_VND[0] - self.planner.imagine(*self.followed)

    def _earlier(self) -> list[_Observation]:
        """The earlier observations that show how the model's inverse errs in this scene."""
        told = min(self.config.earlier_observations, len(self.past), self.steps_since_keyframe)
        return self.past[-told:] if told else []

    def _seen(self, picture: Tensor | Frames) -> Tensor:
        world = self.planner.world
        if isinstance(picture, Tensor) and picture.is_floating_point():
            return (picture if picture.ndim == 3 else picture[None]).to(world.device)
        return see(world, picture, self.planner.config.cost.hues)
