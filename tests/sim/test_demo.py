"""The demo shows every task once, really solved, in films that open."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import av

from sim.demo import show


def test_each_task_is_solved_and_filmed(tmp_path: Path) -> None:
    for shown in islice(show(tmp_path, seed=3, size=128), 2):
        assert shown.is_done
        with av.open(str(shown.path)) as film:
            assert sum(1 for _ in film.decode(video=0)) >= shown.steps  # five film frames a step
