"""`vjepa2-ac evaluate-confidence`: what a plan's signs say about failure, and the file that tells the planner."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate_confidence(
    folders: Annotated[list[Path], typer.Argument(help="Folders of evaluations of one model and one cost.")],
    out: Annotated[Path, typer.Option(help="File for the coefficients and the report.")] = Path("confidence.json"),
    beside: Annotated[
        Path | None,
        typer.Option(
            help="Such a file for the same model, perhaps --out itself; its entries for other costs are kept."
        ),
    ] = None,
) -> None:
    """Fit probabilities of failure to the plans of evaluated episodes, and judge them on seeds left out of the fit.

    Use episodes whose seeds are not used to judge anything else. With the file, each plan carries its probability of
    failure:

        vjepa2-ac evaluate --model runs/release --seed-base 11000 --episodes 50 --out runs/trust

        vjepa2-ac evaluate-confidence runs/trust --out runs/confidence.json

        vjepa2-ac evaluate --model runs/release --confidence runs/confidence.json --out runs/warned

    One file can hold probabilities for several costs, such as those of the presets; evaluate them one after the other:

        vjepa2-ac evaluate-confidence runs/by-keyframes --beside runs/confidence.json --out runs/confidence.json
    """
    from sim.evaluate.trust import calibrate
    from vjepa2_ac.terminal import command_line

    typer.echo(calibrate(folders, out, beside, command_line()))
