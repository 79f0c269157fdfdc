"""Small episodes whose pictures show where the hand is and how far its gripper has closed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from vjepa2_ac.data.layout import EpisodeRef
from vjepa2_ac.data.writer import CameraTrack, Recording, write_episode

SIZE = 32
FIRST = datetime(2026, 1, 1)


def write(
    root: Path, number: int, rows: int = 12, *, fps: float = 4.0, close: bool = False, **facts: Any
) -> EpisodeRef:
    """A hand that wanders; with `close`, its gripper closes all the way through, otherwise it stays open."""
    steps = np.random.default_rng(number).normal(0, 0.02, (rows, 2)).cumsum(axis=0)
    poses_N7 = np.zeros((rows, 7))
    poses_N7[:, :2] = 0.4 + steps
    poses_N7[:, 6] = np.linspace(0, 1, rows) if close else 0.0
    frames = np.full((rows, SIZE, SIZE, 3), 60, dtype=np.uint8)
    for frame, (x, y), gripper in zip(frames, steps, poses_N7[:, 6], strict=True):
        row, column = (np.clip(16 + 100 * np.array([x, y]), 4, 27)).astype(int)
        frame[row - 4 : row + 4, column - 4 : column + 4] = (220, 80, int(200 * gripper))
    camera = CameraTrack(role="left", serial="10000001", frames_NHWC=frames, extrinsics_N6=np.full(6, 0.1))
    return write_episode(
        Recording(
            fps=fps,
            poses_N7=poses_N7,
            commands_N7=poses_N7,
            cameras=(camera,),
            task="wander",
            success=True,
            started=FIRST + timedelta(seconds=number),
            facts={"seed": number, **facts},
        ),
        root,
    )


def folder(root: Path, numbers: Sequence[int] = range(4), **changes: Any) -> Path:
    for number in numbers:
        write(root, number, **changes)
    return root


def branches(root: Path, pairs: int = 2, rows: int = 5) -> Path:
    """Pairs of short episodes that left the same state, one closing, one not."""
    for pair in range(pairs):
        for close in (False, True):
            write(root, 1000 + 2 * pair + close, rows, close=close, branch=f"7-{pair}")
    return root
