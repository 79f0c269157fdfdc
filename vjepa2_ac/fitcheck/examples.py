"""The examples for read-outs: frames with the true pose and object position, to learn from and to judge on.

By default both are drawn from the held-out episodes, from different scenes. Or the read-outs learn from a folder of
their own (`ReadOutEpisodes`) and are judged on all held-out scenes. A figure in centimetres needs the latter: a
read-out that has seen a few dozen scenes fails in a new one, whatever the encoder knows.

A frame whose object is out of the arm's reach (it fell off the table) is in neither: nothing shows where the object is.

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
from vjepa2_ac.fitcheck.encoded_tracks import EncodedTracks, Model
from vjepa2_ac.fitcheck.estimates import NotMeasured
from vjepa2_ac.fitcheck.tracks import Track, read_tracks
from vjepa2_ac.terminal import progress
from vjepa2_ac.training.latents import FrameEncoder, unpacked
from vjepa2_ac.training.processes import Processes
from vjepa2_ac.training.trajectories import SamplingConfig, Trajectory, cached_trajectories
from vjepa2_ac.world_model import WorldModel

LEAST_SCENES = 4
JUDGED, VALIDATED = 0.3, 0.2  # share of the scenes to judge on; share of the rest to choose the ridge penalty on


class Moment(NamedTuple):
    """One frame of a track."""

    track: int
    row: int


@dataclass(frozen=True, slots=True)
class Split:
    """The frames to learn from and the frames to judge on, of different scenes; the same for every model."""

    train: list[Moment]  # empty where read-outs learn from other episodes
    test: list[Moment]
    validation: frozenset[str]  # those of the scenes to learn from on which the ridge penalty is chosen


@dataclass(frozen=True, slots=True)
class Examples:
    """Latents of frames from one model, and the true poses and object positions in them."""

    latents_MND: Tensor  # in the type in which they were computed, on the CPU
    poses_M7: Array
    objects_M3: Array | None
    groups: list[str]  # the scene of each

    def __len__(self) -> int:
        return len(self.groups)

    def spread(self, limit: int) -> NDArray[np.int64]:
        """The indices of at most `limit` examples, evenly spread."""
        return np.linspace(0, len(self) - 1, min(limit, len(self))).round().astype(np.int64)

    def some(self, limit: int) -> Examples:
        """At most `limit` of the examples, evenly spread."""
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
class TrainingExamples:
    """The examples that read-outs learn from, and those of their scenes on which the linear one's penalty is chosen."""

    examples: Examples
    validation: frozenset[str]

    def can_choose(self, limit: int) -> bool:
        """Whether `spread(limit)` holds frames of validation scenes and of others, as the choice of a penalty needs."""
        is_validation = {self.examples.groups[index] in self.validation for index in self.examples.spread(limit)}
        return is_validation == {True, False}


def split_frames(
    tracks: Sequence[Track], train: int, test: int, rng: np.random.Generator, *, learn_elsewhere: bool = False
) -> Split | NotMeasured:
    """Up to `train` frames to learn from and `test` to judge on; no scene is on both sides.

    With `learn_elsewhere` all scenes are there to judge on.
    """
    scenes = [str(name) for name in rng.permutation(sorted({track.group for track in tracks}))]
    if learn_elsewhere:
        return Split([], draw_moments(tracks, scenes, test, rng), frozenset())
    if len(scenes) < LEAST_SCENES:
        return NotMeasured(f"a read-out needs {LEAST_SCENES} scenes or more to learn from and be judged on")
    judged = max(1, round(JUDGED * len(scenes)))
    return Split(
        draw_moments(tracks, scenes[judged:], train, rng),
        draw_moments(tracks, scenes[:judged], test, rng),
        validation_scenes(scenes[judged:]),
    )


def draw_moments(tracks: Sequence[Track], scenes: Sequence[str], limit: int, rng: np.random.Generator) -> list[Moment]:
    """Up to `limit` random moments of these scenes at which the object, if any, is in reach; in order."""
    wanted = set(scenes)
    everything = [
        Moment(which, int(row))
        for which, track in enumerate(tracks)
        if track.group in wanted
        for row in np.flatnonzero(track.in_reach)
    ]
    return [everything[index] for index in sorted(rng.permutation(len(everything))[:limit])]


def validation_scenes(scenes: Sequence[str]) -> frozenset[str]:
    """The scenes on which the ridge penalty is chosen: the first fifth of those to learn from, at least one."""
    return frozenset(scenes[: max(1, round(VALIDATED * len(scenes)))])


def examples(encoded: EncodedTracks, moments: Sequence[Moment]) -> Examples:
    """The examples at these moments of tracks that are encoded already."""
    latents_MND = torch.stack([encoded.latents_RND[which][row] for which, row in moments])
    return _examples(encoded.tracks, moments, latents_MND)


@dataclass(frozen=True, slots=True)
class ReadOutEpisodes:
    """A folder of episodes that only read-outs learn from; encoded once per encoder, and the latents kept on disk."""

    source: Path
    tracks: list[Track]
    moments: list[Moment]
    validation: frozenset[str]
    camera: str
    fps: float
    cache: Path  # of latents; the one that `train --cache` uses, so what was trained on is there already
    bad_episodes: int

    def seen_by(self, model: Model) -> TrainingExamples:
        """The chosen frames as this model encodes them; all moments of the episodes go into the cache."""
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
        return TrainingExamples(_examples(self.tracks, kept, self._latents(by_name, kept)), self.validation)

    def _latents(self, by_name: dict[str, Trajectory], moments: Sequence[Moment]) -> Tensor:
        rows: defaultdict[int, list[int]] = defaultdict(list)
        for which, row in moments:
            rows[which].append(row)
        found = [
            unpacked(by_name[self.tracks[which].name].read(np.array(each))["latents_TND"])
            for which, each in rows.items()
        ]
        return torch.cat(found)


def load_read_out_episodes(
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
) -> ReadOutEpisodes:
    """Up to `frames` frames of up to `scenes` scenes; InputError where one is held out or none can be used."""
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
    if not moments:
        raise InputError(f"read-outs cannot learn from {source}: in none of its frames the object is within reach")
    validation = validation_scenes([str(name) for name in rng.permutation(names)])
    return ReadOutEpisodes(source, tracks, moments, validation, camera, fps, cache, bad.limit)


def _examples(tracks: Sequence[Track], moments: Sequence[Moment], latents_MND: Tensor) -> Examples:
    """These moments with their latents and the truth; object positions only where all of their tracks have them."""
    objects = [tracks[which].objects_R3 for which, _ in moments]
    known = [rows[row] for rows, (_, row) in zip(objects, moments, strict=True) if rows is not None]
    return Examples(
        latents_MND,
        np.stack([tracks[which].poses_R7[row] for which, row in moments]),
        np.stack(known) if len(known) == len(moments) else None,
        [tracks[which].group for which, _ in moments],
    )
