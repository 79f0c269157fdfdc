"""The hand in a goal, located by every look at a scene and not by the last alone.

Between two looks of one episode the hand's move is known. So an inverse model can be asked about every pair of them
and told what it misses there, in this light and from this camera. What it misses is much alike where two questions
look alike to it: a Gaussian process over its last features, learned from those pairs, says what it will miss between
each look and the goal (Rasmussen and Williams, Gaussian Processes for Machine Learning, equations 2.25 and 2.26).
Corrected so, each look tells a place; generalised least squares weighs them by the process's covariance, so looks that
err together count together. The process's own variance, in units of what was missed between looks, says how far from
the truth that place must be expected to be. Whether the inverse knows such a view at all, a single look tells: in one
that it knows, the way to the goal and the way back are opposite, and from a picture to itself there is no way to go.

Legend: B requests, T looks, P = T x T pairs of them, N tokens of a frame, D latent width, F width of features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from vjepa2_ac.models.inverse_model import NUMBERS, InverseModel

EARLIER = 7  # looks beside the present one that a loop tells of, where nothing else is said
LENGTH = 0.2  # of the process, in features whose norm is 1 in the root mean square
NOISE = 0.1  # variance of what is missed by chance, beside the process's
LEAST, FAR = 0.02, 0.10  # [m] what is missed grows as this and the move together, as far as that
APART = 0.01  # [m] looks from places nearer to each other do not tell how much is missed: there is nothing to miss
USUAL, WORTH = 0.2, 8  # what is missed, as a share of that, where nobody has looked yet; counts as so many pairs
FAMILIAR = 0.03  # [m] by which the inverse contradicts itself, at most, in a view that it knows
STRANGER = 3.0  # a goal is missed by more than moments of the same minute are: so many times the variance


@dataclass(frozen=True, slots=True)
class Looks:
    """What was seen of one scene, and where the hand was, oldest first."""

    latents_TND: Tensor
    poses_T7: Tensor

    def __len__(self) -> int:
        return len(self.latents_TND)

    def then(self, latents_ND: Tensor, pose_7: Tensor) -> Looks:
        """These looks and one more."""
        return Looks(torch.cat((self.latents_TND, latents_ND[None])), torch.cat((self.poses_T7, pose_7[None])))


class Located(NamedTuple):
    """Hands in goals, and how surely."""

    hand_B4: Tensor  # x y z [m] in the robot's base frame, closedness
    uncertainty_B: Tensor  # [m] how far from the truth that place is expected to be, root mean square
    cycle_error_B: Tensor | None  # [m] by which its ways contradict each other, large in views it does not know


def at_first_sight(
    inverse: InverseModel, latents_BND: Tensor, pose_B7: Tensor, goal_BND: Tensor
) -> tuple[Tensor, Tensor]:
    """The hands in goals [B, 4] as the inverse says, and by how much it usually misses them [m]."""
    move_B4 = inverse(latents_BND, goal_BND, pose_B7)
    return pose_B7[:, NUMBERS] + move_B4, USUAL * (1 + NOISE) ** 0.5 * _sizes(move_B4)


def cycle_error(inverse: InverseModel, latents_BND: Tensor, pose_B7: Tensor, goal_BND: Tensor) -> Tensor:
    """By how much [B], in metres, the inverse contradicts itself: going to each goal and back, and staying at both.

    A hand that goes there and back ends where it began, and from a picture to itself it does not move; how far it does
    all the same is added up. That tells without any truth whether the inverse knows what it sees, as the
    forward-backward error does of trackers (Kalal, Mikolajczyk and Matas, Forward-Backward Error, 2010).
    """

    def way(before_BX: Tensor, after_BX: Tensor, pose_B7: Tensor) -> Tensor:
        return inverse.moves(inverse.features(before_BX, after_BX, pose_B7))

    seen_BX, goal_BX = inverse.see(latents_BND), inverse.see(goal_BND)
    there_B4 = way(seen_BX, goal_BX, pose_B7)
    arrived_B7 = pose_B7.clone()
    arrived_B7[:, NUMBERS] += there_B4
    round_trip_B4 = there_B4 + way(goal_BX, seen_BX, arrived_B7)
    wrong_3B4 = torch.stack((round_trip_B4, way(seen_BX, seen_BX, pose_B7), way(goal_BX, goal_BX, arrived_B7)))
    error_B: Tensor = wrong_3B4[..., :3].norm(dim=2).sum(dim=0)
    return error_B


def locate(inverse: InverseModel, looks: Looks, goal_ND: Tensor) -> tuple[Tensor, Tensor]:
    """The hand in the goal [4], x y z [m] and closedness, by one look or more, and its uncertainty [m]."""
    latents_TND, poses_T7, T = looks.latents_TND, looks.poses_T7, len(looks)
    before_P, after_P = torch.cartesian_prod(*2 * [torch.arange(T, device=goal_ND.device)]).unbind(1)
    seen_T, goal_1 = inverse.see(latents_TND), inverse.see(goal_ND[None])
    known_PF = inverse.features(seen_T[before_P], seen_T[after_P], poses_T7[before_P])
    asked_TF = inverse.features(seen_T, goal_1.expand_as(seen_T), poses_T7)
    hands_T4 = poses_T7[:, NUMBERS]
    size = torch.cat((known_PF, asked_TF)).square().sum(dim=1).mean().sqrt().clamp_min(1e-6)
    known = _Questions(known_PF.double() / size, inverse.moves(known_PF).double())
    asked = _Questions(asked_TF.double() / size, inverse.moves(asked_TF).double())
    missed_P4 = (hands_T4[after_P] - hands_T4[before_P]).double() - known.moves_A4
    known_PP = known.covariance(known) + known.noise
    weights_PT = torch.linalg.solve(known_PP, known.covariance(asked))
    places_T4 = hands_T4 + asked.moves_A4 + weights_PT.T @ missed_P4
    covariance_TT = asked.covariance(asked) + asked.noise - asked.covariance(known) @ weights_PT
    shares_T = torch.linalg.solve(covariance_TT, covariance_TT.new_ones(T))
    located_4: Tensor = (shares_T / shares_T.sum()) @ places_T4
    is_apart_P = (hands_T4[after_P] - hands_T4[before_P])[:, :3].norm(dim=1) > APART
    scale = _scale(known_PP[is_apart_P][:, is_apart_P], missed_P4[is_apart_P, :3])
    return located_4.float(), (STRANGER * scale / shares_T.sum()).sqrt().float()


def _scale(covariance_AA: Tensor, missed_A3: Tensor) -> Tensor:
    """The likeliest variance of what is missed, in units of the process's (equation 5.8), and of what is usual."""
    explained_A3 = torch.linalg.solve(covariance_AA, missed_A3)
    scale: Tensor = ((missed_A3 * explained_A3).sum() + WORTH * USUAL**2) / (len(missed_A3) + WORTH)
    return scale


@dataclass(frozen=True, slots=True)
class _Questions:
    """What the inverse was asked: its features, and the moves that it said."""

    features_AF: Tensor
    moves_A4: Tensor

    def covariance(self, others: _Questions) -> Tensor:
        """Of what is missed in these and in others [A, B]."""
        apart_AB = torch.cdist(self.features_AF, others.features_AF)
        return self.sizes[:, None] * others.sizes * torch.exp(-apart_AB.square() / (2 * LENGTH**2))

    @property
    def noise(self) -> Tensor:
        """Of what is missed by chance [A, A]."""
        return torch.diag(NOISE * self.sizes.square())

    @property
    def sizes(self) -> Tensor:
        return _sizes(self.moves_A4)


def _sizes(moves_A4: Tensor) -> Tensor:
    """How much is missed: the farther the move, the more."""
    sizes_A: Tensor = LEAST + moves_A4[:, :3].norm(dim=1).clamp_max(FAR)
    return sizes_A
