"""Locating the hand in a goal: the median of the model's answers for the same pictures in several hues.

A network that locates objects has learned from objects of some colours, and errs differently where the same objects
have others. So it is asked again with all hues turned, by angles evenly around the circle, and the median of its
answers counts (predictions averaged over transformed inputs, as in Krizhevsky, Sutskever and Hinton, ImageNet
Classification with Deep Convolutional Neural Networks, 2012, section 4.1). How far the answers lie apart adds to the
error that must be expected.

A keyframe at which the hand would take up again what it has just set down is ignored: the hand is located in the goal
itself.

Shapes: B requests, C turns of the hues, V = 1 + C answers, N tokens, D width of a latent.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from planner.gripper import SAME
from planner.problem import Problem
from planner.protocols import World
from vjepa2_ac.models.hand_location import Located

AGAIN = 0.03  # [m] horizontally, from where something was set down: fingers that close nearer take it up again


def locate(
    world: World,
    problems: Sequence[Problem],
    latents_BND: Tensor,
    pose_B7: Tensor,
    goal_BND: Tensor,
    *,
    keyframe: bool = False,
) -> Located | None:
    """The hand in each problem's goal, or at the next keyframe before it; None from a world that cannot locate it."""
    earlier = [problem.earlier for problem in problems]
    located = world.locate(latents_BND, pose_B7, goal_BND, earlier, keyframe=keyframe)
    if located is None:
        return None
    hands, uncertainties = list(located.hand_B4), list(located.uncertainty_B)
    for b, problem in enumerate(problems):
        if problem.turned:
            turned = _located_turned(world, problem, pose_B7[b], keyframe=keyframe)
            hands[b], uncertainties[b] = _middle(hands[b], uncertainties[b], turned)
        if keyframe and _takes_up_again(hands[b], pose_B7[b], problem.set_down_7):
            itself = locate(world, [problem], latents_BND[b, None], pose_B7[b, None], goal_BND[b, None])
            if itself:
                hands[b], uncertainties[b] = itself.hand_B4[0], itself.uncertainty_B[0]
    return located._replace(hand_B4=torch.stack(hands), uncertainty_B=torch.stack(uncertainties))


def _located_turned(world: World, problem: Problem, pose_7: Tensor, *, keyframe: bool) -> Located:
    """The hand located in a problem's pictures with their hues turned, one answer for each turn."""
    latents_CND, goal_CND = (
        torch.stack([part.to(world.device) for part in parts])
        for parts in zip(*((view.latents_ND, view.goal_ND) for view in problem.turned), strict=True)
    )
    earlier = [view.earlier for view in problem.turned]
    located = world.locate(latents_CND, pose_7.expand(len(earlier), -1), goal_CND, earlier, keyframe=keyframe)
    assert located is not None  # this world has just located the hand in the pictures as they are
    return located


def _middle(hand_4: Tensor, uncertainty: Tensor, turned: Located) -> tuple[Tensor, Tensor]:
    """The median of all answers, number by number, and how far from the truth it is expected to be [m]."""
    hands_V4 = torch.cat((hand_4[None], turned.hand_B4))
    middle_4 = hands_V4.quantile(0.5, dim=0)
    apart = (hands_V4 - middle_4)[:, :3].square().sum(dim=1).mean().sqrt()
    return middle_4, torch.hypot(torch.cat((uncertainty[None], turned.uncertainty_B)).quantile(0.5), apart)


def _takes_up_again(hand_4: Tensor, pose_7: Tensor, set_down_7: Tensor | None) -> bool:
    """Whether fingers that go to a keyframe would close where they have let go of something."""
    if set_down_7 is None or hand_4[3] - pose_7[6] < SAME:
        return False
    return bool((hand_4[:2].cpu() - set_down_7[:2]).norm() < AGAIN)
