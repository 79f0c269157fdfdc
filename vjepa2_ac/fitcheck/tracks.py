"""Held-out episodes as fit-check uses them: moments at the model's rate, and the simulator's truth where there is one.

Shapes: R moments of a track, 7 numbers of a pose, 3 of a position.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vjepa2_ac.data.episodes import Array, BadEpisodes, Episode, open_episode
from vjepa2_ac.data.layout import EpisodeRef, find_episodes, read_metadata, simulation_of
from vjepa2_ac.data.video import Frames
from vjepa2_ac.errors import EpisodeError, InputError
from vjepa2_ac.terminal import Advance

REACH = 1.0  # [m] from the robot's base; a Franka's arm is 0.855 m long


@dataclass(frozen=True, slots=True)
class Track:
    """One episode at the model's rate, or at the nearest below it that a whole stride gives."""

    name: str
    group: str  # its scene, shared by an episode and the short ones that show parts of it
    branch: str | None  # shared by episodes that left the same state
    is_part: bool  # shows a few steps of another episode: a branch or a repaint
    fps: float  # moments a second
    poses_R7: Array
    objects_R3: Array | None  # where the object is, base frame [m]; in simulated episodes only
    held_R: NDArray[np.bool_] | None  # whether the object is in the hand
    frames: Callable[[], Frames]  # decodes every moment's, [R, H, W, 3]
    ref: EpisodeRef | None = None  # where the episode lies

    def __len__(self) -> int:
        return len(self.poses_R7)

    @property
    def in_reach(self) -> NDArray[np.bool_]:
        """[R], whether the object is in the arm's reach, not fallen off the table; True where its place is unknown."""
        if self.objects_R3 is None:
            return np.ones(len(self), dtype=bool)
        is_near_R: NDArray[np.bool_] = np.linalg.norm(self.objects_R3, axis=1) < REACH
        return is_near_R

    @property
    def closedness(self) -> Array:
        """The closedness [R] of the gripper, 0 open … 1 closed."""
        return self.poses_R7[:, 6]


def read_tracks(
    source: Path, *, camera: str, fps: float, scenes: int, seed: int, bad: BadEpisodes, advance: Advance | None = None
) -> list[Track]:
    """The tracks of up to `scenes` scenes, drawn from `seed`, in a fixed order; bad episodes are counted in `bad`.

    A scene is an episode and the short ones that show parts of it; it is taken whole or not at all.
    """
    found: defaultdict[str, list[EpisodeRef]] = defaultdict(list)
    for ref in find_episodes(source):
        try:
            found[_group(read_metadata(ref.folder, ref.name), ref)].append(ref)
        except EpisodeError as error:
            bad.add(error)
    chosen = sorted(np.random.default_rng(seed).permutation(len(found))[:scenes])
    names = sorted(found)
    tracks = []
    for ref in (ref for index in chosen for ref in found[names[index]]):
        try:
            tracks.append(_track(open_episode(ref, camera), fps))
        except EpisodeError as error:
            bad.add(error)
        if advance is not None:
            advance()
    if not tracks:
        raise InputError(f"no usable episode at {source}{bad.listed}")
    return tracks


def _track(episode: Episode, fps: float) -> Track:
    stride = episode.stride(fps)
    rows_R = np.arange(0, len(episode), stride)
    truth = episode.simulation()
    objects, held = truth.get("object_position"), truth.get("is_held")
    return Track(
        name=episode.name,
        group=_group(episode.metadata, episode.ref),
        branch=episode.ref.branch(simulation_of(episode.metadata).get("branch")),
        is_part=episode.is_part,
        fps=episode.fps / stride,
        poses_R7=episode.poses_N7[rows_R],
        objects_R3=None if objects is None else objects[rows_R],
        held_R=None if held is None else held[rows_R].astype(bool),
        frames=lambda: episode.frames(rows_R),
        ref=episode.ref,
    )


def _group(metadata: dict[str, Any], ref: EpisodeRef) -> str:
    """A name for the scene, equal for all episodes that show it; each episode of a real robot is its own scene."""
    facts = simulation_of(metadata)
    return (
        str(ref.folder.resolve())
        if facts.get("seed") is None
        else f"{facts.get('split', '')} seed {facts['seed']}".strip()
    )
