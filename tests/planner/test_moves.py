from __future__ import annotations

import torch

from planner.moves import MoveSpace

EVERYTHING = MoveSpace(step_limit=0.05, turn_limit=0.2, gripper_limit=0.75)


def test_what_is_not_searched_stays_zero() -> None:
    actions_SHA = MoveSpace(step_limit=0.05).actions(torch.ones(2, 1, 3))
    assert actions_SHA[0, 0].tolist() == [1, 1, 1, 0, 0, 0, 0]


def test_moves_are_read_back_from_actions_within_their_limits() -> None:
    moves_HV = torch.tensor([[0.01, -0.02, 0.03, 0.1, -0.1, 0.2, 0.5]])
    torch.testing.assert_close(EVERYTHING.moves(EVERYTHING.actions(moves_HV)), moves_HV)
    torch.testing.assert_close(EVERYTHING.moves(torch.full((1, 7), 9.0))[0], EVERYTHING.limits)


def test_a_hand_may_descend_less_far_than_it_goes_any_other_way() -> None:
    space = MoveSpace(step_limit=0.05, descent_limit=0.02)
    far_S3 = torch.tensor([[9.0, 9.0, 9.0], [-9.0, -9.0, -9.0], [0.01, 0.0, -0.01]])
    held_S3 = torch.tensor([[0.05, 0.05, 0.05], [-0.05, -0.05, -0.02], [0.01, 0.0, -0.01]])
    torch.testing.assert_close(space.held(far_S3), held_S3)
    torch.testing.assert_close(space.moves(space.actions(far_S3)), held_S3)


def test_small_changes_of_the_gripper_count_as_none_before_they_are_priced() -> None:
    space = MoveSpace(step_limit=0.05, gripper_limit=0.75, gripper_deadband=0.25)
    moves_HV = torch.tensor([[0.01, 0, 0, 0.2], [0.01, 0, 0, -0.3]])
    assert space.actions(moves_HV)[:, 6].tolist() == torch.tensor([0.0, -0.3]).tolist()
