"""How well the model aims: how near to a grasp the cheapest of a grid of imagined moves ends, without search or loop.

`./dev bench aim` takes a minute on one core. The open hand stands up to 4 cm aside and 3 cm above the place where the
expert grips. The goal is the picture of the grip there (or of the open hand there), and every move of a grid around the
hand is imagined once. The tables say how far from the place the cheapest of them ends, beside the best of the grid, and
how far from the place the model's inverse locates it: in centimetres aside, along x, y and z, and along the camera's
line of sight, on which moves change a picture least.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks._result import count, from_nought, publish, run
from planner.costs import CostConfig, GoalCost
from sim.cameras import LEFT
from sim.collect_commands import split_name
from sim.env import FrankaEnv
from sim.variation import FACTORS, KINDS
from vjepa2_ac.poses import POSITION, SIZE, Array
from vjepa2_ac.world_model import Rollout, WorldModel

ASIDE, UPWARDS = 0.045, 0.02  # [m] half sizes of the grid of moves
STANDS_ASIDE, STANDS_ABOVE = 0.04, 0.03  # [m] how far from the place the hand starts, at most
STARTS = 4  # in each scene
COSTS = {
    "l1": CostConfig(),
    "l1, coarser maps too": CostConfig(pools=(2, 4)),
    "l2": CostConfig(distance="l2"),
    "l1 and place": CostConfig(place=10.0),
}
BETWEEN = 1.5  # [cm] aside, by which a hand may miss and still have the object between its open fingers


@dataclass(frozen=True, slots=True)
class Start:
    """A hand beside an object, what each move is imagined to lead to, and what should be seen at the place."""

    away_3: Array  # from the place to the hand [m]
    pose_7: Array
    latents_1ND: Tensor
    imagined: Rollout
    goals: dict[str, Tensor]


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(
        prog="./dev bench aim", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="default")
    parser.add_argument("--split", default="test")
    parser.add_argument("--factors", nargs="+", choices=FACTORS, default=FACTORS, help="that vary with the split")
    parser.add_argument("--scenes", type=count, default=12, help="of each object")
    parser.add_argument("--seed-base", type=from_nought, default=14200)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    world, moves_S3 = WorldModel.open(asked.model), grid()
    seeds = range(asked.seed_base, asked.seed_base + asked.scenes)
    split, factors = split_name(asked.split), tuple(asked.factors)
    starts = [start for kind in KINDS for start in beside(world, moves_S3, kind, split, factors, seeds)]
    costs = [name for name, cost in COSTS.items() if world.inverse or not cost.place]
    rows = [row(world, starts, moves_S3, goal, cost) for goal in starts[0].goals for cost in costs]
    drawn = {"split": split, "factors": "all" if factors == FACTORS else ", ".join(factors), "starts": len(starts)}
    tables = {"starts": [drawn], "cheapest move": rows}
    if world.inverse:
        tables["inverse"] = [{"goal": goal, **told(missed(world, starts, goal))} for goal in starts[0].goals]
    publish("aim", tables)


def grid() -> Array:
    """The moves [S, 3] of the grid [m]."""
    aside, upwards = np.linspace(-ASIDE, ASIDE, 7), (-UPWARDS, 0.0, UPWARDS)
    return np.array([[x, y, z] for x in aside for y in aside for z in upwards])


def beside(
    world: WorldModel, moves_S3: Array, kind: Any, split: Any, factors: tuple[str, ...], seeds: range
) -> Iterator[Start]:
    """The starts in the scenes of these seeds, around the place at which the expert comes to grip."""
    env, rng = FrankaEnv("grasp", split=split, kind=kind, factors=factors), np.random.default_rng(0)
    for seed in seeds:
        seen, _ = env.reset(seed=seed)
        expert = env.expert()
        action = expert.act(env.truth())
        while expert.stage != "close" and not expert.done:
            seen, *_ = env.step(action)
            action = expert.act(env.truth())
        place_3, snapshot = seen["pose"][POSITION].copy(), env.snapshot()
        for _ in range(2):
            gripped, *_ = env.step(action)
        goals = {name: world.encode(at["frame"]) for name, at in (("the grip", gripped), ("the open hand there", seen))}
        for _ in range(STARTS):
            env.restore(snapshot)
            aside_2 = rng.uniform(-STANDS_ASIDE, STANDS_ASIDE, 2)
            away_3 = np.array([*aside_2, rng.uniform(0, STANDS_ABOVE)])
            for over in ([0, 0, 0.1], [*aside_2, 0.08], away_3):  # up, aside and down, so that nothing is pushed
                seen = _go(env, place_3 + over)
            latents_1ND = world.encode(seen["frame"])
            away_3 = seen["pose"][POSITION] - place_3
            yield Start(away_3, seen["pose"], latents_1ND, imagined(world, latents_1ND, seen, moves_S3), goals)
    env.close()


def imagined(world: WorldModel, latents_1ND: Tensor, seen: dict[str, Any], moves_S3: Array) -> Rollout:
    """Where each move from here is imagined to lead."""
    actions_1S1A = torch.zeros(1, len(moves_S3), 1, SIZE)
    actions_1S1A[0, :, 0, :3] = torch.from_numpy(moves_S3)
    pose_17 = torch.from_numpy(seen["pose"]).float()[None]
    return world.rollout(latents_1ND, pose_17, actions_1S1A)


def row(world: WorldModel, starts: list[Start], moves_S3: Array, goal: str, cost: str) -> dict[str, Any]:
    """A row of the table: how far from the place the cheapest moves end."""
    ends_K3, best_K = [], []
    for start in starts:
        located_B4 = located(world, start, goal) if COSTS[cost].place else None
        costs_S = GoalCost(COSTS[cost], start.goals[goal], located_B4=located_B4)(start.imagined)[0]
        ends_K3.append(start.away_3 + moves_S3[int(costs_S.argmin())])
        best_K.append(np.linalg.norm((start.away_3 + moves_S3)[:, :2], axis=1).min())
    return {
        "goal": goal,
        "cost": cost,
        **told(np.array(ends_K3)),
        "grid's best (cm)": round(100 * float(np.mean(best_K)), 2),
    }


def missed(world: WorldModel, starts: list[Start], goal: str) -> Array:
    """The errors [K, 3] [m] of the place as the inverse locates it, one for each start."""
    misses: list[Array] = []
    for start in starts:
        located_B4 = located(world, start, goal)
        assert located_B4 is not None
        misses.append(located_B4[0, :3].double().numpy() - start.pose_7[POSITION] + start.away_3)
    return np.array(misses)


def located(world: WorldModel, start: Start, goal: str) -> Tensor | None:
    """The hand in the goal as the inverse locates it [1, 4]; None from a model without an inverse."""
    found = world.locate(start.latents_1ND, torch.from_numpy(start.pose_7).float()[None], start.goals[goal])
    return found and found.hand_B4


def told(misses_K3: Array) -> dict[str, float]:
    """Columns of the table for misses [K, 3] [m]: distances from the place, as means unless said otherwise."""
    cm_K3 = 100 * np.abs(misses_K3)
    aside_K = np.linalg.norm(cm_K3[:, :2], axis=1)
    sight_K = 100 * np.abs(misses_K3 @ LEFT.rotation()[:, 2])
    return {
        "aside (cm)": round(float(aside_K.mean()), 2),
        "median (cm)": round(float(np.median(aside_K)), 2),
        f"within {BETWEEN:g} cm": round(float((aside_K < BETWEEN).mean()), 2),
        "x (cm)": round(float(cm_K3[:, 0].mean()), 2),
        "y (cm)": round(float(cm_K3[:, 1].mean()), 2),
        "z (cm)": round(float(cm_K3[:, 2].mean()), 2),
        "sight (cm)": round(float(sight_K.mean()), 2),
    }


def _go(env: FrankaEnv, to_3: Array) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for _ in range(3):
        action = np.zeros(SIZE)
        action[:3] = np.clip(to_3 - env.cell.controller.measured_pose()[:3], -0.05, 0.05)
        seen, *_ = env.step(action)
    return seen


if __name__ == "__main__":
    run(main)
