"""From episodes to a table: success with Wilson intervals, failure modes by count, and what predicted failure."""

from __future__ import annotations

import hashlib
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import mujoco
import numpy as np

from sim.bounds import wilson
from sim.evaluate import logistic
from sim.evaluate.episode import Record
from sim.scene import Scene
from sim.tasks import TASKS
from sim.variation import KINDS

# Successes of V-JEPA 2-AC on a real Franka, averaged over two labs; pick-and-place with three
# sub-goal pictures. The paper's reach knows no objects.
PAPER: dict[tuple[str, str], float] = {
    ("reach", "cup"): 1.0,
    ("reach", "box"): 1.0,
    ("grasp", "cup"): 0.65,
    ("grasp", "box"): 0.25,
    ("reach_with_object", "cup"): 0.75,
    ("reach_with_object", "box"): 0.75,
    ("pick_and_place", "cup"): 0.80,
    ("pick_and_place", "box"): 0.65,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One driver on one task with one kind of object."""

    driver: str
    task: str
    object: str
    episodes: int
    at_end: int
    any_time: int
    at_end_interval: tuple[float, float]
    any_time_interval: tuple[float, float]
    median_steps: float | None  # until first done
    evaluations: float | None  # candidates imagined for a plan, on average
    plan_ms: float | None  # median
    failures: dict[str, int]  # modes, most frequent first
    failed_seeds: tuple[int, ...]
    paper: float | None  # on a real robot; beside the planner alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """How well one number of an episode tells failures from successes: 0.5 not at all, 1 always."""

    name: str
    auroc: float | None  # None where all episodes ended alike


def rows(records: Iterable[Record]) -> list[Row]:
    """The rows of the table, by task, then by object, then by driver in the order met."""
    together: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        together.setdefault((record["driver"], record["task"], record["object"]), []).append(record)
    drivers = list(dict.fromkeys(driver for driver, _, _ in together))
    order = [(driver, task, kind) for task in TASKS for kind in KINDS for driver in drivers]
    return [_row(together[key]) for key in order if key in together]


def table(found: Sequence[Row]) -> str:
    """The rows next to the paper's numbers, aligned for a terminal and valid Markdown."""
    return aligned(TABLE_HEAD, [table_cells(row) for row in found])


TABLE_HEAD = ("task", "object", "driver", "episodes", "at the end", "95 % interval", "at any time", "paper", "steps",
              "candidates", "ms a plan")  # fmt: skip


def table_cells(row: Row) -> tuple[str, ...]:
    """One row of the table, as text."""
    return (
        row.task,
        row.object,
        row.driver,
        str(row.episodes),
        f"{row.at_end / row.episodes:.1%}",
        f"{row.at_end_interval[0]:.1%} – {row.at_end_interval[1]:.1%}",
        f"{row.any_time / row.episodes:.1%}",
        _or_dash(row.paper, "{:.0%}"),
        _or_dash(row.median_steps, "{:.0f}"),
        _or_dash(row.evaluations, "{:.0f}"),
        _or_dash(row.plan_ms, "{:.0f}"),
    )


def failures(found: Sequence[Row]) -> str:
    """A table of the planner's failure modes by count; empty where it had none."""
    body = [
        (row.task, row.object, mode, str(count))
        for row in found
        if row.driver == "planner"
        for mode, count in row.failures.items()
    ]
    return aligned(("task", "object", "how it failed", "episodes"), body) if body else ""


def signs(records: Iterable[Record]) -> list[Sign]:
    """How well each sign of confidence predicts that the planner's episode failed."""
    planned = [record for record in records if record["driver"] == "planner"]
    failed = [not record["success_end"] for record in planned]
    return [Sign(name=name, auroc=auroc([sign(each) for each in planned], failed)) for name, sign in SIGNS.items()]


def auroc(scores: Sequence[float | None], positive: Sequence[bool]) -> float | None:
    """The AUROC among those that have a score; None where all of them ended alike."""
    pairs = [(score, is_positive) for score, is_positive in zip(scores, positive, strict=True) if score is not None]
    score_N = np.array([score for score, _ in pairs])
    return logistic.auroc(score_N, np.array([is_positive for _, is_positive in pairs], dtype=bool))


def asset() -> str:
    """SHA-256 of the compiled cell, the same on every machine with the same MuJoCo and meshes."""
    model = Scene().model
    buffer = np.zeros(mujoco.mj_sizeModel(model), dtype=np.uint8)
    mujoco.mj_saveModel(model, None, buffer)
    return hashlib.sha256(buffer.tobytes()).hexdigest()


def summary(records: Sequence[Record], provenance: dict[str, Any], command: str) -> dict[str, Any]:
    """The content of `evaluation.json`; the steps of an episode stay in its own file."""
    return {
        **provenance,
        "asset": asset(),
        "command": command,
        "seeds": sorted({record["seed"] for record in records}),
        "rows": [asdict(row) for row in rows(records)],
        "signs_of_failure": [asdict(sign) for sign in signs(records)],
        "episodes": [{name: value for name, value in record.items() if name != "turns"} for record in records],
    }


def aligned(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up."""
    widths = [max(len(line[column]) for line in (head, *body)) for column in range(len(head))]
    lines = ["| " + " | ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)) + " |"
             for line in (head, *body)]  # fmt: skip
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _row(records: Sequence[Record]) -> Row:
    first, count = records[0], len(records)
    at_end = sum(record["success_end"] for record in records)
    any_time = sum(record["success_any"] for record in records)
    steps = [record["first_done"] for record in records if record["first_done"] >= 0]
    plans = sum(record["plans"] for record in records)
    times = [turn["plan_ms"] for record in records for turn in record["turns"] if turn["imagined_cost"] is not None]
    modes = Counter(record["failure"] for record in records if record["failure"])
    return Row(
        driver=first["driver"],
        task=first["task"],
        object=first["object"],
        episodes=count,
        at_end=at_end,
        any_time=any_time,
        at_end_interval=wilson(at_end, count),
        any_time_interval=wilson(any_time, count),
        median_steps=float(statistics.median(steps)) if steps else None,
        evaluations=sum(record["evaluations"] for record in records) / plans if plans else None,
        plan_ms=float(statistics.median(times)) if times else None,
        failures=dict(modes.most_common()),
        failed_seeds=tuple(record["seed"] for record in records if not record["success_end"]),
        paper=PAPER.get((first["task"], first["object"])) if first["driver"] == "planner" else None,
    )


def _last_cost(record: Record) -> float | None:
    costs = [turn["cost"] for turn in record["turns"] if turn["cost"] is not None]
    return costs[-1] if costs else None


def _mean(name: str, sign: float) -> Callable[[Record], float | None]:
    def of(record: Record) -> float | None:
        stated = [turn["confidence"].get(name) for turn in record["turns"]]
        values = [float(value) for value in stated if value is not None]
        return sign * statistics.fmean(values) if values else None

    return of


def _share_of_steps(record: Record) -> float:
    going = [index for index, turn in enumerate(record["turns"]) if turn["status"] == "going"]
    return (going[-1] + 1) / len(record["turns"]) if going else 0.0


# Every sign is oriented so that more of it should mean failure.
SIGNS: dict[str, Callable[[Record], float | None]] = {
    "cost of the last picture": _last_cost,
    "steps before it held still": _share_of_steps,
    "mean spread of elites": _mean("elite_spread", 1.0),
    "mean gain, negative": _mean("gain", -1.0),
    "mean flatness": _mean("flatness", 1.0),
    "share of plans out of reach": _mean("goal_out_of_reach", 1.0),
    "mean cycle error": _mean("cycle_error", 1.0),
}


def _or_dash(value: float | None, layout: str) -> str:
    return "–" if value is None else layout.format(value)
