"""Small episodes to read, and ways in which recorded folders are damaged."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from vjepa2_ac.data import layout
from vjepa2_ac.data.layout import EpisodeRef
from vjepa2_ac.data.video import open_video, write_video
from vjepa2_ac.data.writer import CameraTrack, Recording, write_episode

ROWS, SIZE = 40, 32
SERIALS = {"left": "10000001", "right": "10000002", "wrist": "10000003"}
FIRST = datetime(2026, 1, 1)


def recording(number: int = 0, rows: int = ROWS, fps: float = 4.0, **changes: Any) -> Recording:
    """A hand that draws a line while its gripper closes, seen by three cameras as grey that brightens."""
    along = np.linspace(0.0, 1.0, rows)
    poses_N7 = np.zeros((rows, 7))
    poses_N7[:, :3] = np.array([0.4, 0.0, 0.2]) + np.outer(along, [0.2, 0.1, -0.1])
    poses_N7[:, 3] = np.pi - 0.01
    poses_N7[:, 6] = along
    cameras = tuple(
        CameraTrack(
            role=role,
            serial=serial,
            frames_NHWC=ramp(rows, first=20 + 20 * place),
            extrinsics_N6=np.array([0.5, 0.6 - place, 0.4, -2.0, 0.1, 0.3]),
        )
        for place, (role, serial) in enumerate(SERIALS.items())
    )
    values: dict[str, Any] = {
        "fps": fps,
        "poses_N7": poses_N7,
        "commands_N7": np.concatenate((poses_N7[1:], poses_N7[-1:])),
        "cameras": cameras,
        "task": "pick up the box",
        "success": True,
        "started": FIRST + timedelta(minutes=number),
        "joints_N7": np.zeros((rows, 7)),
        "joint_commands_N7": np.zeros((rows, 7)),
        "facts": {"seed": number},
        "truth": {"object_pose": np.tile(np.arange(7.0), (rows, 1))},
    }
    return Recording(**(values | changes))


def ramp(rows: int, first: int = 20) -> np.ndarray:
    """Frame n has grey level first + 3 n, wherever one looks."""
    levels = (first + 3 * np.arange(rows)).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (rows, SIZE, SIZE, 3)).copy()


def folder_of(root: Path, episodes: int = 3, **changes: Any) -> list[EpisodeRef]:
    return [write_episode(recording(number, **changes), root) for number in range(episodes)]


def video_of(ref: EpisodeRef, camera: str = "left") -> Path:
    return ref.folder / layout.RECORDINGS / f"{SERIALS[camera]}.mp4"


def metadata_of(ref: EpisodeRef) -> Path:
    return next(ref.folder.glob("metadata_*.json"))


def change_metadata(ref: EpisodeRef, **values: Any) -> None:
    path = metadata_of(ref)
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def change_rows(ref: EpisodeRef, path: str, values: Any) -> None:
    """Put other values (None: nothing) where a dataset was."""
    with h5py.File(ref.folder / layout.TRAJECTORY, "r+") as file:
        del file[path]
        if values is not None:
            file[path] = values


def damage_rows(ref: EpisodeRef, path: str) -> None:
    """Spoil what HDF5 says of a dataset or group, as a disk does that loses a sector."""
    with h5py.File(ref.folder / layout.TRAJECTORY, "r") as file:
        header = h5py.h5o.get_info(file[path].id).addr
    data = bytearray((ref.folder / layout.TRAJECTORY).read_bytes())
    data[header + 8] ^= 255  # what its checksum is of
    (ref.folder / layout.TRAJECTORY).write_bytes(bytes(data))


def rows_of(ref: EpisodeRef, path: str) -> Any:
    with h5py.File(ref.folder / layout.TRAJECTORY, "r") as file:
        return file[path][()]


def shorten_video(ref: EpisodeRef, frames: int, fps: float = 4.0) -> None:
    path = video_of(ref)
    kept = open_video(path).frames(range(frames))
    write_video(path, kept, fps)


def drop_timestamps(ref: EpisodeRef) -> None:
    with h5py.File(ref.folder / layout.TRAJECTORY, "r+") as file:
        del file["observation/timestamp"]


def only_the_robots_clock(ref: EpisodeRef, nanos: Any) -> None:
    for clock in ("cameras", "control"):
        change_rows(ref, f"observation/timestamp/{clock}", None)
    change_rows(ref, layout.ROBOT_NANOS, nanos)


def hazardous(root: Path) -> dict[str, EpisodeRef]:
    """A folder with everything real DROID has at once, at 15 Hz; the last two cannot be used and must be named."""
    refs: dict[str, EpisodeRef] = {}

    def add(name: str, **changes: Any) -> EpisodeRef:
        refs[name] = write_episode(recording(len(refs), rows=60, fps=15.0, **changes), root / "a lab's disk")
        return refs[name]

    add("plain")
    drop_timestamps(add("no timestamps"))
    stereo = video_of(add("stereo files"))
    write_video(stereo.with_name(f"{stereo.stem}-stereo.mp4"), ramp(60).repeat(2, axis=2), 15.0)
    add("failure", success=False)
    shorten_video(add("video a little short"), 58, 15.0)
    path = video_of(add("60 fps header"))
    write_video(path, open_video(path).frames(range(60)), 60.0)
    video_of(add("no wrist video"), "wrist").unlink()
    shorten_video(add("video far too short"), 20, 15.0)
    metadata_of(add("no metadata")).unlink()
    return refs
