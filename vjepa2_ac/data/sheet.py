"""A contact sheet, which shows a folder of episodes at a glance: one row each, from first frame to last.

Shapes: H height, W width of a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vjepa2_ac.data.episodes import open_episode
from vjepa2_ac.data.layout import EpisodeRef
from vjepa2_ac.errors import EpisodeError, InputError
from vjepa2_ac.files import make_folder, write

ROWS, COLUMNS = 12, 8
HEIGHT = 96  # [px] of one picture
CAPTION = 18  # [px]
PAPER, INK, RED = (248, 248, 248), (40, 40, 40), (200, 30, 30)

Picture = NDArray[np.uint8]


def contact_sheet(refs: Sequence[EpisodeRef], camera: str = "left") -> Picture:
    """An RGB picture [H, W, 3] of up to twelve episodes spread over `refs`; unreadable ones show their reason."""
    if not refs:
        raise InputError("a contact sheet needs at least one episode")
    chosen = [refs[number] for number in np.unique(np.linspace(0, len(refs) - 1, ROWS).round().astype(int))]
    rows = [_row(ref, camera) for ref in chosen]
    width = max(row.shape[1] for row in rows)
    return np.concatenate([_pad(row, width) for row in rows])


def save_picture(picture_HW3: Picture, path: Path) -> None:
    """Write an RGB picture as PNG."""
    make_folder(path.parent)
    written, data = cv2.imencode(".png", cv2.cvtColor(picture_HW3, cv2.COLOR_RGB2BGR))
    if not written:
        raise InputError(f"cannot make a PNG of a picture of shape {list(picture_HW3.shape)}")
    write(path, data.tobytes())


def _row(ref: EpisodeRef, camera: str) -> Picture:
    try:
        episode = open_episode(ref, camera)
        moments = np.linspace(0, len(episode) - 1, COLUMNS).round().astype(np.int64)
        closedness = episode.poses_N7[moments, 6]
        pictures = [_thumbnail(*both) for both in zip(episode.frames(moments), closedness, strict=True)]
        task = episode.metadata.get("current_task") or ""
        words, ink = f"{ref.name}   {task}   {len(episode)} frames, {episode.seconds:.1f} s", INK
    except EpisodeError as error:
        pictures = [np.full((HEIGHT, HEIGHT * 4 // 3, 3), PAPER, dtype=np.uint8)] * COLUMNS
        words, ink = f"{ref.name}   {error.reason}", RED
    strip: Picture = np.concatenate(pictures, axis=1)
    caption = np.full((CAPTION, strip.shape[1], 3), PAPER, dtype=np.uint8)
    plain = words.encode("ascii", "replace").decode()  # OpenCV's font knows no other letters
    cv2.putText(caption, plain, (4, CAPTION - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.36, ink, 1, cv2.LINE_AA)
    return np.concatenate((caption, strip))


def _thumbnail(frame_HWC: Picture, closedness: float) -> Picture:
    """The frame made small, with a bar along its bottom whose length is the gripper's closedness."""
    height, width = frame_HWC.shape[:2]
    size = (round(width * HEIGHT / height), HEIGHT)
    small = np.ascontiguousarray(cv2.resize(frame_HWC, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    small[-3:, : round(size[0] * min(max(closedness, 0.0), 1.0))] = (235, 130, 20)
    small[:, -1:] = PAPER
    return small


def _pad(row: Picture, width: int) -> Picture:
    return np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0)), constant_values=PAPER[0])
