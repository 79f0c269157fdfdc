"""`vjepa2-ac plan`: one plan from pictures on disk."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vjepa2_ac.errors import ConfigError
from vjepa2_ac.options import Device, ModelIfSaid, Observation, PlannerSettings, Pose, PrecisionIfSaid

if TYPE_CHECKING:
    from planner.single.answer import Answer


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(plan)


def plan(
    observation: Observation,
    goal: Annotated[
        list[str],
        typer.Option(help="Goal picture: a PNG or JPEG file, or `FILE.npz:STEP`. Repeat for sub-goals, in order."),
    ],
    pose: Pose = None,
    sub_goal: Annotated[int, typer.Option(help="Index of the goal to plan towards, counted from 0.")] = 0,
    model: ModelIfSaid = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Planner preset: fast, balanced, keyframes or paper. When not given, balanced, or the service's."
        ),
    ] = None,
    settings: PlannerSettings = None,
    budget_ms: Annotated[
        float | None, typer.Option(help="Time budget in milliseconds, which determines the size of the search.")
    ] = None,
    deadline_ms: Annotated[
        float | None, typer.Option(help="Deadline in milliseconds; the best plan found by then is returned.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Random seed; the same seed gives the same plan.")
    ] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Make the plan, but ask the robot to stay where it is.")
    ] = False,
    server: Annotated[
        str | None, typer.Option(help="URL of a planning service to ask instead: http(s)://… or grpc(s)://….")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the token for the service. When not given, the environment variable VJEPA2_AC_TOKEN."
        ),
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(help="PEM file of the certificate authority to trust, for https and grpcs.")
    ] = None,
    timeout_s: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds to wait for the service; 60 if not given.")
    ] = None,
    grid: Annotated[
        int | None,
        typer.Option(
            help="With --out: number of moves along each side of the energy maps; 9 if not given, 0 for no maps."
        ),
    ] = None,
    precision: PrecisionIfSaid = None,
    device: Device = None,
    out: Annotated[Path | None, typer.Option(help="Folder for plan.json and plan.png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON to stdout instead of the table.")] = False,
) -> None:
    """Make one plan from pictures on disk: the moves that lead from what the camera sees to the goal.

    Prints the plan as a table, or as JSON with --json. With --out, also draws it, with the energies around it, its cost
    during the search, and its path. With --server, a planning service makes the plan, and this process needs no torch.

        vjepa2-ac plan --observation now.png --pose "0.4 0 0.3 3.14 0 0 0" --goal wanted.png --model random:tiny

        vjepa2-ac plan --observation trajectory.npz:0 --goal trajectory.npz:1 --server http://127.0.0.1:8000 --out plan
    """
    from planner.single.landscape import check_points
    from planner.single.question import Wishes, read_question
    from planner.single.table import table
    from vjepa2_ac.files import results_in

    wishes = Wishes(
        preset=preset,
        settings=tuple(settings or ()),
        budget_ms=budget_ms,
        deadline_ms=deadline_ms,
        seed=seed,
        dry_run=dry_run,
    )
    question = read_question(observation, pose, goal, sub_goal, wishes)
    points = check_points(9 if grid is None else grid) if out is not None else 0
    if grid is not None and out is None:
        raise ConfigError("--grid is for the maps that a folder gets: say --out too")
    if server is None and (token_file or ca or timeout_s is not None):
        raise ConfigError("--token-file, --ca and --timeout-s are for a service: say --server too")
    if server is not None and (model or precision or device):
        raise ConfigError("a service plans with its own model: leave out --model, --precision and --device")
    with results_in(out):
        if server is None:
            from planner.single.here import open_model, plan_here

            opened = partial(open_model, model or "default", precision or "auto", device)
            answer = plan_here(question, opened, points=points)
        else:
            from planner.single.served import plan_by_service, read_token

            token, patience_s = read_token(token_file), timeout_s or 60.0
            answer = plan_by_service(question, server, token=token, ca=ca, timeout_s=patience_s, points=points)
        typer.echo(answer.to_json() if as_json else table(answer))
        if out is not None:
            _write(answer, out)


def _write(answer: Answer, out: Path) -> None:
    from planner.single.picture import draw
    from vjepa2_ac.files import write

    write(out / "plan.json", answer.to_json() + "\n")
    write(out / "plan.png", draw(answer))
    typer.echo(f"wrote {out / 'plan.json'} and {out / 'plan.png'}", err=True)
