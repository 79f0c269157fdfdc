"""`vjepa2-ac fit-check`: what a model knows about episodes it has not seen."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from vjepa2_ac.options import MODELS, Camera, Precision


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("fit-check")(fit_check)


def fit_check(
    episodes: Annotated[
        Path,
        typer.Argument(
            help="Held-out episodes in raw DROID layout: a folder, or a file with one episode folder per line."
        ),
    ],
    model: Annotated[str, typer.Option(help=f"World model to examine: {MODELS}.")] = "default",
    compare: Annotated[
        str | None, typer.Option(help="Second model to compare; the first is shown as before, the second as after.")
    ] = None,
    control: Annotated[
        str | None,
        typer.Option(
            help="Predictor trained with the same budget on a random encoder of the same shape "
            "(`train --encoder random:MODEL`)."
        ),
    ] = None,
    read_out_from: Annotated[
        Path | None,
        typer.Option(
            help="Episodes to train the read-outs on (the train split). When not given, part of the held-out episodes."
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder for cached latents of --read-out-from. When not given, that of `train`."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for fit-check.json and the pictures.")] = Path("fit-check"),
    scenes: Annotated[
        int, typer.Option(help="Number of episodes to use, each with its branches; drawn from the seed.")
    ] = 50,
    horizon: Annotated[int, typer.Option(help="Number of steps of the longest rollout.")] = 8,
    candidates: Annotated[int, typer.Option(help="Number of actions against which the true one is ranked.")] = 64,
    moments: Annotated[
        int, typer.Option(help="Number of moments at which each question is asked. The run time grows with it.")
    ] = 128,
    read_out_steps: Annotated[
        int, typer.Option(help="Training steps of the attentive read-out and of the feature-point read-out.")
    ] = 1500,
    read_out_scenes: Annotated[int, typer.Option(help="Number of scenes to use from --read-out-from.")] = 1000,
    read_out_frames: Annotated[
        int,
        typer.Option(
            help="Maximum number of frames to train the attentive and feature-point read-outs on, held in memory."
        ),
    ] = 40_000,
    camera: Camera = "left",
    fps: Annotated[
        float | None, typer.Option(help="Frames per second. When not given, the rate that the model was trained at.")
    ] = None,
    bad_episodes: Annotated[int, typer.Option(help="Number of episodes that may be unusable; each is named.")] = 20,
    precision: Precision = "auto",
    seed: Annotated[
        int,
        typer.Option(
            min=0, max=2**63 - 1, help="Seed for drawing episodes, moments, candidates and the random encoder."
        ),
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON instead of the table.")] = False,
) -> None:
    """Check offline, on recorded episodes, how well a model knows what moves do, beside random weights.

    Reports the latent error relative to copying the last frame; the rank of the true action; the errors with shuffled
    actions and with the gripper's action zeroed; pairs of episodes that left one state opening and closing the gripper;
    the cost along each axis; and by how many centimetres the positions of hand and object, read from the latents, are
    off. The last part of the report says which goals each model meets.

    Intervals come from resampling scenes. What the episodes cannot tell (object positions on a real robot, pairs) is
    reported as not measured.

    Writes fit-check.json, drift.png, axes.png and figures.png.

        vjepa2-ac fit-check episodes/test --model default

        vjepa2-ac fit-check episodes/test --model default --read-out-from episodes/train

        vjepa2-ac fit-check episodes/test --model before/release --compare after/release --control random/release
    """
    from vjepa2_ac.checkpoints.places import home
    from vjepa2_ac.files import results_in, write
    from vjepa2_ac.fitcheck import goals
    from vjepa2_ac.fitcheck.pictures import draw
    from vjepa2_ac.fitcheck.questions import FitCheckConfig
    from vjepa2_ac.fitcheck.report import ReadOutSource, Subject, control_subject, doubts, is_alike, random_encoders
    from vjepa2_ac.fitcheck.report import fit_check as measure
    from vjepa2_ac.fitcheck.table import show
    from vjepa2_ac.world_model import WorldModel

    config = FitCheckConfig(
        camera=camera, scenes=scenes, horizon=horizon, candidates=candidates, moments=moments,
        bad_episodes=bad_episodes, seed=seed, steps=read_out_steps, frames=read_out_frames,
        lesson_scenes=read_out_scenes,
    )  # fmt: skip
    learn_from = None if read_out_from is None else ReadOutSource(read_out_from, cache or home() / "training-cache")
    sources = [model] if compare is None else [model, compare]
    names = [model] if compare is None else [model, compare if compare != model else f"{compare} (again)"]
    opened = [WorldModel.open(source, precision=precision, seed=seed) for source in sources]
    config = replace(config, fps=opened[0].fps if fps is None else fps)
    worlds = list(zip(names, opened, strict=True))
    for name, world in worlds:
        if fps is None and world.fps != config.fps:
            typer.echo(
                f"note: {name} has learned from {world.fps:g} frames a second, and is examined at {config.fps:g} as "
                f"{model} is",
                err=True,
            )
    told = [_metadata(source) for source in sources]
    facts = [_facts(each) for each in told]
    for name, each in zip(names, told, strict=True):
        if known := _learned_from(each, episodes):
            typer.echo(f"note: {known} of these episodes are not held out: {name} has learned from them", err=True)
    subjects = [Subject(name, world, facts=each) for (name, world), each in zip(worlds, facts, strict=True)]
    if control is not None:
        facts_of_control = _facts(_metadata(control))
        controls = WorldModel.open(control, precision=precision, seed=seed)
        subjects.append(control_subject(controls, opened[0], facts_of_control))
        for doubt in doubts(facts_of_control, facts[0]):
            typer.echo(f"note: {doubt}", err=True)
        worlds = [(name, world) for name, world in worlds if not is_alike(world, opened[0])]
    # Another seed than that of a `random:SIZE` model, which would be its own control.
    subjects += random_encoders(worlds, seed + 1)
    with results_in(out):
        report = measure(subjects, episodes, config, learn_from)
        content = json.dumps(report.as_dict() | {"goals": goals.as_dict(report)}, indent=1, ensure_ascii=False)
        write(out / "fit-check.json", content + "\n")
        for name, png in draw(report).items():
            write(out / f"{name}.png", png)
    if as_json:
        typer.echo(content)
    else:
        show(report, compared=compare is not None)
        typer.echo(f"wrote fit-check.json, drift.png, axes.png and figures.png to {out}")


def _metadata(source: str) -> dict[str, Any]:
    """What a release says of how it was made."""
    from vjepa2_ac.checkpoints import load
    from vjepa2_ac.checkpoints.places import RANDOM

    return {} if source.startswith(RANDOM) else load(source, parts=()).metadata


def _facts(told: dict[str, Any]) -> dict[str, Any]:
    """What of it is about the predictor's training, as far as it is there."""
    return {what: told[what] for what in ("updates", "data", "encoder") if what in told}


def _learned_from(told: dict[str, Any], episodes: Path) -> int:
    """How many of the episodes a release says it has learned from, where its data still lie and may be read."""
    from vjepa2_ac.data.layout import find_episodes, is_folder

    parts = [part for part in (told, told.get("inverse"), told.get("keyframes")) if isinstance(part, dict)]
    data = {Path(part["data"]) for part in parts if isinstance(part.get("data"), str)}
    folders = {ref.folder.resolve() for ref in find_episodes(episodes)}
    listings = [each for each in data if not is_folder(each) and os.access(each, os.R_OK)]
    listed = {ref.folder.resolve() for each in listings for ref in find_episodes(each)}
    roots = [each.resolve() for each in data if is_folder(each)]
    return sum(folder in listed or any(map(folder.is_relative_to, roots)) for folder in folders)
