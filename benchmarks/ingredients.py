"""What each ingredient of the default search brings by itself: the cost of what it finds with as many candidates.

`./dev bench ingredients` takes half an hour or less on two cores. In each scene a hand is to reach a place of which
there is a picture; the search uses the published cost alone and holds the gripper. Every row leaves one ingredient out,
and is compared with the whole search in the same scenes with the same seeds. Costs are shares of what doing nothing
costs, so a row that is 0.01 dearer leaves a hundredth more of that.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import ttest_1samp, wilcoxon

from benchmarks._result import Row, count, from_nought, publish, run
from benchmarks.planning import asked_of, drawn_scenes
from planner.cem import GRIPPER, CEMConfig
from planner.gripper import GripperConfig
from planner.planning import Planner, PlannerConfig
from planner.search_config import SearchConfig
from vjepa2_ac.terminal import progress
from vjepa2_ac.world_model import WorldModel

# Horizon, samples, iterations, elites, and how many of those are kept.
SIZES = ((1, 8, 2, 3, 1), (1, 16, 2, 4, 1), (1, 32, 3, 6, 3), (2, 32, 3, 6, 3))
ALL = "all of it"


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(
        prog="./dev bench ingredients", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="default")
    parser.add_argument("--scenes", type=count, default=50)
    parser.add_argument("--seed-base", type=from_nought, default=10000)
    asked = parser.parse_args()
    world = WorldModel.open(asked.model)
    seeds = range(asked.seed_base, asked.seed_base + asked.scenes)
    requests = [asked_of(world, *drawn) for drawn in zip(drawn_scenes(seeds, "test"), seeds, strict=True)]
    rows: list[Row] = []
    with progress("searching", len(SIZES) * len(requests), unit="scenes") as advance:
        for size in SIZES:
            planners = {name: Planner(world, config) for name, config in variants(*size).items()}
            shares: dict[str, list[float]] = {}
            candidates: dict[str, list[int]] = {}
            for request in requests:
                for name, planner in planners.items():
                    plan = planner.plan(request)
                    shares.setdefault(name, []).append(plan.cost / plan.idle_cost)
                    candidates.setdefault(name, []).append(plan.evaluations)
                advance()
            rows += [beside(size, name, shares, candidates[name]) for name in shares]
    publish("ingredients", {"what is found": rows}, {"model": asked.model, "scenes": asked.scenes})


def variants(horizon: int, samples: int, iterations: int, elites: int, kept: int) -> dict[str, PlannerConfig]:
    """The whole search of this size, without each ingredient, and the published one; only "stops early" stops early."""
    whole = SearchConfig(
        horizon=horizon,
        samples=samples,
        iterations=iterations,
        elites=elites,
        kept_elites=kept,
        gripper=GripperConfig(mode="held"),
        agreement=None,
    )
    published = CEMConfig(horizon=horizon, samples=samples, iterations=iterations, elites=elites, held={GRIPPER: 0.0})
    searches = {
        ALL: whole,
        "no elites kept": replace(whole, kept_elites=0),
        "Gaussian draws": replace(whole, noise="gaussian"),
        "the mean no candidate": replace(whole, try_mean=False),
        "the mean is the answer": replace(whole, answer="mean"),
        "stops early": replace(whole, agreement=SearchConfig().agreement),
    }
    configs = {name: PlannerConfig(search=search) for name, search in searches.items()}
    return configs | {"the published search": PlannerConfig(method="paper", paper=published)}


def beside(
    size: tuple[int, int, int, int, int], name: str, shares: dict[str, list[float]], candidates: Sequence[int]
) -> Row:
    """The row of one search, compared with the whole one scene by scene."""
    row = {
        "horizon": size[0],
        "size": f"{size[1]} x {size[2]}",
        "search": name,
        "cost": statistics.mean(shares[name]),
        "candidates": statistics.mean(candidates),
    }
    dearer = np.subtract(shares[name], shares[ALL])
    if name == ALL or len(dearer) < 2 or not dearer.any():
        return row
    interval = ttest_1samp(dearer, 0.0).confidence_interval()
    return row | {
        "dearer by": float(dearer.mean()),
        "from": float(interval.low),
        "to": float(interval.high),
        "cheaper in": int((dearer < 0).sum()),
        "dearer in": int((dearer > 0).sum()),
        "p": float(wilcoxon(dearer).pvalue),
    }


if __name__ == "__main__":
    run(main)
