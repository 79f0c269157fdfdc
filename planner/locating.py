"""Where a hand is to go, as the model locates it: the middle of what it says of the same pictures in several hues.

A network that locates things has learned from things of some colours, and errs differently where the same things have
others. So it is asked once more with all hues turned, by angles evenly around the circle, and the middle of its answers
counts (predictions averaged over transformed inputs, as in Krizhevsky, Sutskever and Hinton, ImageNet Classification
with Deep Convolutional Neural Networks, 2012, section 4.1). By how much they differ, they must be expected to miss too.

Shapes: B requests, C turns of the hues, V = 1 + C answers, N tokens, D width of a latent.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from planner.problem import Problem
from planner.protocols import World
from vjepa2_ac.models.looks import Located


def locate(
    world: World,
    problems: Sequence[Problem],
    latents_BND: Tensor,
    pose_B7: Tensor,
    goal_BND: Tensor,
    *,
    keyframe: bool = False,
) -> Located | None:
    """The hand in each problem's goal, or at the next keyframe before it; None from a world that cannot tell."""
    looks = [problem.looks for problem in problems]
    located = world.locate(latents_BND, pose_B7, goal_BND, looks, keyframe=keyframe)
    if located is None or not any(problem.turned for problem in problems):
        return located
    found = []
    for b, problem in enumerate(problems):
        hand_14, uncertainty_1 = located.hand_B4[b : b + 1], located.uncertainty_B[b : b + 1]
        turned = _turned(world, problem, pose_B7[b], keyframe=keyframe)
        hands = [hand_14, turned.hand_B4] if turned else [hand_14]
        unsure = [uncertainty_1, turned.uncertainty_B] if turned else [uncertainty_1]
        found.append(_middle(torch.cat(hands), torch.cat(unsure)))
    hands_B, uncertainties_B = zip(*found, strict=True)
    return located._replace(hand_B4=torch.stack(hands_B), uncertainty_B=torch.stack(uncertainties_B))


def _turned(world: World, problem: Problem, pose_7: Tensor, *, keyframe: bool) -> Located | None:
    """What is said of a problem's pictures with their hues turned, one answer for each turn."""
    if not problem.turned:
        return None
    latents_CND, goal_CND = (
        torch.stack([part.to(world.device) for part in parts])
        for parts in zip(*((sight.latents_ND, sight.goal_ND) for sight in problem.turned), strict=True)
    )
    looks = [sight.looks for sight in problem.turned]
    return world.locate(latents_CND, pose_7.expand(len(looks), -1), goal_CND, looks, keyframe=keyframe)


def _middle(hands_V4: Tensor, uncertainty_V: Tensor) -> tuple[Tensor, Tensor]:
    """The median of answers, number by number, and how far from the truth it is expected to be."""
    hand_4 = hands_V4.quantile(0.5, dim=0)
    apart = (hands_V4 - hand_4)[:, :3].square().sum(dim=1).mean().sqrt()
    return hand_4, torch.hypot(uncertainty_V.quantile(0.5), apart)
