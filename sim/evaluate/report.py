"""What an evaluation leaves behind: `evaluation.json`, a report to look at, and the table for the terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from sim.evaluate.episode import Record
from sim.evaluate.page import page
from sim.evaluate.runs import written
from sim.evaluate.settings import EvaluationConfig
from sim.evaluate.summary import failures, rows, signs, summary, table
from vjepa2_ac.files import write

JSON, PAGE = "evaluation.json", "report.html"


def publish(out: Path, config: EvaluationConfig, records: Sequence[Record], command: str) -> str:
    """Write the results and the report into `out`; returns what to print."""
    results, found = summary(records, written(config), command), rows(records)
    write(out / JSON, json.dumps(results, indent=1) + "\n")
    write(out / PAGE, page(out, results, found, signs(records), records))
    modes = failures(found)
    return "\n\n".join([table(found), *([modes] if modes else []), f"{out / JSON}\n{out / PAGE}"])
