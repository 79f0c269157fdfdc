"""Reading a frame, and the pose it was taken in, from what the command line names."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vjepa2_ac.errors import InputError
from vjepa2_ac.files import is_file, read
from vjepa2_ac.poses import GRIPPER_SLACK, Array, checked_pose


@dataclass(frozen=True, slots=True)
class View:
    """A frame, and the pose of the hand when it was taken, if the file holds that."""

    frame_HW3: NDArray[np.uint8]
    pose: Array | None = None


def read_view(source: str) -> View:
    """The view that `source` names: a picture (`scene.png`), or one step of a recorded trajectory (`trajectory.npz:0`).

    A trajectory is a `.npz` with `observations` [1, T, H, W, 3] uint8 and `states` [1, T, 7]; steps count from 0, and
    from the end when negative.
    """
    path, colon, step = source.rpartition(":")
    if colon and path.endswith(".npz"):
        return _read_step(Path(path), step, source)
    if source.endswith(".npz"):
        raise InputError(f"{source} holds several steps; say which, as in {source}:0")
    return View(_read_picture(Path(source)))


def _read_picture(path: Path) -> NDArray[np.uint8]:
    import cv2

    if not is_file(path):
        raise InputError(f"no picture at {path}")
    data = np.frombuffer(read(path), np.uint8)
    try:
        bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error:  # its header gives a larger size than the decoder accepts
        bgr = None
    if bgr is None:
        raise InputError(f"{path} is not a picture that can be read; PNG and JPEG can")
    return np.ascontiguousarray(bgr[..., ::-1], dtype=np.uint8)


def _read_step(path: Path, step: str, source: str) -> View:
    if not is_file(path):
        raise InputError(f"no trajectory at {path}")
    try:
        stored = np.load(path, allow_pickle=False)
        if not isinstance(stored, np.lib.npyio.NpzFile):
            raise ValueError("it holds one array without a name")
        with stored:
            frames, states = stored["observations"], stored["states"]
    except KeyError as error:
        raise InputError(f"{path} has no array {error.args[0]}; expected observations and states") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is not a readable .npz file: {error}") from None
    is_one_of_frames = frames.ndim == 5 and len(frames) == 1 and frames.shape[-1] == 3 and frames.dtype == np.uint8
    if not is_one_of_frames or states.shape != (*frames.shape[:2], 7):
        raise InputError(
            f"{path} holds observations {_describe(frames)} and states {_describe(states)}; "
            "expected uint8 [1, T, H, W, 3] and [1, T, 7]"
        )
    steps = frames.shape[1]
    try:
        index = int(step)
    except ValueError:
        raise InputError(f"{step!r} is not the number of a step; write {path}:0 for the first") from None
    if not -steps <= index < steps:
        raise InputError(f"{path} has {steps} steps, 0 to {steps - 1}; there is no step {index}")
    return View(frames[0, index], checked_pose(states[0, index], f"the pose in {source}", slack=GRIPPER_SLACK))


def _describe(array: NDArray[Any]) -> str:
    return f"{array.dtype} {list(array.shape)}"
