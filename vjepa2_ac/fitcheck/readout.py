"""What the encoder sees, in centimetres: hand, object and gripper read from its latents.

A linear and an attentive read-out learn from some of the scenes and are judged on the others. Where the hand is comes
from the robot; where the object is only a simulator knows. Beside them stands what one gets by always saying the mean.

Shapes: M frames to learn from, Q frames asked about, N tokens, D latent width, K targets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vjepa2_ac.data.episodes import Array
from vjepa2_ac.fitcheck import attentive, ridge
from vjepa2_ac.fitcheck.estimates import Estimate, NotMeasured, mean
from vjepa2_ac.fitcheck.footage import Footage
from vjepa2_ac.fitcheck.tracks import Track

WIDTHS = {"hand": 3, "object": 3, "closedness": 1}
SCALE = {"hand": 100.0, "object": 100.0, "closedness": 1.0}  # from [m] to [cm]; closedness is a share of the stroke
LEAST_SCENES = 4
JUDGED, VALIDATED = 0.3, 0.2  # shares of the scenes: to judge on; of the rest, to choose the ridge penalty on


@dataclass(frozen=True, slots=True)
class ReadOut:
    """Mean errors on scenes that were not learned from: hand and object [cm], closedness [stroke, 0 … 1]."""

    linear: dict[str, Estimate | NotMeasured]
    attentive: dict[str, Estimate | NotMeasured]
    mean: dict[str, Estimate | NotMeasured]
    learned_from: int  # frames
    judged_on: int

    @property
    def by_kind(self) -> dict[str, dict[str, Estimate | NotMeasured]]:
        """The errors of each way to read."""
        return {"linear": self.linear, "attentive": self.attentive, "mean": self.mean}


@dataclass(frozen=True, slots=True)
class Split:
    """Frames to learn from and to judge on, as (track, moment); the same for every model."""

    known: list[tuple[int, int]]
    asked: list[tuple[int, int]]
    validation: frozenset[str]  # of the known scenes


def split_frames(tracks: Sequence[Track], known: int, asked: int, rng: np.random.Generator) -> Split | NotMeasured:
    """Up to so many frames of either kind; no scene is on both sides."""
    scenes = [str(name) for name in rng.permutation(sorted({track.group for track in tracks}))]
    if len(scenes) < LEAST_SCENES:
        return NotMeasured(f"a read-out needs {LEAST_SCENES} scenes or more, got {len(scenes)}")
    judged = max(1, round(JUDGED * len(scenes)))
    validated = max(1, round(VALIDATED * (len(scenes) - judged)))

    def frames_of(names: list[str], limit: int) -> list[tuple[int, int]]:
        everything = [
            (which, moment)
            for which, track in enumerate(tracks)
            if track.group in set(names)
            for moment in range(len(track))
        ]
        return [everything[index] for index in sorted(rng.permutation(len(everything))[:limit])]

    return Split(
        frames_of(scenes[judged:], known),
        frames_of(scenes[:judged], asked),
        frozenset(scenes[judged : judged + validated]),
    )


Reader = Callable[[Tensor], dict[str, Array]]
"""Latents [Q, N, D] to quantities by name: hand [Q, 3] and object [Q, 3] in m, closedness [Q, 1]."""


def read_out(footage: Footage, split: Split, *, steps: int, seed: int, device: torch.device) -> tuple[ReadOut, Reader]:
    """Both read-outs of these latents, and the attentive one itself."""
    known_MND, asked_QND = (_latents(footage, frames).to(device) for frames in (split.known, split.asked))
    known_MK, names = _targets(footage.tracks, split.known)
    asked_QK, _ = _targets(footage.tracks, split.asked)
    centre_K, spread_K = known_MK.mean(axis=0), known_MK.std(axis=0) + 1e-6
    scaled_MK = torch.from_numpy((known_MK - centre_K) / spread_K).to(device)

    def in_units(answers_QK: Tensor) -> Array:
        return np.asarray(answers_QK.double().cpu().numpy() * spread_K + centre_K)

    known_groups = [footage.tracks[which].group for which, _ in split.known]
    linear_QK = in_units(ridge.predict(known_MND, scaled_MK, asked_QND, known_groups, set(split.validation)))
    learned = attentive.learn(known_MND, scaled_MK, [WIDTHS[name] for name in names], steps=steps, seed=seed)
    attentive_QK = in_units(attentive.read(learned, asked_QND))
    groups = [footage.tracks[which].group for which, _ in split.asked]

    def errors(answers_QK: Array) -> dict[str, Estimate | NotMeasured]:
        answers, truth = by_quantity(answers_QK, names), by_quantity(asked_QK, names)
        found: dict[str, Estimate | NotMeasured] = {
            name: mean(SCALE[name] * np.linalg.norm(answers[name] - truth[name], axis=1), groups) for name in names
        }
        missing = NotMeasured("the episodes do not say where the object is")
        return {name: found.get(name, missing) for name in WIDTHS}

    def reader(latents_QND: Tensor) -> dict[str, Array]:
        return by_quantity(in_units(attentive.read(learned, latents_QND.to(device))), names)

    found = ReadOut(
        linear=errors(linear_QK),
        attentive=errors(attentive_QK),
        mean=errors(np.broadcast_to(centre_K, asked_QK.shape)),
        learned_from=len(split.known),
        judged_on=len(split.asked),
    )
    return found, reader


def by_quantity(numbers_QK: Array, names: Sequence[str]) -> dict[str, Array]:
    """The columns that belong to each quantity."""
    ends = np.cumsum([WIDTHS[name] for name in names])
    return dict(zip(names, np.split(numbers_QK, ends[:-1], axis=1), strict=True))


def _latents(footage: Footage, frames: Sequence[tuple[int, int]]) -> Tensor:
    return torch.stack([footage.latents_RND[which][moment] for which, moment in frames])


def _targets(tracks: Sequence[Track], frames: Sequence[tuple[int, int]]) -> tuple[Array, list[str]]:
    """[M, K] numbers a frame, and the quantities they are; the object where every episode knows it."""
    poses_M7 = np.stack([tracks[which].poses_R7[moment] for which, moment in frames])
    columns, names = [poses_M7[:, :3]], ["hand"]
    objects = [track.objects_R3 for track in tracks if track.objects_R3 is not None]
    if len(objects) == len(tracks):
        columns.append(np.stack([objects[which][moment] for which, moment in frames]))
        names.append("object")
    return np.concatenate((*columns, poses_M7[:, 6:]), axis=1), [*names, "closedness"]
