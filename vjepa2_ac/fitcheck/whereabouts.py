"""Where imagined frames put the hand and the object, in centimetres, by applying the read-out by points to them.

A latent error means little for a robot. This says by how much the imagined hand misses the place that the real one
reached, beside the error of the same read-out on the real frame. Only scenes are used that the read-out has not
learned from.

Shapes: B segments, H steps, N tokens, D latent width, 3 of a position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vjepa2_ac.data.episodes import Array
from vjepa2_ac.fitcheck.encoded_tracks import PIECE, EncodedTracks, Model, Segment
from vjepa2_ac.fitcheck.estimates import Estimate, mean
from vjepa2_ac.fitcheck.readout import SCALE, Reader


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Mean read-out errors by quantity (hand, object [cm], closedness [stroke]); entry k - 1 belongs to k steps."""

    imagined: dict[str, list[Estimate]]
    real: dict[str, list[Estimate]]  # read from the frames themselves


def whereabouts(
    model: Model, encoded: EncodedTracks, segments: Sequence[Segment], horizon: int, reader: Reader
) -> Whereabouts:
    """The errors of the read-out in open-loop rollouts and in the real frames, against the truth of each step."""
    imagined: dict[str, list[Array]] = {}
    real: dict[str, list[Array]] = {}
    for piece, batch in enumerate(encoded.batches(segments, horizon)):
        rollout = model.rollout(batch.now, batch.poses_BT7[:, 0], batch.actions_BHA.unsqueeze(1))
        truth = _truth(encoded, segments[piece * PIECE :][:PIECE], horizon)
        for found, latents_BHND in ((imagined, rollout.latents_BSHND[:, 0]), (real, batch.later)):
            for name, answers in reader(latents_BHND.flatten(0, 1)).items():
                answers_BHC = answers.reshape(*latents_BHND.shape[:2], -1)
                error_BH = SCALE[name] * np.linalg.norm(answers_BHC - truth[name], axis=-1)
                found.setdefault(name, []).append(error_BH)
    groups = encoded.groups(segments)

    def by_step(found: dict[str, list[Array]]) -> dict[str, list[Estimate]]:
        return {name: [mean(error_B, groups) for error_B in np.concatenate(errors).T] for name, errors in found.items()}

    return Whereabouts(by_step(imagined), by_step(real))


def _truth(encoded: EncodedTracks, segments: Sequence[Segment], horizon: int) -> dict[str, Array]:
    """The true values after each step, [B, H, 3] or [B, H, 1], by quantity."""
    poses_BH7 = encoded.poses(segments, horizon)[:, 1:]
    truth = {"hand": poses_BH7[..., :3], "closedness": poses_BH7[..., 6:]}
    objects = [encoded.tracks[which].objects_R3 for which, _ in segments]
    known = [rows for rows in objects if rows is not None]
    if len(known) == len(segments):
        pairs = zip(known, segments, strict=True)
        truth["object"] = np.stack([rows[start + 1 : start + horizon + 1] for rows, (_, start) in pairs])
    return truth
