"""`vjepa2-ac evaluate-sweep`: what each ingredient of the planner is worth, on the same episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sim.options import AchievedScenes, Kinds, MaxSteps, SeedBase, SplitName, Tasks, Workers
from vjepa2_ac.errors import InputError
from vjepa2_ac.options import Model, Precision


def evaluate_sweep(
    table: Annotated[Path | None, typer.Argument(help="YAML of variants; the shipped ablations, if not said.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results; one that was begun is gone on with.")] = Path(
        "runs/sweep"
    ),
    model: Model = "default",
    only: Annotated[
        list[str] | None, typer.Option(help="Variants or groups to play, * for anything. Repeat it; default: all.")
    ] = None,
    task: Tasks = "all",
    kinds: Kinds = "all",
    episodes: Annotated[int, typer.Option(min=1, help="For each task, object and variant.")] = 50,
    seed_base: SeedBase = 10_000,
    split: SplitName = "test",
    planner: Annotated[str | None, typer.Option(help="Preset of the baseline; the table's, if not said.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE for the baseline and all variants. Repeat it.")
    ] = None,
    achieved: AchievedScenes = None,
    max_steps: MaxSteps = None,
    precision: Precision = "auto",
    workers: Workers = 1,
    show: Annotated[bool, typer.Option("--list", help="Only list the variants, with what they change.")] = False,
) -> None:
    """Compare planners on the same episodes: success, candidates, time, and a paired test against the baseline.

    Each variant is an evaluation in OUT/VARIANT with a report of its own. Stop it whenever you like; the same command
    goes on where it was. Begin with few episodes and add more later.

        vjepa2-ac evaluate-sweep --model runs/release --episodes 50 --workers 2 --out runs/ablations

        vjepa2-ac evaluate-sweep my-table.yaml --only gripper --only "pool*" --task grasp --out runs/grasping
    """
    from sim.collect_commands import split_name
    from sim.evaluate import settings as named
    from sim.evaluate import variants as read
    from sim.evaluate.sweep import JSON, TABLE, Field, sweep
    from vjepa2_ac.terminal import command_line, progress

    variants = read.read(table or read.SHIPPED, planner, settings or [])
    play = read.chosen(variants, only or [])
    if show:
        for each in play:
            typer.echo(f"{each.group or '–'} · {each.name}: {', '.join(each.words)}")
        return
    if out.is_file():
        raise InputError(f"{out} is a file; results need a folder")
    field = Field(
        model=model, tasks=named.tasks_named(task), kinds=named.kinds_named(kinds), seed_base=seed_base,
        episodes=episodes, split=split_name(split), achieved_scenes=achieved, precision=precision, max_steps=max_steps,
    )  # fmt: skip
    with progress("comparing", sum(len(field.jobs(each)) for each in play), unit="episodes") as advance:
        sweep(out, field, variants, play=play, workers=workers, command=command_line(), advance=advance)
    typer.echo(f"{(out / TABLE).read_text(encoding='utf-8')}\n{out / JSON}\n{out / TABLE}")
