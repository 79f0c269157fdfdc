"""Films of evaluated episodes: the recorded actions are played again, and the same things happen.

A film shows the cell as people see it, what the model saw, the sub-goal it pursued, and below them its costs: what was
measured, and what the plan before had imagined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, zip_longest
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sim.env import FrankaEnv
from sim.evaluate.episode import Record
from sim.evaluate.runs import OWNER, written
from sim.evaluate.settings import EvaluationConfig, Job
from sim.film import TICKS_A_FRAME, labelled, marked, small, write_mp4
from sim.folders import held
from sim.tasks import GOAL_NAMES
from vjepa2_ac.workers import pool

Frame = NDArray[np.uint8]

FOLDER = "films"
LINGER = 6  # steps that are shown after the last move
BAND = 96  # [px], height of the costs below the pictures
PAPER, MEASURED, IMAGINED = (34, 36, 40), (96, 170, 240), (240, 160, 60)


def chosen(records: Iterable[Record], count: int) -> list[Record]:
    """Up to `count` episodes of every task and object, failures and successes in turn; the planner's, if it played."""
    records = list(records)
    driver = "planner" if any(record["driver"] == "planner" for record in records) else None
    rows: dict[tuple[str, str, str], tuple[list[Record], list[Record]]] = {}
    for record in records:
        if driver in (None, record["driver"]):
            key = (record["driver"], record["task"], record["object"])
            rows.setdefault(key, ([], []))[bool(record["success_end"])].append(record)
    turns = [chain.from_iterable(zip_longest(failed, done)) for failed, done in rows.values()]
    return [record for turn in turns for record in [each for each in turn if each is not None][:count]]


def shoot_all(
    out: Path,
    config: EvaluationConfig,
    records: Sequence[Record],
    *,
    workers: int = 1,
    advance: Callable[[int], object] = lambda _: None,
) -> None:
    """Film `records` into `out`; films that exist stay. Raises InputError where another evaluation is at work."""
    with held(out, OWNER, written(config)):
        todo = [record for record in records if not place(out, record).is_file()]
        advance(len(records) - len(todo))
        for _ in _shot(out, config, todo, workers):
            advance(1)


def _shot(out: Path, config: EvaluationConfig, todo: Sequence[Record], workers: int) -> Iterator[bool]:
    if workers == 1 or len(todo) < 2:
        for record in todo:
            yield shoot(out, config, record)
        return
    with pool(min(workers, len(todo))) as shooters:
        for future in [shooters.submit(shoot, out, config, record) for record in todo]:
            yield future.result()


def place(out: Path, record: Record) -> Path:
    """Where the film of an episode is kept."""
    job = Job(driver=record["driver"], task=record["task"], kind=record["object"], seed=record["seed"])
    return out / FOLDER / f"{job.name}.mp4"


def shoot(out: Path, config: EvaluationConfig, record: Record, size: int = 480) -> bool:
    """Film one episode; returns whether it was done, which is what its record says."""
    env = FrankaEnv(
        record["task"],
        split=config.split,
        kind=record["object"],
        frame_size=config.frame_size,
        max_steps=config.max_steps,
        factors=config.factors,
        camera_yaw=config.camera_yaw,
        render_mode="rgb_array",
        render_size=size,
    )
    try:
        env.reset(seed=record["seed"])
        frames = _replayed(env, record)
        done = env.success_after_settling()
    finally:
        env.close()
    write_mp4(place(out, record), frames)
    return done


def _replayed(env: FrankaEnv, record: Record) -> list[Frame]:
    turns = record["turns"]
    moves = [step for step, turn in enumerate(turns) if np.any(turn["action_7"])]
    last = min(len(turns), (moves[-1] if moves else 0) + 1 + LINGER)
    names = GOAL_NAMES[env.task]
    frames: list[Frame] = []
    ticks = 0

    def shoot_tick() -> None:
        nonlocal ticks
        ticks += 1
        if ticks % TICKS_A_FRAME == 0:
            frames.append(_composed(env, record, step, names))

    for step, turn in enumerate(turns):
        env.cell.controller.on_tick = shoot_tick if step < last else None
        env.step(np.array(turn["action_7"]))
    env.cell.controller.on_tick = None
    return frames


def _composed(env: FrankaEnv, record: Record, step: int, names: Sequence[str]) -> Frame:
    pretty = env.render()
    assert pretty is not None  # the environment is made with a render mode
    half = pretty.shape[0] // 2
    goal = record["goals"][record["turns"][step]["goal"]]
    inset = marked(small(env.goal.frames[goal], half), f"goal: {names[goal]}")
    column = np.concatenate([labelled(small(env.picture("left"), half), "camera"), inset])
    picture = np.concatenate([pretty, column], axis=1)
    return np.concatenate([picture, _band(record, step, picture.shape[1])])


def _band(record: Record, step: int, width: int) -> Frame:
    """The costs up to now, as curves."""
    band = np.full((BAND, width, 3), PAPER, dtype=np.uint8)
    turns = record["turns"]
    real = [(at, turn["cost"]) for at, turn in enumerate(turns) if turn["cost"] is not None]
    if not real:
        return band
    imagined = [(at + t["horizon"], t["imagined_cost"]) for at, t in enumerate(turns) if t["imagined_cost"] is not None]
    top = max(cost for _, cost in [*real, *imagined]) or 1.0
    for points, colour in ((imagined, IMAGINED), (real, MEASURED)):
        shown = [(at, cost) for at, cost in points if at <= step + (points is imagined)]
        line = [(8 + (width - 16) * at // len(turns), int(BAND - 6 - (BAND - 30) * cost / top)) for at, cost in shown]
        cv2.polylines(band, [np.array(line, dtype=np.int32)], False, colour, 2, cv2.LINE_AA)
    cv2.putText(band, "cost: seen", (8, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, MEASURED, 1, cv2.LINE_AA)
    cv2.putText(band, "imagined", (90, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, IMAGINED, 1, cv2.LINE_AA)
    return band
