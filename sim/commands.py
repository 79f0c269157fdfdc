"""`vjepa2-ac sim …`, `collect` and `evaluate`: look at the simulation, film it, record from it, try planners in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim import collect_commands
from sim.collect_commands import split_name
from sim.evaluate import commands as evaluate_commands
from sim.options import GoalPictures, MaxSteps, SplitName, Tasks
from vjepa2_ac.options import MODELS

if TYPE_CHECKING:
    from sim.variation import Kind

simulation = typer.Typer(
    help="Watch and film a Franka at a table in MuJoCo, and measure its bounds.", no_args_is_help=True
)

Task = Annotated[str, typer.Option(help="Task: reach, grasp, reach_with_object or pick_and_place.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the episode; the same seed gives the same episode.")]
KindName = Annotated[str | None, typer.Option("--object", help="Object: cup or box. When not given, either.")]
RobotXML = Annotated[
    Path | None, typer.Option(help="Another MJCF file of a Panda with the same names; see sim/arm.py.")
]


def register(app: typer.Typer) -> None:
    """Add the group, the collector and the evaluation."""
    app.add_typer(simulation, name="sim")
    collect_commands.register(app)
    evaluate_commands.register(app)


@simulation.command()
def view(
    task: Task = "pick_and_place",
    seed: Seed = 0,
    split: SplitName = "test",
    kind: KindName = None,
    expert: Annotated[bool, typer.Option(help="Let the expert play; with --no-expert, you play with the keys.")] = True,
    robot_xml: RobotXML = None,
) -> None:
    """Show the running environment in a window. Needs a display.

    Keys: arrows move the hand, Page Up and Page Down raise and lower it, Insert and Delete close and open the gripper,
    E switches the expert on and off, N starts the next episode.

        vjepa2-ac sim view --task grasp --object cup
    """
    from sim.env import FrankaEnv
    from sim.viewer import HELP, check_display, view

    check_display()
    typer.echo(HELP, err=True)
    env = FrankaEnv(
        task,
        split=split_name(split),
        kind=_kind(kind),
        views=(),
        goal_frames=False,
        max_steps=10**9,
        robot_xml=robot_xml,
    )
    view(env, seed, expert)


@simulation.command()
def video(
    task: Task = "pick_and_place",
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="MP4 file to write.")] = Path("sim.mp4"),
    split: SplitName = "test",
    kind: KindName = None,
    policy: Annotated[str, typer.Option(help="Policy to film: expert, nothing or random.")] = "expert",
    size: Annotated[int, typer.Option(min=128, max=1280, help="Height of the film [px].")] = 480,
    robot_xml: RobotXML = None,
) -> None:
    """Film one episode: the cell as people see it, the model's camera, and the goal picture.

    Exit code 1 if the episode missed its goal.

    Example: `vjepa2-ac sim video --task pick_and_place --object cup --seed 3 --out cup.mp4`
    """
    from sim.bounds import actor, policy_name
    from sim.env import FrankaEnv
    from sim.film import film, write_mp4
    from vjepa2_ac.errors import ConfigError
    from vjepa2_ac.files import make_folder

    if out.suffix != ".mp4":
        raise ConfigError(f"--out is an .mp4, not {out.name}")
    make_folder(out.parent)
    size -= size % 4  # H.264 wants even numbers, also of half the height
    env = FrankaEnv(
        task,
        split=split_name(split),
        kind=_kind(kind),
        render_mode="rgb_array",
        render_size=size,
        robot_xml=robot_xml,
    )
    env.reset(seed=seed)
    played = film(env, actor(env, policy_name(policy), seed), steps=env.max_steps)
    write_mp4(out, played.frames)
    env.close()
    typer.echo(f"{out}: {task}, {env.draw.kind}, {played.steps} steps, {'done' if played.success_at_end else 'missed'}")
    if not played.success_at_end:
        raise typer.Exit(1)


@simulation.command()
def demo(
    out: Annotated[
        Path | None, typer.Option(help="New folder for the films and the report. When not given, runs/demo/DATE-TIME.")
    ] = None,
    model: Annotated[str, typer.Option(help=f"World model that plans: {MODELS}.")] = "default",
    server: Annotated[
        str | None, typer.Option(help="URL of a running service to ask instead, http://… or grpc://….")
    ] = None,
    expert: Annotated[
        bool, typer.Option("--expert", help="Let the scripted expert drive; no model is needed.")
    ] = False,
    task: Tasks = "all",
    goals: GoalPictures = "all",
    planner: Annotated[
        str | None,
        typer.Option(help="Planner preset: fast, balanced, keyframes or paper. When not given, that of the service."),
    ] = None,
    seed: Seed = 0,
    max_steps: MaxSteps = None,
    window: Annotated[bool, typer.Option(help="Open the report if there is a display.")] = True,
) -> None:
    """Run the demo: the Franka reaches, grasps, carries and places what goal pictures show.

    Starts the planning service on loopback and asks it as a robot would, with goal pictures, frames and poses alone.
    Prints every step, then writes a film of each task and a report. Exit code 1 if a task missed its goal.

        vjepa2-ac sim demo

        vjepa2-ac sim demo --server http://127.0.0.1:8000 --task pick_and_place --seed 3

        vjepa2-ac sim demo --goals last --planner keyframes --task pick_and_place
    """
    from datetime import datetime

    from sim.demo import DemoConfig, has_display, open_report, show
    from sim.evaluate.settings import goals_named, tasks_named
    from vjepa2_ac.errors import ConfigError

    if expert and (model, server, planner) != ("default", None, None):
        raise ConfigError("the expert drives by itself: leave out --model, --server and --planner")
    if server is not None and model != "default":
        raise ConfigError("a service plans with its own model: leave out --model")
    out = out or Path("runs/demo") / f"{datetime.now():%Y%m%d-%H%M%S}"
    config = DemoConfig(
        tasks=tasks_named(task),
        model=model,
        server=server,
        is_expert=expert,
        goals=goals_named(goals),
        preset=planner,
        seed=seed,
        max_steps=max_steps,
    )
    is_done = show(out, config, typer.echo)
    if window and has_display():
        open_report(out)
    if not is_done:
        raise typer.Exit(1)


@simulation.command()
def strip(
    films: Annotated[list[Path], typer.Argument(help="Films from `demo`, `evaluate` or `video`, in order.")],
    out: Annotated[
        Path, typer.Option(help="File to write: a .gif plays the films in turn, a .png has a row for each.")
    ],
    width: Annotated[
        int | None,
        typer.Option(
            min=64, max=1920, help="Width in px: of the GIF (400 if not given), or of one picture of the strip (240)."
        ),
    ] = None,
    columns: Annotated[int, typer.Option(min=2, max=12, help="Number of pictures of each film in a strip.")] = 5,
) -> None:
    """Make films small enough for a page: an animated GIF, or a strip of pictures.

    Example: `vjepa2-ac sim strip runs/demo/*/films/*.mp4 --out demo.gif`
    """
    from sim.film import write_png
    from sim.strip import gif
    from sim.strip import strip as drawn
    from vjepa2_ac.errors import ConfigError

    if out.suffix not in (".gif", ".png"):
        raise ConfigError(f"--out is a .gif or a .png, not {out.name}")
    if out.suffix == ".gif":
        gif(out, films, width or 400)
    else:
        write_png(out, drawn(films, columns, width or 240))
    typer.echo(f"{out}: {out.stat().st_size // 1024} KiB")


@simulation.command()
def sheet(
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("docs/pictures"),
    seeds: Annotated[int, typer.Option(min=1, max=8, help="Number of episodes per task, one row each.")] = 3,
) -> None:
    """Draw the cell, the appearances of every split and, for every task, episodes and goals as the model sees them.

    Example: `vjepa2-ac sim sheet --out docs/pictures`
    """
    from sim.film import all_cameras, contact_sheet, splits, write_jpeg, write_png
    from sim.tasks import TASKS, task_name

    def written(path: Path) -> None:
        typer.echo(f"{path}: {path.stat().st_size // 1024} KiB")

    for name in ("cell", *TASKS):
        path = out / f"sim-{name.replace('_', '-')}.png"
        write_png(path, all_cameras() if name == "cell" else contact_sheet(task_name(name), tuple(range(seeds))))
        written(path)
    write_jpeg(out / "sim-splits.jpg", splits())
    written(out / "sim-splits.jpg")


@simulation.command()
def bounds(
    episodes: Annotated[int, typer.Option(min=1, help="Number of seeds per task, object and policy.")] = 200,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes.")] = 2,
    split: SplitName = "test",
    task: Annotated[str | None, typer.Option(help="Measure only this task. When not given, all tasks.")] = None,
    policies: Annotated[
        str, typer.Option(help="Policies to measure: a comma-separated list of expert, nothing, random.")
    ] = "expert,nothing,random",
    out: Annotated[
        Path | None, typer.Option(help="Path and base name of the result files, NAME.json and NAME.md.")
    ] = None,
) -> None:
    """Measure the success of the best and the worst: expert, nothing and random, with 95 % Wilson intervals.

    Exit code 1 if the expert solves less than 99 % of any task.

    Example: `vjepa2-ac sim bounds --episodes 200 --workers 2 --out runs/bounds`
    """
    import json

    from sim.bounds import as_dict, markdown, measure, policy_name
    from sim.tasks import TASKS, task_name
    from sim.variation import KINDS
    from vjepa2_ac.errors import ConfigError
    from vjepa2_ac.files import make_folder, write
    from vjepa2_ac.terminal import command_line, progress

    tasks = TASKS if task is None else (task_name(task),)
    chosen = tuple(dict.fromkeys(policy_name(name.strip()) for name in policies.split(",")))
    if out is not None:
        if not out.name:
            raise ConfigError(f"--out names two files, NAME.json and NAME.md; {out} has no name")
        make_folder(out.parent)
    drawn_from = split_name(split)
    with progress("bounds", len(tasks) * len(KINDS) * len(chosen) * episodes, unit="episodes") as advance:
        found = measure(tasks, KINDS, chosen, split=drawn_from, episodes=episodes, workers=workers, advance=advance)
    typer.echo(markdown(found))
    if out is not None:
        written = {"command": command_line(), "bounds": as_dict(found)}
        write(out.with_name(out.name + ".json"), json.dumps(written, indent=1) + "\n")
        write(out.with_name(out.name + ".md"), markdown(found) + "\n")
    if any(bound.policy == "expert" and bound.at_end < 0.99 * bound.episodes for bound in found):
        raise typer.Exit(1)


def _kind(name: str | None) -> Kind | None:
    from sim.variation import KINDS
    from vjepa2_ac.errors import ConfigError

    for known in KINDS:
        if name == known:
            return known
    if name is not None:
        raise ConfigError(f"no object {name!r}; there are {', '.join(KINDS)}")
    return None
