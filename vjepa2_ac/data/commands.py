"""`vjepa2-ac data …`: looking at recorded episodes before anything is trained on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vjepa2_ac.options import Camera

if TYPE_CHECKING:
    from vjepa2_ac.data.check import FolderReport

data = typer.Typer(help="Inspect recorded episodes (raw DROID layout).", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    app.add_typer(data, name="data")


@data.callback()
def _room() -> None:
    """Inspect recorded episodes (raw DROID layout)."""


@data.command()
def check(
    source: Annotated[
        Path,
        typer.Argument(help="Folder to search for episodes, or a text, CSV or JSONL file with one folder per line."),
    ],
    camera: Camera = "left",
    fps: Annotated[float, typer.Option(help="Frames per second at which training windows will be taken.")] = 4.0,
    frames: Annotated[int, typer.Option(min=2, help="Frames per training window.")] = 8,
    step_limit: Annotated[float, typer.Option(help="Largest move of the planner per axis and step [m].")] = 0.075,
    bad_share: Annotated[
        float, typer.Option(help="Largest share of bad episodes that a usable folder may have.")
    ] = 0.05,
    every_frame: Annotated[
        bool,
        typer.Option("--every-frame", help="Decode every frame of each video, not only the first, middle and last."),
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    sheet: Annotated[Path | None, typer.Option(help="Also write a contact sheet, to this PNG file.")] = None,
) -> None:
    """Check whether a folder of episodes is fit for training; name every bad episode and why.

    Checks for missing or unreadable files, lengths that differ and numbers that are not finite. Checks frame rates (the
    video header against the recorded timestamps), units of angles and positions, the direction of the gripper, and the
    size of the steps against the planner's limit. Works on any raw DROID folder.

    Exit codes: 0 if usable, 1 if not usable, 2 if there is no such folder or an option is invalid.

        vjepa2-ac data check /data/droid_raw/1.0.1 --sheet sheet.png
    """
    from vjepa2_ac.data import layout
    from vjepa2_ac.data.check import CheckConfig, check_folder
    from vjepa2_ac.terminal import progress

    config = CheckConfig(
        camera=camera, fps=fps, frames_per_clip=frames, step_limit=step_limit, every_frame=every_frame,
        bad_share=bad_share,
    )  # fmt: skip
    refs = layout.find_episodes(source)
    with progress("checking", len(refs), unit="episodes") as advance:
        report = check_folder(source, config, refs=refs, workers=workers, advance=advance)
    if as_json:
        typer.echo(json.dumps(report.summary(), indent=2))
    else:
        typer.echo("\n".join(_lines(report)))
    if sheet is not None and refs:
        from vjepa2_ac.data.layout import EpisodeRef
        from vjepa2_ac.data.sheet import contact_sheet, save_picture

        whole = [EpisodeRef(each.folder, each.name) for each in report.episodes if not each.is_part]
        save_picture(contact_sheet(whole or refs, camera), sheet)
    if not report.is_usable:
        raise typer.Exit(1)


def _lines(report: FolderReport) -> list[str]:
    facts = report.summary()
    parts = f"; {facts['parts']} are short parts of others" if facts["parts"] else ""
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in facts["outcomes"].items())
    lines = [
        f"{facts['source']}",
        f"  episodes      {facts['usable_episodes']} of {facts['episodes']} usable ({outcomes}{parts})",
        f"  frames        {facts['frames']}, {_duration(facts['hours'])}, {facts['camera']} camera",
        f"  video         {_counts(facts['videos'])}",
        f"  header rate   {_counts(facts['header_fps'], ' fps')}",
        f"  timestamps    {_counts(facts['measured_fps'], ' fps')}",
        f"  gripper       {facts['gripper_events']} steps that open or close it by more than a quarter",
        *_histogram(facts["steps"]),
    ]
    if facts["unfinished"]:
        lines.append(f"  unfinished    {len(facts['unfinished'])} left by a writer that was stopped; not read")
    lines += [f"  note          {note}: {_first_of(names)}" for note, names in facts["noted_episodes"].items()]
    lines += [f"  bad           {name}: {'; '.join(why)}" for name, why in facts["bad_episodes"].items()]
    lines += [f"  fault         {fault}" for fault in facts["faults"]]
    share = len(facts["bad_episodes"]) / max(facts["episodes"], 1)
    limit = f"{share:.1%} bad, {100 * facts['bad_share_allowed']:g}% allowed"
    lines.append(f"usable ({limit})" if facts["usable"] else f"NOT usable ({limit})")
    return lines


def _first_of(names: list[str]) -> str:
    """How many, and where to look; `--json` names all."""
    return f"{len(names)}, the first {names[0]}" if len(names) > 1 else names[0]


def _duration(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"


def _histogram(steps: dict[str, Any]) -> list[str]:
    """The sizes of the steps, drawn against the planner's limit."""
    total = max(sum(steps["counts"]), 1)
    edges = [f"{100 * edge:4.1f}" for edge in steps["edges_m"]] + ["    "]
    lines = [f"  steps         at {steps['at_fps']:g} fps, largest axis [cm]:"]
    for low, high, count in zip(edges[:-1], edges[1:], steps["counts"], strict=True):
        lines.append(f"    {low} … {high}  {count / total:6.1%} {'█' * round(40 * count / total)}")
    limit = f"{100 * steps['limit_m']:g} cm"
    return [*lines, f"    {steps['share_over_limit']:.1%} are larger than the planner's {limit}"]


def _counts(counts: dict[str, int], unit: str = "") -> str:
    return ", ".join(f"{what}{unit if what != 'none' else ''} × {count}" for what, count in counts.items()) or "–"
