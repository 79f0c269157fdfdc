"""Batches of windows of robot trajectories: latents from disk (or frames), poses, and actions recomputed from poses.

Every batch is a pure function of its number. All episodes come equally often; optionally some windows are drawn around
moments at which the gripper moves, and some batches hold counterfactual pairs: two episodes that left the same state
with different commands.

Legend: B batch · T frames of a window · R rows of a trajectory · N tokens of a frame · D latent width.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from vjepa2_ac import jitter, poses
from vjepa2_ac.data.episodes import Array, BadEpisodes, Episode, open_episode
from vjepa2_ac.data.layout import TRAJECTORY, EpisodeRef, find_episodes, simulation_of, video_path
from vjepa2_ac.data.windows import WindowConfig, rate_missed
from vjepa2_ac.errors import ConfigError, EpisodeError, InputError
from vjepa2_ac.training.latents import FrameEncoder, packed, unpacked
from vjepa2_ac.training.order import ATTEMPTS, Layout, first_readable, generator_of, shuffled
from vjepa2_ac.training.processes import Processes
from vjepa2_ac.training.store import Facts, Store, Work, fill, identity_of_episode


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingConfig:
    """How often which windows are drawn; by default, as in the reference, none are preferred."""

    event_share: float = 0.0  # share of the windows drawn so that the gripper moves in them
    event_change: float = 0.05  # of closedness in one step; above it the gripper counts as moving
    pair_share: float = 0.0  # share of the batches made of counterfactual pairs
    pair_frames: int = 3  # of each window of a pair; the windows begin where the two episodes part
    bad_episodes: int = 100  # that may be left out, each named and counted, before training refuses

    def __post_init__(self) -> None:
        if not (0 <= self.event_share <= 1 and 0 <= self.pair_share <= 1):
            raise ConfigError("event_share and pair_share are shares, 0 … 1")
        if self.pair_frames < 2 or self.bad_episodes < 0:
            raise ConfigError("pair_frames is at least 2 and bad_episodes at least 0")


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One episode through one camera, at the rows that can be read."""

    name: str
    poses_R7: Array
    extrinsics_R6: Array | None
    stride: int  # rows from one frame of a window to the next
    fps: float  # rows a second
    branch: str | None  # shared by episodes that left the same state
    read: Callable[[NDArray[np.int64]], dict[str, Any]]  # rows -> latents_TND (bf16 bits) or frames_THW3
    video_bytes: int = 0  # of the camera's file; a resumed run recognises it by this, wherever it lies

    def __len__(self) -> int:
        return len(self.poses_R7)

    def starts(self, frames: int) -> int:
        """How many windows of `frames` frames fit, each beginning at another row."""
        return max(0, len(self) - (frames - 1) * self.stride)


def cached_trajectories(
    source: Path | Sequence[EpisodeRef],
    window: WindowConfig,
    sampling: SamplingConfig,
    encoder: FrameEncoder,
    root: Path,
    processes: Processes,
    *,
    every_frame: bool = False,
    copies: int = 0,
) -> list[Trajectory]:
    """Trajectories whose latents are on disk; what is missing is encoded first.

    Unless `every_frame`, only every stride-th frame is kept, and windows begin only at those. Each episode comes as it
    was recorded and `copies` more times, each time with another appearance.
    """
    work = _encoding(encoder, window, every_frame=every_frame)
    store = Store.keyed(root, {"what": "latents", **encoder.key, "fps": window.fps, "every frame": every_frame})
    bad = BadEpisodes(sampling.bad_episodes)
    refs = find_episodes(source) if isinstance(source, Path) else source
    # Ordered by copy: items are dealt out in turn, so each process has as much to encode where originals are cached.
    items = [_Item(ref, camera, copy) for copy in range(1 + copies) for ref in refs for camera in window.cameras]
    made = fill(store, items, work, bad, processes)
    _tell(bad, {item.ref.name for _, item in made}, processes)
    _refuse_none(made, refs, source)
    # With names and places as found now, not as when they were encoded.
    return [_stored(store, identity, item.ref, window) for identity, item in made]


def recorded_trajectories(
    source: Path,
    window: WindowConfig,
    sampling: SamplingConfig,
    processes: Processes,
    *,
    copies: int = 0,
    batch: int = 2,
) -> list[Trajectory]:
    """Trajectories whose frames are decoded when they are drawn, without a cache.

    InputError where frames are of several sizes and a batch holds more than one window.
    """
    bad = BadEpisodes(sampling.bad_episodes)
    opened = []
    refs = find_episodes(source)
    with processes.progress("opening episodes", len(refs)) as advance:
        for ref in refs:
            for camera in window.cameras:
                try:
                    opened.append(open_episode(ref, camera))
                except EpisodeError as error:
                    bad.add(error)
            advance()
    _tell(bad, {episode.name for episode in opened}, processes)
    _refuse_none(opened, refs, source)
    sizes = {(episode.video.width, episode.video.height): episode.name for episode in opened}
    if len(sizes) > 1 and batch > 1:  # refused now, not when they first meet in a batch, perhaps after days
        shown = ", ".join(f"{width} x {height} as in {name}" for (width, height), name in sorted(sizes.items()))
        raise InputError(f"frames of different sizes cannot share a batch: {shown}; use the latent cache (cache=true)")
    return [_recorded(episode, window, copy) for copy in range(1 + copies) for episode in opened]


def _with_extrinsics(trajectories: Sequence[Trajectory], most: int, rank: int) -> list[Trajectory]:
    """The trajectories with extrinsics of their camera; the others are counted, and named by the first process."""
    bad = BadEpisodes(most)
    for trajectory in trajectories:
        if trajectory.extrinsics_R6 is None:
            bad.add(EpisodeError(trajectory.name, "it has no extrinsics, which this recipe needs"))
    for name, reason in bad.reasons.items():
        if rank == 0:
            print(f"left out: {name}: {reason}", file=sys.stderr)
    known = [trajectory for trajectory in trajectories if trajectory.extrinsics_R6 is not None]
    if not known:
        raise InputError(f"none of {len(trajectories)} episodes has its camera's extrinsics, which this recipe needs")
    return known


class TrajectoryBatches:
    """The micro-batches of a run: windows drawn from trajectories, each batch by its number."""

    def __init__(
        self,
        trajectories: Sequence[Trajectory],
        window: WindowConfig,
        sampling: SamplingConfig,
        layout: Layout,
        seed: int,
        *,
        extrinsics: bool = False,
    ) -> None:
        self.window, self.sampling, self.layout, self.seed, self.extrinsics = window, sampling, layout, seed, extrinsics
        if extrinsics or window.camera_frame:
            trajectories = _with_extrinsics(trajectories, sampling.bad_episodes, layout.rank)
        self.trajectories = [t for t in trajectories if t.starts(window.frames_per_clip)]
        self.pairs = _pairs(trajectories, sampling.pair_frames) if sampling.pair_share else []
        self.events = _events(self.trajectories, sampling.event_change) if sampling.event_share else []
        if not self.trajectories:
            raise InputError(
                f"none of {len(trajectories)} episodes is long enough for "
                f"{window.frames_per_clip} frames at {window.fps:g} fps"
            )
        found, drawn = ({each.name for each in some} for some in (trajectories, chain(self.trajectories, *self.pairs)))
        if len(drawn) < len(found) and layout.rank == 0:
            print(
                f"{len(found) - len(drawn)} of {len(found)} episodes are too short for a "
                f"window of {window.frames_per_clip} frames at {window.fps:g} fps: none is drawn from them",
                file=sys.stderr,
            )
        if layout.rank == 0:
            _tell_of_rates(self.trajectories, window.fps)
        if sampling.pair_share and not self.pairs:
            if _pairs(trajectories, frames=1):
                raise InputError(
                    f"pair_share is set, but no two branches of one state have {sampling.pair_frames} frames at "
                    f"{window.fps:g} fps; set sampling.pair_frames to fewer"
                )
            raise InputError(
                "pair_share is set, but no two episodes left the same state (branches of `collect`); "
                "without any, set sampling.pair_share=0 and loss.contrast_weight=0"
            )
        if sampling.event_share and not self.events:
            raise InputError("event_share is set, but no gripper moves in any episode; set sampling.event_share=0")

    def __getitem__(self, micro_batch: int) -> dict[str, Any]:
        """`latents_BND` or `frames_BTHW3`, `poses_BT7`, `actions_BS7`, and `extrinsics_BT6` where asked for.

        `bad` names the episodes that failed to decode; others were drawn in their place. `is_paired` says that windows
        2i and 2i + 1 left the same state.
        """
        bad: dict[str, str] = {}
        is_paired = bool(generator_of(self.seed, micro_batch, attempt=ATTEMPTS).random() < self.sampling.pair_share)
        if is_paired:
            windows = self._pair_windows(micro_batch, bad)
        else:
            windows = [self._drawn(sample, bad) for sample in self.layout.samples(micro_batch)]
        batch = collated(windows, self.window, extrinsics=self.extrinsics)
        return batch | {"bad": bad, "is_paired": is_paired}

    def _drawn(self, sample: int, bad: dict[str, str]) -> dict[str, Any]:
        def draw(attempt: int) -> dict[str, Any]:
            frames, rng = self.window.frames_per_clip, generator_of(self.seed, sample, attempt)
            if self.events and rng.random() < self.sampling.event_share:
                which, row = self.events[rng.integers(len(self.events))]
                trajectory = self.trajectories[which]
                before = trajectory.stride * int(rng.integers(frames - 1))
                start = min(max(row - before, 0), trajectory.starts(frames) - 1)
            else:
                which = sample if attempt == 0 else int(rng.integers(len(self.trajectories)))
                trajectory = self.trajectories[shuffled(len(self.trajectories), self.seed, which)]
                start = int(rng.integers(trajectory.starts(frames)))
            return self._window(trajectory, start, frames)

        return first_readable(draw, bad)

    def _pair_windows(self, micro_batch: int, bad: dict[str, str]) -> list[dict[str, Any]]:
        """As many counterfactual pairs as the batch holds, the two windows of each side by side."""
        samples = self.layout.samples(micro_batch)[::2]
        return [window for sample in samples for window in first_readable(partial(self._pair, sample), bad)]

    def _pair(self, sample: int, attempt: int) -> list[dict[str, Any]]:
        rng = generator_of(self.seed, sample, attempt)
        which = sample // 2 if attempt == 0 else int(rng.integers(len(self.pairs)))
        siblings = self.pairs[shuffled(len(self.pairs), self.seed + 1, which)]
        two = rng.permutation(len(siblings))[:2]
        return [self._window(siblings[i], 0, self.sampling.pair_frames) for i in two]

    @staticmethod
    def _window(trajectory: Trajectory, start: int, frames: int) -> dict[str, Any]:
        return window_at(trajectory, start + trajectory.stride * np.arange(frames))


def window_at(
    trajectory: Trajectory, rows_T: NDArray[np.int64], hand_rows_T: NDArray[np.int64] | None = None
) -> dict[str, Any]:
    """Latents or frames at these rows of a trajectory, in the order asked, and poses at the same rows, or at others."""
    hand_rows_T = rows_T if hand_rows_T is None else hand_rows_T
    extrinsics = None if trajectory.extrinsics_R6 is None else trajectory.extrinsics_R6[hand_rows_T]
    return trajectory.read(rows_T) | {
        "poses": trajectory.poses_R7[hand_rows_T],
        "extrinsics": extrinsics,
        "name": trajectory.name,
    }


def collated(windows: list[dict[str, Any]], config: WindowConfig, *, extrinsics: bool = False) -> dict[str, Any]:
    """Windows as one batch: `latents_BND` or `frames_BTHW3`, `poses_BT7`, `actions_BS7`, perhaps `extrinsics_BT6`.

    Poses and actions are in the camera frame where the windows' configuration says so.
    """
    poses_BT7 = np.stack([window["poses"] for window in windows])
    batch: dict[str, Any] = {}
    if extrinsics or config.camera_frame:
        if missing := [window["name"] for window in windows if window["extrinsics"] is None]:
            raise InputError(f"episode {missing[0]} has no extrinsics, which this recipe needs")
        extrinsics_BT6 = np.stack([window["extrinsics"] for window in windows])
        if config.camera_frame:
            poses_BT7 = poses.in_camera_frame(poses_BT7, extrinsics_BT6)
        if extrinsics:
            batch["extrinsics_BT6"] = torch.from_numpy(extrinsics_BT6).float()
    batch["poses_BT7"] = torch.from_numpy(poses_BT7).float()
    batch["actions_BS7"] = torch.from_numpy(poses.pose_differences(poses_BT7)).float()
    if "latents_TND" in windows[0]:
        batch["latents_BND"] = unpacked(np.stack([window["latents_TND"] for window in windows])).flatten(1, 2)
    else:
        batch["frames_BTHW3"] = torch.from_numpy(np.stack([window["frames_THW3"] for window in windows]))
    return batch


def _tell_of_rates(trajectories: Sequence[Trajectory], fps: float) -> None:
    """Print a note where trajectories have a lower rate than the release will state."""
    missed = Counter(rate_missed(trajectory.fps / trajectory.stride, fps) for trajectory in trajectories)
    for said, count in missed.items():
        if said is not None:
            print(
                f"note: of {count} of {len(trajectories)} trajectories {said}; the release says {fps:g}, and moves are "
                "planned as far apart as it says",
                file=sys.stderr,
            )


def _pairs(trajectories: Sequence[Trajectory], frames: int) -> list[list[Trajectory]]:
    siblings: defaultdict[str, list[Trajectory]] = defaultdict(list)
    for trajectory in trajectories:
        if trajectory.branch is not None and trajectory.starts(frames):
            siblings[trajectory.branch].append(trajectory)
    return [group for group in siblings.values() if len(group) > 1]


def _events(trajectories: Sequence[Trajectory], change: float) -> list[tuple[int, int]]:
    """Every step that moves the gripper: the index of its trajectory, and the row at which it begins."""
    events = []
    for which, trajectory in enumerate(trajectories):
        closedness_R = trajectory.poses_R7[:, poses.GRIPPER][:, 0]
        moved = np.abs(closedness_R[trajectory.stride :] - closedness_R[: -trajectory.stride]) > change
        events += [(which, int(row)) for row in np.flatnonzero(moved)]
    return events


def branch_of(metadata: Mapping[str, Any], camera: str) -> str | None:
    """A name shared by episodes that left the same simulated state, seen by this camera; None for all others."""
    branch = simulation_of(metadata).get("branch")
    return f"{branch} {camera}" if branch else None


class _Item(NamedTuple):
    """One entry of the cache: an episode through one camera, as recorded or with another appearance."""

    ref: EpisodeRef
    camera: str
    copy: int  # 0: as it was recorded; else the number of its appearance


def _branch(episode: Episode, copy: int) -> str | None:
    """As `branch_of`, for one copy: copies of different appearance do not count as having left the same state."""
    branch = branch_of(episode.metadata, episode.camera)
    return f"{branch} {copy}" if branch and copy else branch


def _with_appearance(episode: Episode, frames_FHW3: NDArray[np.uint8], copy: int) -> NDArray[np.uint8]:
    """The frames with the appearance of a copy; episodes that left the same state share it."""
    if copy == 0:
        return frames_FHW3
    branch = simulation_of(episode.metadata).get("branch")
    return jitter.Jitter.of(branch or Path(episode.name).name, copy)(frames_FHW3)


def _encoding(encoder: FrameEncoder, window: WindowConfig, *, every_frame: bool) -> Work:
    def step_of(episode: Episode) -> int:
        return 1 if every_frame else episode.stride(window.fps)

    def read(item: _Item) -> tuple[Episode, int, NDArray[Any]]:
        episode = open_episode(item.ref, item.camera)
        frames_FHW3 = episode.frames(range(0, len(episode), step_of(episode)))
        return episode, item.copy, _with_appearance(episode, frames_FHW3, item.copy)

    def finish(found: tuple[Episode, int, NDArray[Any]]) -> tuple[NDArray[Any], Facts]:
        episode, copy, frames_FHW3 = found
        rows_R = np.arange(0, len(episode), step_of(episode))
        extrinsics = None if episode.extrinsics_N6 is None else episode.extrinsics_N6[rows_R].tolist()
        return packed(encoder(frames_FHW3)), {
            "name": episode.name,
            "camera": episode.camera,
            "stride": episode.stride(window.fps) // step_of(episode),
            "fps": episode.fps / step_of(episode),
            "branch": _branch(episode, copy),
            "poses": episode.poses_N7[rows_R].tolist(),
            "extrinsics": extrinsics,
        }

    def size(item: _Item) -> int:
        episode = open_episode(item.ref, item.camera)
        rows = -(-len(episode) // step_of(episode))
        return rows * encoder.tokens_per_frame * encoder.config.embed_dim * 2

    return Work("latents", _identity, lambda item: item.ref.name, read, finish, size)


def _identity(item: _Item) -> str:
    folder = str(item.ref.folder.resolve())
    appearance = (f"copy {item.copy}: {jitter.RANGES}",) if item.copy else ()
    return identity_of_episode(item.ref.folder, item.camera, also=(folder, item.camera, *appearance))


def _stored(store: Store, identity: str, ref: EpisodeRef, window: WindowConfig) -> Trajectory:
    facts = store.facts(identity)
    extrinsics = facts["extrinsics"]
    return Trajectory(
        name=ref.name,
        poses_R7=np.asarray(facts["poses"]),
        extrinsics_R6=None if extrinsics is None else np.asarray(extrinsics),
        stride=facts["stride"],
        fps=facts.get("fps", window.fps * facts["stride"]),  # caches of earlier versions do not hold it
        branch=ref.branch(facts["branch"]),
        read=lambda rows_T: {"latents_TND": store.read(identity, rows_T)},
        video_bytes=_video_bytes(ref, facts["camera"]),
    )


def _recorded(episode: Episode, window: WindowConfig, copy: int) -> Trajectory:
    rows = len(episode)
    return Trajectory(
        name=episode.name,
        poses_R7=episode.poses_N7[:rows],
        extrinsics_R6=None if episode.extrinsics_N6 is None else episode.extrinsics_N6[:rows],
        stride=episode.stride(window.fps),
        fps=episode.fps,
        branch=episode.ref.branch(_branch(episode, copy)),
        read=lambda rows_T: {"frames_THW3": _with_appearance(episode, episode.frames(rows_T), copy)},
        video_bytes=_video_bytes(episode.ref, episode.camera),
    )


def _video_bytes(ref: EpisodeRef, camera: str) -> int:
    return video_path(ref.folder, camera, ref.name).stat().st_size


def _refuse_none(usable: Sequence[object], refs: Sequence[EpisodeRef], source: object) -> None:
    if not refs:
        raise InputError(f"no episodes at {source}: no folder there holds {TRAJECTORY}")
    if not usable:
        raise InputError(
            f"none of the {len(refs)} episodes at {source} can be used; `vjepa2-ac data check` looks closer"
        )


def _tell(bad: BadEpisodes, used: Set[str], processes: Processes) -> None:
    """Name the bad episodes; those `used` nevertheless, through another camera, are not among those left out."""
    if not processes.is_first:
        return
    for names, said in (
        (bad.reasons.keys() - used, "{} episodes are left out:"),
        (bad.reasons.keys() & used, "of {} episodes, not all of the cameras are used:"),
    ):
        if names:
            print(said.format(len(names)), file=sys.stderr)
        for name in (name for name in bad.reasons if name in names):
            print(f"  {name}: {bad.reasons[name]}", file=sys.stderr)
