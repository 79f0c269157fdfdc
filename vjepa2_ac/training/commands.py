"""`vjepa2-ac pretrain`, `train`, `invert` and `recipes`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vjepa2_ac.training.inputs import Inputs
    from vjepa2_ac.training.recipes import Recipe

EpisodesOption = Annotated[
    Path | None,
    typer.Option(
        help="Episodes to train on, in raw DROID layout: a folder, or a file with one episode folder per line."
    ),
]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        help="Recipe name (see `vjepa2-ac recipes`) or YAML file. When not given, the recipe of the default model."
    ),
]
OutOption = Annotated[Path | None, typer.Option(help="Run folder. When not given, `runs/RECIPE`.")]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Resume the run in --out, exactly as if it had never stopped.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Recipe setting to change, for example `--set engine.batch=16 --set workers=4`.",
    ),
]
CacheOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder for cached latents and decoded frames. When not given, `training-cache` in $VJEPA2_AC_HOME, "
        "or else in `vjepa2-ac` in the user's cache folder."
    ),
]
HeldOutOption = Annotated[
    Path | None,
    typer.Option(
        help="Held-out episodes, in the same form as --data. They are not trained on; their loss is reported every "
        "`engine.held_out_every` updates."
    ),
]
DeviceOption = Annotated[str, typer.Option(help="Device: cpu, cuda, or auto (cuda if available).")]


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    app.command()(pretrain)
    app.command()(train)
    app.command()(invert)
    app.command("recipes")(show_recipes)


def pretrain(
    data: Annotated[
        Path | None,
        typer.Option(
            help="Training data: a folder of videos, a raw DROID folder, or a text or CSV file with one path per line."
        ),
    ] = None,
    recipe: RecipeOption = None,
    start: Annotated[
        str | None, typer.Option(help="Weights to start from, as for a cooldown: a run folder or a release.")
    ] = None,
    out: OutOption = None,
    resume: ResumeOption = False,
    settings: SetOption = None,
    cache: CacheOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Pretrain an encoder on video alone, by masked prediction (V-JEPA 2, or 2.1 with its recipes).

    The run folder holds the resolved recipe, resumable states, `log.jsonl`, TensorBoard files and, at the end,
    `release/`. To use several GPUs: `torchrun --nproc-per-node 8 -m -- vjepa2_ac.cli pretrain …`.

    Example: `vjepa2-ac pretrain --data episodes/train --recipe default-pretrain --out runs/encoder`
    """
    from vjepa2_ac.training import runs
    from vjepa2_ac.training.recipes import PretrainRecipe
    from vjepa2_ac.training.run_folder import Run

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
            help="Frozen encoder: a release, official or Hugging Face weights, or `default` (if not given). With the "
            "prefix `random:`, an encoder of the same shape with random weights, as a control."
        ),
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="Predictor to start from, as for fine-tuning. When not given, a new one.")
    ] = None,
    held_out: HeldOutOption = None,
    out: OutOption = None,
    resume: ResumeOption = False,
    settings: SetOption = None,
    cache: CacheOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Train an action-conditioned predictor on the latents of a frozen encoder (V-JEPA 2-AC).

    Windows are taken at `window.fps` frames per second, 4 in all recipes. Actions are recomputed from the measured
    poses [m, rad, gripper closedness 0 … 1]. With `cache: true`, each frame is encoded once and its latents are kept on
    disk.

    Example: `vjepa2-ac train --data droid/ --encoder vitg --recipe droid --out runs/mine`
    """
    from vjepa2_ac.training import runs
    from vjepa2_ac.training.recipes import TrainRecipe
    from vjepa2_ac.training.run_folder import Run

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
        typer.Option(help="World model to extend: a release, or `default` (if not given). Its encoder stays frozen."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="Release whose inverse or keyframes network to start from. When not given, a new one."),
    ] = None,
    held_out: HeldOutOption = None,
    out: OutOption = None,
    resume: ResumeOption = False,
    settings: SetOption = None,
    cache: CacheOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Train an inverse model for a world model, to locate the hand in a goal picture.

    The inverse learns the hand's move between two moments of an episode. The release holds the world model unchanged,
    and the inverse beside it; planners then add the distance to the located hand to the cost (`cost.place`).

    With the recipe `default-keyframes`, a keyframes network learns where the gripper changes next on the way to the
    goal, so that one picture of the final state is enough (preset `keyframes`). Latents are shared with `train` through
    the cache.

    Example: `vjepa2-ac invert --data droid/ --model runs/mine/release --out runs/inverse`
    """
    from vjepa2_ac.training import runs
    from vjepa2_ac.training.recipes import InvertRecipe
    from vjepa2_ac.training.run_folder import Run

    places = {"data": _text(data), "cache": _text(cache), "held_out": _text(held_out)}
    given = {"model": model, "start": start, **places}
    plan, inputs, folder = _planned("invert", recipe, settings, given, out, resume=resume)
    assert isinstance(plan, InvertRecipe)
    _answer(runs.invert(plan, inputs, Run(folder), resume=resume, device=device))


def show_recipes(
    name: Annotated[
        str | None, typer.Argument(help="Recipe to show in full. When not given, all recipes are listed.")
    ] = None,
) -> None:
    """List the training recipes, or show one in full, with every default.

    To make your own, save one (`vjepa2-ac recipes droid > mine.yaml`), edit it, and pass the file to `--recipe`.
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
    from vjepa2_ac.training.inputs import Inputs, read_recipe_and_inputs
    from vjepa2_ac.training.run_folder import Run

    recipe = asked or f"default-{kind}"
    folder = out or Path("runs") / Path(recipe).stem
    if resume:
        places = ("data", "cache", "held_out")
        elsewhere: dict[str, Any] = {name: given.pop(name) for name in places if name in given}
        said = {"--set": settings, "--recipe": out and asked, **{f"--{name}": given[name] for name in given}}
        if changed := [name for name, value in said.items() if value]:
            raise InputError(f"a run goes on as it began: leave out {', '.join(changed)}")
        plan, inputs = read_recipe_and_inputs(Run(folder))
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
