"""`vjepa2-ac landscape`: what a world model makes of a pair of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vjepa2_ac.options import Model, Observation, Pose, Precision


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(landscape)


def landscape(
    observation: Observation,
    goal: Annotated[str, typer.Option(help="Goal picture: a PNG or JPEG file, or `FILE.npz:STEP`.")],
    model: Model = "default",
    pose: Pose = None,
    goal_pose: Annotated[
        str | None, typer.Option(help="Pose of the hand in the goal, if known; the true move is then marked.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for landscape.png and landscape.json.")] = Path("landscape"),
    grid: Annotated[
        int, typer.Option(help="Number of moves along each axis; its cube is the number of moves imagined.")
    ] = 5,
    extent: Annotated[float, typer.Option(help="Largest move along each axis [m].")] = 0.075,
    repeats: Annotated[int, typer.Option(help="Number of times in a row that each move is made.")] = 1,
    precision: Precision = "auto",
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the weights of a random model.")] = 0,
) -> None:
    """Draw the energy landscape of small moves: where a model believes the goal lies.

    Imagines every move on a grid of Δx, Δy, Δz from the observation and compares the outcome with the goal; low energy
    means near. Writes landscape.png and landscape.json, and prints where the energy is lowest.

    Example:  `vjepa2-ac landscape --observation trajectory.npz:0 --goal trajectory.npz:1 --model random:tiny`
    """
    from vjepa2_ac.files import results_in, write
    from vjepa2_ac.landscape.inputs import read_view
    from vjepa2_ac.landscape.picture import draw
    from vjepa2_ac.landscape.survey import Grid, survey
    from vjepa2_ac.poses import parse_pose
    from vjepa2_ac.world_model import WorldModel

    seen, wanted = read_view(observation), read_view(goal)
    start = seen.pose if pose is None else parse_pose(pose)
    end = wanted.pose if goal_pose is None else parse_pose(goal_pose, "goal pose")
    if start is None:
        raise typer.BadParameter(f"{observation} does not say where the hand is", param_hint="--pose")
    moves = Grid(extent=extent, points=grid, repeats=repeats)
    world = WorldModel.open(model, precision=precision, seed=seed)
    title = f"{model} · {str(world.dtype).removeprefix('torch.')} on {world.device}"
    with results_in(out):
        found = survey(world, seen.frame_HW3, wanted.frame_HW3, start, goal_pose=end, grid=moves)
        write(out / "landscape.json", found.to_json())
        write(out / "landscape.png", draw(found, seen.frame_HW3, wanted.frame_HW3, title))

    x, y, z = found.best_move  # six digits: models that know little differ in the fifth
    low, high = found.energies_XYZ.min(), found.energies_XYZ.max()
    typer.echo(f"lowest energy {low:.6f} at Δx {x:+.4f} Δy {y:+.4f} Δz {z:+.4f} m; highest {high:.6f}")
    if found.true_move is not None and found.better_than_true is not None:
        x, y, z = found.true_move[:3]
        typer.echo(
            f"true move Δx {x:+.4f} Δy {y:+.4f} Δz {z:+.4f} m: energy {found.true_energy:.6f}; "
            f"{found.better_than_true:.0%} of the grid is lower"
        )
    typer.echo(f"wrote {out / 'landscape.png'} and {out / 'landscape.json'}")
