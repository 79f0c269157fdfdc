"""The cell shown in a minute: every task once, solved from its goal by the scripted expert, filmed and judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from sim.bounds import actor
from sim.env import FrankaEnv
from sim.film import film, write_mp4
from sim.tasks import TASKS, TaskName
from sim.variation import KINDS, Kind


@dataclass(frozen=True, slots=True)
class Shown:
    """One filmed episode and its judgement."""

    task: TaskName
    kind: Kind
    steps: int
    is_done: bool
    path: Path


def show(out: Path, seed: int, size: int = 480) -> Iterator[Shown]:
    """Play, judge and film each task in turn, cup and box alternating; MP4s go to the folder `out`."""
    for task, kind in zip(TASKS, cycle(KINDS), strict=False):
        env = FrankaEnv(task, split="test", kind=kind, render_mode="rgb_array", render_size=size)
        env.reset(seed=seed)
        played = film(env, actor(env, "expert", seed), steps=env.max_steps)
        env.close()
        path = out / f"{task}-{kind}.mp4"
        write_mp4(path, played.frames)
        yield Shown(task, kind, played.steps, played.success_at_end, path)
