"""Episodes for people to look at: MP4 films with the goal inset, and contact sheets.

A film shows the pretty view at 20 frames a second, beside what the model sees now and the last goal picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import cv2
import numpy as np
from numpy.typing import NDArray

from sim.control import TICK
from sim.env import FrankaEnv
from sim.scene import TIMESTEP
from sim.splits import SPLITS
from sim.tasks import GOAL_NAMES, TaskName
from sim.variation import KINDS, Kind
from vjepa2_ac.data.video import for_ffmpeg
from vjepa2_ac.errors import InputError
from vjepa2_ac.files import make_folder, whole, write

Array = NDArray[np.float64]
Frame = NDArray[np.uint8]  # [H, W, 3]
Act = Callable[[], Array | None]  # the next action [7]; None: done, stay

FRAMES_PER_SECOND = 20
TICKS_A_FRAME = round(1 / FRAMES_PER_SECOND / TIMESTEP / TICK)  # controller ticks between two frames of a film
_GOAL_MARK, _INK, _PAPER = (64, 190, 90), (245, 245, 245), (34, 36, 40)


@dataclass(frozen=True, slots=True)
class Played:
    """A filmed episode."""

    frames: list[Frame]
    success_at_end: bool
    steps: int


def film(env: FrankaEnv, act: Act, steps: int, linger: int = 4) -> Played:
    """Film a running episode driven by `act`, until it succeeds (and `linger` steps more) or `steps` are over.

    The environment needs `render_mode="rgb_array"` and goal pictures.
    """
    frames: list[Frame] = []
    ticks = 0

    def shoot() -> None:
        nonlocal ticks
        ticks += 1
        if ticks % TICKS_A_FRAME == 0:
            frames.append(_compose(env))

    env.cell.controller.on_tick = shoot
    left, played = steps, 0
    try:
        while left > 0:
            action = act()
            _, _, _, truncated, info = env.step(np.zeros(7) if action is None else action)
            played += 1
            left = min(left - 1, linger) if info["success"] else left - 1
            if truncated:
                break
    finally:
        env.cell.controller.on_tick = None
    return Played(frames, env.success_after_settling(), played)


def write_mp4(path: Path, frames: list[Frame], frames_per_second: int = FRAMES_PER_SECOND) -> None:
    """Write frames as H.264 that every player and browser shows, whole or not at all."""
    if not frames:
        raise InputError("a film needs at least one frame")
    make_folder(path.parent)
    height, width = frames[0].shape[:2]
    movflags = {"movflags": "faststart"}
    with whole(path) as aside, av.open(for_ffmpeg(aside), "w", format="mp4", options=movflags) as container:
        stream = container.add_stream("libx264", rate=Fraction(frames_per_second), options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def contact_sheet(task: TaskName, seeds: tuple[int, ...], columns: int = 5, size: int = 176) -> Frame:
    """One row per seed, cup and box in turn: the expert's episode as the model sees it, then the goal, marked."""
    rows = [_row(task, KINDS[row % len(KINDS)], seed, columns, size) for row, seed in enumerate(seeds)]
    return np.concatenate(rows)


def splits(columns: int = 6, size: int = 160) -> Frame:
    """A row of first frames for each split but `test`, which looks like `train`."""
    rows = []
    for split in (split for split in SPLITS if split != "test"):
        env = FrankaEnv(split=split, goal_frames=False)
        frames = [small(env.reset(seed=seed)[0]["frame"], size) for seed in range(columns)]
        rows.append(np.concatenate([labelled(frames[0], split), *frames[1:]], axis=1))
        env.close()
    return np.concatenate(rows)


def all_cameras(seed: int = 2, size: int = 480) -> Frame:
    """The cell with a cup in the hand, and what each of its cameras sees then."""
    env = FrankaEnv(split="test", kind="cup", render_mode="rgb_array", render_size=size)
    env.reset(seed=seed)
    expert = env.expert()
    while expert.stage not in ("over", "done"):
        env.step(expert.act(env.truth()))
    pretty = env.render()
    assert pretty is not None
    third = size // 3
    views = [labelled(small(env.picture(name), third), name) for name in ("left", "right", "wrist")]
    env.close()
    return np.concatenate([pretty, np.concatenate(views)], axis=1)


def write_jpeg(path: Path, picture: Frame) -> None:
    """Write a picture as JPEG, where it has too many shades for a PNG."""
    _write_picture(path, ".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])


def write_png(path: Path, picture: Frame) -> None:
    """Write a picture as PNG, its shades rounded so that the file stays small."""
    rounded = (picture // 6 * 6 + 3).astype(np.uint8)
    _write_picture(path, ".png", rounded, [cv2.IMWRITE_PNG_COMPRESSION, 9])


def _write_picture(path: Path, kind: str, picture: Frame, options: list[int]) -> None:
    _, data = cv2.imencode(kind, picture[..., ::-1], options)
    make_folder(path.parent)
    write(path, data.tobytes())


def _row(task: TaskName, kind: Kind, seed: int, columns: int, size: int) -> Frame:
    env = FrankaEnv(task, split="test", kind=kind)
    observation, info = env.reset(seed=seed)
    seen, expert = [observation["frame"]], env.expert()
    while not info["success"] and info["steps"] < env.max_steps:
        observation, _, _, _, info = env.step(expert.act(env.truth()))
        seen.append(observation["frame"])
    moments = [seen[round(k)] for k in np.linspace(0, len(seen) - 1, columns)]
    goals = [
        marked(small(frame, size), name) for frame, name in zip(env.goal.frames, GOAL_NAMES[env.task], strict=True)
    ]
    env.close()
    return np.concatenate([*(small(frame, size) for frame in moments), *goals], axis=1)


def _compose(env: FrankaEnv) -> Frame:
    pretty = env.render()
    if pretty is None:
        raise InputError('a film needs an environment made with render_mode="rgb_array"')
    half = pretty.shape[0] // 2
    now = labelled(small(env.picture("left"), half), "camera")
    goal = marked(small(env.goal.frames[-1], half), "goal")
    return np.concatenate([pretty, np.concatenate([now, goal])], axis=1)


def small(frame: Frame, size: int) -> Frame:
    """The picture scaled to a square of `size` pixels."""
    return np.asarray(cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def marked(frame: Frame, name: str) -> Frame:
    """The picture framed as a goal, with its name."""
    framed = frame.copy()
    edge = max(2, frame.shape[0] // 64)
    cv2.rectangle(framed, (0, 0), (frame.shape[1] - 1, frame.shape[0] - 1), _GOAL_MARK, 2 * edge)
    return labelled(framed, name)


def labelled(frame: Frame, words: str) -> Frame:
    """The picture with a few words in its corner."""
    written, height = frame.copy(), frame.shape[0]
    scale = height / 420
    (across, up), below = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    edge = height // 40
    cv2.rectangle(written, (0, height - up - below - 2 * edge), (across + 3 * edge, height), _PAPER, cv2.FILLED)
    place = (edge + edge // 2, height - below - edge)
    cv2.putText(written, words, place, cv2.FONT_HERSHEY_SIMPLEX, scale, _INK, 1, cv2.LINE_AA)
    return written
