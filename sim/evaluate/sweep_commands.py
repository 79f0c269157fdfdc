"""`vjepa2-ac evaluate-sweep`: what each ingredient of the planner is worth, on the same episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sim.options import AchievedScenes, Kinds, MaxSteps, SeedBase, SplitName, Tasks, Workers
from vjepa2_ac.errors import InputError
from vjepa2_ac.options import Model, Precision


def evaluate_sweep(
    table: Annotated[
        Path | None, typer.Argument(help="YAML file of variants. When not given, the shipped ablations.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results; a sweep begun there is continued.")] = Path(
        "runs/sweep"
    ),
    model: Model = "default",
    only: Annotated[
        list[str] | None,
        typer.Option(help="Variant or group to play; `*` matches anything. Repeatable. When not given, all."),
    ] = None,
    task: Tasks = "all",
    kinds: Kinds = "all",
    episodes: Annotated[int, typer.Option(min=1, help="Number of episodes for each task, object and variant.")] = 50,
    seed_base: SeedBase = 10_000,
    split: SplitName = "test",
    planner: Annotated[
        str | None, typer.Option(help="Planner preset of the baseline. When not given, that of the table.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Planner setting NAME=VALUE for the baseline and all variants. Repeatable."),
    ] = None,
    achieved: AchievedScenes = None,
    max_steps: MaxSteps = None,
    precision: Precision = "auto",
    workers: Workers = 1,
    show: Annotated[bool, typer.Option("--list", help="Only list the variants and what they change.")] = False,
) -> None:
    """Compare planners on the same episodes: success, candidates, time, and a paired test against the baseline.

    Each variant is an evaluation in OUT/VARIANT with its own report. The command can be stopped at any time; run it
    again to continue where it stopped. Start with few episodes and add more later.

        vjepa2-ac evaluate-sweep --model runs/release --episodes 50 --workers 2 --out runs/ablations

        vjepa2-ac evaluate-sweep my-table.yaml --only gripper --only "pool*" --task grasp --out runs/grasping
    """
    from sim.collect_commands import split_name
    from sim.evaluate import settings as named
    from sim.evaluate import variants as read
    from sim.evaluate.sweep import JSON, TABLE, SweepConfig, sweep
    from vjepa2_ac.terminal import command_line, progress

    variants = read.read(table or read.SHIPPED, planner, settings or [])
    play = read.chosen(variants, only or [])
    if show:
        for each in play:
            typer.echo(f"{each.group or '–'} · {each.name}: {', '.join(each.words)}")
        return
    if out.is_file():
        raise InputError(f"{out} is a file; results need a folder")
    config = SweepConfig(
        model=model, tasks=named.tasks_named(task), kinds=named.kinds_named(kinds), seed_base=seed_base,
        episodes=episodes, split=split_name(split), achieved_scenes=achieved, precision=precision, max_steps=max_steps,
    )  # fmt: skip
    with progress("comparing", sum(len(config.jobs(each)) for each in play), unit="episodes") as advance:
        sweep(out, config, variants, play=play, workers=workers, command=command_line(), advance=advance)
    typer.echo(f"{(out / TABLE).read_text(encoding='utf-8')}\n{out / JSON}\n{out / TABLE}")
