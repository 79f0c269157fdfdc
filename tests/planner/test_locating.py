from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from planner.locating import locate
from planner.problem import Problem, stack
from planner.seeing import HueView
from tests.planner.problems import problem
from tests.planner.worlds import HOME, UNSURE, PointWorld, moved
from tests.planner.worlds import located as keyframe_at
from vjepa2_ac.models.hand_location import Located, Observations

ERRORS = (0.08, 0.0, 0.01)  # [m] along x, of what is said in three hues: the picture's own misleads


class Misled(PointWorld):
    """Says that the hand is as far along x as the first number of what it sees."""

    def locate(self, latents_BND: Tensor, pose_B7: Tensor, goal_BND: Tensor, earlier: Any = None, **_: Any) -> Located:
        self.told.append(earlier)
        hand_B4 = torch.zeros(len(pose_B7), 4)
        hand_B4[:, 0] = latents_BND[:, 0, 0]
        return Located(hand_B4, torch.full((len(pose_B7),), UNSURE), torch.zeros(len(pose_B7)))


def seen(error: float) -> Tensor:
    latents_ND = PointWorld().latents(torch.tensor(HOME))
    latents_ND[:, 0] = error
    return latents_ND


def asked(*errors: float) -> Problem:
    """What is seen in as many hues as there are errors."""
    goal, turned = problem(moved(0.1, 0.0, 0.0)), [seen(error) for error in errors[1:]]
    views = tuple(HueView(latents_ND, goal.goal_ND) for latents_ND in turned)
    return Problem(latents_ND=seen(errors[0]), pose_7=goal.pose_7, goal_ND=goal.goal_ND, turned=views)


def located(*problems: Problem, world: PointWorld | None = None) -> Located:
    found = locate(world or Misled(), problems, *stack(problems, torch.device("cpu"))[:3])
    assert found is not None
    return found


def test_the_middle_of_what_is_said_in_all_hues_counts() -> None:
    assert located(asked(*ERRORS)).hand_B4[0].tolist() == pytest.approx([0.01, 0.0, 0.0, 0.0])
    assert located(asked(ERRORS[0])).hand_B4[0, 0] == pytest.approx(0.08)


def test_what_is_said_differently_in_other_hues_is_less_sure() -> None:
    alike, unlike = (located(asked(*errors)).uncertainty_B[0] for errors in (3 * (0.04,), ERRORS))
    assert alike == pytest.approx(UNSURE)
    apart = ((0.07**2 + 0.01**2) / 3) ** 0.5
    assert unlike == pytest.approx((UNSURE**2 + apart**2) ** 0.5)


def test_it_is_as_sure_as_in_the_middle_hue_and_closedness_is_no_length() -> None:
    class Doubting(Misled):
        def locate(self, *asked: Any, **more: Any) -> Located:
            error_B = super().locate(*asked, **more).hand_B4[:, 0]
            closed_B4 = torch.cat((torch.zeros(len(error_B), 3), error_B[:, None]), dim=1)
            return Located(closed_B4, error_B, None)

    assert located(asked(*ERRORS), world=Doubting()).uncertainty_B[0] == pytest.approx(0.01)


def test_a_keyframe_is_located_in_all_hues() -> None:
    class Farther(Misled):
        def locate(self, *asked: Any, keyframe: bool = False, **more: Any) -> Located:
            found = super().locate(*asked, **more)
            found.hand_B4[:, 0] += keyframe
            return found

    found = locate(Farther(), [asked(*ERRORS)], *stack([asked(*ERRORS)], torch.device("cpu"))[:3], keyframe=True)
    assert found is not None
    assert found.hand_B4[0, 0] == pytest.approx(1.01)


def test_a_goal_is_located_in_all_hues_where_its_keyframe_would_take_up_again_what_was_set_down() -> None:
    class TakesUpAgain(Misled):
        def locate(self, *asked: Any, keyframe: bool = False, **more: Any) -> Located:
            found = super().locate(*asked, **more)
            if keyframe:
                found.hand_B4[:] = torch.tensor([*HOME[:3], 1.0])
                found.uncertainty_B[:] = 9.0
            return found

    put = replace(asked(0.005, 0.0, 0.01), set_down_7=torch.tensor(HOME))
    problems = [asked(0.3), put]
    found = locate(TakesUpAgain(), problems, *stack(problems, torch.device("cpu"))[:3], keyframe=True)
    assert found is not None
    assert found.hand_B4[1].tolist() == pytest.approx([0.005, 0.0, 0.0, 0.0])
    assert found.uncertainty_B[1] == located(put).uncertainty_B[0]


def test_a_goal_that_is_no_keyframe_may_lie_where_something_was_set_down() -> None:
    there = moved(0.1, 0.0, -0.2, gripper=1.0)
    world, asked = PointWorld(located_B4=keyframe_at(there)), replace(problem(there), set_down_7=torch.tensor(there))
    assert torch.equal(located(asked, world=world).hand_B4, keyframe_at(there))


def test_each_request_of_a_batch_is_located_in_its_own_hues() -> None:
    found = located(asked(0.3), asked(*ERRORS), asked(0.05, 0.2))
    assert found.hand_B4[:, 0].tolist() == pytest.approx([0.3, 0.01, 0.125])


def test_earlier_observations_are_told_of_in_the_hue_in_which_they_were_seen() -> None:
    goal, world = problem(moved(0.1, 0.0, 0.0)), Misled()
    own, turned = (Observations(seen(error)[None], torch.tensor([HOME])) for error in (0.1, 0.2))
    view = HueView(goal.latents_ND, goal.goal_ND, turned)
    told = {"latents_ND": goal.latents_ND, "pose_7": goal.pose_7, "goal_ND": goal.goal_ND, "earlier": own}
    located(Problem(**told, turned=(view,)), world=world)
    assert world.told == [[own], [turned]]


def test_a_world_that_cannot_tell_is_asked_once() -> None:
    world, problems = PointWorld(), [asked(*ERRORS)]
    assert locate(world, problems, *stack(problems, world.device)[:3]) is None
    assert len(world.told) == 1


@pytest.mark.parametrize(
    ("aside", "above", "closed", "again"),
    [(0.02, 0.0, 0.4, True), (0.02, 0.05, 0.4, True), (0.04, 0.0, 0.4, False), (0.02, 0.0, 0.0, False)],
)
def test_what_was_set_down_is_not_taken_up_again(aside: float, above: float, closed: float, again: bool) -> None:
    set_down, end = moved(0.1, 0.0, -0.2), moved(0.1, 0.0, 0.1)
    keyframe = keyframe_at(moved(0.1, aside, above - 0.2, gripper=closed))
    world = PointWorld(located_B4=keyframe_at(end), keyframe=lambda pose_B7: keyframe.expand(len(pose_B7), -1))
    asked = [problem(end), replace(problem(end), set_down_7=torch.tensor(set_down).float())]
    found = locate(world, asked, *stack(asked, world.device)[:3], keyframe=True)
    assert found is not None
    assert torch.equal(found.hand_B4[0], keyframe[0])  # nothing has been set down
    assert torch.equal(found.hand_B4[1], (keyframe_at(end) if again else keyframe)[0])


def test_without_an_inverse_a_keyframe_is_all_there_is_to_go_to() -> None:
    there = moved(0.1, 0.0, -0.2, gripper=0.4)
    world = PointWorld(keyframe=lambda pose_B7: keyframe_at(there))
    asked = [replace(problem(moved(0.1, 0.0, 0.1)), set_down_7=torch.tensor(there).float())]
    found = locate(world, asked, *stack(asked, world.device)[:3], keyframe=True)
    assert found is not None
    assert torch.equal(found.hand_B4, keyframe_at(there))
