"""The layout of raw DROID: names of files and HDF5 datasets, and how the episodes of a folder are found.

An episode is a folder `<root>/1.0.1/<LAB>/success|failure/<date>/<time>/` that holds `metadata_<uuid>.json`,
`trajectory.h5` and `recordings/MP4/<serial>.mp4`. A folder counts as an episode when it holds `trajectory.h5`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vjepa2_ac.errors import EpisodeError, InputError
from vjepa2_ac.files import is_file, read

TRAJECTORY = "trajectory.h5"
RECORDINGS = Path("recordings") / "MP4"
INDEX = "index.jsonl"  # one line per episode: {"path": …, "frames": …, …}; written by the collector

CARTESIAN = "observation/robot_state/cartesian_position"  # [N, 6] x y z [m] roll pitch yaw [rad], base frame
GRIPPER = "observation/robot_state/gripper_position"  # [N] 0 open … 1 closed
JOINTS = "observation/robot_state/joint_positions"  # [N, 7] [rad]
COMMANDED_CARTESIAN = "action/cartesian_position"  # [N, 6] the pose the controller was sent to
COMMANDED_GRIPPER = "action/gripper_position"  # [N]
EXTRINSICS = "observation/camera_extrinsics/{serial}_left"  # [N, 6] pose of the camera (a ZED's left eye), base frame
CAPTURED = "observation/timestamp/cameras/{serial}_estimated_capture"  # [N] [ms]
STEP_STARTED = "observation/timestamp/control/step_start"  # [N] [ms]
ROBOT_SECONDS = "observation/timestamp/robot_state/robot_timestamp_seconds"  # [N] [s], whole
ROBOT_NANOS = "observation/timestamp/robot_state/robot_timestamp_nanos"  # [N] [ns], the rest

CAMERAS = ("left", "right", "wrist")
Outcome = Literal["success", "failure"]


@dataclass(frozen=True, slots=True, order=True)
class EpisodeRef:
    """An episode that has been found but not yet opened; `name` names it in messages."""

    folder: Path
    name: str

    def branch(self, name: str | None) -> str | None:
        """A branch's name made unique by the folder: each collection, and so each split, names its own by its seeds."""
        return name and f"{self.folder.parent} {name}"

    @property
    def outcome(self) -> Outcome | None:
        """The outcome that a folder above it names, or None."""
        for part in reversed(self.folder.parts[:-1]):
            if part in ("success", "failure"):
                return "success" if part == "success" else "failure"
        return None


def find_episodes(source: Path | str) -> list[EpisodeRef]:
    """Every episode `source` holds, in a fixed order.

    `source` is a folder (searched for `trajectory.h5`, however deep, links too), one episode's folder, or a file with
    one episode folder per line: text or CSV whose first column is the folder (paths may contain spaces), or the
    collector's `index.jsonl`. Relative lines are looked for beside the file, then from the working directory; those
    that begin with `#` are comments. A line that leads nowhere, or a folder that may not be read, stays in the list,
    so that it is counted and named when it is opened.
    """
    source = Path(source)
    if is_folder(source):
        return sorted(_walk(source))
    if is_file(source):
        return _read_index(source)
    raise InputError(f"no episodes at {source}: there is no such folder or file")


def unfinished(root: Path) -> list[Path]:
    """The leftovers of killed writers below `root`; no reader takes them for episodes."""
    found: list[Path] = []
    for folder, names, files in os.walk(root):
        if ASIDE in names:
            found += _leftovers(Path(folder) / ASIDE)
        names[:] = [] if TRAJECTORY in files else [name for name in names if not name.startswith(".")]
    return found


def _leftovers(aside: Path) -> list[Path]:
    try:
        return sorted(aside.iterdir())
    except OSError:  # what is in there nobody knows
        return [aside]


ASIDE = ".unfinished"  # episodes are written here and renamed into place


def _walk(root: Path) -> Iterator[EpisodeRef]:
    closed: list[OSError] = []
    been: set[tuple[int, int]] = set()  # folders visited; links may lead back to one, or in a circle
    starts = [root]  # links are followed last, so that what lies in the tree itself goes by its own name
    for start in starts:
        for folder, names, files in os.walk(start, onerror=closed.append):
            there = Path(folder).stat()
            place = there.st_dev, there.st_ino
            if place in been:
                names.clear()
            elif TRAJECTORY in files:
                names.clear()
                yield _ref(Path(folder), root)
            else:
                names[:] = sorted(name for name in names if not name.startswith("."))
                starts += [link for name in names if (link := Path(folder, name)).is_symlink()]
            been.add(place)
    for error in closed:  # may hold an episode: counted as bad when it is opened
        yield _ref(Path(error.filename), root)


def _ref(folder: Path, root: Path) -> EpisodeRef:
    return EpisodeRef(folder, str(folder.relative_to(root)) if folder != root else folder.absolute().name)


def lines_of(listing: Path) -> dict[int, str]:
    """The lines of a list of paths by number, without empty ones and comments. Raises InputError if it is no list."""
    try:
        lines = read(listing).decode("utf-8-sig").splitlines()  # spreadsheets begin with a byte order mark
    except UnicodeDecodeError:
        raise InputError(f"{listing} is no list: expected a text file with a path per line, or a folder") from None
    texts = enumerate(map(str.strip, lines), start=1)
    return {number: text for number, text in texts if text and not text.startswith("#")}


def _read_index(index: Path) -> list[EpisodeRef]:
    refs: dict[Path, EpisodeRef] = {}
    for number, text in lines_of(index).items():
        if text.startswith("{"):
            entry = _json_path(text, f"{index.name} line {number}")
            meant = [index.parent / entry, Path(entry)]
        else:
            entry, meant = text, possible_paths(text, index.parent)
        folder = next(filter(is_folder, meant), Path(entry))
        refs.setdefault(folder, EpisodeRef(folder, entry if folder == Path(entry) else _shown(folder, index.parent)))
    return list(refs.values())


def _json_path(text: str, where: str) -> str:
    try:
        return str(json.loads(text)["path"])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{where} is not an index entry with a path: {text[:80]}") from error


def possible_paths(entry: str, beside: Path) -> list[Path]:
    """The paths that a line of a list may mean, beside the list or from the working directory, in order of precedence.

    All of the line may be the path, or it may have trailing columns (a label, a length). Such a column follows a comma
    or a space; what has a slash after a space is still the path.
    """
    texts = [entry, entry.rsplit(",", 1)[0], entry.split(",", 1)[0]]
    words = entry
    while " " in words and "/" not in words.rsplit(" ", 1)[1]:
        words = words.rsplit(" ", 1)[0].rstrip()
        texts.append(words)
    named = [name for text in texts if (name := text.strip("\"' "))]
    return [base / name for name in named for base in (beside, Path())]


def is_there(path: Path) -> bool:
    """Whether a path leads somewhere; False also for what cannot be a path, such as a line of text that is too long."""
    try:
        return path.exists()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether a path leads to a folder."""
    return is_there(path) and path.is_dir()


def _shown(folder: Path, beside: Path) -> str:
    return str(folder.relative_to(beside)) if folder.is_relative_to(beside) else str(folder)


def read_metadata(folder: Path, name: str) -> dict[str, Any]:
    """The episode's metadata: `metadata_*.json`, else the first other JSON file, which DROID's readers would take."""
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix == ".json" and not path.name.startswith("."))
    except OSError as error:
        raise EpisodeError(name, f"the folder cannot be read: {error.strerror}") from error
    files.sort(key=lambda path: not path.name.startswith("metadata"))
    if not files:
        raise EpisodeError(name, "metadata_*.json is missing")
    try:
        metadata = json.loads(files[0].read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # no text, no JSON, or one that Python will not read
        raise EpisodeError(name, f"{files[0].name} cannot be read: {error}") from error
    if not isinstance(metadata, dict):
        raise EpisodeError(name, f"{files[0].name} holds {type(metadata).__name__}, expected an object")
    return metadata


def simulation_of(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What our simulator says of an episode in its metadata; empty for any other recording, whatever it says there."""
    facts = metadata.get("simulation")
    return facts if isinstance(facts, dict) else {}


def video_name(metadata: dict[str, Any], camera: str, name: str) -> str:
    """The file name of a camera's video, as the metadata gives it."""
    if camera not in CAMERAS:
        raise InputError(f"no camera {camera!r}; raw DROID has {', '.join(CAMERAS)}")
    path = metadata.get(f"{camera}_mp4_path")
    if not isinstance(path, str) or not path:
        there = [which for which in CAMERAS if metadata.get(f"{which}_mp4_path")]
        raise EpisodeError(name, f"metadata names no {camera} camera; it has {', '.join(there) or 'none'}")
    return path.split("recordings/MP4/")[-1]


def video_path(folder: Path, camera: str, name: str) -> Path:
    """Where a camera's video lies, by the metadata of the episode in `folder`."""
    return folder / RECORDINGS / video_name(read_metadata(folder, name), camera, name)
