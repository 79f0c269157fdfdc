"""The report as a table for the terminal: a line per figure, a column per model, and a column of goals."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vjepa2_ac.fitcheck.estimates import Estimate, NotMeasured
from vjepa2_ac.fitcheck.figures import Figure, Found, sections
from vjepa2_ac.fitcheck.goals import sentences
from vjepa2_ac.fitcheck.report import Report

WIDTH = 132  # characters where the terminal does not say


def show(report: Report, *, compared: bool = False, console: Console | None = None) -> None:
    """Print the report; with `compared`, also a column with the change from the first model to the second."""
    console = console or _console()
    table = Table(title=Text(_title(report)), title_justify="left", pad_edge=False, show_edge=False)
    table.add_column("", no_wrap=True)
    for column in report.columns:
        table.add_column(Text(column.name), justify="right")
    if compared:
        table.add_column("change", justify="right")
    table.add_column("goal", justify="right", no_wrap=True)
    reasons: dict[str, None] = {}
    for heading, figures in sections(report.config.horizon).items():
        table.add_row(Text(heading, style="bold"))
        for figure in figures:
            found = [figure.of(column) for column in report.columns]
            reasons |= {str(each.reason): None for each in found if isinstance(each, NotMeasured)}
            cells = [_cell(figure, each) for each in found]
            if compared:
                cells.append(_change(figure, found[0], found[1]))
            table.add_row(Text("  " + figure.words), *cells, str(figure.goal or ""))
    console.print(table)
    console.print("[..] holds the figure in 95 % of resamplings of the scenes", style="dim", markup=False)
    for reason in reasons:
        console.print(f"–  not measured: {reason}", style="dim", markup=False)
    for line in sentences(report):
        console.print(line, markup=False)
    for column in report.columns:
        parts = ", ".join(f"{part} {seconds:.0f}" for part, seconds in column.seconds.items())
        console.print(f"{column.name} took, in seconds: {parts}", style="dim", markup=False)


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


def _title(report: Report) -> str:
    found = report.episodes
    return (
        f"{found['source']}: {found['scenes']} scenes, {found['episodes']} episodes with branches, "
        f"{found['frames']} frames; {len(found['left out'])} left out"
    )


def _cell(figure: Figure, found: Found) -> Text:
    if isinstance(found, NotMeasured) or math.isnan(found.value):
        return Text("–", style="dim")
    met = None if figure.goal is None else figure.goal.is_met(found.value)
    style = {None: "", True: "green", False: "red"}[met]
    mark = {None: "", True: " ✓", False: " ✗"}[met]
    return Text.assemble(
        (_number(found.value, figure.digits), style), (_interval(found, figure.digits), "dim"), (mark, style)
    )


def _change(figure: Figure, before: Found, after: Found) -> Text:
    """`after` minus `before`; dim where the interval of the difference holds 0."""
    if not isinstance(before, Estimate) or not isinstance(after, Estimate):
        return Text("–", style="dim")
    change = after.minus(before)
    is_sure = change.low > 0 or change.high < 0
    text = f"{change.value:+.{figure.digits}f}{_interval(change, figure.digits, sign='+')}"
    return Text(text, style="" if is_sure else "dim")


def _number(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def _interval(found: Estimate, digits: int, sign: str = "") -> str:
    if math.isnan(found.low):
        return ""
    return f" [{found.low:{sign}.{digits}f}, {found.high:{sign}.{digits}f}]"
