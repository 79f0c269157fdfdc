"""The demo: goal pictures go to a planning service, its actions go to the simulated Franka, and physics judges.

This is the evaluation's loop (`sim.evaluate`) with one episode of each task and a commentary while it runs. The service
is a process of its own, called through `vjepa2_ac.client` as a robot would call it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from planner.gripper import SAME
from planner.moves import GRIPPER
from sim.evaluate import films
from sim.evaluate.episode import Record
from sim.evaluate.report import PAGE, publish
from sim.evaluate.runs import evaluate
from sim.evaluate.service import planning_service, served_by
from sim.evaluate.settings import DriverName, EvaluationConfig, Goals, Job, limits_of_this_cell
from sim.evaluate.summary import rows, table
from sim.tasks import GOAL_NAMES, TaskName
from sim.variation import KINDS
from vjepa2_ac.checkpoints.places import RANDOM, find
from vjepa2_ac.errors import CheckpointError, InputError
from vjepa2_ac.terminal import command_line, progress

Say = Callable[[str], object]

HEAD = "  step    cost  imagined   gain  spread    hand moves x y z [cm]    gripper        plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoConfig:
    """What is shown, and who drives."""

    tasks: tuple[TaskName, ...]
    model: str = "default"
    server: str | None = None  # a running service, instead of one of our own
    is_expert: bool = False  # the scripted expert drives, and no model is needed
    goals: Goals = "all"  # which of each task's goal pictures are sent
    preset: str | None = None  # of the planner; None: the service's default
    seed: int = 0
    max_steps: int | None = None


def show(out: Path, config: DemoConfig, say: Say) -> bool:
    """Play, judge and film every task once into `out`; returns whether all were done."""
    refuse_used(out)
    with _ended_by_sigterm(), _evaluation(out, config, say) as evaluation:
        records = _played(out, evaluation, _jobs(config), say)
    with progress("filming", len(records), unit="films") as advance:
        films.shoot_all(out, evaluation, records, advance=advance)
    publish(out, evaluation, records, command_line())
    say(f"\n{table(rows(records))}\n")
    for record in records:
        say(f"film    {films.place(out, record)}")
    say(f"report  {out / PAGE}")
    missed = [record for record in records if not record["success_end"]]
    said = f"{len(records) - len(missed)} of {len(records)} tasks done"
    say(said + "".join(f"; missed {each['task']}: {each['failure']}" for each in missed))
    return not missed


def refuse_used(out: Path) -> None:
    """Raise InputError unless `out` is new or empty: a demo is watched as it happens and cannot be resumed."""
    try:
        is_used = out.exists() and (not out.is_dir() or any(out.iterdir()))
    except OSError as error:
        raise InputError(f"{out} cannot be read: {error.strerror}") from None
    if is_used:
        raise InputError(f"{out} is not empty; a demo wants a new folder, --out NEW")


def has_display() -> bool:
    """Whether something can be shown in a window."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_report(out: Path) -> None:
    """Open the report in the default browser of this machine."""
    webbrowser.open((out / PAGE).resolve().as_uri())


def line(step: int, turn: Record) -> str:
    """One step as a line of text: costs, what the plan is expected to gain, and what hand and gripper do."""
    moves = " ".join(f"{100 * number:+5.1f}" for number in turn["action_7"][:3])
    gripper = f"{turn['pose_7'][GRIPPER]:4.0%} {_gripper(turn['action_7'][GRIPPER])}"
    took = f"{turn['plan_ms']:5.0f} ms" if turn["plan_ms"] else ""
    thoughts = " " * 34
    if turn["imagined_cost"] is not None:
        sure = turn["confidence"]
        gain, spread = f"{sure['gain']:5.0%}", f"{100 * sure['elite_spread']:4.1f}"
        thoughts = f"{turn['cost']:7.4f}   {turn['imagined_cost']:7.4f}  {gain}  {spread} cm"
    return f"  {step + 1:4d} {thoughts}    {moves}    {gripper:<16}{took}"


def _played(out: Path, config: EvaluationConfig, jobs: list[Job], say: Say) -> list[Record]:
    records = []
    for job in jobs:
        names = [GOAL_NAMES[job.task][goal] for goal in config.goals_of(job.task)]
        say(f"\n{job.task}, {job.kind}, seed {job.seed}: {len(names)} goal picture{'s' * (len(names) > 1)}\n{HEAD}")
        (record,) = evaluate(out, config, [job], watch=_Commentary(say, names))
        records.append(record)
        verdict = "done" if record["success_end"] else f"missed ({record['failure']})"
        say(f"  {verdict} after {record['steps']} steps and 1.25 s of rest, {record['seconds']:.1f} s")
    return records


class _Commentary:
    """Says one line for each step; where the robot stays where it is for several steps, only for the first."""

    def __init__(self, say: Say, names: Sequence[str]) -> None:
        """`names` are those of the goal pictures that are sent."""
        self.say, self.names, self.seen, self.was_still = say, names, set[str](), False

    def __call__(self, _: Job, step: int, turn: Record) -> None:
        """Say one step, and the events in it that have not been said before."""
        is_still = turn["status"] != "going"
        if not is_still:
            self.say(line(step, turn))
        elif not self.was_still:
            self.say(f"  {step + 1:4d} {turn['status']}: stays where it is")
        self.was_still = is_still
        for words in _events(turn, self.names):
            if words not in self.seen:
                self.say(f"       {words}")
            self.seen.add(words)


def _events(turn: Record, names: Sequence[str]) -> Iterator[str]:
    for goal, how in turn["passed"]:
        yield f"goal picture '{names[goal]}' passed ({how})"
    if turn["confidence"].get("goal_out_of_reach"):
        yield "the goal looks out of reach"
    if turn["confidence"].get("view_unfamiliar"):
        yield "the model does not know such a view"
    if turn["error"]:
        yield f"no plan: {turn['error']}"
    for stage in turn["stages"]:
        yield f"physics: {stage}"


def _gripper(change: float) -> str:
    return "closing" if change > SAME else "opening" if change < -SAME else ""


def _jobs(config: DemoConfig) -> list[Job]:
    driver: DriverName = "expert" if config.is_expert else "planner"
    return [
        Job(driver=driver, task=task, kind=kind, seed=config.seed)
        for task, kind in zip(config.tasks, cycle(KINDS), strict=False)
    ]


@contextmanager
def _evaluation(out: Path, config: DemoConfig, say: Say) -> Iterator[EvaluationConfig]:
    """The settings of the loop; a service started for it runs until the context ends."""
    if config.is_expert:
        say("The scripted expert drives: it knows where everything is, and no model is asked.")
        yield EvaluationConfig(model="", goals=config.goals, max_steps=config.max_steps)
    elif config.server is not None:
        yield _through(config.server, config, "", say)
    else:
        say(f"Starting the planning service with the model {config.model} …")
        _refuse_missing(config.model)
        started = time.monotonic()
        log = _service_log(out)
        with planning_service(config.model, limits_of_this_cell(), log) as url:
            say(f"It is ready after {time.monotonic() - started:.1f} s.")
            yield _through(url, config, config.model, say)


def _service_log(out: Path) -> Path:
    """The service's log file: beside the folder and never in it, also where the folder is given as `.`."""
    where = out.resolve()
    return where.with_name(f"{where.name}-service.log")


def _through(url: str, config: DemoConfig, model: str, say: Say) -> EvaluationConfig:
    served = served_by(url)
    say(f"Planning with {served} at {url}, from goal pictures, camera frames and poses alone; physics judges.")
    options: dict[str, Any] = {} if config.preset is None else {"preset": config.preset}
    shown: dict[str, Any] = {"goals": config.goals, "max_steps": config.max_steps}
    return EvaluationConfig(model=model, weights=served, server=url, options=options, **shown)


def _refuse_missing(model: str) -> None:
    if model.startswith(RANDOM):
        return
    try:
        find(model)
    except CheckpointError as error:
        raise CheckpointError(f"{error}. `--expert` shows the cell without any model") from None


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Within this context, SIGTERM ends the program as Ctrl-C does, with everything cleaned up."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
