"""Compares many planners on the same episodes, to show what each ingredient is worth and what it costs.

Every variant is an ordinary evaluation in a folder of its own: it can be stopped and resumed, and has its own report.
The result is one table that compares each variant with the baseline on the episodes that both have played.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from planner.goals import AchievedGoals
from planner.mpc import ControlConfig
from planner.planning import PlannerConfig
from sim.evaluate import achieved, budgets
from sim.evaluate.comparison import Paired, holm, outcomes, paired, rate_interval
from sim.evaluate.episode import Record
from sim.evaluate.report import publish
from sim.evaluate.runs import evaluate, place, read_record, read_settings, versions
from sim.evaluate.settings import EvaluationConfig, Job, in_this_cell, jobs, with_settings
from sim.evaluate.summary import aligned, rows
from sim.evaluate.variants import Variant
from sim.splits import Split
from sim.tasks import TASKS, TaskName
from sim.variation import Kind
from vjepa2_ac.config import to_dict
from vjepa2_ac.errors import ConfigError
from vjepa2_ac.files import write
from vjepa2_ac.model_version import fingerprint
from vjepa2_ac.precision import resolve
from vjepa2_ac.terminal import Advance
from vjepa2_ac.world_model import WorldModel

JSON, TABLE = "sweep.json", "sweep.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepConfig:
    """What all variants have in common: the model, and the episodes they play."""

    model: str
    tasks: tuple[TaskName, ...] = TASKS
    kinds: tuple[Kind, ...] = ("cup", "box")
    seed_base: int = 0
    episodes: int = 50
    split: Split = "test"
    achieved_scenes: int | None = None
    precision: str = "auto"
    max_steps: int | None = None

    def jobs(self, variant: Variant) -> list[Job]:
        """The episodes of a variant: the first seeds, where it plays fewer than the others."""
        episodes = min(self.episodes, variant.episodes or self.episodes)
        return jobs(["planner"], self.tasks, self.kinds, range(self.seed_base, self.seed_base + episodes))


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantRow:
    """A variant's row in the table."""

    name: str
    group: str
    settings: tuple[str, ...]
    episodes: int
    at_end: int
    at_end_interval: tuple[float, float]
    by_task: dict[str, float]
    evaluations: float | None  # candidates imagined for a plan, on average
    plan_ms: float | None  # median of a whole step: encoding, search, limits
    median_steps: float | None  # until first done
    failures: dict[str, int]
    beside: Paired | None = None  # comparison with the baseline; None for the baseline
    p_holm: float | None = None  # the p of that test, raised for the number of variants


def sweep(
    out: Path,
    config: SweepConfig,
    variants: Sequence[Variant],
    *,
    play: Sequence[Variant] | None = None,
    workers: int = 1,
    command: str = "",
    advance: Advance | None = None,
) -> list[VariantRow]:
    """Play the variants in `play` (None: all), one after the other, and compare all that have been played.

    The table in `out` is written anew after each. A variant whose settings are the baseline's is left out.
    """
    weights, known = fingerprint(config.model), _Achieved(config)
    asked = {each.name: _asked(out, config, weights, each) for each in variants}
    empty = [each.name for each in variants if not each.is_baseline and _is_baseline(asked, each)]
    there = [each for each in variants if each.name not in empty]
    played = [each for each in there if play is None or each in play]
    # For all of them first: a budget that no search keeps is refused before hours are spent on the others.
    sized = {each.name: _sized(out / each.folder, asked[each.name], each) for each in played}
    found: list[VariantRow] = []
    for variant in played:
        folder, evaluation = out / variant.folder, asked[variant.name]
        evaluation = replace(evaluation, planner=sized[variant.name], control=known.control_of(folder, evaluation))
        records = evaluate(folder, evaluation, config.jobs(variant), workers=workers, advance=_named(variant, advance))
        publish(folder, evaluation, records, command)
        found = variant_rows(out, config, there, weights)
        _leave(out, config, found, empty, command)
    return found


def variant_rows(out: Path, config: SweepConfig, variants: Sequence[Variant], weights: str) -> list[VariantRow]:
    """The rows of all variants that have been played with these settings, weights and versions, the baseline first."""
    records = {variant.name: _records(out, config, variant, weights) for variant in variants}
    baseline = outcomes(next(records[each.name] for each in variants if each.is_baseline))
    found = [_row(variant, records[variant.name], baseline) for variant in variants if records[variant.name]]
    compared = [each for each in found if each.beside is not None]
    raised = holm([each.beside.p for each in compared if each.beside is not None])
    p_holm = {each.name: p for each, p in zip(compared, raised, strict=True)}
    return [replace(each, p_holm=p_holm.get(each.name)) for each in found]


def table(found: Sequence[VariantRow]) -> str:
    """The rows, aligned for a terminal and valid Markdown."""
    tasks = list(dict.fromkeys(task for row in found for task in row.by_task))
    rates = ("at the end", "95 % interval", *tasks)
    beside = ("won", "lost", "points", "95 % interval", "p", "p (Holm)")
    head = ("group", "variant", "episodes", *rates, *beside, "candidates", "ms a plan", "steps")
    return aligned(head, [_cells(row, tasks) for row in found])


def as_text(found: Sequence[VariantRow], empty: Sequence[str]) -> str:
    """The table and how to read it."""
    paragraphs = [
        table(found),
        "Success at the end, with a 95 % interval that is as wide as scenes differ. Won and lost are episodes of the "
        "same task, object and seed that the variant did and the baseline did not, and the other way round; points is "
        "their difference as a share "
        "of all pairs. p is an exact sign-flip test of scenes, Holm's is raised for the number of variants.",
    ]
    if empty:
        paragraphs.append(f"Left out, because their settings are the baseline's: {', '.join(empty)}.")
    return "\n\n".join(paragraphs)


class _Achieved:
    """What achieved goals cost, measured once for each cost that variants use."""

    def __init__(self, config: SweepConfig) -> None:
        self.config, self.known = config, dict[str, AchievedGoals]()

    def control_of(self, folder: Path, evaluation: EvaluationConfig) -> ControlConfig:
        scenes = self.config.achieved_scenes
        if scenes is None:
            return evaluation.control
        key = json.dumps(to_dict(replace(evaluation.planner.cost, focus=0.0, surprise=0.0)))
        if key not in self.known:
            self.known[key] = achieved.from_previous_run(folder, scenes) or self._measured(evaluation, scenes)
        return replace(evaluation.control, progress=replace(evaluation.control.progress, achieved=self.known[key]))

    def _measured(self, evaluation: EvaluationConfig, scenes: int) -> AchievedGoals:
        world = WorldModel.open(evaluation.model, precision=evaluation.precision)
        return achieved.measure(world, evaluation.planner, scenes)


def _asked(out: Path, config: SweepConfig, weights: str, variant: Variant) -> EvaluationConfig:
    """The settings of a variant, before anything is measured for them."""
    try:
        if variant.budget is not None:
            budgets.refuse_size(variant.settings)
        planner, control = with_settings(in_this_cell(variant.planner), ControlConfig(), variant.settings)
    except ConfigError as error:
        raise ConfigError(f"variant {variant.name!r}: {error}") from error
    return EvaluationConfig(
        model=config.model, weights=weights, split=config.split, asked=(variant.planner, *variant.settings),
        planner=planner, budget_ms=variant.budget, achieved_scenes=config.achieved_scenes, control=control,
        precision=resolve(config.precision), max_steps=config.max_steps,
    )  # fmt: skip


def _sized(folder: Path, evaluation: EvaluationConfig, variant: Variant) -> PlannerConfig:
    if evaluation.budget_ms is None:
        return evaluation.planner
    known = budgets.from_previous_run(folder, evaluation.budget_ms, evaluation.planner)
    try:
        return known or budgets.measured(
            evaluation.budget_ms, evaluation.planner, evaluation.model, evaluation.precision
        )
    except ConfigError as error:
        raise ConfigError(f"variant {variant.name!r}: {error}") from error


def _is_baseline(asked: dict[str, EvaluationConfig], variant: Variant) -> bool:
    baseline = next(iter(asked.values()))
    return replace(asked[variant.name], asked=()) == replace(baseline, asked=())


def _named(variant: Variant, advance: Advance | None) -> Advance | None:
    if advance is None:
        return None

    def named(steps: int = 1, note: str = "") -> None:
        advance(steps, f"{variant.name}: {note.removeprefix('planner ')}")

    return named


def _records(out: Path, config: SweepConfig, variant: Variant, weights: str) -> list[Record]:
    """The records of a variant in `out`; none, where it was played with other settings, weights or versions."""
    found = read_settings(out / variant.folder)
    if found is None:
        return []
    wanted = {
        "weights": weights,
        "split": config.split,
        "max_steps": config.max_steps,
        "precision": resolve(config.precision),
        "asked": [variant.planner, *variant.settings],
        "budget_ms": variant.budget,
        "achieved_scenes": config.achieved_scenes,
    }
    if found.get("versions") != versions() or any(found["settings"][name] != value for name, value in wanted.items()):
        return []
    places = [place(out / variant.folder, job) for job in config.jobs(variant)]
    return [read_record(path) for path in places if path.is_file()]


def _row(variant: Variant, records: Sequence[Record], baseline: dict[Any, bool]) -> VariantRow:
    done = sum(record["success_end"] for record in records)
    whole = rows([{**record, "task": "reach", "object": "cup"} for record in records])[0]  # all tasks taken as one
    tasks = dict.fromkeys(record["task"] for record in records)
    return VariantRow(
        name=variant.name,
        group=variant.group,
        settings=(variant.planner, *variant.settings),
        episodes=len(records),
        at_end=done,
        at_end_interval=rate_interval(outcomes(records)),
        by_task={task: _share([r["success_end"] for r in records if r["task"] == task]) for task in tasks},
        evaluations=whole.evaluations,
        plan_ms=whole.plan_ms,
        median_steps=whole.median_steps,
        failures=whole.failures,
        beside=None if variant.is_baseline else paired(outcomes(records), baseline),
    )


def _share(done: Sequence[bool]) -> float:
    return sum(done) / len(done)


def _cells(row: VariantRow, tasks: Sequence[str]) -> tuple[str, ...]:
    beside = row.beside
    low, high = row.at_end_interval
    compared: tuple[str, ...] = ("–",) * 6
    if beside is not None and beside.pairs:
        compared = (
            str(beside.won),
            str(beside.lost),
            f"{100 * beside.difference:+.0f}",
            f"{100 * beside.interval[0]:+.0f} … {100 * beside.interval[1]:+.0f}",
            _chance(beside.p),
            "–" if row.p_holm is None else _chance(row.p_holm),
        )
    numbers = (row.evaluations, row.plan_ms, row.median_steps)
    return (
        row.group,
        row.name,
        str(row.episodes),
        f"{row.at_end / row.episodes:.0%}",
        f"{low:.0%} – {high:.0%}",
        *(f"{row.by_task[task]:.0%}" if task in row.by_task else "–" for task in tasks),
        *compared,
        *("–" if number is None else f"{number:.0f}" for number in numbers),
    )


def _chance(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"  # it is never 0


def _leave(out: Path, config: SweepConfig, found: Sequence[VariantRow], empty: Sequence[str], command: str) -> None:
    results = {
        "command": command,
        "versions": versions(),
        "weights": fingerprint(config.model),
        "field": asdict(config),
        "same_as_baseline": list(empty),
        "variants": [asdict(row) for row in found],
    }
    write(out / JSON, json.dumps(results, indent=1) + "\n")
    write(out / TABLE, as_text(found, empty) + "\n")
