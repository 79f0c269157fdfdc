"""Writing of episodes in the raw DROID layout, so that whatever reads DROID reads ours.

An episode is written aside and renamed when it is whole: a reader finds either all of it or nothing. What only a
simulator knows lies under `simulation` in the metadata and in the HDF5 file, where DROID's readers do not look. Every
dataset has one row per moment, as DROID's own loader demands.

Shapes: N moments, H height, W width, 7 numbers of a pose, 7 joints, 6 of an extrinsic.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from vjepa2_ac.data import layout
from vjepa2_ac.data.episodes import wrong_units
from vjepa2_ac.data.layout import EpisodeRef
from vjepa2_ac.data.video import QUALITY, Frames, write_video
from vjepa2_ac.errors import InputError, NotEnoughDiskError
from vjepa2_ac.files import DISK_FULL, aside_of, sync
from vjepa2_ac.poses import vector

VERSION = "1.0.1"  # of the DROID release whose layout this is


class AlreadyThereError(InputError):
    """There is already an episode in that place, and none is ever written over another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraTrack:
    """The frames of one camera, and its pose."""

    role: str  # left, right or wrist
    serial: str  # eight digits in DROID
    frames_NHWC: Frames
    extrinsics_N6: ArrayLike | None  # pose in the base frame; [6] for a camera that stands still; None: not known

    def __post_init__(self) -> None:
        if self.role not in layout.CAMERAS:
            raise InputError(f"no camera {self.role!r}; raw DROID has {', '.join(layout.CAMERAS)}")
        # It names the video, of whose name readers take what is before the first dot. Some drivers give it as a number.
        if not isinstance(self.serial, str) or not self.serial or set("./") & set(self.serial):
            raise InputError(
                f"serial {self.serial!r} of the {self.role} camera names no file: need text without a dot or a slash"
            )
        if self.extrinsics_N6 is None:
            return
        frames = len(self.frames_NHWC)
        extrinsics_N6 = vector(self.extrinsics_N6, f"extrinsics of the {self.role} camera", size=6)
        if extrinsics_N6.shape not in ((6,), (frames, 6)):
            raise InputError(f"the {self.role} camera has {frames} frames and another number of extrinsics")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One episode in memory, ready to be written. Row n is a moment; its command is the one sent right after it."""

    fps: float
    poses_N7: ArrayLike  # measured
    commands_N7: ArrayLike  # where the hand was sent; the last row repeats the one before, because nothing follows
    cameras: tuple[CameraTrack, ...]
    task: str
    success: bool
    started: datetime  # names the folder, so it must be unique within a root; simulators choose it
    joints_N7: ArrayLike | None = None  # measured [rad]
    joint_commands_N7: ArrayLike | None = None
    lab: str = "SIM"
    building: str = "simulation"
    robot: str = "simulated-panda"  # its serial number
    user: str = "vjepa2-ac"
    facts: Mapping[str, Any] = field(default_factory=dict)  # for the metadata's `simulation`: seed, split, variation …
    truth: Mapping[str, ArrayLike] = field(default_factory=dict)  # for the group `simulation`: N rows each

    def __post_init__(self) -> None:
        rows = len(self)
        lengths = {"commands": self.commands_N7, "joints": self.joints_N7, "joint commands": self.joint_commands_N7}
        lengths |= {camera.role: camera.frames_NHWC for camera in self.cameras} | dict(self.truth)
        wrong = {name: len(np.asarray(rows_N)) for name, rows_N in lengths.items() if rows_N is not None}
        wrong = {name: length for name, length in wrong.items() if length != rows}
        if wrong:
            raise InputError(f"an episode of {rows} poses has {wrong}")
        if not self.cameras or any(
            len({getattr(camera, name) for camera in self.cameras}) != len(self.cameras) for name in ("role", "serial")
        ):
            raise InputError("an episode needs at least one camera, each with a role and a serial of its own")
        for name, values in (("poses", self.poses_N7), ("commands", self.commands_N7)):
            numbers = vector(values, name)
            if rows == 0 or numbers.ndim != 2:
                raise InputError(f"{name} has shape {list(numbers.shape)}; expected [N, 7], a row for each moment")
            if faults := wrong_units(numbers):  # no reader would take them
                raise InputError(f"{name} cannot be right: {'; '.join(faults)}")
        if not self.lab or "/" in self.lab or self.lab.startswith("."):  # it names a folder, and files
            raise InputError(
                f"lab {self.lab!r} cannot name a folder of episodes: need a name without slashes that begins with no "
                "dot, for hidden folders are not searched"
            )
        if not 0 < self.fps < math.inf:
            raise InputError(f"need a finite fps > 0, got {self.fps}")

    def __len__(self) -> int:
        return len(np.asarray(self.poses_N7))

    @property
    def uuid(self) -> str:
        """`<LAB>+<user id>+<time>`, as DROID names its episodes."""
        user_id = hashlib.blake2s(self.user.encode(), digest_size=4).hexdigest()
        return f"{self.lab}+{user_id}+{self.started:%Y-%m-%d-%Hh-%Mm-%Ss}"

    @property
    def folder(self) -> Path:
        """The episode's folder below `<root>/1.0.1/<LAB>`."""
        outcome = "success" if self.success else "failure"
        return Path(outcome) / f"{self.started:%Y-%m-%d}" / f"{self.started:%a_%b_%d_%H:%M:%S_%Y}"


def write_episode(recording: Recording, root: Path, *, quality: int = QUALITY) -> EpisodeRef:
    """Write an episode below `root`; it appears there whole or not at all, even if the power fails.

    Raises AlreadyThereError when an episode of that time is there, NotEnoughDiskError when the disk is full.
    """
    place = Path(VERSION) / recording.lab / recording.folder
    if (root / place).exists():
        raise AlreadyThereError(f"there is already an episode at {root / place}")
    aside = root / layout.ASIDE / f"{recording.uuid}.{os.getpid()}"
    with _whole_or_nothing(aside):
        shutil.rmtree(aside, ignore_errors=True)  # of a killed writer; in containers, process ids repeat
        (aside / layout.RECORDINGS).mkdir(parents=True)
        for camera in recording.cameras:
            video = aside / layout.RECORDINGS / f"{camera.serial}.mp4"
            write_video(video, camera.frames_NHWC, recording.fps, quality=quality)
        _write_trajectory(recording, aside / layout.TRAJECTORY)
        metadata = json.dumps(_metadata(recording), indent=1)
        (aside / f"metadata_{recording.uuid}.json").write_text(metadata, encoding="utf-8")
        for path in [*sorted(aside.rglob("*"), reverse=True), aside]:
            sync(path)
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        try:
            aside.rename(root / place)
        except OSError as error:
            if (root / place).exists():
                raise AlreadyThereError(f"another process has just written an episode at {root / place}") from error
            raise
        sync((root / place).parent)
    return EpisodeRef(root / place, str(place))


@contextmanager
def _whole_or_nothing(aside: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(OSError):  # others may be writing there
            aside.parent.rmdir()
        if is_disk_full(error):
            raise NotEnoughDiskError(
                f"the disk is full: {aside.name} was not written; nothing is half-written"
            ) from error
        raise


def is_disk_full(error: BaseException) -> bool:
    """Whether an error of the operating system, HDF5 or FFmpeg means that nothing more fits."""
    return getattr(error, "errno", None) in DISK_FULL or os.strerror(errno.ENOSPC) in str(error)


def _write_trajectory(recording: Recording, path: Path) -> None:
    rows = len(recording)
    poses_N7 = np.asarray(recording.poses_N7, dtype=np.float64)
    commands_N7 = np.asarray(recording.commands_N7, dtype=np.float64)
    start = int(recording.started.replace(tzinfo=UTC).timestamp() * 1000)
    milliseconds_N = start + np.round(np.arange(rows) * 1000 / recording.fps).astype(np.int64)
    last_N = np.arange(rows) == rows - 1
    # Headers of HDF5 1.10 (2016) are a third of the size of the default ones; episodes are small, so it shows.
    with h5py.File(path, "w", libver=("v110", "v110"), track_order=False) as file:
        file.attrs.update(
            {
                "success": recording.success,
                "failure": not recording.success,
                "current_task": recording.task,
                "user": recording.user,
                "building": recording.building,
                "scene_id": 0,
                "robot_serial_number": recording.robot,
                "version_number": VERSION,
                "timesteps": rows,
            }
        )

        def put(name: str, values: ArrayLike) -> None:
            file.create_dataset(name, data=values)

        put(layout.CARTESIAN, poses_N7[:, :6])
        put(layout.GRIPPER, poses_N7[:, 6])
        put(layout.COMMANDED_CARTESIAN, commands_N7[:, :6])
        put(layout.COMMANDED_GRIPPER, commands_N7[:, 6])
        if recording.joints_N7 is not None:
            put(layout.JOINTS, np.asarray(recording.joints_N7, dtype=np.float64))
        if recording.joint_commands_N7 is not None:
            put("action/joint_position", np.asarray(recording.joint_commands_N7, dtype=np.float64))
        put("observation/controller_info/success", last_N & recording.success)
        put("observation/controller_info/failure", last_N & (not recording.success))
        put("observation/controller_info/movement_enabled", np.ones(rows, dtype=bool))
        put("observation/controller_info/controller_on", np.ones(rows, dtype=bool))
        put("observation/timestamp/skip_action", np.zeros(rows, dtype=bool))
        put(layout.STEP_STARTED, milliseconds_N)
        put(layout.ROBOT_SECONDS, milliseconds_N // 1000)
        put(layout.ROBOT_NANOS, milliseconds_N % 1000 * 1_000_000)
        for camera in recording.cameras:
            if (extrinsics_N6 := _extrinsics(camera, rows)) is not None:
                put(layout.EXTRINSICS.format(serial=camera.serial), extrinsics_N6)
            put(layout.CAPTURED.format(serial=camera.serial), milliseconds_N)
            put(f"observation/camera_type/{camera.serial}", np.full(rows, 0 if camera.role == "wrist" else 1))
        for name, values in recording.truth.items():
            put(f"simulation/{name}", values)


def _extrinsics(camera: CameraTrack, rows: int) -> NDArray[np.float64] | None:
    if camera.extrinsics_N6 is None:
        return None
    return np.array(np.broadcast_to(np.asarray(camera.extrinsics_N6, dtype=np.float64), (rows, 6)))


def _metadata(recording: Recording) -> dict[str, Any]:
    """DROID's own keys, in DROID's own order; paths are relative to the lab's folder."""
    roles = {camera.role: camera for camera in recording.cameras}
    exterior = sorted((camera for camera in recording.cameras if camera.role != "wrist"), key=lambda c: c.serial)
    slots = {"wrist": roles.get("wrist"), **dict(zip(("ext1", "ext2"), [*exterior, None, None], strict=False))}

    def mp4(camera: CameraTrack | None) -> str | None:
        return None if camera is None else str(recording.folder / layout.RECORDINGS / f"{camera.serial}.mp4")

    def pose(camera: CameraTrack | None) -> list[float] | None:
        extrinsics_N6 = None if camera is None else _extrinsics(camera, len(recording))
        return None if extrinsics_N6 is None else [float(number) for number in extrinsics_N6[0]]

    return {
        "uuid": recording.uuid,
        "lab": recording.lab,
        "user": recording.user,
        "user_id": recording.uuid.split("+")[1],
        "date": f"{recording.started:%Y-%m-%d}",
        "timestamp": f"{recording.started:%Y-%m-%d-%Hh-%Mm-%Ss}",
        "hdf5_path": str(recording.folder / layout.TRAJECTORY),
        "building": recording.building,
        "scene_id": 0,
        "success": bool(recording.success),
        "robot_serial": recording.robot,
        "droid_version": VERSION,
        "current_task": recording.task,
        "trajectory_length": len(recording),
        **{f"{slot}_cam_serial": camera and camera.serial for slot, camera in slots.items()},
        **{f"{slot}_cam_extrinsics": pose(camera) for slot, camera in slots.items()},
        **{f"{slot}_mp4_path": mp4(camera) for slot, camera in slots.items()},
        "left_mp4_path": mp4(roles.get("left")),
        "right_mp4_path": mp4(roles.get("right")),
        "simulation": dict(recording.facts),
    }


def write_index(root: Path, entries: list[dict[str, Any]]) -> None:
    """Replace the index of `root`: one JSON line per episode, each with its `path` relative to `root`."""
    aside = aside_of(root / layout.INDEX)  # a fixed name, so that what a killed writer left is overwritten
    try:
        aside.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
        sync(aside)
        aside.replace(root / layout.INDEX)
    finally:
        with suppress(OSError):
            aside.unlink()


def add_to_index(root: Path, entry: dict[str, Any]) -> None:
    """Append one episode's line to the index, in a single write."""
    with (root / layout.INDEX).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def index_entry(ref: EpisodeRef, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """An episode's entry in the index: where it is, its length, task and success, and some of the simulator's facts."""
    facts = layout.simulation_of(metadata)
    return {
        "path": ref.name,
        "frames": metadata.get("trajectory_length"),
        "task": metadata.get("current_task"),
        "success": metadata.get("success"),
    } | {key: facts[key] for key in ("seed", "split", "kind", "branch") if facts.get(key) is not None}
