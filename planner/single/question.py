"""The question that a plan answers: pictures on disk, where the hand is, and how to search.

Whatever cannot be used is refused before a model is opened or a service is called.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.checks import POSE, read_pose, size_among
from vjepa2_ac.client.pictures import png
from vjepa2_ac.errors import FieldError, InputError
from vjepa2_ac.files import is_file, read
from vjepa2_ac.landscape.inputs import read_view
from vjepa2_ac.pictures import Picture, decode
from vjepa2_ac.poses import Array

MOST_SIDE = 1 << 14  # [pixels] of a picture of one's own


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture, where it came from, and the pose of the hand where the file says it."""

    source: str
    picture: Picture
    pose: Array | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """How to search; what is not set here is as in the preset."""

    preset: str | None = None
    settings: tuple[str, ...] = ()  # NAME=VALUE
    budget_ms: float | None = None
    deadline_ms: float | None = None
    seed: int = 0
    dry_run: bool = False

    def __post_init__(self) -> None:
        for name, value in (("--budget-ms", self.budget_ms), ("--deadline-ms", self.deadline_ms)):
            if value is not None and not 0 < value < math.inf:
                raise FieldError(name, f"{value:g}", "a positive number of milliseconds")
        sized = size_among(self.settings)
        if self.budget_ms is not None and sized:
            raise FieldError("--budget-ms", f"a budget beside {sized}", "one or the other: a budget chooses them")

    @property
    def is_timed(self) -> bool:
        """Whether the answer depends on how fast this machine is."""
        return self.budget_ms is not None or self.deadline_ms is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Which moves lead from the observation, with the hand in `pose` [7], to one of the goals?"""

    observation: Shown
    pose: Array
    goals: tuple[Shown, ...]
    sub_goal: int = 0  # which of them, counted from 0
    wishes: Wishes = Wishes()

    @property
    def goal(self) -> Shown:
        """The goal to plan towards."""
        return self.goals[self.sub_goal]


def read_question(observation: str, pose: str | None, goals: Sequence[str], sub_goal: int, wishes: Wishes) -> Question:
    """The question that the command line asks. Raises InputError, naming the option, for what cannot be used."""
    seen = _read(observation, "--observation")
    wanted = tuple(_read(goal, "--goal") for goal in goals)
    if not 0 <= sub_goal < len(wanted):
        raise FieldError("--sub-goal", str(sub_goal), f"0 … {len(wanted) - 1}: goals are counted from 0")
    here = _numbers(pose) if pose is not None else seen.pose
    if here is None:
        raise FieldError("--pose", f"none, and {observation} does not say where the hand is", POSE)
    return Question(
        observation=seen, pose=read_pose(list(here), "--pose"), goals=wanted, sub_goal=sub_goal, wishes=wishes
    )


def _read(source: str, option: str) -> Shown:
    """A PNG or JPEG, or one step of a recorded trajectory (`FILE.npz:STEP`), which brings its pose."""
    field = f"{option} {source}"
    if ".npz" in source:
        view = read_view(source)
        return Shown(source, decode(png(view.frame_HW3), field, MOST_SIDE), view.pose)
    if not is_file(Path(source)):
        raise InputError(f"{option}: no picture at {source}")
    return Shown(source, decode(read(Path(source)), field, MOST_SIDE))


def _numbers(text: str) -> list[float]:
    try:
        return [float(word) for word in text.strip("[]() ").replace(",", " ").split()]
    except ValueError:
        raise FieldError("--pose", f"{text!r}", POSE) from None
