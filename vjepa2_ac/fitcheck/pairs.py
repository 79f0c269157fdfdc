"""Counterfactual pairs: from one state the gripper once opened and once closed. Can the model tell which was which?

Both commands are imagined from the same frame and compared with both real outcomes. An outcome is ranked right when
the command that led to it costs less than the other. Separation is how far apart the two imagined futures are, divided
by how far apart the real ones are: the ranking may be right and the difference still too faint for a search to find.

Shapes: P pairs, H steps, T = H + 1 moments, N tokens, D latent width; 2 is the two of a pair.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vjepa2_ac.data.episodes import Array
from vjepa2_ac.fitcheck.encoded_tracks import EncodedTracks, Model, Segment, distance
from vjepa2_ac.fitcheck.estimates import Estimate, mean, ratio
from vjepa2_ac.fitcheck.ranking import GRIPPER_MOVES
from vjepa2_ac.fitcheck.tracks import Track

PIECE = 4


@dataclass(frozen=True, slots=True)
class Pairs:
    """How well pairs are told apart; entry k - 1 of each list belongs to k steps after the two parted."""

    ranked_right: list[Estimate]  # share of outcomes
    separation: list[Estimate]  # imagined / real
    imagined: list[Estimate]  # mean |difference| of normalised latents
    real: list[Estimate]


def find_pairs(tracks: Sequence[Track], limit: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Up to `limit` pairs of tracks that left the same state and ended with the gripper at another closedness.

    Where something keeps the fingers from moving, both commands end alike, and a model has nothing to tell apart.
    """
    found = [pair for pair in parted(tracks) if not ends_alike(tracks, pair)]
    return [found[index] for index in sorted(rng.permutation(len(found))[:limit])]


def parted(tracks: Sequence[Track]) -> list[tuple[int, int]]:
    """A pair of tracks for each state that more than one left: the first two of them."""
    siblings: defaultdict[str, list[int]] = defaultdict(list)
    for which, track in enumerate(tracks):
        if track.branch is not None and len(track) > 1:
            siblings[track.branch].append(which)
    return [(group[0], group[1]) for _, group in sorted(siblings.items()) if len(group) > 1]


def ends_alike(tracks: Sequence[Track], pair: tuple[int, int]) -> bool:
    """Whether, at the last moment that both tracks have, their grippers are less than GRIPPER_MOVES apart."""
    first, second = (tracks[which].closedness for which in pair)
    end = min(len(first), len(second)) - 1
    return bool(abs(first[end] - second[end]) < GRIPPER_MOVES)


def judge_pairs(model: Model, encoded: EncodedTracks, pairs: Sequence[tuple[int, int]], horizon: int) -> Pairs:
    """The answers on these pairs, over as many steps as the shortest of them has, at most `horizon`."""
    steps = min(horizon, *(len(encoded.tracks[which]) - 1 for pair in pairs for which in pair))
    pieces = [pairs[start : start + PIECE] for start in range(0, len(pairs), PIECE)]
    rows = [_distances(model, encoded, piece, steps) for piece in pieces]
    own_P2H, other_P2H, imagined_PH, real_PH = (np.concatenate(part) for part in zip(*rows, strict=True))
    right_PH = (own_P2H < other_P2H).mean(axis=1) + 0.5 * (own_P2H == other_P2H).mean(axis=1)
    groups = [encoded.tracks[first].group for first, _ in pairs]
    return Pairs(
        ranked_right=[mean(right_PH[:, k], groups) for k in range(steps)],
        separation=[ratio(imagined_PH[:, k], real_PH[:, k], groups) for k in range(steps)],
        imagined=[mean(imagined_PH[:, k], groups) for k in range(steps)],
        real=[mean(real_PH[:, k], groups) for k in range(steps)],
    )


def _distances(
    model: Model, encoded: EncodedTracks, pairs: Sequence[tuple[int, int]], steps: int
) -> tuple[Array, Array, Array, Array]:
    """Distances of each outcome to what its own and the other command is imagined to lead to, [P, 2, H] each.

    Then those between the two imagined outcomes and between the two real ones, [P, H] each.
    """
    first, second = (encoded.batch([Segment(pair[side], 0) for pair in pairs], steps) for side in (0, 1))
    actions_P2HA = torch.stack((first.actions_BHA, second.actions_BHA), dim=1)
    # Both from one frame and pose, or the model might tell them apart by how their videos were compressed.
    imagined_P2HND = model.rollout(first.now, first.poses_BT7[:, 0], actions_P2HA).latents_BSHND.cpu()
    real_P2HND = torch.stack((first.later, second.later), dim=1)
    return (
        distance(imagined_P2HND, real_P2HND),
        distance(imagined_P2HND.flip(1), real_P2HND),
        distance(imagined_P2HND[:, 0], imagined_P2HND[:, 1]),
        distance(real_P2HND[:, 0], real_P2HND[:, 1]),
    )
