"""The problem given to a search and the result it returns, whichever search it is.

What all searches share is here too: the stopwatch that keeps a deadline, and the batch made of several problems.

Shapes: H steps, N tokens, D width of a latent, A numbers of an action (7), K elites, S candidates.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from planner.seeing import HueView
from vjepa2_ac.errors import CancelledError, DeadlineError, InputError
from vjepa2_ac.models.hand_location import Observations
from vjepa2_ac.world_model import History

StopReason = Literal["converged", "iterations", "deadline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One request as a search takes it: what the camera sees, where the hand is, and what the camera should see."""

    latents_ND: Tensor
    pose_7: Tensor
    goal_ND: Tensor
    seed: int = 0
    history: History | None = None  # of this request alone, B = 1
    earlier: Observations | None = None  # of this scene, by which the located hand is corrected
    turned: tuple[HueView, ...] = ()  # latents, goal and earlier observations again, with hues turned
    set_down_7: Tensor | None = None  # the pose in which the hand let go of what it held
    changing: float = 0.0  # 1: the fingers are closing and should go on, -1: opening and should go on, 0: neither
    leaving: bool = False  # the hand still stands where the previous sub-goal or keyframe was passed
    last_HA: Tensor | None = None  # the previous plan, whose first step has been made
    surprise_ND: Tensor | None = None  # what is seen now minus what the previous plan had imagined


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """The best actions of a search, and what is needed to judge them."""

    actions_HA: Tensor
    cost: float
    idle_cost: float  # of doing nothing
    trace: tuple[float, ...]  # the best cost known after each iteration, before a gripper option is chosen
    elites_KHA: Tensor
    first_costs_S: Tensor  # of the first iteration, which spreads widest; above their median perhaps lower bounds
    gripper_costs: dict[str, float]  # of the best moves with each gripper option; empty where it is searched with them
    iterations: int
    evaluations: int  # candidates imagined
    stop_reason: StopReason
    goal_uncertainty: float | None = None  # [m] expected error of the hand located in the goal; None: it is not located
    cycle_error: float | None = None  # [m] by which the model's ways to that hand and back contradict each other


class Stopwatch:
    """Tells whether another iteration fits before the deadline, judging by the longest one so far."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        deadline: float | None = None,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        self.is_wanted = is_wanted
        self.clock, self.deadline = clock, math.inf if deadline is None else deadline
        self.started = self.lap_started = clock()
        self.longest, self.laps = 0.0, 0

    def lap(self, share: float = 1.0) -> None:
        """Note the end of an iteration that imagined this `share` of its candidates; the next may have to imagine all.

        Raises DeadlineError when it was the first and ended after the deadline.
        """
        now = self.clock()
        self.longest = max(self.longest, (now - self.lap_started) / share)
        self.lap_started, self.laps = now, self.laps + 1
        if self.laps == 1 and now > self.deadline:
            self._refuse(f"one iteration took {1e3 * (now - self.started):.0f} ms")

    def allows(self, calls: int = 1) -> bool:
        """Whether `calls` more calls of the world model, each as long as the longest iteration so far, end in time.

        Raises DeadlineError when the deadline came before the first iteration, CancelledError when the answer is no
        longer wanted.
        """
        if not self.is_wanted():
            raise CancelledError(f"cancelled after {self.laps} iterations")
        now = self.lap_started = self.clock()
        if self.laps == 0 and now >= self.deadline:
            self._refuse("no time was left to start")
        return now + calls * self.longest <= self.deadline

    def _refuse(self, why: str) -> None:
        given = 1e3 * max(0.0, self.deadline - self.started)
        raise DeadlineError(f"not one iteration was finished in the {given:.0f} ms to the deadline: {why}")


def turn_until(deadline: float | None, clock: Callable[[], float], share: float) -> float | None:
    """The deadline for those whose turn it is, a `share` of all that still wait, so that each gets equal time."""
    if deadline is None or share == 1:
        return deadline
    now = clock()
    return now + share * (deadline - now)


def stack(problems: Sequence[Problem], device: torch.device) -> tuple[Tensor, Tensor, Tensor, History | None]:
    """The problems as one batch for a world model: latents [B, N, D], poses [B, 7], goals [B, N, D] and histories.

    Raises InputError for a goal shaped otherwise than its observation, and for histories that are not of one length.
    """
    for problem in problems:
        refuse_unlike(problem.latents_ND, problem.goal_ND)
    latents_BND, pose_B7, goal_BND = (
        torch.stack([part.to(device) for part in parts])
        for parts in zip(*((p.latents_ND, p.pose_7, p.goal_ND) for p in problems), strict=True)
    )
    pasts = [problem.history for problem in problems if problem.history is not None]
    if not pasts:
        return latents_BND, pose_B7, goal_BND, None
    if len(pasts) < len(problems) or len({len(past) for past in pasts}) > 1:
        raise InputError("requests that are searched together need histories of one length")
    history = History(
        torch.cat([past.latents_BTND.to(device) for past in pasts]),
        torch.cat([past.poses_BT7.to(device) for past in pasts]),
        torch.cat([past.actions_BTA.to(device) for past in pasts]),
    )
    return latents_BND, pose_B7, goal_BND, history


def refuse_unlike(latents_ND: Tensor, goal_ND: Tensor) -> None:
    """Raise InputError for a goal whose latents have another shape than the observation's: they cannot be compared."""
    if goal_ND.shape != latents_ND.shape:
        raise InputError(
            f"a goal's latents are {list(goal_ND.shape)}, those of the observation {list(latents_ND.shape)}"
        )


def surprises(problems: Sequence[Problem], device: torch.device) -> Tensor | None:
    """What each request's last prediction got wrong [B, N, D], 0 where unknown; None where it is unknown of all."""
    if all(problem.surprise_ND is None for problem in problems):
        return None
    return torch.stack(
        [
            (torch.zeros_like(problem.goal_ND) if problem.surprise_ND is None else problem.surprise_ND).to(device)
            for problem in problems
        ]
    )
