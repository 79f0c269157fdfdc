"""A hand located by every observation: what an inverse misses between known poses is put right on the way to the goal.

In this small world a latent is one token that says where the hand is, and the inverse reads it with mistakes we choose.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from vjepa2_ac.models.hand_location import Observations, at_first_sight, cycle_error, locate
from vjepa2_ac.models.inverse_model import NUMBERS, InverseModel, InverseModelConfig
from vjepa2_ac.poses import Array

GOAL = (0.50, 0.00, 0.20, 1.0)  # x y z [m], closedness
PATH = ((0.46, 0.03, 0.28, 0.0), (0.47, -0.02, 0.25, 0.0), (0.51, 0.01, 0.24, 0.6), (0.53, 0.01, 0.21, 0.0))
UNITS = torch.tensor([0.1, 0.1, 0.1, 1.0])  # [m], [stroke] by which questions look different
ALWAYS = 3.0  # what all questions have in common, beside it


class Reading(InverseModel):
    """Reads the move between two frames off them, and says something else: `says` of moves [B, 4]."""

    def __init__(self, says: Callable[[Tensor], Tensor]) -> None:
        super().__init__(InverseModelConfig(grid=(1, 1), embed_dim=4))
        self.says = says

    def encode_frames(self, latents_BND: Tensor) -> Tensor:
        return latents_BND[:, 0]

    def features(self, seen_BX: Tensor, goal_BX: Tensor, pose_B7: Tensor) -> Tensor:
        moves_B4 = (goal_BX - seen_BX) / UNITS
        return torch.cat((moves_B4, torch.full_like(moves_B4[:, :1], ALWAYS)), dim=1)

    def moves(self, features_BF: Tensor) -> Tensor:
        return self.says(features_BF[:, :4] * UNITS)


def frames(hands: Tensor) -> Tensor:
    return hands.unsqueeze(-2)


def observed(*hands: tuple[float, ...]) -> Observations:
    hands_T4 = torch.tensor(hands)
    poses_T7 = torch.zeros(len(hands), 7)
    poses_T7[:, NUMBERS] = hands_T4
    return Observations(frames(hands_T4), poses_T7)


def missed(says: Callable[[Tensor], Tensor], seen: Observations, goal: tuple[float, ...] = GOAL) -> Tensor:
    """What is located, beside the truth [4]."""
    return locate(Reading(says), seen, frames(torch.tensor(goal)))[0] - torch.tensor(goal)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_an_inverse_that_is_right_is_left_alone(count: int) -> None:
    torch.testing.assert_close(missed(lambda moves: moves, observed(*PATH[:count])), torch.zeros(4), atol=1e-6, rtol=0)


def test_a_mistake_that_is_always_made_is_found_out_by_the_first_observation_compared_with_itself() -> None:
    def says(moves: Tensor) -> Tensor:
        return moves + torch.tensor([0.02, 0.0, -0.01, 0.2])

    near = (0.5, 0.0, 0.21, 1.0)
    assert missed(says, observed(near))[:3].norm() < 0.15 * 0.0224  # [m]


def test_moves_said_too_short_are_put_right_by_those_that_were_made() -> None:
    def says(moves: Tensor) -> Tensor:
        return 0.5 * moves

    around = ((0.46, 0.03, 0.22, 0.0), (0.53, -0.02, 0.24, 0.0), (0.51, 0.02, 0.17, 0.0), (0.47, -0.02, 0.21, 0.0))
    goal = (0.50, 0.0, 0.20, 0.0)
    alone, together = (float(missed(says, observed(*path), goal)[:3].norm()) for path in (around[-1:], around))
    assert together < 0.5 * alone


def test_the_closedness_is_put_right_as_the_place_is() -> None:
    def says(moves: Tensor) -> Tensor:
        return moves * torch.tensor([1.0, 1.0, 1.0, 0.5])

    closing = ((0.5, 0.0, 0.2, 0.0), (0.5, 0.0, 0.2, 0.9), (0.5, 0.0, 0.22, 0.1))
    alone, together = (abs(float(missed(says, observed(*path))[3])) for path in (closing[-1:], closing))
    assert together < 0.5 * alone


def test_what_is_located_goes_with_the_poses() -> None:
    inverse, seen, by = Reading(lambda moves: moves.sin() + 0.01), observed(*PATH), torch.zeros(7)
    by[list(NUMBERS)] = torch.tensor([0.1, -0.2, 0.05, 0.0])
    here, unsure = locate(inverse, seen, frames(torch.tensor(GOAL)))
    there, as_unsure = locate(inverse, Observations(seen.latents_TND, seen.poses_T7 + by), frames(torch.tensor(GOAL)))
    torch.testing.assert_close(there - here, by[list(NUMBERS)], atol=1e-6, rtol=0)
    torch.testing.assert_close(as_unsure, unsure)


def test_an_inverse_that_misses_much_between_observations_is_less_sure_of_the_goal() -> None:
    def unsure(wrong: float, count: int = 4) -> float:
        says = Reading(lambda moves: moves + wrong * torch.cat((moves[:, 1:3], moves[:, :1], moves[:, 3:]), dim=1))
        return float(locate(says, observed(*PATH[:count]), frames(torch.tensor(GOAL)))[1])

    assert 0.001 < unsure(0.0) < unsure(0.5) < unsure(1.0) < 0.1  # [m]
    assert unsure(0.0) < unsure(0.0, count=1)


def test_looking_on_from_one_place_makes_nobody_surer() -> None:
    def unsure(count: int) -> float:
        says = Reading(lambda moves: 0.5 * moves)
        return float(locate(says, observed(*PATH[:1] * count), frames(torch.tensor(GOAL)))[1])

    assert unsure(8) > 0.9 * unsure(1)


def test_at_first_sight_a_long_move_is_less_sure_than_a_short_one() -> None:
    hands_B4, goals_B4 = torch.tensor([PATH[0], PATH[3]]), torch.tensor([GOAL, GOAL])
    poses_B7 = torch.zeros(2, 7)
    poses_B7[:, NUMBERS] = hands_B4
    _, (far, near) = at_first_sight(Reading(lambda moves: moves), frames(hands_B4), poses_B7, frames(goals_B4))
    assert 0.005 < near < far < 0.05
    lengths = (torch.tensor(GOAL) - hands_B4)[:, :3].norm(dim=1)
    torch.testing.assert_close(torch.stack((far, near)), 0.2 * 1.1**0.5 * (0.02 + lengths.clamp(max=0.10)))


@pytest.mark.parametrize(("wrong", "expected"), [(0.0, 0.0), (0.03, 0.06 + 0.03 + 0.03)])
def test_a_mistake_made_on_the_way_there_and_again_on_the_way_back_and_where_it_stays_shows_in_the_cycle(
    wrong: float, expected: float
) -> None:
    says = Reading(lambda moves: moves + wrong * torch.tensor([0.0, 1.0, 0.0, 3.0]))  # closedness is no length
    hands_B4, goals_B4 = torch.tensor([PATH[0], PATH[3]]), torch.tensor([GOAL, GOAL])
    found_B = cycle_error(says, frames(hands_B4), observed(PATH[0], PATH[3]).poses_T7, frames(goals_B4))
    torch.testing.assert_close(found_B, torch.full((2,), expected), atol=1e-6, rtol=0)


def test_a_way_from_a_picture_to_itself_is_a_mistake() -> None:
    says = Reading(lambda moves: moves + torch.tensor([0.0, 0.02, 0.0, 0.0]) * (moves.norm(dim=1, keepdim=True) < 1e-6))
    there = observed(PATH[0])
    found_B = cycle_error(says, there.latents_TND, there.poses_T7, frames(torch.tensor([GOAL])))
    torch.testing.assert_close(found_B, torch.tensor([0.04]), atol=1e-6, rtol=0)


def test_the_way_back_is_asked_from_where_the_way_there_ended() -> None:
    class Remembering(Reading):
        def features(self, seen_B: Tensor, goal_B: Tensor, pose_B7: Tensor) -> Tensor:
            asked.append(pose_B7[0, NUMBERS].tolist())
            return super().features(seen_B, goal_B, pose_B7)

    asked: list[list[float]] = []
    seen = observed(PATH[0])
    cycle_error(Remembering(lambda moves: moves), seen.latents_TND, seen.poses_T7, frames(torch.tensor([GOAL])))
    assert asked == [pytest.approx(PATH[0]), pytest.approx(GOAL), pytest.approx(PATH[0]), pytest.approx(GOAL)]


def test_one_observation_made_three_times_counts_once() -> None:
    def says(moves: Tensor) -> Tensor:
        """1 cm too far along x on the way up to the goal, and right between observations."""
        ahead = moves[:, :1].sign() * (moves[:, 2:3] > 0.5)
        return moves + 0.01 * ahead * torch.tensor([1.0, 0.0, 0.0, 0.0])

    before, after, goal = (0.2, 0.0, 0.2, 0.0), (0.8, 0.0, 0.2, 0.0), (0.5, 0.0, 0.9, 0.0)
    assert float(missed(says, observed(before), goal)[0]) == pytest.approx(0.01, abs=1e-3)
    assert abs(float(missed(says, observed(before, before, before, after), goal)[0])) < 0.001


def test_place_and_doubt_are_those_of_the_equations() -> None:
    """Written once more in numpy, with a goal farther than what is missed grows and two observations from nearly
    one place."""

    def says(moves: Tensor) -> Tensor:
        return 0.8 * moves + 0.01 * moves[:, [1, 2, 0, 3]].sign()

    def sizes(moves_A4: Array) -> Array:
        return 0.02 + np.minimum(np.linalg.norm(moves_A4[:, :3], axis=1), 0.10)

    hands_T4, goal_4 = np.array([*PATH, (0.535, 0.01, 0.21, 0.9)]), np.array([0.70, 0.0, 0.2, 1.0])
    pairs = [(before, after) for before in range(5) for after in range(5)]
    moves_Q4 = np.array([hands_T4[after] - hands_T4[before] for before, after in pairs] + [*(goal_4 - hands_T4)])
    said_Q4 = says(torch.from_numpy(moves_Q4)).numpy()
    features_QF = np.c_[moves_Q4 / UNITS.numpy(), np.full(len(moves_Q4), ALWAYS)]
    features_QF /= np.sqrt(np.square(features_QF).sum(axis=1).mean())
    apart_QQ = np.linalg.norm(features_QF[:, None] - features_QF, axis=-1)
    alike_QQ = np.outer(sizes(said_Q4), sizes(said_Q4)) * np.exp(-(apart_QQ**2) / (2 * 0.2**2))
    full_QQ = alike_QQ + 0.1 * np.diag(sizes(said_Q4) ** 2)
    known, asked = slice(0, 25), slice(25, 30)
    error_P4, weights_PT = (moves_Q4 - said_Q4)[known], np.linalg.solve(full_QQ[known, known], alike_QQ[known, asked])
    shares_T = np.linalg.solve(full_QQ[asked, asked] - alike_QQ[asked, known] @ weights_PT, np.ones(5))
    place_4 = shares_T / shares_T.sum() @ (hands_T4 + said_Q4[asked] + weights_PT.T @ error_P4)
    far = [p for p in range(25) if np.linalg.norm(moves_Q4[p, :3]) > 0.01]
    explained = (error_P4[far, :3] * np.linalg.solve(full_QQ[np.ix_(far, far)], error_P4[far, :3])).sum()
    scale = (explained + 8 * 0.2**2) / (len(far) + 8)

    found_4, unsure = locate(Reading(says), observed(*hands_T4.tolist()), frames(torch.tensor(goal_4).float()))
    np.testing.assert_allclose(found_4, place_4, atol=1e-4)
    assert float(unsure) == pytest.approx(np.sqrt(3 * scale / shares_T.sum()), rel=1e-3)


def test_observations_and_one_more() -> None:
    seen = observed(*PATH[:2])
    more = seen.then(frames(torch.tensor(PATH[2])), observed(PATH[2]).poses_T7[0])
    assert len(more) == 3
    torch.testing.assert_close(more.latents_TND, observed(*PATH[:3]).latents_TND)
    torch.testing.assert_close(more.poses_T7, observed(*PATH[:3]).poses_T7)
