"""The hand in a goal, located by every look at a scene and not by the last alone.

Between two looks of one episode the hand's move is known. So an inverse model can be asked about every pair of them
and told what it misses there, in this light and from this camera. What it misses is much alike where two questions
look alike to it: a Gaussian process over its last features, learned from those pairs, says what it will miss between
each look and the goal (Rasmussen and Williams, Gaussian Processes for Machine Learning, equations 2.25 and 2.26).
Corrected so, each look tells a place; generalised least squares weighs them by the process's covariance, so looks that
err together count together.

Legend: T looks, P = T x T pairs of them, N tokens of a frame, D latent width, F width of features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vjepa2_ac.models.inverse_model import NUMBERS, InverseModel

EARLIER = 7  # looks beside the present one that a loop tells of, where nothing else is said
LENGTH = 0.35  # of the process, in features whose norm is 1 in the root mean square
NOISE = 0.1  # variance of what is missed by chance, beside the process's
LEAST, FAR = 0.02, 0.10  # [m] what is missed grows as this and the move together, as far as that


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


def locate(inverse: InverseModel, looks: Looks, goal_ND: Tensor) -> Tensor:
    """The hand in the goal [4], x y z [m] and closedness, by one look or more."""
    latents_TND, poses_T7, T = looks.latents_TND, looks.poses_T7, len(looks)
    before_P, after_P = torch.cartesian_prod(*2 * [torch.arange(T, device=goal_ND.device)]).unbind(1)
    known_PF = inverse.features(latents_TND[before_P], latents_TND[after_P], poses_T7[before_P])
    asked_TF = inverse.features(latents_TND, goal_ND.expand_as(latents_TND), poses_T7)
    hands_T4 = poses_T7[:, NUMBERS]
    size = torch.cat((known_PF, asked_TF)).square().sum(dim=1).mean().sqrt().clamp_min(1e-6)
    known = _Questions(known_PF.double() / size, inverse.moves(known_PF).double())
    asked = _Questions(asked_TF.double() / size, inverse.moves(asked_TF).double())
    missed_P4 = (hands_T4[after_P] - hands_T4[before_P]).double() - known.moves_A4
    weights_PT = torch.linalg.solve(known.covariance(known) + known.noise, known.covariance(asked))
    places_T4 = hands_T4 + asked.moves_A4 + weights_PT.T @ missed_P4
    covariance_TT = asked.covariance(asked) + asked.noise - asked.covariance(known) @ weights_PT
    shares_T = torch.linalg.solve(covariance_TT, covariance_TT.new_ones(T))
    located_4: Tensor = (shares_T / shares_T.sum()) @ places_T4
    return located_4.float()


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
        """How much is missed: the farther the move, the more."""
        sizes_A: Tensor = LEAST + self.moves_A4[:, :3].norm(dim=1).clamp_max(FAR)
        return sizes_A
