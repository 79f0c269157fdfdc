"""How far plans can be trusted: turns the signs of confidence of evaluated episodes into chances of failure.

The signs of a plan are known when it is made; whether its episode failed is known once it has ended. A logistic model
that predicts failure from the signs is judged on seeds that it has not seen; then it is fitted to all seeds, and its
coefficients go into a file that the planner reads. A chance is of the whole episode failing, as seen from one plan.

Shapes: N plans, F signs, G seeds, R resamples.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.failure_model import FAR_OUT, FORMAT, SIGNS, FailureModel, read_fits, signs
from sim.evaluate import logistic
from sim.evaluate.logistic import Array, Mask
from sim.evaluate.runs import EPISODES, SETTINGS, read_record, read_settings
from sim.evaluate.summary import aligned
from vjepa2_ac.config import to_dict
from vjepa2_ac.errors import InputError
from vjepa2_ac.files import make_folder, write

BINS = 10
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
LEAST_SEEDS = 5  # that a fit, and the interval of a bin, need

Interval = tuple[float, float] | None


@dataclass(frozen=True, slots=True, eq=False)
class Plans:
    """All plans of some evaluations, with how their episodes ended."""

    signs_NF: Array
    failed_N: Mask
    seed_N: NDArray[np.int64]
    episode_N: NDArray[np.int64]
    task_N: NDArray[np.str_]
    model: str
    weights: str
    cost: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """The plans whose chances of failure lie in one tenth of [0, 1]."""

    low: float
    high: float
    plans: int
    said: float  # mean chance of failure
    failed: float  # share whose episode failed
    interval: Interval  # 95 % of that share, by resampling seeds; None below `LEAST_SEEDS` of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """What a warning at chances of failure from `at` on would catch."""

    at: float
    warned: float  # share of plans
    failures_warned: float | None  # share of failed episodes' plans that are warned of
    warned_failed: float | None  # share of the plans warned of whose episode failed
    others_failed: float | None  # share of the other plans whose episode failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What the chances are worth on seeds that they were not fitted to."""

    plans: int
    episodes: int
    seeds: int
    failed: float  # share of episodes
    auroc: float | None
    auroc_interval: Interval
    auroc_by_task: dict[str, float | None]  # where tasks are not equally hard, knowing the task is worth something
    auroc_by_sign: dict[str, float | None]  # of each sign alone, whichever way round
    auroc_of_episodes: float | None  # of the mean over an episode's plans
    brier: float
    brier_of_the_rate: float  # of always saying the share of plans whose episode failed
    reliability: tuple[Bin, ...]
    thresholds: tuple[Threshold, ...]


def calibrate(folders: Sequence[Path], out: Path, beside: Path | None = None, command: str = "") -> str:
    """Fit chances to the evaluations in `folders`, write them to `out` for the planner, and say what they are worth.

    Fits to other costs in the file `beside` are kept.
    """
    plans = gathered(folders)
    found, model = judged(plans), fitted(plans)
    fit = {"model": plans.model, "command": command, "failure": to_dict(model), "worth": asdict(found)}
    fits = [*(_of_other_costs(beside, model) if beside else ()), fit]
    make_folder(out.parent)
    write(out, json.dumps({"format": FORMAT, "fits": fits}, indent=1) + "\n")
    return f"{as_text(found)}\n\n{out}"


def gathered(folders: Sequence[Path]) -> Plans:
    """The planner's plans in evaluations of one model and one cost; only of familiar views, as others get no chance."""
    found: list[tuple[tuple[float, ...], bool, int, int, str]] = []
    known: dict[str, Any] | None = None
    episode = 0
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise InputError("an evaluation is named twice; its plans would count as two")
    for folder in folders:
        here = _judged_by(folder)
        if known is not None and known != here:
            raise InputError(f"{folder} evaluates another model or another cost than {folders[0]}; fit them apart")
        known = here
        for path in sorted((folder / EPISODES).glob("planner-*.json")):
            record = read_record(path)
            episode += 1
            for turn in record["turns"]:
                is_asked = turn["confidence"] and not turn["confidence"].get("view_unfamiliar")
                if is_asked and turn["idle_cost"] is not None:
                    values = _signs(turn, path)
                    if np.isfinite(values).all():
                        found.append((values, not record["success_end"], int(record["seed"]), episode, record["task"]))
    if not found or known is None:
        raise InputError("no plans with signs of confidence in " + ", ".join(map(str, folders)))
    values, failed, seeds, episodes, tasks = zip(*found, strict=True)
    _check(failed, seeds, episodes)
    return Plans(
        np.array(values), np.array(failed), np.array(seeds), np.array(episodes), np.array(tasks), **known
    )  # fmt: skip


def _signs(turn: dict[str, Any], path: Path) -> tuple[float, ...]:
    try:
        found = signs(turn["confidence"], turn["imagined_cost"], turn["idle_cost"])
    except KeyError as lacking:
        raise InputError(f"the plans in {path} do not say their {lacking}; evaluate with this release") from lacking
    return tuple(found[name] for name in SIGNS)


def fitted(plans: Plans) -> FailureModel:
    """The failure model, fitted to all plans."""
    found = logistic.fit(plans.signs_NF, plans.failed_N, FAR_OUT)
    return FailureModel(
        centre=tuple(found.centre_F.tolist()),
        scale=tuple(found.scale_F.tolist()),
        coefficients=tuple(found.coefficients_F.tolist()),
        intercept=found.intercept,
        weights=plans.weights,
        cost=plans.cost,
        episodes=len(np.unique(plans.episode_N)),
    )


def judged(plans: Plans) -> Trust:
    """What such a model is worth on seeds that were left out of its fit."""
    failed_N = plans.failed_N
    chance_N = logistic.left_out(plans.signs_NF, failed_N, plans.seed_N, FAR_OUT)
    return Trust(
        plans=len(failed_N),
        episodes=len(np.unique(plans.episode_N)),
        seeds=len(np.unique(plans.seed_N)),
        failed=float(_of_episodes(plans, failed_N.astype(float)).mean()),
        auroc=logistic.auroc(chance_N, failed_N),
        auroc_interval=logistic.auroc_interval(chance_N, failed_N, plans.seed_N),
        auroc_by_task={
            str(task): logistic.auroc(chance_N[plans.task_N == task], failed_N[plans.task_N == task])
            for task in np.unique(plans.task_N)
        },
        auroc_by_sign={
            name: _either_way(logistic.auroc(plans.signs_NF[:, column], failed_N)) for column, name in enumerate(SIGNS)
        },
        auroc_of_episodes=logistic.auroc(
            _of_episodes(plans, chance_N), _of_episodes(plans, failed_N.astype(float)) > 0.5
        ),
        brier=logistic.brier(chance_N, failed_N),
        brier_of_the_rate=logistic.brier(np.full(len(failed_N), failed_N.mean()), failed_N),
        reliability=reliability(chance_N, failed_N, plans.seed_N),
        thresholds=tuple(_threshold(at, chance_N, failed_N) for at in THRESHOLDS),
    )


def reliability(chance_N: Array, failed_N: Mask, seed_N: NDArray[np.int64]) -> tuple[Bin, ...]:
    """The chance that was stated against the share that failed, in tenths; empty tenths are left out."""
    counts_RG, place_N = logistic.resampled(seed_N)
    bin_N = (chance_N * BINS).astype(int).clip(0, BINS - 1)
    bins = []
    for number in np.unique(bin_N):
        here_N = bin_N == number
        plans_G = np.bincount(place_N, here_N, minlength=counts_RG.shape[1])
        failed_G = np.bincount(place_N, here_N & failed_N, minlength=counts_RG.shape[1])
        plans_R, failed_R = counts_RG @ plans_G, counts_RG @ failed_G
        bins.append(
            Bin(
                low=float(number) / BINS,
                high=float(number + 1) / BINS,
                plans=int(here_N.sum()),
                said=float(chance_N[here_N].mean()),
                failed=float(failed_N[here_N].mean()),
                interval=_interval(failed_R, plans_R) if (plans_G > 0).sum() >= LEAST_SEEDS else None,
            )
        )
    return tuple(bins)


def as_text(found: Trust) -> str:
    """What the chances are worth, in words and tables."""
    low, high = found.auroc_interval or (float("nan"), float("nan"))
    words = (
        f"{found.plans} plans of {found.episodes} episodes, {found.failed:.0%} of which failed; {found.seeds} seeds, "
        "each judged by a model that has not seen it.\n"
        f"AUROC {_number(found.auroc)} (95 % {low:.2f} – {high:.2f}), "
        f"of whole episodes {_number(found.auroc_of_episodes)}. "
        f"Brier score {found.brier:.3f}; always saying the mean rate has {found.brier_of_the_rate:.3f}."
    )
    alone = [*found.auroc_by_task.items(), *found.auroc_by_sign.items()]
    bins = [(f"{b.low:.1f} – {b.high:.1f}", str(b.plans), f"{b.said:.0%}", f"{b.failed:.0%}", _range(b.interval))
            for b in found.reliability]  # fmt: skip
    lines = [(f"{t.at:.1f}", f"{t.warned:.0%}", *map(_percent, (t.failures_warned, t.warned_failed, t.others_failed)))
             for t in found.thresholds]  # fmt: skip
    return "\n\n".join(
        [
            words,
            aligned(("task, or sign alone", "AUROC"), [(name, _number(value)) for name, value in alone]),
            aligned(("chance of failure", "plans", "said", "failed", "95 % interval"), bins),
            aligned(("warn from", "plans warned of", "of all failing", "that failed", "others that failed"), lines),
        ]
    )


def _of_other_costs(path: Path, model: FailureModel) -> list[dict[str, Any]]:
    return [fit for known, fit in read_fits(path, weights=model.weights) if known.unfitted(model.cost)]


def _judged_by(folder: Path) -> dict[str, Any]:
    provenance = read_settings(folder)
    if provenance is None:
        raise InputError(f"{folder} holds no evaluation (no {SETTINGS})")
    settings = provenance["settings"]
    if settings["server"]:
        raise InputError(f"{folder} was evaluated through a service, whose cost is not known here")
    return {"model": settings["model"], "weights": settings["weights"], "cost": settings["planner"]["cost"]}


def _check(failed: Sequence[bool], seeds: Sequence[int], episodes: Sequence[int]) -> None:
    if len(set(failed)) < 2:
        raise InputError(f"all {len(set(episodes))} episodes ended alike; chances need failures and successes")
    if len(set(seeds)) < LEAST_SEEDS:
        raise InputError(f"chances are judged on seeds left out; need at least {LEAST_SEEDS}, got {len(set(seeds))}")


def _of_episodes(plans: Plans, values_N: Array) -> Array:
    """The mean over each episode's plans."""
    _, place_N = np.unique(plans.episode_N, return_inverse=True)
    return np.asarray(np.bincount(place_N, values_N) / np.bincount(place_N))


def _threshold(at: float, chance_N: Array, failed_N: Mask) -> Threshold:
    warned_N = chance_N >= at
    return Threshold(
        at=at,
        warned=float(warned_N.mean()),
        failures_warned=_share(warned_N, failed_N),
        warned_failed=_share(failed_N, warned_N),
        others_failed=_share(failed_N, ~warned_N),
    )


def _share(of_N: Mask, among_N: Mask) -> float | None:
    return float(of_N[among_N].mean()) if among_N.any() else None


def _either_way(area: float | None) -> float | None:
    return None if area is None else max(area, 1 - area)


def _interval(failed_R: Array, plans_R: Array) -> Interval:
    drawn_R = plans_R > 0
    return logistic.percentiles((failed_R[drawn_R] / plans_R[drawn_R]).tolist())


def _or_dash(layout: str) -> Callable[[float | None], str]:
    return lambda value: "–" if value is None else layout.format(value)


_number, _percent = _or_dash("{:.2f}"), _or_dash("{:.0%}")


def _range(interval: Interval) -> str:
    return "–" if interval is None else f"{interval[0]:.0%} – {interval[1]:.0%}"
