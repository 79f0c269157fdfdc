"""The hand in a goal, located from all observations of a scene instead of from the last alone.

These are the present one and earlier ones of the episode. Between two observations, the hand's move is known. So an
inverse model can be asked about every pair of them, which shows its error in this light and from this camera. Its
errors are similar where two pairs look alike to it: a Gaussian process over its last features, learned from the pairs
of observations, predicts its error between each observation and the goal (Rasmussen and Williams, Gaussian Processes
for Machine Learning, equations 2.25 and 2.26). So corrected, each observation gives a place of the hand; generalised
least squares weighs these places by the process's covariance, so observations that err together count together. The
process's own variance, in units of the errors between observations, tells how far from the truth that place must be
expected to be.

Whether the inverse knows such a view at all, a single observation tells: in a view that it knows, the move to the goal
and the move back are opposite, and from a picture to itself there is none.

Legend: B requests, T observations, P = T x T pairs of them, N tokens of a frame, D latent width, F width of features;
in `_Pairs`, A and B pairs of frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from vjepa2_ac.models.inverse_model import NUMBERS, InverseModel

EARLIER_OBSERVATIONS = 7  # beside the present one, that a control loop uses by default
LENGTH = 0.2  # length scale of the process, over features whose norm is 1 in the root mean square
NOISE = 0.1  # variance of errors that are independent, beside the process's
MIN_SIZE, MAX_MOVE = 0.02, 0.10  # [m]; errors grow with MIN_SIZE + the length of the move, which counts up to MAX_MOVE
APART = 0.01  # [m] between observations; nearer ones do not tell how large errors are: there is no move to miss
PRIOR_ERROR, PRIOR_PAIRS = 0.2, 8  # prior of errors, as a share of MIN_SIZE plus move, and as how many pairs it counts
FAMILIAR = 0.03  # [m], the largest cycle error in a view that the inverse knows
GOAL_VARIANCE_FACTOR = 3.0  # on the variance, because a goal is missed by more than observations of the same minute are


@dataclass(frozen=True, slots=True)
class Observations:
    """Observations of one scene, oldest first: latents, and the pose of the hand."""

    latents_TND: Tensor
    poses_T7: Tensor

    def __len__(self) -> int:
        return len(self.latents_TND)

    def then(self, latents_ND: Tensor, pose_7: Tensor) -> Observations:
        """These observations and one more."""
        return Observations(torch.cat((self.latents_TND, latents_ND[None])), torch.cat((self.poses_T7, pose_7[None])))


class Located(NamedTuple):
    """Located hands, and how certain their places are."""

    hand_B4: Tensor  # x y z [m] in the robot's base frame, closedness
    uncertainty_B: Tensor  # [m] how far from the truth that place is expected to be, root mean square
    cycle_error_B: Tensor | None  # [m], see `cycle_error`; large in views that the inverse does not know


def at_first_sight(
    inverse: InverseModel, latents_BND: Tensor, pose_B7: Tensor, goal_BND: Tensor
) -> tuple[Tensor, Tensor]:
    """The hands in goals [B, 4], from one observation each, and by how much they are usually missed [B], in metres."""
    move_B4 = inverse(latents_BND, goal_BND, pose_B7)
    return pose_B7[:, NUMBERS] + move_B4, PRIOR_ERROR * (1 + NOISE) ** 0.5 * _sizes(move_B4)


def cycle_error(inverse: InverseModel, latents_BND: Tensor, pose_B7: Tensor, goal_BND: Tensor) -> Tensor:
    """By how much [B], in metres, the inverse contradicts itself: going to each goal and back, and staying at both.

    A hand that goes there and back ends where it began, and from a picture to itself it does not move; the distances by
    which the inverse predicts otherwise are added up. Without knowing the truth, this tells whether the inverse knows
    such a view, as the forward-backward error does for trackers (Kalal, Mikolajczyk and Matas, Forward-Backward Error,
    2010).
    """

    def way(before_BX: Tensor, after_BX: Tensor, pose_B7: Tensor) -> Tensor:
        return inverse.moves(inverse.features(before_BX, after_BX, pose_B7))

    seen_BX, goal_BX = inverse.encode_frames(latents_BND), inverse.encode_frames(goal_BND)
    there_B4 = way(seen_BX, goal_BX, pose_B7)
    arrived_B7 = pose_B7.clone()
    arrived_B7[:, NUMBERS] += there_B4
    round_trip_B4 = there_B4 + way(goal_BX, seen_BX, arrived_B7)
    wrong_3B4 = torch.stack((round_trip_B4, way(seen_BX, seen_BX, pose_B7), way(goal_BX, goal_BX, arrived_B7)))
    error_B: Tensor = wrong_3B4[..., :3].norm(dim=2).sum(dim=0)
    return error_B


def locate(inverse: InverseModel, observations: Observations, goal_ND: Tensor) -> tuple[Tensor, Tensor]:
    """The hand in the goal [4], x y z [m] and closedness, from one observation or more, and its uncertainty [m]."""
    latents_TND, poses_T7, T = observations.latents_TND, observations.poses_T7, len(observations)
    before_P, after_P = torch.cartesian_prod(*2 * [torch.arange(T, device=goal_ND.device)]).unbind(1)
    seen_T, goal_1 = inverse.encode_frames(latents_TND), inverse.encode_frames(goal_ND[None])
    known_PF = inverse.features(seen_T[before_P], seen_T[after_P], poses_T7[before_P])
    asked_TF = inverse.features(seen_T, goal_1.expand_as(seen_T), poses_T7)
    hands_T4 = poses_T7[:, NUMBERS]
    size = torch.cat((known_PF, asked_TF)).square().sum(dim=1).mean().sqrt().clamp_min(1e-6)
    known = _Pairs(known_PF.double() / size, inverse.moves(known_PF).double())
    asked = _Pairs(asked_TF.double() / size, inverse.moves(asked_TF).double())
    error_P4 = (hands_T4[after_P] - hands_T4[before_P]).double() - known.moves_A4
    known_PP = known.covariance(known) + known.noise
    weights_PT = torch.linalg.solve(known_PP, known.covariance(asked))
    places_T4 = hands_T4 + asked.moves_A4 + weights_PT.T @ error_P4
    covariance_TT = asked.covariance(asked) + asked.noise - asked.covariance(known) @ weights_PT
    shares_T = torch.linalg.solve(covariance_TT, covariance_TT.new_ones(T))
    located_4: Tensor = (shares_T / shares_T.sum()) @ places_T4
    is_apart_P = (hands_T4[after_P] - hands_T4[before_P])[:, :3].norm(dim=1) > APART
    scale = _scale(known_PP[is_apart_P][:, is_apart_P], error_P4[is_apart_P, :3])
    return located_4.float(), (GOAL_VARIANCE_FACTOR * scale / shares_T.sum()).sqrt().float()


def _scale(covariance_AA: Tensor, error_A3: Tensor) -> Tensor:
    """The likeliest variance of errors, in units of the process's (equation 5.8), mixed with the usual one."""
    explained_A3 = torch.linalg.solve(covariance_AA, error_A3)
    scale: Tensor = ((error_A3 * explained_A3).sum() + PRIOR_PAIRS * PRIOR_ERROR**2) / (len(error_A3) + PRIOR_PAIRS)
    return scale


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Pairs of frames that the inverse was asked about: its features, and the moves that it predicted."""

    features_AF: Tensor
    moves_A4: Tensor

    def covariance(self, others: _Pairs) -> Tensor:
        """The covariance [A, B] of the errors in these pairs with those in others."""
        apart_AB = torch.cdist(self.features_AF, others.features_AF)
        return self.sizes[:, None] * others.sizes * torch.exp(-apart_AB.square() / (2 * LENGTH**2))

    @property
    def noise(self) -> Tensor:
        """The covariance [A, A] of independent errors."""
        return torch.diag(NOISE * self.sizes.square())

    @property
    def sizes(self) -> Tensor:
        return _sizes(self.moves_A4)


def _sizes(moves_A4: Tensor) -> Tensor:
    """How large errors are expected to be [A], up to a common scale: the farther the move, the larger."""
    sizes_A: Tensor = MIN_SIZE + moves_A4[:, :3].norm(dim=1).clamp_max(MAX_MOVE)
    return sizes_A
