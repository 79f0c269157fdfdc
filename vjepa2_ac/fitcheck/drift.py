"""How far imagined frames drift from the real ones, relative to the simplest prediction: copying the last frame.

*Open loop*: the model sees one frame, then only recorded actions and the poses they add up to. *Teacher-forced*: it
predicts one step, having seen k real frames. A ratio of 1 is no better than copying; 0 is perfect.

Shapes: B segments, H steps, T = H + 1 moments, N tokens, D latent width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vjepa2_ac.data.episodes import Array
from vjepa2_ac.fitcheck.encoded_tracks import Batch, EncodedTracks, Model, Segment, distance
from vjepa2_ac.fitcheck.estimates import Estimate, mean, ratio
from vjepa2_ac.world_model import History


@dataclass(frozen=True, slots=True)
class Drift:
    """Errors of imagined frames; entry k - 1 belongs to k steps (open loop) or k frames seen (teacher-forced)."""

    open_loop: list[Estimate]  # error / error of copying the only frame seen
    teacher_forced: list[Estimate]  # error / error of copying the last frame seen
    open_loop_error: list[Estimate]  # mean |difference| of normalised latents
    copy_error: list[Estimate]


def drift(model: Model, encoded: EncodedTracks, segments: Sequence[Segment], horizon: int) -> Drift:
    """The errors over `segments` of `horizon` steps."""
    rows = [_errors(model, batch) for batch in encoded.batches(segments, horizon)]
    imagined_BH, copied_BH, forced_BH, still_BH = (np.concatenate(part) for part in zip(*rows, strict=True))
    groups, steps = encoded.groups(segments), range(horizon)
    return Drift(
        open_loop=[ratio(imagined_BH[:, k], copied_BH[:, k], groups) for k in steps],
        teacher_forced=[ratio(forced_BH[:, k], still_BH[:, k], groups) for k in steps],
        open_loop_error=[mean(imagined_BH[:, k], groups) for k in steps],
        copy_error=[mean(copied_BH[:, k], groups) for k in steps],
    )


def _errors(model: Model, batch: Batch) -> tuple[Array, Array, Array, Array]:
    """Errors [B, H] of open loop, copying the first frame, teacher forcing, and copying the frame before."""
    rollout = model.rollout(batch.now, batch.poses_BT7[:, 0], batch.actions_BHA.unsqueeze(1))
    forced_BHND = torch.stack([_next(model, batch, t) for t in range(batch.actions_BHA.shape[1])], dim=1)
    later_BHND = batch.later
    return (
        distance(rollout.latents_BSHND[:, 0], later_BHND),
        distance(batch.now.unsqueeze(1), later_BHND),
        distance(forced_BHND, later_BHND),
        distance(batch.latents_BTND[:, :-1], later_BHND),
    )


def _next(model: Model, batch: Batch, t: int) -> Tensor:
    """The frame after moment t, predicted from all that was really seen up to it."""
    seen, before = batch.latents_BTND[:, t], slice(0, t)
    past = History(batch.latents_BTND[:, before], batch.poses_BT7[:, before], batch.actions_BHA[:, before])
    action_B11A = batch.actions_BHA[:, t, None, None]
    return model.rollout(seen, batch.poses_BT7[:, t], action_B11A, past if t else None).last[:, 0]
