"""Options that commands of the simulation share, as types of their arguments; see `vjepa2_ac.options`."""

from __future__ import annotations

from typing import Annotated

import typer

Tasks = Annotated[
    str,
    typer.Option(
        "--task", help="Tasks: all, or a comma-separated list of reach, grasp, reach_with_object, pick_and_place."
    ),
]
Kinds = Annotated[str, typer.Option("--object", help="Objects: all, or a comma-separated list of cup, box.")]
SplitName = Annotated[
    str,
    typer.Option(
        "--split",
        help="Split of scenes: train, wide (more appearances), views (also from the side), harsh (in one-sided light), "
        "test (unseen seeds) or shift (unseen appearances).",
    ),
]
GoalPictures = Annotated[
    str,
    typer.Option(
        "--goals", help="Goal pictures of a task to use: all, paper (those of the paper) or last (the last one alone)."
    ),
]
SeedBase = Annotated[
    int, typer.Option(min=0, help="Seed of the first episode; the next episodes use the following seeds.")
]
MaxSteps = Annotated[
    int | None, typer.Option(min=1, help="Largest number of steps of an episode. When not given, that of the task.")
]
AchievedScenes = Annotated[
    int | None,
    typer.Option(
        "--achieved", min=1, help="First measure the cost of achieved goals, on this many training scenes of each task."
    ),
]
Workers = Annotated[int, typer.Option(min=1, help="Number of processes, each with one thread and its own renderer.")]
