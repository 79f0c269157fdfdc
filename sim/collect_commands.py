"""`vjepa2-ac collect`: simulated episodes in the raw DROID layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim.options import SeedBase, SplitName, Workers
from vjepa2_ac import __version__
from vjepa2_ac.errors import ConfigError

if TYPE_CHECKING:
    from sim.splits import Split

DEFAULT_MIX = "expert=0.25,noisy=0.35,near=0.25,random=0.15"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(collect)


def collect(
    out: Annotated[Path, typer.Option(help="Folder to fill: empty, or made by this command before.")],
    episodes: Annotated[
        int, typer.Option(min=1, help="Total number of long episodes to play, each from its own seed.")
    ],
    workers: Workers = 1,
    mix: Annotated[
        str,
        typer.Option(help="Shares of the recorded behaviours: expert, noisy (disturbed, recovering), near, random."),
    ] = DEFAULT_MIX,
    split: SplitName = "train",
    seed_base: SeedBase = 0,
    branches: Annotated[
        int,
        typer.Option(
            min=0,
            help="Pairs of short episodes per long one. From the same state, one opens the gripper and one closes it.",
        ),
    ] = 2,
    repaints: Annotated[
        int, typer.Option(min=0, help="Short episodes per long one that show part of it, each with its own appearance.")
    ] = 0,
    repaint_steps: Annotated[
        int, typer.Option(min=1, max=40, help="Length of the part they show, in steps of 0.25 s; 40 shows all of it.")
    ] = 8,
    long: Annotated[
        bool, typer.Option("--long/--no-long", help="Record the long episodes as well, or only the short ones.")
    ] = True,
    cameras: Annotated[
        str, typer.Option(help="Cameras to record: a comma-separated list of left, right, wrist.")
    ] = "left",
    size: Annotated[int, typer.Option(help="Width and height of the frames [px].")] = 256,
) -> None:
    """Record simulated episodes in raw DROID layout: metadata, trajectory.h5 and an MP4 each.

    The command can be stopped at any time, with Ctrl-C or by killing it; run it again to continue where it stopped.
    Episodes are written completely or not at all. The same seeds give the same episodes for any number of workers.

        vjepa2-ac collect --out episodes/train --episodes 1000 --workers 2
        vjepa2-ac data check episodes/train --sheet sheet.png
    """
    from sim import collect as collecting
    from sim.collect_behaviours import EDITION
    from sim.collect_recorder import make_recorder
    from vjepa2_ac.terminal import progress

    config = collecting.CollectConfig(
        split=split_name(split), seed_base=seed_base, mix=parse_mix(mix), branches=branches, repaints=repaints,
        repaint_steps=repaint_steps, long=long, cameras=tuple(camera.strip() for camera in cameras.split(",")),
        size=size, versions={"vjepa2-ac": __version__, "behaviours": EDITION},
    )  # fmt: skip
    with progress("collecting", episodes, unit="episodes") as advance:
        done = collecting.collect(out, episodes, config, make_recorder, workers=workers, advance=advance)
    rate = done.frames / done.seconds if done.seconds else 0.0
    played, beside = ("", "with the short ones") if long else (" played", "all short")
    typer.echo(
        f"{out}: {done.already + done.jobs} long episodes{played}, {done.already} of them were there; wrote "
        f"{done.episodes} episodes, {beside}, {done.frames} frames in {done.seconds:.0f} s ({rate:.0f} frames/s)"
    )


def split_name(name: str) -> Split:
    """`name`, if there is such a split."""
    from sim.splits import SPLITS

    for known in SPLITS:
        if name == known:
            return known
    raise ConfigError(f"no split {name!r}; there are {', '.join(SPLITS)}")


def parse_mix(text: str) -> tuple[tuple[str, float], ...]:
    """Shares written as `expert=0.5,near=0.5`."""
    shares = []
    for part in text.split(","):
        kind, _, share = part.partition("=")
        try:
            shares.append((kind.strip(), float(share)))
        except ValueError:
            raise ConfigError(f"a mix is written like {DEFAULT_MIX}; cannot read {part!r}") from None
    return tuple(shares)
