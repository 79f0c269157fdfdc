"""`vjepa2-ac pretrain`, `train`, `invert` and `recipes`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vjepa2_ac.training.beginning import Inputs
    from vjepa2_ac.training.recipes import Recipe

EpisodesOption = Annotated[
    Path | None,
    typer.Option(help="Robot episodes in raw DROID layout: a folder, or a file with one episode folder per line."),
]
RecipeOption = Annotated[
    str | None,
    typer.Option(help="A recipe by name (`vjepa2-ac recipes`) or a YAML file; the default model's when not given."),
]
OutOption = Annotated[Path | None, typer.Option(help="The run's folder; `runs/RECIPE` when not given.")]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on with the run in --out, exactly as if it had never stopped.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, as in `--set engine.batch=16 --set lr=1e-4`."),
]
CacheOption = Annotated[
    Path | None, typer.Option(help="Where latents and decoded frames are kept; the user's cache folder by default.")
]
HeldOutOption = Annotated[
    Path | None,
    typer.Option(
        help="Episodes that are not learned from, like --data: what is lost on them is told every "
        "`engine.held_out_every` updates."
    ),
]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda, or auto: a CUDA device where there is one.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    app.command()(pretrain)
    app.command()(train)
    app.command()(invert)
    app.command("recipes")(show_recipes)


def pretrain(
    data: Annotated[
        Path | None,
        typer.Option(help="A folder of videos, a raw DROID folder, or a text or CSV file with one path per line."),
    ] = None,
    recipe: RecipeOption = None,
    start: Annotated[
        str | None, typer.Option(help="Weights to start from, as a cooldown does: a run's folder or a release.")
    ] = None,
    out: OutOption = None,
    resume: ResumeOption = False,
    settings: SetOption = None,
    cache: CacheOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Learn an encoder from video alone, by predicting what was masked (V-JEPA 2; 2.1 by its recipes).

    The run's folder holds the resolved recipe, resumable states, `log.jsonl`, TensorBoard's files, and at the end
    `release/`. Several GPUs: `torchrun --nproc-per-node 8 -m -- vjepa2_ac.cli pretrain …`.

    Example: `vjepa2-ac pretrain --data episodes/train --recipe default-pretrain --out runs/encoder`
    """
    from vjepa2_ac.training import runs
    from vjepa2_ac.training.recipes import PretrainRecipe
    from vjepa2_ac.training.run import Run

    given = {"data": _text(data), "start": start, "cache": _text(cache)}
    plan, inputs, folder = _planned("pretrain", recipe, settings, given, out, resume=resume)
    assert isinstance(plan, PretrainRecipe)
    _answer(runs.pretrain(plan, inputs, Run(folder), resume=resume, device=device))


def train(
    data: EpisodesOption = None,
    recipe: RecipeOption = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="The frozen encoder: a release, official or Hugging Face weights, or `default` (also when not given); "
            "`random:` before it: one of that shape with random weights, as a control."
        ),
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="A predictor to start from, as for fine-tuning; a fresh one when not given.")
    ] = None,
    held_out: HeldOutOption = None,
    out: OutOption = None,
    resume: ResumeOption = False,
    settings: SetOption = None,
    cache: CacheOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Teach a predictor what a robot's moves do to what a frozen encoder sees (V-JEPA 2-AC).

    Windows at 4 frames a second; actions are recomputed from measured poses [m, rad, closedness 0 … 1]. With
    `cache: true` each frame is encoded once and its latents stay on disk.

    Example: `vjepa2-ac train --data droid/ --encoder vitg --recipe droid --out runs/mine`
    """
    from vjepa2_ac.training import runs
    from vjepa2_ac.training.recipes import TrainRecipe
    from vjepa2_ac.training.run import Run

    places = {"data": _text(data), "cache": _text(cache), "held_out": _text(held_out)}
    given = {"encoder": encoder, "start": start, **places}
    plan, inputs, folder = _planned("train", recipe, settings, given, out, resume=resume)
    assert isinstance(plan, TrainRecipe)
    _answer(runs.train(plan, inputs, Run(folder), resume=resume, device=device))


def invert(
    data: EpisodesOption = None,
    recipe: RecipeOption = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="The world model it is for: a release, or `default` (also when not given); its encoder stays frozen."
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="A release whose inverse, or keyframes, to go on from; fresh ones when not given."),
    ] = None,
    held_out: HeldOutOption = None,
    out: OutOption = None,
    resume: ResumeOption = False,
    settings: SetOption = None,
    cache: CacheOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Teach a world model where the hand is in a goal picture: the move between two moments of an episode.

    The release holds the world model as it was and its inverse beside it; planners then count the way to that place
    (`cost.place`). With the recipe `default-keyframes`: where the gripper changes next on the way to the goal, so that
    one picture of the end is enough (preset `keyframes`). Latents are shared with `train` through the cache.

    Example: `vjepa2-ac invert --data droid/ --model runs/mine/release --out runs/inverse`
    """
    from vjepa2_ac.training import runs
    from vjepa2_ac.training.recipes import InvertRecipe
    from vjepa2_ac.training.run import Run

    places = {"data": _text(data), "cache": _text(cache), "held_out": _text(held_out)}
    given = {"model": model, "start": start, **places}
    plan, inputs, folder = _planned("invert", recipe, settings, given, out, resume=resume)
    assert isinstance(plan, InvertRecipe)
    _answer(runs.invert(plan, inputs, Run(folder), resume=resume, device=device))


def show_recipes(
    name: Annotated[str | None, typer.Argument(help="A recipe to show whole; all are listed when not given.")] = None,
) -> None:
    """List the training recipes, or show one with every default spelt out.

    Save one (`vjepa2-ac recipes droid > mine.yaml`), change it, and hand the file to `--recipe`.
    """
    from vjepa2_ac.training import recipes

    if name is not None:
        typer.echo(recipes.text_of(recipes.read(name)), nl=False)
        return
    import textwrap

    for known in recipes.names():
        kind, about = recipes.about(known)
        typer.echo(f"{known}  ({kind})")
        typer.echo(textwrap.fill(about, 100, initial_indent="    ", subsequent_indent="    "))


def _planned(
    kind: str, asked: str | None, settings: list[str] | None, given: dict[str, Any], out: Path | None, *, resume: bool
) -> tuple[Recipe, Inputs, Path]:
    """The recipe, the inputs and the folder of a run; those of the run itself when it is resumed."""
    from vjepa2_ac.errors import InputError
    from vjepa2_ac.training import recipes
    from vjepa2_ac.training.beginning import Inputs, begun
    from vjepa2_ac.training.run import Run

    recipe = asked or f"default-{kind}"
    folder = out or Path("runs") / Path(recipe).stem
    if resume:
        places = ("data", "cache", "held_out")
        elsewhere: dict[str, Any] = {name: given.pop(name) for name in places if name in given}
        said = {"--set": settings, "--recipe": out and asked, **{f"--{name}": given[name] for name in given}}
        if changed := [name for name, value in said.items() if value]:
            raise InputError(f"a run goes on as it began: leave out {', '.join(changed)}")
        plan, inputs = begun(Run(folder))
        inputs = _moved(inputs, elsewhere)
    else:
        plan = recipes.read(recipe, settings or [])
        if given["data"] is None:
            raise InputError(f"say what to learn from: vjepa2-ac {kind} --data FOLDER")
        inputs = Inputs(**given)
    if not isinstance(plan, recipes.KINDS[kind]):
        other = next(name for name, cls in recipes.KINDS.items() if isinstance(plan, cls))
        raise InputError(f"{folder if resume else recipe} is for `vjepa2-ac {other}`, not {kind}")
    return plan, inputs, folder


def _moved(inputs: Inputs, given: dict[str, Any]) -> Inputs:
    """Data and caches may lie elsewhere than when the run began; what is held out may be anything, also nothing yet."""
    from dataclasses import replace

    return replace(inputs, **{name: value for name, value in given.items() if value is not None})


def _answer(release: Path) -> None:
    """Where the release is, said by one process of many."""
    if os.environ.get("RANK", "0") == "0":
        typer.echo(release)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
