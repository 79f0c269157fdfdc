"""How fast the simulation is: frames by style and size, control steps, resets, and how well the hand tracks.

`./dev bench sim` takes about a minute on one core. One worker, one process.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks._result import publish, run
from sim.control import LIMIT
from sim.env import FrankaEnv
from sim.episode import Cell
from sim.rendering import SceneRenderer, Style
from sim.scene import Scene
from sim.variation import Variation, draw
from vjepa2_ac import poses


def main() -> None:
    """Measure and publish."""
    argparse.ArgumentParser(prog="./dev bench sim", description=__doc__).parse_args()
    publish(
        "sim",
        {
            "pictures": pictures(),
            "control steps (4 Hz)": control_steps(),
            "resets": resets(),
            "tracking after a step": tracking(),
        },
    )


def pictures() -> list[dict[str, Any]]:
    """The time to draw a picture of the left camera, by size and style."""
    scene = Scene()
    Cell(scene).dress(draw(Variation(split="test", kind="cup"), 0))
    styles: list[tuple[Style, bool]] = [
        ("model", False),
        ("model", True),
        ("hulls", False),
        ("pretty", False),
        ("pretty", True),
    ]
    rows = []
    for size in (96, 128, 256):
        for style, shadows in styles:
            renderer = SceneRenderer(scene, size, size, style, shadows=shadows)
            row = {"style": style, "shadows": "yes" if shadows else "no", "pixels": size}
            rows.append({**row, **speed(renderer.draw, "frames/s")})
            renderer.close()
    return rows


def control_steps() -> list[dict[str, Any]]:
    """Control steps a second, with and without the picture of the observation."""
    rows = []
    for what, views in (("without rendering", ()), ("with a 256 x 256 frame", ("left",))):
        env = FrankaEnv(split="test", views=views, goal_frames=False, max_steps=10**9)
        env.reset(seed=0)
        rng = np.random.default_rng(0)
        row = speed(lambda env=env, rng=rng: env.step(rng.uniform(-LIMIT, LIMIT)), "steps/s", least=60)  # type: ignore[misc]
        env.close()
        rows.append({"what": what, **row})
    return rows


def resets() -> list[dict[str, Any]]:
    """The time to dress the scene anew, and that of a whole reset with the expert's goal."""
    cell, seeds = Cell(Scene()), iter(range(10**9))
    dressed = speed(lambda: cell.dress(draw(Variation(split="test"), next(seeds))), "per s")
    rows: list[dict[str, Any]] = [{"what": "dress the scene (edit the model, settle 0.1 s)", **dressed}]
    for task in ("reach", "grasp", "reach_with_object", "pick_and_place"):
        env = FrankaEnv(task, split="test")
        rows.append({"what": f"reset {task}, goal pictures included", **speed(env.reset, "per s", least=8)})
        env.close()
    return rows


def tracking(moves: int = 400) -> list[dict[str, Any]]:
    """How far random moves inside the workspace end from where they should."""
    cell, rng = Cell(Scene()), np.random.default_rng(0)
    away_mm, turned_deg = [], []
    for move in range(moves):
        if move % 20 == 0:
            cell.dress(draw(Variation(split="test", factors=("layout",)), move))
        start = cell.controller.measured_pose()
        action = np.concatenate([rng.uniform(-0.05, 0.05, 3), rng.uniform(-0.1, 0.1, 3) * (move % 2), [0.0]])
        action[2] = np.clip(start[2] + action[2], 0.09, 0.17) - start[2]  # above the objects
        clipped = cell.controller.step(action)
        if not clipped:
            missed = poses.pose_difference(cell.controller.measured_pose(), poses.integrate(start, action))
            away_mm.append(1e3 * np.linalg.norm(missed[:3]))
            turned_deg.append(np.degrees(np.linalg.norm(missed[3:6])))
    return [
        {
            "error": name,
            "moves": len(values),
            "mean": np.mean(values),
            "95 %": np.quantile(values, 0.95),
            "max": max(values),
        }
        for name, values in (("position [mm]", away_mm), ("rotation [deg]", turned_deg))
    ]


def speed(work: Callable[[], object], rate: str, least: int = 20) -> dict[str, float]:
    """Time and rate of `work`, as columns."""
    by_clock, of_processor = seconds_of(work, least)
    return {"ms": 1e3 * by_clock, rate: 1 / by_clock, "processor ms": 1e3 * of_processor}


def seconds_of(work: Callable[[], object], least: int = 20, seconds: float = 1.5) -> tuple[float, float]:
    """The mean time of one call after two to warm up: by the clock, and of the processor, all threads together.

    The second hardly depends on what else the machine is doing.
    """
    work()
    work()
    done, started, worked = 0, time.perf_counter(), time.process_time()
    while done < least or time.perf_counter() - started < seconds:
        work()
        done += 1
    return (time.perf_counter() - started) / done, (time.process_time() - worked) / done


if __name__ == "__main__":
    run(main)
