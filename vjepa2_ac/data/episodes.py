"""Reading of recorded episodes (poses, one camera's video and extrinsics, their rate), and a count of those that fail.

Shapes: N rows of the trajectory, T frames asked for, M actions, 7 numbers of a pose, 6 of an extrinsic, H height, W
width.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from vjepa2_ac import poses
from vjepa2_ac.data import layout
from vjepa2_ac.data.layout import EpisodeRef
from vjepa2_ac.data.video import Frames, Video, open_video, whole_rate
from vjepa2_ac.errors import EpisodeError, TooManyBadEpisodesError, VideoError

Array = NDArray[np.float64]

LENGTHS_MAY_DIFFER = 0.05  # of the longer of video and trajectory; a few frames are dropped, more is another episode
RATES_MAY_DIFFER = 0.1  # header against timestamps, before the timestamps are believed
LARGEST_ANGLE = 2 * np.pi + 0.1  # [rad]; angles may be unwrapped by one turn, larger numbers are degrees
LARGEST_POSITION = 3.0  # [m]; no arm that stands on a table reaches further, larger numbers are millimetres


@dataclass(frozen=True, slots=True)
class Episode:
    """One recorded trajectory through one camera. Row n of the poses and frame n of the video are the same moment."""

    ref: EpisodeRef
    metadata: dict[str, Any]
    camera: str  # left, right or wrist
    serial: str
    video: Video
    poses_N7: Array  # base frame; angles extrinsic xyz [rad]; gripper 0 open … 1 closed
    extrinsics_N6: Array | None  # the camera's pose in the base frame; None when the trajectory has none
    fps: float  # rows per second, used to choose the stride
    fps_from: Literal["header", "timestamps"]
    measured_fps: float | None  # by the timestamps, None without

    def __len__(self) -> int:
        """The number of moments that have both a pose and a frame."""
        return min(len(self.poses_N7), len(self.video))

    @property
    def name(self) -> str:
        """The name of this episode in messages."""
        return self.ref.name

    @property
    def seconds(self) -> float:
        """How long it lasted, by `fps`."""
        return len(self) / self.fps

    @property
    def is_part(self) -> bool:
        """Whether it is a branch or a repaint: a few steps from the middle of another simulated episode."""
        return layout.simulation_of(self.metadata).get("left_at") is not None

    def frames(self, numbers: Sequence[int] | NDArray[np.int64]) -> Frames:
        """The frames of these moments, RGB uint8 [T, H, W, 3]."""
        try:
            return self.video.frames(numbers)
        except VideoError as error:
            raise EpisodeError(self.name, str(error)) from error

    def extrinsics(self, numbers: Sequence[int] | NDArray[np.int64]) -> Array:
        """The camera's pose [T, 6] at these moments; EpisodeError when the trajectory does not hold it."""
        if self.extrinsics_N6 is None:
            raise EpisodeError(self.name, f"{layout.EXTRINSICS.format(serial=self.serial)} is missing")
        rows_T6: Array = self.extrinsics_N6[np.asarray(numbers)]
        return rows_T6

    def stride(self, fps: float) -> int:
        """The rows from one frame to the next so that at most `fps` a second are taken: 4 for DROID's 15 Hz at 4."""
        return max(math.ceil(self.fps / fps), 1)

    def actions(self, fps: float) -> Array:
        """The actions [M, 7] of the whole episode at `fps`, as differences of measured poses."""
        return poses.pose_differences(self.poses_N7[: len(self) : self.stride(fps)])

    def rows(self, path: str) -> Array | None:
        """The dataset of the trajectory at this path in the file, or None when the episode does not have it."""
        with _open_trajectory(self.ref) as file:
            return _optional(file, path, self.name)

    def simulation(self) -> dict[str, Array]:
        """What only a simulator knows (object poses, contacts …), by name, each with N rows; empty for real robots."""
        with _open_trajectory(self.ref) as file:
            names: list[str] = []
            if _holds(file, "simulation", self.name):
                with _named(self.name, "simulation"):
                    file["simulation"].visititems(
                        lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
                    )
            return {name: _dataset(file, f"simulation/{name}", self.name) for name in names}


def open_episode(
    episode: EpisodeRef | Path | str,
    camera: str = "left",
    *,
    fps_from: Literal["header", "timestamps", "either"] = "either",
) -> Episode:
    """Read an episode's metadata, poses and video table; frames are decoded when they are asked for.

    `fps_from` says which rate to believe. The reference believes the video's header, but real DROID has videos whose
    header says 60 although frames were taken with the 15 Hz rows. `either` believes the header unless timestamps
    contradict it. Raises EpisodeError, which names the episode and says what is wrong with it.
    """
    ref = episode if isinstance(episode, EpisodeRef) else EpisodeRef(Path(episode), str(episode))
    if not layout.is_folder(ref.folder):
        raise EpisodeError(ref.name, "there is no such folder")
    metadata = layout.read_metadata(ref.folder, ref.name)
    file_name = layout.video_name(metadata, camera, ref.name)
    serial = file_name.split(".")[0]
    with _open_trajectory(ref) as file:
        poses_N7 = _poses(file, ref.name)
        extrinsics_N6 = _extrinsics(file, serial, len(poses_N7), ref.name)
        rate = _measured_rate(file, serial, ref.name)
    try:
        video = open_video(ref.folder / layout.RECORDINGS / file_name)
    except VideoError as error:
        raise EpisodeError(ref.name, str(error)) from error
    if rate is None:
        rate = _rate_of_times(_side_file(video.path), per_second=1e3)
    if abs(len(video) - len(poses_N7)) > max(2.0, LENGTHS_MAY_DIFFER * max(len(video), len(poses_N7))):
        raise EpisodeError(
            ref.name,
            f"{video.path.name} has {len(video)} frames, the trajectory {len(poses_N7)} rows; they cannot be matched",
        )
    if fps_from == "timestamps" and rate is None:
        raise EpisodeError(ref.name, "the trajectory holds no usable timestamps")
    contradicts = rate is not None and abs(rate - video.fps) > RATES_MAY_DIFFER * video.fps
    believe = fps_from == "timestamps" or (fps_from == "either" and contradicts)
    header = video.fps if fps_from == "header" else video.rate
    fps = rate if believe and rate is not None else header
    source: Literal["header", "timestamps"] = "timestamps" if believe else "header"
    return Episode(ref, metadata, camera, serial, video, poses_N7, extrinsics_N6, fps, source, rate)


@dataclass(slots=True)
class BadEpisodes:
    """The episodes that could not be used and why; one more than `limit` is an error, so a loss is never silent."""

    limit: int
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def listed(self) -> str:
        """The episodes and their reasons, each on a line of its own, to follow a sentence."""
        return "".join(f"\n  {name}: {reason}" for name, reason in self.reasons.items())

    def add(self, error: EpisodeError) -> None:
        """Count an episode (once, however often it is met); TooManyBadEpisodesError when they are over the limit."""
        self.reasons.setdefault(error.episode, error.reason)
        if len(self.reasons) > self.limit:
            shown = "".join(f"\n  {name}: {reason}" for name, reason in list(self.reasons.items())[:10])
            raise TooManyBadEpisodesError(
                f"{len(self.reasons)} episodes cannot be used, the limit is {self.limit}:{shown}"
                + ("\n  …" if len(self.reasons) > 10 else "")
            )


def usable(refs: Iterable[EpisodeRef], bad: BadEpisodes, camera: str = "left") -> Iterator[Episode]:
    """Open one episode after another; those that fail are counted in `bad` and left out, never replaced."""
    for ref in refs:
        try:
            yield open_episode(ref, camera)
        except EpisodeError as error:
            bad.add(error)


def _measured_rate(file: h5py.File, serial: str, name: str) -> float | None:
    """Rows per second by the trajectory's own clocks: the camera's, the control loop's or the robot's; else None."""
    for path in (layout.CAPTURED.format(serial=serial), layout.STEP_STARTED):
        times = _optional(file, path, name)
        if times is not None and (rate := _rate_of_times(times, per_second=1e3)):
            return rate
    seconds, nanos = (_optional(file, path, name) for path in (layout.ROBOT_SECONDS, layout.ROBOT_NANOS))
    if seconds is not None and nanos is not None:
        if seconds.shape != nanos.shape:
            raise EpisodeError(name, f"the robot's clock has {seconds.size} seconds but {nanos.size} nanoseconds")
        return _rate_of_times(seconds + 1e-9 * nanos, per_second=1.0)
    return None


def _rate_of_times(times: Any, per_second: float) -> float | None:
    """The median rate of a clock, rounded where nearly whole, so that strides do not jitter; None where it has none."""
    times = np.asarray(times, dtype=np.float64).reshape(-1)
    if len(times) < 3 or not np.isfinite(times).all():
        return None
    step = float(np.median(np.diff(times)))
    if step <= 0:
        return None
    return whole_rate(per_second / step)


def _side_file(video: Path) -> list[float]:
    """The times [ms] in `<serial>_timestamps.json`, which only some recordings have; else none."""
    path = video.with_name(f"{video.stem}_timestamps.json")
    try:
        times = json.loads(path.read_text())
        return [float(time) for time in times]
    except (OSError, ValueError, TypeError):
        return []


def _open_trajectory(ref: EpisodeRef) -> h5py.File:
    path = ref.folder / layout.TRAJECTORY
    try:
        if not path.is_file():
            raise EpisodeError(ref.name, f"{layout.TRAJECTORY} is missing")
        return h5py.File(path, "r")
    except OSError as error:
        raise EpisodeError(ref.name, f"{layout.TRAJECTORY} cannot be read: {_first_line(error)}") from error


def _poses(file: h5py.File, name: str) -> Array:
    cartesian_N6 = _dataset(file, layout.CARTESIAN, name)
    gripper_N = _dataset(file, layout.GRIPPER, name)
    if cartesian_N6.ndim != 2 or cartesian_N6.shape[1] != 6:
        raise EpisodeError(name, f"{layout.CARTESIAN} has shape {list(cartesian_N6.shape)}, expected [N, 6]")
    if gripper_N.shape[:1] != (gripper_N.size,):
        raise EpisodeError(name, f"{layout.GRIPPER} has shape {list(gripper_N.shape)}, expected [N]")
    if len(gripper_N) != len(cartesian_N6):
        raise EpisodeError(name, f"{len(cartesian_N6)} hand positions but {len(gripper_N)} gripper positions")
    if not len(cartesian_N6):
        raise EpisodeError(name, "the trajectory is empty")
    poses_N7 = np.concatenate((cartesian_N6, gripper_N.reshape(-1, 1)), axis=1)
    bad = np.flatnonzero(~np.isfinite(poses_N7).all(axis=1))
    if len(bad):
        raise EpisodeError(name, f"{len(bad)} of {len(poses_N7)} poses are not finite, the first in row {bad[0]}")
    if wrong := wrong_units(poses_N7):
        raise EpisodeError(name, "; ".join(wrong))
    return poses_N7


def wrong_units(poses_N7: Array) -> list[str]:
    """The signs that poses are in other units than metres, radians and 0 open … 1 closed; empty if there are none."""
    found, gripper_N = [], poses_N7[:, 6]
    if (angle := np.abs(poses_N7[:, poses.ROTATION]).max()) > LARGEST_ANGLE:
        found.append(f"angles reach {angle:.0f}; that is degrees, radians are expected")
    if (position := np.abs(poses_N7[:, poses.POSITION]).max()) > LARGEST_POSITION:
        found.append(f"positions reach {position:.0f}; that is millimetres, metres are expected")
    if gripper_N.min() < -poses.GRIPPER_SLACK or gripper_N.max() > 1 + poses.GRIPPER_SLACK:
        found.append(f"gripper runs from {gripper_N.min():.3g} to {gripper_N.max():.3g}; 0 open … 1 closed is expected")
    return found


def _extrinsics(file: h5py.File, serial: str, rows: int, name: str) -> Array | None:
    path = layout.EXTRINSICS.format(serial=serial)
    extrinsics_N6 = _optional(file, path, name)
    if extrinsics_N6 is None:
        return None
    if extrinsics_N6.shape != (rows, 6):
        raise EpisodeError(name, f"{path} has shape {list(extrinsics_N6.shape)}, expected [{rows}, 6]")
    if not np.isfinite(extrinsics_N6).all():
        raise EpisodeError(name, f"{path} holds numbers that are not finite")
    return extrinsics_N6


def _dataset(file: h5py.File, path: str, name: str) -> Array:
    rows = _optional(file, path, name)
    if rows is None:
        raise EpisodeError(name, f"{layout.TRAJECTORY} lacks {path}")
    return rows


def _optional(file: h5py.File, path: str, name: str) -> Array | None:
    """The dataset of the trajectory at `path`, or None where it has none there."""
    if not _holds(file, path, name):
        return None
    with _named(name, path):
        return np.asarray(file[path][()], dtype=np.float64)


def _holds(file: h5py.File, path: str, name: str) -> bool:
    """Whether the trajectory has something at `path`. Raises EpisodeError where it is too damaged to tell."""
    with _named(name, path):
        return path in file


@contextlib.contextmanager
def _named(name: str, path: str) -> Iterator[None]:
    """Raise what HDF5 raises about a dataset of the trajectory as an EpisodeError."""
    try:
        yield
    except (OSError, KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise EpisodeError(name, f"{path} cannot be read: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip("'").splitlines()  # a KeyError is in quotes
    return lines[0] if lines else type(error).__name__
