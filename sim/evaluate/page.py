"""The report as one self-contained HTML page: tables, failure modes by count, episodes with pictures and costs."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from sim.evaluate import curves, films
from sim.evaluate.episode import Record
from sim.evaluate.failures import MODES
from sim.evaluate.runs import place
from sim.evaluate.settings import Job
from sim.evaluate.summary import TABLE_HEAD, Row, Sign, table_cells

FAILURES, SUCCESSES = 24, 8  # episodes shown at most, for each row of the table
STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1rem 0; }
th, td { text-align: left; padding: .25rem .7rem; border-bottom: 1px solid #8884; }
figure { display: inline-block; margin: .5rem 1rem 1rem 0; padding: .5rem; border: 1px solid #8884; }
figcaption { font-size: 13px; } img, video { display: block; max-width: 100%; } .missed { color: #d64545; }
pre { overflow: auto; padding: .6rem; background: #8881; }
"""


def page(
    out: Path, results: dict[str, Any], rows: Sequence[Row], signs: Sequence[Sign], records: Sequence[Record]
) -> str:
    """The HTML of an evaluation in `out`, with its pictures embedded and its films linked."""
    model = " at ".join(filter(None, (results["settings"]["model"], results["settings"]["server"]))) or "no model"
    return "\n".join(
        [
            "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
            "<meta name='viewport' content='width=device-width'>",
            f"<title>Closed loop: {escape(model)}</title><style>{STYLE}</style></head><body>",
            f"<h1>Closed loop: {escape(model)}, split {escape(results['settings']['split'])}</h1>",
            "<p>The planner is shown goal pictures, camera frames and poses alone; expert and oracle know the true "
            "state. Physics judges, after 1.25 s more in which nobody moves. Intervals are 95 % Wilson. "
            "<em>paper</em> is V-JEPA 2-AC on a real robot, shown one picture, or three of a placing: another world, "
            "beside ours for orientation.</p>",
            _success(rows),
            _modes(rows),
            _signs(signs),
            f"<h2>Episodes</h2><p>Of each line up to {FAILURES} that failed and {SUCCESSES} that did not: five "
            "moments, then the goals. Blue: cost of what was seen; orange: what the plan before had imagined, to "
            "which the way still to go to the goal's located hand is added; green: a sub-goal was passed. The number "
            "at the left is the height.</p>",
            *(_gallery(out, row, records) for row in rows if row.driver in ("planner", "oracle")),
            f"<h2>How it was made</h2><pre>{escape(results['command'])}</pre>",
            f"<details><summary>versions and settings</summary><pre>{escape(_listed(results))}</pre></details>",
            "</body></html>",
        ]
    )


def _success(rows: Sequence[Row]) -> str:
    return "<h2>Success</h2>" + _table(TABLE_HEAD, [table_cells(row) for row in rows])


def _modes(rows: Sequence[Row]) -> str:
    body = [
        (row.task, row.object, escape(mode), f"{count} of {row.episodes}", escape(MODES.get(mode, "")))
        for row in rows
        if row.driver == "planner"
        for mode, count in row.failures.items()
    ]
    if not body:
        return ""
    return "<h2>How the planner failed</h2>" + _table(("task", "object", "mode", "episodes", "that is"), body)


def _signs(signs: Sequence[Sign]) -> str:
    body = [(escape(sign.name), f"{sign.auroc:.2f}") for sign in signs if sign.auroc is not None]
    if not body:
        return ""
    intro = "<h2>What predicted failure</h2><p>Chance that a failed episode shows more of it than a successful one.</p>"
    return intro + _table(("sign", "AUROC"), body)


def _gallery(out: Path, row: Row, records: Sequence[Record]) -> str:
    key = (row.driver, row.task, row.object)
    ours = [record for record in records if (record["driver"], record["task"], record["object"]) == key]
    missed = [record for record in ours if not record["success_end"]]
    shown = missed[:FAILURES] + [record for record in ours if record["success_end"]][:SUCCESSES]
    heading = f"{row.driver}: {row.task}, {row.object}; {len(missed)} of {len(ours)} missed"
    figures = "".join(_figure(out, record) for record in shown)
    return f"<details{' open' if missed else ''}><summary>{escape(heading)}</summary>{figures}</details>"


def _figure(out: Path, record: Record) -> str:
    job = Job(driver=record["driver"], task=record["task"], kind=record["object"], seed=record["seed"])
    strip = place(out, job).with_suffix(".jpg")
    film = films.place(Path(), record)
    done = record["success_end"]
    words = "done" if done else escape(record["failure"])
    verdict = (
        f"seed {record['seed']}: <span class='{'done' if done else 'missed'}'>{words}</span>, "
        f"{escape(record['status'])}, hand {100 * record['hand_error']:.1f} cm, "
        f"object {100 * record['object_error']:.1f} cm from the goal's"
    )
    linked = f", <a href='{film.as_posix()}'>film</a>" if (out / film).is_file() else ""
    return f"<figure>{_picture(strip)}{curves.costs(record)}<figcaption>{verdict}{linked}</figcaption></figure>"


def _picture(path: Path) -> str:
    if not path.is_file():
        return ""
    return f"<img alt='' src='data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()}'>"


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in line) + "</tr>" for line in body]
    return "<table>" + "".join(lines) + "</table>"


def _listed(results: dict[str, Any]) -> str:
    return json.dumps({name: results[name] for name in ("versions", "asset", "settings")}, indent=1)
