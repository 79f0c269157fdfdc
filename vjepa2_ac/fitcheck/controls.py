"""Does the model use its actions? Its one-step error with false actions over that with true ones.

A model that ignores its actions has a ratio of 1. One that ignores only the gripper can still reach, so the gripper is
falsified separately, at the steps in which it really moves.

Shapes: B moments, A numbers of an action (7).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vjepa2_ac.data.episodes import Array
from vjepa2_ac.fitcheck.encoded_tracks import PIECE, EncodedTracks, Model, Segment, costs_of
from vjepa2_ac.fitcheck.estimates import Estimate, NotMeasured, ratio


@dataclass(frozen=True, slots=True)
class Controls:
    """Ratios of the one-step error with false actions to that with true ones."""

    shuffled: Estimate | NotMeasured  # every moment gets the action of another
    gripper_zeroed: Estimate | NotMeasured  # where the gripper moves, the action says that it rests


def controls(
    model: Model, encoded: EncodedTracks, moments: Sequence[Segment], transitions: Sequence[Segment], seed: int
) -> Controls:
    """Both ratios: with shuffled actions at `moments`, with the gripper zeroed at its `transitions`."""
    return Controls(
        shuffled=_falsified(model, encoded, moments, lambda actions_BA: derange(actions_BA, seed))
        if len(moments) > 1
        else NotMeasured("fewer than two moments"),
        gripper_zeroed=_falsified(model, encoded, transitions, without_gripper)
        if transitions
        else NotMeasured("the gripper never moves"),
    )


def derange(actions_BA: Array, seed: int) -> Array:
    """The actions in a random order in which none keeps its place."""
    order_B = np.random.default_rng(seed).permutation(len(actions_BA))
    deranged_BA = np.empty_like(actions_BA)
    deranged_BA[order_B] = actions_BA[np.roll(order_B, 1)]
    return deranged_BA


def without_gripper(actions_BA: Array) -> Array:
    """The actions with the gripper's number set to 0."""
    still_BA = actions_BA.copy()
    still_BA[:, 6] = 0.0
    return still_BA


def _falsified(
    model: Model, encoded: EncodedTracks, moments: Sequence[Segment], falsify: Callable[[Array], Array]
) -> Estimate:
    true_BA = np.concatenate([batch.actions_BHA[:, 0].numpy() for batch in encoded.batches(moments, 1)])
    both_BSA = torch.from_numpy(np.stack((true_BA, falsify(true_BA)), axis=1)).float()
    batches = encoded.batches(moments, 1)
    costs_BS = np.concatenate(
        [costs_of(model, batch, both_BSA[k * PIECE : (k + 1) * PIECE]) for k, batch in enumerate(batches)]
    )
    return ratio(costs_BS[:, 1], costs_BS[:, 0], encoded.groups(moments))
