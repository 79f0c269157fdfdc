"""`vjepa2-ac evaluate`: how often the loop gets there, beside what is known to be the best and the worst."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim.options import AchievedScenes, GoalPictures, Kinds, MaxSteps, SeedBase, SplitName, Tasks, Workers
from vjepa2_ac.errors import ConfigError
from vjepa2_ac.options import Confidence, Model, PlannerSettings, Precision

if TYPE_CHECKING:
    from planner.mpc import ControlConfig
    from planner.planning import PlannerConfig
    from sim.evaluate.settings import EvaluationConfig


def register(app: typer.Typer) -> None:
    """Add the commands."""
    from sim.evaluate.sweep_commands import evaluate_sweep
    from sim.evaluate.trust_commands import evaluate_confidence

    app.command()(evaluate)
    app.command()(evaluate_sweep)
    app.command()(evaluate_confidence)


def evaluate(
    out: Annotated[Path, typer.Option(help="Folder for the results: empty, or with results of the same settings.")],
    model: Model = "default",
    task: Tasks = "all",
    kinds: Kinds = "all",
    episodes: Annotated[int, typer.Option(min=1, help="Number of episodes for each task, object and driver.")] = 100,
    seed_base: SeedBase = 0,
    split: SplitName = "test",
    factors: Annotated[
        str,
        typer.Option(
            help="What varies between episodes: all, or a comma-separated list; the rest keeps its usual value."
        ),
    ] = "all",
    goals: GoalPictures = "all",
    planner: Annotated[
        str, typer.Option(help="Planner preset: default, fast, balanced, keyframes or paper.")
    ] = "default",
    budget: Annotated[
        float | None,
        typer.Option(
            help="Milliseconds that a plan may take; the size of the search is chosen for it once, on this machine "
            "(with --server, by the service)."
        ),
    ] = None,
    settings: PlannerSettings = None,
    achieved: AchievedScenes = None,
    confidence: Confidence = None,
    baselines: Annotated[
        str,
        typer.Option(
            help="Baselines to play as well: all, or a comma-separated list of nothing, random, expert, oracle."
        ),
    ] = "",
    only_baselines: Annotated[
        bool, typer.Option("--only-baselines", help="Play the baselines without the planner.")
    ] = False,
    server: Annotated[
        str | None, typer.Option(help="URL of a planning service to plan with, http://… or grpc://….")
    ] = None,
    max_steps: MaxSteps = None,
    precision: Precision = "auto",
    camera_yaw: Annotated[
        float,
        typer.Option(help="Degrees by which the camera is turned around the workspace, also for the goal pictures."),
    ] = 0.0,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="Begin each episode with exploratory moves that tell the planner how the camera is turned.",
        ),
    ] = False,
    videos: Annotated[
        int, typer.Option(min=0, help="Number of films for each task and object, failures and successes in turn.")
    ] = 0,
    workers: Workers = 1,
) -> None:
    """Play many simulated episodes in closed loop, from pictures and poses alone; physics decides success.

    The table shows success at the end (after 1.25 s more in which the robot does not move) with 95 % Wilson intervals,
    beside the figures published for a real robot.

    The command can be stopped at any time; run it again to continue where it stopped. If it then names more episodes,
    tasks or baselines, it plays what is missing; the table and the report cover what it names. A folder with
    results of other settings is refused.

        vjepa2-ac evaluate --model runs/release --episodes 100 --seed-base 5000 --workers 2 --out runs/evaluation

        vjepa2-ac evaluate --task pick_and_place --set search.gripper.gate=0.015 --set cost.pools=[2,4] --out runs/gate
    """
    from sim.evaluate import films
    from sim.evaluate import settings as chosen
    from sim.evaluate.exploring import summary
    from sim.evaluate.report import publish
    from sim.evaluate.runs import evaluate as run
    from vjepa2_ac.terminal import command_line, progress

    drivers = chosen.baselines_named(baselines)
    drivers = drivers if only_baselines else ("planner", *drivers)
    if not drivers:
        raise ConfigError("--only-baselines needs --baselines")
    if server is not None and "oracle" in drivers:
        raise ConfigError("the oracle searches as the planner beside it does, and a service does not tell how it does")
    if server is not None and (model != "default" or precision != "auto"):
        raise ConfigError("a service plans with its own model: leave out --model and --precision")
    if only_baselines and (model, precision, server, achieved, budget, confidence) != ("default", "auto", *[None] * 4):
        raise ConfigError(
            "--only-baselines leaves the model out, which --model, --precision, --server, --achieved, --budget and "
            "--confidence are about"
        )
    if only_baselines and "oracle" not in drivers and (planner, settings or [], calibrate) != ("default", [], False):
        raise ConfigError("of the baselines, --planner, --set and --calibrate are about the oracle alone")
    jobs = chosen.jobs(
        drivers, chosen.tasks_named(task), chosen.kinds_named(kinds), range(seed_base, seed_base + episodes)
    )
    config = _config(
        model="" if only_baselines else model, split=split, planner=planner, given=settings or [],
        server=server, max_steps=max_steps, precision=precision, budget=budget, achieved=achieved, out=out,
        confidence=confidence, goals=goals, camera_yaw=camera_yaw, calibrate=calibrate, factors=factors,
    )  # fmt: skip
    with progress("evaluating", len(jobs), unit="episodes") as advance:
        records = run(out, config, jobs, workers=workers, advance=advance)
    if videos:
        filmed = films.chosen(records, videos)
        with progress("filming", len(filmed), unit="films") as advance:
            films.shoot_all(out, config, filmed, workers=workers, advance=advance)
    typer.echo(publish(out, config, records, command_line()))
    if learned := summary(records):
        typer.echo(learned)


def _config(
    *, model: str, split: str, planner: str, given: list[str], server: str | None, max_steps: int | None,
    precision: str, budget: float | None, achieved: int | None, out: Path, confidence: Path | None,
    goals: str, camera_yaw: float, calibrate: bool, factors: str,
) -> EvaluationConfig:  # fmt: skip
    from planner.mpc import ControlConfig
    from planner.presets import refuse_unused
    from sim.collect_commands import split_name
    from sim.evaluate.settings import EvaluationConfig, factors_named, goals_named, in_this_cell, with_settings
    from vjepa2_ac.model_version import fingerprint

    known: dict[str, Any] = {"split": split_name(split), "max_steps": max_steps, "goals": goals_named(goals)}
    known |= {"camera_yaw": camera_yaw, "calibrate": calibrate, "factors": factors_named(factors)}
    if server is not None:
        from sim.evaluate.service import served_by

        if achieved is not None:
            raise ConfigError("--achieved needs a model in this process; a service has its own progress settings")
        if confidence is not None:
            raise ConfigError("--confidence needs a model in this process; a service is told by its own")
        options = _options(planner, given, budget)
        return EvaluationConfig(model="", weights=served_by(server), server=server, options=options, **known)
    from vjepa2_ac.precision import resolve

    search, control = with_settings(in_this_cell(planner), ControlConfig(), given)
    refuse_unused(search, given)
    if budget is not None:
        search = _within(budget, given, search, model, precision, out)
    if confidence is not None:
        search = _with_confidence(confidence, search, model)
    if achieved is not None:
        control = _with_achieved(achieved, control, search, model, precision, out)
    return EvaluationConfig(
        model=model, weights=fingerprint(model), planner=search, budget_ms=budget, control=control,
        achieved_scenes=achieved, precision=resolve(precision), asked=(planner, *given), **known,
    )  # fmt: skip


def _options(planner: str, given: list[str], budget: float | None) -> dict[str, Any]:
    """What a service can be asked for; the rest is its operator's to say."""
    from planner.single.served import sizes_of
    from sim.evaluate.budgets import refuse_size

    options: dict[str, Any] = {} if planner == "default" else {"preset": planner}
    if budget is not None:
        refuse_size(given)
        options["budget_ms"] = budget
    return options | sizes_of(planner, given)


def _within(
    budget: float, given: list[str], search: PlannerConfig, model: str, precision: str, out: Path
) -> PlannerConfig:
    """The largest search that fits; a folder that is gone on with keeps the size that it began with."""
    from sim.evaluate.budgets import from_previous_run, measured, refuse_size

    refuse_size(given)
    return from_previous_run(out, budget, search) or measured(budget, search, model, precision)


def _with_confidence(path: Path, planner: PlannerConfig, model: str) -> PlannerConfig:
    """The planner, told what its signs of confidence mean; refused where they were of another model or cost."""
    from dataclasses import replace

    from planner.failure_model import fitted_for, read
    from vjepa2_ac.config import to_dict
    from vjepa2_ac.model_version import fingerprint

    failures, cost = read(path, weights=fingerprint(model)), to_dict(planner.cost)
    failure = fitted_for(cost, failures)
    if failure is None:
        why = " and ".join(str(each.unfitted(cost)) for each in failures)
        raise ConfigError(f"{path} was fitted {why}; its probabilities would mean nothing")
    return replace(planner, confidence=replace(planner.confidence, failure=failure))


def _with_achieved(
    scenes: int, control: ControlConfig, planner: PlannerConfig, model: str, precision: str, out: Path
) -> ControlConfig:
    """The loop, told what achieved goals cost; a folder that is gone on with keeps what it began with."""
    from dataclasses import replace

    from sim.evaluate.achieved import from_previous_run, measure
    from sim.tasks import TASKS
    from vjepa2_ac.terminal import progress
    from vjepa2_ac.world_model import WorldModel

    found = from_previous_run(out, scenes)
    if found is None:
        with progress("achieved goals", scenes * len(TASKS), unit="scenes") as advance:
            found = measure(WorldModel.open(model, precision=precision), planner, scenes, advance=advance)
    return replace(control, progress=replace(control.progress, achieved=found))
