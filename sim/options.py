"""Options that commands of the simulation share, as types of their arguments; see `vjepa2_ac.options`."""

from __future__ import annotations

from typing import Annotated

import typer

Tasks = Annotated[str, typer.Option("--task", help="all, or of reach, grasp, reach_with_object, pick_and_place.")]
Kinds = Annotated[str, typer.Option("--object", help="all, or of cup, box.")]
SplitName = Annotated[
    str,
    typer.Option(
        "--split",
        help="train, wide (more looks), views (also from aside), harsh (in one-sided light), test (unseen seeds) or "
        "shift (unseen looks).",
    ),
]
GoalPictures = Annotated[
    str, typer.Option("--goals", help="Of a task's goal pictures: all, the paper's, or the last alone.")
]
SeedBase = Annotated[int, typer.Option(min=0, help="Seed of the first episode; the next ones follow.")]
MaxSteps = Annotated[int | None, typer.Option(min=1, help="Of an episode; the task's number, if not said.")]
AchievedScenes = Annotated[
    int | None,
    typer.Option("--achieved", min=1, help="Measure first what achieved goals cost, on so many training scenes."),
]
Workers = Annotated[int, typer.Option(min=1, help="Processes, each with one thread and its own renderer.")]
