"""`vjepa2-ac evaluate-confidence`: what a plan's signs say about failure, and the file that tells the planner."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate_confidence(
    folders: Annotated[list[Path], typer.Argument(help="Evaluations of one model and one cost.")],
    out: Annotated[Path, typer.Option(help="File for the coefficients and the report.")] = Path("confidence.json"),
    beside: Annotated[
        Path | None, typer.Option(help="Such a file, of the same model: keep what it says of other costs.")
    ] = None,
) -> None:
    """Fit chances of failure to the plans of evaluated episodes, and judge them on seeds left out.

    Use episodes of seeds that judge nothing else. With the file, each plan carries its chance of failure:

        vjepa2-ac evaluate --model runs/release --seed-base 11000 --episodes 50 --out runs/trust

        vjepa2-ac evaluate-confidence runs/trust --out runs/confidence.json

        vjepa2-ac evaluate --model runs/release --confidence runs/confidence.json --out runs/warned

    A file holds chances for several costs, as the presets have them, one evaluated after the other:

        vjepa2-ac evaluate-confidence runs/by-keyframes --beside runs/confidence.json --out runs/confidence.json
    """
    from sim.evaluate.trust import calibrate
    from vjepa2_ac.terminal import command_line

    typer.echo(calibrate(folders, out, beside, command_line()))
