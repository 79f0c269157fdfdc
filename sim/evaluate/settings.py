"""The settings of an evaluation: which planner, in which world, and which episodes. Equal settings, equal episodes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, cast, get_args

from planner.limits import LimitsConfig
from planner.moves import GRIPPER
from planner.mpc import ControlConfig
from planner.planning import PlannerConfig
from planner.presets import preset
from sim import workspace
from sim.control import LIMIT
from sim.splits import Split
from sim.tasks import GOAL_NAMES, PAPER_GOALS, TASKS, TaskName, task_name
from sim.variation import FACTORS, KINDS, Kind, Variation
from vjepa2_ac.config import from_dict, require, to_dict
from vjepa2_ac.config import with_settings as changed
from vjepa2_ac.errors import ConfigError

DriverName = Literal["planner", "nothing", "random", "expert", "oracle"]
BASELINES: tuple[DriverName, ...] = ("nothing", "random", "expert", "oracle")
DEFAULT_PRESET = "balanced"
Goals = Literal["all", "paper", "last"]  # which of a task's goal pictures the driver is given


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """Everything that decides how an episode goes, besides its task, object and seed."""

    model: str = "default"
    weights: str = ""  # fingerprint of the model's files, where it has any
    server: str | None = None  # a planning service that plans instead of a model in this process
    options: dict[str, Any] = field(default_factory=dict)  # of planning, sent to that service
    split: Split = "test"
    factors: tuple[str, ...] = FACTORS  # that vary between episodes; the others keep their usual value
    asked: tuple[str, ...] = ()  # preset and `NAME=VALUE`s that planner and control were made from
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    budget_ms: float | None = None  # of a plan, from which the size of the search was chosen
    achieved_scenes: int | None = None  # on which `control.progress.achieved` was measured
    control: ControlConfig = field(default_factory=ControlConfig)
    camera_yaw: float = 0.0  # [deg] by which the camera is turned around the workspace
    goals: Goals = "all"
    calibrate: bool = False  # whether exploratory moves before an episode reveal this turn to the planner
    precision: str = "auto"
    frame_size: int = 256
    max_steps: int | None = None  # None: the task's usual number

    def __post_init__(self) -> None:
        Variation(split=self.split, factors=self.factors)  # raises ConfigError where these are wrong
        goals_named(self.goals)  # likewise
        require(abs(self.camera_yaw) <= 90, f"a camera may be turned by up to 90°, got {self.camera_yaw}")
        require(self.max_steps is None or self.max_steps >= 1, f"an episode has steps, got {self.max_steps}")

    def goals_of(self, task: TaskName, driver: DriverName = "planner") -> tuple[int, ...]:
        """Which of a task's goals the driver is given, in order, counted from 0.

        An oracle beside a planner that looks for keyframes is given all: a model that cannot be wrong finds them.
        """
        names = GOAL_NAMES[task]
        if driver == "oracle" and self.planner.cost.keyframes:
            return tuple(range(len(names)))
        given = {"all": names, "paper": PAPER_GOALS[task], "last": names[-1:]}[self.goals]
        return tuple(map(names.index, given))


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One episode to play: driver, task, object and seed."""

    driver: DriverName
    task: TaskName
    kind: Kind
    seed: int

    @property
    def row(self) -> tuple[DriverName, TaskName, Kind]:
        """The row of the table that it counts in."""
        return (self.driver, self.task, self.kind)

    @property
    def name(self) -> str:
        """The name of its files, without extension."""
        return f"{self.driver}-{self.task}-{self.kind}-{self.seed:06d}"


def jobs(drivers: Iterable[DriverName], tasks: Sequence[TaskName], kinds: Sequence[Kind], seeds: range) -> list[Job]:
    """All combinations, one row of the table after the other."""
    return [
        Job(driver=driver, task=task, kind=kind, seed=seed)
        for driver in drivers
        for task in tasks
        for kind in kinds
        for seed in seeds
    ]


def tasks_named(text: str) -> tuple[TaskName, ...]:
    """The tasks in `text`, each once: `all`, or names separated by commas."""
    return TASKS if text == "all" else tuple(dict.fromkeys(task_name(name.strip()) for name in text.split(",")))


def goals_named(text: str) -> Goals:
    """`text` as a choice of goals. Raises ConfigError if there is none of that name."""
    require(text in get_args(Goals), f"no goals {text!r}; there are {', '.join(get_args(Goals))}")
    return cast("Goals", text)


def kinds_named(text: str) -> tuple[Kind, ...]:
    """The kinds of object in `text`: `all`, or names separated by commas."""
    if text == "all":
        return KINDS
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in KINDS]:
        raise ConfigError(f"no object {unknown[0]!r}; there are {', '.join(KINDS)}")
    return tuple(kind for kind in KINDS if kind in names)


def factors_named(text: str) -> tuple[str, ...]:
    """The factors in `text`: `all`, or names separated by commas."""
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in (*FACTORS, "all")]:
        raise ConfigError(f"no factor {unknown[0]!r}; there are {', '.join(FACTORS)}")
    return tuple(name for name in FACTORS if "all" in names or name in names)


def baselines_named(text: str) -> tuple[DriverName, ...]:
    """The baselines in `text`: none if it is empty, `all`, or names separated by commas."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names == ["all"]:
        return BASELINES
    if unknown := [name for name in names if name not in BASELINES]:
        raise ConfigError(f"no baseline {unknown[0]!r}; there are {', '.join(BASELINES)}")
    return tuple(name for name in BASELINES if name in names)


def in_this_cell(name: str = "default") -> PlannerConfig:
    """The preset of that name, held to the workspace and the largest action of the simulated robot."""
    config = preset(DEFAULT_PRESET if name == "default" else name)
    return plain(config.held_to(limits_of_this_cell()))


def limits_of_this_cell() -> LimitsConfig:
    """The safety envelope that an operator of the simulated robot would set."""
    return LimitsConfig(
        lowest=(workspace.LOW[0], workspace.LOW[1], workspace.LOW[2]),
        highest=(workspace.HIGH[0], workspace.HIGH[1], workspace.HIGH[2]),
        step=float(LIMIT[0]),
        turn=float(LIMIT[3]),
        grip=float(LIMIT[GRIPPER]),
    )


def plain(config: PlannerConfig) -> PlannerConfig:
    """The same configuration with plain numbers throughout, as JSON gives them back."""
    return from_dict(PlannerConfig, json.loads(json.dumps(to_dict(config))), "planner")


def with_settings(
    planner: PlannerConfig, control: ControlConfig, given: Sequence[str]
) -> tuple[PlannerConfig, ControlConfig]:
    """Both, changed by `NAME=VALUE` with the dotted names in docs/planning.md; values are JSON or text."""
    of_control = {each.name for each in fields(ControlConfig)}
    control_given = [text for text in given if text.partition("=")[0].strip().split(".")[0] in of_control]
    planner_given = [text for text in given if text not in control_given]
    return changed(planner, planner_given), changed(control, control_given)
