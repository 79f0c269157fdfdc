"""Frames and the truth about them: what read-outs learn from and are judged on.

They are drawn from the held-out episodes, some scenes to learn from and the others to judge on; or the read-outs learn
from a folder of their own (`Lessons`) and are judged on everything held out, which is what a figure in centimetres
needs: a read-out that has seen a few dozen scenes fails at a new one whatever the encoder knows.

A frame whose object lies out of the arm's reach (it fell off the table) is in neither: nothing shows where it is.

Shapes: M frames, N tokens, D latent width, 7 numbers of a pose, 3 of a position.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vjepa2_ac.data.episodes import Array, BadEpisodes
from vjepa2_ac.data.windows import WindowConfig
from vjepa2_ac.errors import ConfigError, InputError
from vjepa2_ac.fitcheck.estimates import NotMeasured
from vjepa2_ac.fitcheck.footage import Footage, Model
from vjepa2_ac.fitcheck.tracks import Track, read_tracks
from vjepa2_ac.terminal import progress
from vjepa2_ac.training.latents import FrameEncoder, unpacked
from vjepa2_ac.training.processes import Processes
from vjepa2_ac.training.trajectories import SamplingConfig, Trajectory, cached_trajectories
from vjepa2_ac.world_model import WorldModel

LEAST_SCENES = 4
JUDGED, VALIDATED = 0.3, 0.2  # shares of the scenes: to judge on; of the rest, to choose the ridge penalty on


class Moment(NamedTuple):
    """One frame of a track."""

    track: int
    row: int


@dataclass(frozen=True, slots=True)
class Split:
    """Which frames to learn from and which to judge on; the same for every model."""

    known: list[Moment]  # empty where read-outs learn from other episodes
    asked: list[Moment]
    validation: frozenset[str]  # of the known scenes


@dataclass(frozen=True, slots=True)
class Examples:
    """Frames as one model sees them, and what was the case in them."""

    latents_MND: Tensor  # as they were computed, on the CPU
    poses_M7: Array
    objects_M3: Array | None
    groups: list[str]  # the scene of each

    def __len__(self) -> int:
        return len(self.groups)

    def spread(self, limit: int) -> NDArray[np.int64]:
        """Which of them are at most so many, evenly spread."""
        return np.linspace(0, len(self) - 1, min(limit, len(self))).round().astype(np.int64)

    def some(self, limit: int) -> Examples:
        """At most so many of them, evenly spread."""
        if len(self) <= limit:
            return self
        chosen = self.spread(limit)
        return Examples(
            self.latents_MND[torch.from_numpy(chosen)],
            self.poses_M7[chosen],
            None if self.objects_M3 is None else self.objects_M3[chosen],
            [self.groups[index] for index in chosen],
        )


@dataclass(frozen=True, slots=True)
class Known:
    """What read-outs learn from, and the scenes of it on which the linear one's penalty is chosen."""

    examples: Examples
    validation: frozenset[str]

    def can_choose(self, limit: int) -> bool:
        """Whether, of at most so many frames, some are of those scenes and some of others."""
        is_validation = {self.examples.groups[index] in self.validation for index in self.examples.spread(limit)}
        return is_validation == {True, False}


def split_frames(
    tracks: Sequence[Track], known: int, asked: int, rng: np.random.Generator, *, learn_elsewhere: bool = False
) -> Split | NotMeasured:
    """Up to so many frames of either kind; no scene is on both sides."""
    scenes = [str(name) for name in rng.permutation(sorted({track.group for track in tracks}))]
    if learn_elsewhere:
        return Split([], draw_moments(tracks, scenes, asked, rng), frozenset())
    if len(scenes) < LEAST_SCENES:
        return NotMeasured(f"a read-out needs {LEAST_SCENES} scenes or more to learn from and be judged on")
    judged = max(1, round(JUDGED * len(scenes)))
    return Split(
        draw_moments(tracks, scenes[judged:], known, rng),
        draw_moments(tracks, scenes[:judged], asked, rng),
        validation_scenes(scenes[judged:]),
    )


def draw_moments(tracks: Sequence[Track], scenes: Sequence[str], limit: int, rng: np.random.Generator) -> list[Moment]:
    """Up to so many moments of these scenes at which the object, if any, is in reach; in order."""
    wanted = set(scenes)
    everything = [
        Moment(which, int(row))
        for which, track in enumerate(tracks)
        if track.group in wanted
        for row in np.flatnonzero(track.in_reach)
    ]
    return [everything[index] for index in sorted(rng.permutation(len(everything))[:limit])]


def validation_scenes(scenes: Sequence[str]) -> frozenset[str]:
    """Some of the scenes to learn from, on which the ridge penalty is chosen."""
    return frozenset(scenes[: max(1, round(VALIDATED * len(scenes)))])


def examples(footage: Footage, moments: Sequence[Moment]) -> Examples:
    """These frames of what has been encoded already."""
    latents_MND = torch.stack([footage.latents_RND[which][row] for which, row in moments])
    return _examples(footage.tracks, moments, latents_MND)


@dataclass(frozen=True, slots=True)
class Lessons:
    """Episodes that read-outs learn from and nothing else is asked about; encoded once per encoder, kept on disk."""

    source: Path
    tracks: list[Track]
    moments: list[Moment]
    validation: frozenset[str]
    camera: str
    fps: float
    cache: Path  # the folder of latents; the one `train --cache` uses, so that what was trained on is there already
    bad_episodes: int

    def seen_by(self, model: Model) -> Known:
        """The chosen frames as this model encodes them; every frame of the episodes goes to the cache."""
        if not isinstance(model, WorldModel):
            raise ConfigError("only a world model's latents can be cached")
        encoder = FrameEncoder(
            model.encoder,
            model.preprocessing,
            model.device,
            "bf16" if model.dtype == torch.bfloat16 else "fp32",
            normalize=model.normalize_latents,
        )
        trajectories = cached_trajectories(
            [track.ref for track in self.tracks if track.ref is not None],
            WindowConfig(cameras=(self.camera,), fps=self.fps),
            SamplingConfig(bad_episodes=self.bad_episodes),
            encoder,
            self.cache,
            Processes(0, 1, model.device),
        )
        by_name = {trajectory.name: trajectory for trajectory in trajectories}
        kept = [moment for moment in self.moments if self.tracks[moment.track].name in by_name]
        return Known(_examples(self.tracks, kept, self._latents(by_name, kept)), self.validation)

    def _latents(self, by_name: dict[str, Trajectory], moments: Sequence[Moment]) -> Tensor:
        rows: defaultdict[int, list[int]] = defaultdict(list)
        for which, row in moments:
            rows[which].append(row)
        found = [
            unpacked(by_name[self.tracks[which].name].read(np.array(each))["latents_TND"])
            for which, each in rows.items()
        ]
        return torch.cat(found)


def read_lessons(
    source: Path,
    *,
    held_out: Sequence[Track],
    camera: str,
    fps: float,
    scenes: int,
    frames: int,
    cache: Path,
    bad: BadEpisodes,
    seed: int,
) -> Lessons:
    """Up to `frames` frames of up to `scenes` scenes; InputError where one of them is held out."""
    with progress("reading what read-outs learn from", None, unit="episodes") as advance:
        tracks = read_tracks(source, camera=camera, fps=fps, scenes=scenes, seed=seed, bad=bad, advance=advance)
    names = sorted({track.group for track in tracks})
    if common := sorted({track.group for track in held_out} & set(names)):
        raise InputError(
            f"{len(common)} of the held-out scenes are in {source} too, {common[0]!r} among them: "
            "what a read-out has learned from cannot judge it"
        )
    if len(names) < LEAST_SCENES:
        raise InputError(f"read-outs need {LEAST_SCENES} scenes or more to learn from; {source} has {len(names)}")
    rng = np.random.default_rng((seed, 7))
    moments = draw_moments(tracks, names, frames, rng)
    validation = validation_scenes([str(name) for name in rng.permutation(names)])
    return Lessons(source, tracks, moments, validation, camera, fps, cache, bad.limit)


def _examples(tracks: Sequence[Track], moments: Sequence[Moment], latents_MND: Tensor) -> Examples:
    """The truth about these moments beside their latents; the object's where every track knows it."""
    objects = [tracks[which].objects_R3 for which, _ in moments]
    known = [rows[row] for rows, (_, row) in zip(objects, moments, strict=True) if rows is not None]
    return Examples(
        latents_MND,
        np.stack([tracks[which].poses_R7[row] for which, row in moments]),
        np.stack(known) if len(known) == len(moments) else None,
        [tracks[which].group for which, _ in moments],
    )
