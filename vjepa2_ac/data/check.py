"""Check whether a folder of raw DROID episodes is fit for training: every episode is examined, every fault named.

Reasons make one episode unusable. Faults concern the folder as a whole (grippers that run the wrong way show only over
many episodes). Notes are hazards that the reader copes with, told so that nobody is surprised.

Shapes: N rows of the trajectory, A actions, R decoded moments, E episodes, B bins of step sizes, 7 numbers of a pose or
action, H height, W width, C colours.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vjepa2_ac.data import layout
from vjepa2_ac.data.episodes import Episode, open_episode
from vjepa2_ac.data.layout import EpisodeRef
from vjepa2_ac.data.windows import WindowConfig, rate_missed, window_starts
from vjepa2_ac.errors import ConfigError, EpisodeError
from vjepa2_ac.workers import pool

STEP_BINS = (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, np.inf)  # [m], largest axis of one action
DECODED_AT_ONCE = 32  # frames; a whole episode of large pictures would not fit in memory
FROZEN_AFTER = 0.05  # [m] of hand movement that must change the picture


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckConfig:
    """What is examined, and what a usable folder must meet."""

    camera: str = "left"
    fps: float = 4.0  # [1/s] the rate at which windows are taken
    frames_per_clip: int = 8
    step_limit: float = 0.075  # [m] per axis; the largest step that the planner may take
    every_frame: bool = False  # decode all of each video, not only its first, middle and last frame
    bad_share: float = 0.05  # share of unusable episodes that a usable folder may have

    def __post_init__(self) -> None:
        if self.camera not in layout.CAMERAS:
            raise ConfigError(f"no camera {self.camera!r}; raw DROID has {', '.join(layout.CAMERAS)}")
        if not 0 <= self.bad_share < 1 or not 0 < self.fps < np.inf or not 0 < self.step_limit < np.inf:
            raise ConfigError("need 0 ≤ bad share < 1, and fps and step limit that are finite and > 0")
        if self.frames_per_clip < 2:
            raise ConfigError(f"an action needs two frames; frames_per_clip is {self.frames_per_clip}")


@dataclass(slots=True)
class EpisodeReport:
    """The findings on one episode. Without any `reasons`, it can be used."""

    name: str
    folder: Path
    outcome: str | None
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    frames: int = 0
    seconds: float = 0.0
    header_fps: float | None = None
    measured_fps: float | None = None
    video: str = ""  # codec and size
    is_part: bool = False  # a branch or a repaint: a few steps from the middle of another simulated episode
    first_gripper: float | None = None  # None for parts, which start in the middle of something
    largest_gripper: float = 0.0
    gripper_follows: int = 0  # steps in which it clearly moves as commanded
    gripper_opposes: int = 0  # steps in which it clearly moves the other way
    step_counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(STEP_BINS) - 1, dtype=np.int64))
    steps_over_limit: int = 0
    gripper_events: int = 0  # steps in which the gripper closes or opens by more than a quarter

    @property
    def is_usable(self) -> bool:
        """Whether there is no reason against using it."""
        return not self.reasons


@dataclass(slots=True)
class FolderReport:
    """The findings on all episodes of a folder, and on the folder as a whole."""

    source: Path
    config: CheckConfig
    episodes: list[EpisodeReport]
    unfinished: list[Path]
    faults: list[str]

    @property
    def usable(self) -> list[EpisodeReport]:
        """The episodes without a reason against them."""
        return [episode for episode in self.episodes if episode.is_usable]

    @property
    def bad(self) -> list[EpisodeReport]:
        """The episodes that cannot be used."""
        return [episode for episode in self.episodes if not episode.is_usable]

    @property
    def is_usable(self) -> bool:
        """Whether training on the folder makes sense as it is."""
        return bool(self.usable) and not self.faults and len(self.bad) <= self.config.bad_share * len(self.episodes)

    @property
    def noted(self) -> dict[str, list[str]]:
        """For each note, the names of its episodes; the most frequent note comes first."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for episode in self.episodes:
            for note in episode.notes:
                found[note].append(episode.name)
        return dict(sorted(found.items(), key=lambda item: -len(item[1])))

    def summary(self) -> dict[str, Any]:
        """Everything that is printed, as plain values."""
        good, noted = self.usable, self.noted
        steps_B = sum((episode.step_counts for episode in good), np.zeros(len(STEP_BINS) - 1, dtype=np.int64))
        return {
            "source": str(self.source),
            "usable": self.is_usable,
            "episodes": len(self.episodes),
            "usable_episodes": len(good),
            "bad_episodes": {episode.name: episode.reasons for episode in self.bad},
            "bad_share_allowed": self.config.bad_share,
            "faults": self.faults,
            "notes": {note: len(names) for note, names in noted.items()},
            "noted_episodes": noted,
            "unfinished": [str(path) for path in self.unfinished],
            "parts": sum(episode.is_part for episode in self.episodes),
            "outcomes": dict(Counter(episode.outcome or "unknown" for episode in self.episodes)),
            "frames": sum(episode.frames for episode in good),
            "hours": sum(episode.seconds for episode in good) / 3600,
            "camera": self.config.camera,
            "videos": dict(Counter(episode.video for episode in good).most_common()),
            "header_fps": _counted(episode.header_fps for episode in good),
            "measured_fps": _counted(episode.measured_fps for episode in good),
            "gripper_events": sum(episode.gripper_events for episode in good),
            "steps": {
                "at_fps": self.config.fps,
                "edges_m": [edge for edge in STEP_BINS if np.isfinite(edge)],
                "counts": steps_B.tolist(),
                "limit_m": self.config.step_limit,
                "share_over_limit": sum(episode.steps_over_limit for episode in good) / max(int(steps_B.sum()), 1),
            },
        }


def check_folder(
    source: Path | str,
    config: CheckConfig | None = None,
    *,
    refs: Sequence[EpisodeRef] | None = None,
    workers: int = 1,
    advance: Any = None,
) -> FolderReport:
    """The report on all episodes of `source`, or on `refs` of it; `advance()` is called after each. Writes nothing."""
    source, config = Path(source), config or CheckConfig()
    refs = layout.find_episodes(source) if refs is None else refs
    episodes = []
    for episode in _each(partial(check_episode, config=config), refs, workers):
        episodes.append(episode)
        if advance is not None:
            advance()
    aside = layout.unfinished(source) if source.is_dir() else []
    return FolderReport(source, config, episodes, aside, _faults(episodes))


def check_episode(ref: EpisodeRef, config: CheckConfig) -> EpisodeReport:
    """The report on one episode, even on one that cannot be opened."""
    report = EpisodeReport(ref.name, ref.folder, ref.outcome)
    try:
        episode = open_episode(ref, config.camera)
        _look_at_poses(report, episode, config)
        _look_at_commands(report, episode)
        _look_at_time(report, episode, config)
        _look_at_files(report, episode, config)
        _look_at_video(report, episode, config)
    except EpisodeError as error:
        report.reasons.append(error.reason)
    return report


def _look_at_poses(report: EpisodeReport, episode: Episode, config: CheckConfig) -> None:
    poses_N7 = episode.poses_N7
    report.frames, report.seconds = len(episode), episode.seconds
    report.is_part = episode.is_part
    report.first_gripper = None if report.is_part else float(poses_N7[0, 6])
    report.largest_gripper = float(poses_N7[:, 6].max())
    actions_A7 = np.abs(episode.actions(config.fps))
    if not len(actions_A7):
        return
    step_A = actions_A7[:, :3].max(axis=1)
    report.step_counts = np.histogram(step_A, bins=np.asarray(STEP_BINS))[0].astype(np.int64)
    report.steps_over_limit = int((step_A > config.step_limit).sum())
    report.gripper_events = int((actions_A7[:, 6] > 0.25).sum())
    stands_still = float(np.ptp(poses_N7[:, :3], axis=0).max()) < 1e-4 and float(np.ptp(poses_N7[:, 6])) < 1e-2
    if stands_still and not report.is_part:
        report.notes.append("the hand never moves")


def _look_at_commands(report: EpisodeReport, episode: Episode) -> None:
    """Count how often the gripper follows or opposes its command. (Contact may push it the other way now and then.)"""
    commands_N = episode.rows(layout.COMMANDED_GRIPPER)
    if commands_N is None:
        return
    commands_N = commands_N.reshape(-1)
    gripper_N = episode.poses_N7[:, 6]
    if len(commands_N) != len(gripper_N):
        report.reasons.append(f"{len(gripper_N)} poses but {len(commands_N)} gripper commands")
        return
    pull_A, move_A = (commands_N - gripper_N)[:-1], np.diff(gripper_N)
    clear_A = (np.abs(pull_A) > 0.3) & (np.abs(move_A) > 0.05)
    follows_A = np.sign(pull_A) == np.sign(move_A)
    report.gripper_follows = int((clear_A & follows_A).sum())
    report.gripper_opposes = int((clear_A & ~follows_A).sum())


def _look_at_time(report: EpisodeReport, episode: Episode, config: CheckConfig) -> None:
    report.header_fps, report.measured_fps = episode.video.fps, episode.measured_fps
    if episode.fps_from == "timestamps":
        report.notes.append(
            f"header says {episode.video.fps:g} fps, timestamps {episode.fps:g}: the timestamps are believed"
        )
    if missed := rate_missed(episode.fps / episode.stride(config.fps), config.fps):
        report.notes.append(missed)
    rows, frames = len(episode.poses_N7), len(episode.video)
    if rows != frames:
        report.notes.append(f"video and trajectory differ by {abs(rows - frames)}: the shorter is used")
    length = episode.metadata.get("trajectory_length")
    if isinstance(length, int) and length != rows:
        report.notes.append("trajectory_length of the metadata is not the trajectory's")
    window = WindowConfig(frames_per_clip=config.frames_per_clip, fps=config.fps)
    if not report.is_part and not window_starts(episode, window):
        report.notes.append(f"too short for a window of {config.frames_per_clip} frames at {config.fps:g} fps")


def _look_at_files(report: EpisodeReport, episode: Episode, config: CheckConfig) -> None:
    folder = episode.ref.folder / layout.RECORDINGS
    for camera in layout.CAMERAS:
        path = episode.metadata.get(f"{camera}_mp4_path")
        if camera != config.camera and isinstance(path, str) and not layout.is_there(folder / Path(path).name):
            report.notes.append(f"no {camera} video, though the metadata names one")
    if any(folder.glob("*-stereo.mp4")):
        report.notes.append("stereo videos, not read")
    if episode.extrinsics_N6 is None:
        report.notes.append("no extrinsics for this camera")
    if report.measured_fps is None:
        report.notes.append("no timestamps")
    if " " in str(episode.ref.folder):
        report.notes.append("a space in the path (read here, not by the reference's CSV)")


def _look_at_video(report: EpisodeReport, episode: Episode, config: CheckConfig) -> None:
    video = episode.video
    report.video = f"{video.codec} {video.width}×{video.height}"
    moments = list(range(len(episode))) if config.every_frame else sorted({0, len(episode) // 2, len(episode) - 1})
    shown_HWC, since_R = None, [0]  # for each moment, the first since which the picture is the same
    for some in range(0, len(moments), DECODED_AT_ONCE):
        for frame_HWC in episode.frames(moments[some : some + DECODED_AT_ONCE]):
            if shown_HWC is not None:
                since_R.append(since_R[-1] if np.array_equal(frame_HWC, shown_HWC) else len(since_R))
            shown_HWC = frame_HWC
    for first, count in zip(*np.unique(since_R, return_counts=True), strict=True):
        still = moments[first : first + count]
        travelled = float(np.ptp(episode.poses_N7[still, :3], axis=0).max())
        if travelled > FROZEN_AFTER:
            span = "" if len(still) == len(moments) else f" from frame {still[0]} to {still[-1]}"
            report.reasons.append(f"the picture stands still{span} while the hand moves {100 * travelled:.0f} cm")


def _faults(episodes: Sequence[EpisodeReport]) -> list[str]:
    good = [episode for episode in episodes if episode.is_usable]
    faults = []
    if not episodes:
        faults.append(f"no episode here: no folder holds {layout.TRAJECTORY}")
    first_E = np.array([episode.first_gripper for episode in good if episode.first_gripper is not None])
    if len(first_E) >= 3 and (first_E > 0.5).mean() > 0.8:
        faults.append(
            f"{(first_E > 0.5).mean():.0%} of episodes start with the gripper closed: is 1 open here? "
            "0 open … 1 closed is expected"
        )
    follows = sum(episode.gripper_follows for episode in good)
    opposes = sum(episode.gripper_opposes for episode in good)
    if opposes >= 5 and opposes > 0.8 * (follows + opposes):
        faults.append(
            f"the gripper moves against its command in {opposes / (follows + opposes):.0%} of {follows + opposes} "
            "clear steps: one of the two has 1 for open; 0 open … 1 closed is expected"
        )
    largest = max((episode.largest_gripper for episode in good), default=0.0)
    if 0.02 < largest < 0.12:
        faults.append(f"no gripper ever closes beyond {largest:.2f}: is that metres? 0 open … 1 closed is expected")
    return faults


def _each(look: Any, refs: Sequence[EpisodeRef], workers: int) -> Iterator[EpisodeReport]:
    if workers <= 1:
        yield from map(look, refs)
    else:
        with pool(workers) as lookers:
            yield from lookers.map(look, refs, chunksize=8)


def _counted(rates: Iterator[float | None]) -> dict[str, int]:
    return dict(Counter("none" if rate is None else f"{rate:g}" for rate in rates).most_common())
