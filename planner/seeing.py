"""Encoding a picture as it is and, where the hand is located in several hues, also with its hues turned.

Shapes: V hues, the picture's own first, N tokens, D width of a latent, T earlier observations, 7 numbers of a pose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import numpy as np
import torch
from torch import Tensor

from planner.protocols import World
from vjepa2_ac.errors import InputError
from vjepa2_ac.images import Frames, as_frames
from vjepa2_ac.jitter import Jitter
from vjepa2_ac.models.hand_location import Observations
from vjepa2_ac.poses import Array


class HueView(NamedTuple):
    """The latents of a request's pictures in one hue: what is seen now, what should be seen, what was seen earlier."""

    latents_ND: Tensor
    goal_ND: Tensor
    earlier: Observations | None = None


class Shown(TypedDict):
    """The fields of a `Request` that are made of pictures: in the pictures' own hue, and with their hues turned."""

    latents_ND: Tensor
    goal_ND: Tensor
    earlier: Observations | None
    turned: tuple[HueView, ...]


def see(world: World, frame: Frames, hues: int = 1) -> Tensor:
    """The latents [V, N, D] of one frame [H, W, 3] or [1, H, W, 3] uint8, in so many hues evenly around the circle.

    Pictures with turned hues are also moved a little aside (`Jitter.around`). Raises InputError for several frames:
    they would be taken for hues of one.
    """
    frame_1HW3 = as_frames(frame)
    if len(frame_1HW3) > 1:
        raise InputError(f"pictures are seen one at a time, [H, W, 3]; got {len(frame_1HW3)} of them in one array")
    own_1ND = world.encode(frame)
    if hues == 1:
        return own_1ND
    turned = [turn(frame_1HW3.cpu().numpy()) for turn in Jitter.around(hues)]
    return torch.cat((own_1ND, world.encode(np.concatenate(turned))))


def hue_views(
    now_VND: Tensor, goal_VND: Tensor, past: Sequence[Tensor] = (), poses: Sequence[Array] = ()
) -> list[HueView]:
    """A request's pictures, once for each hue; `past` are the earlier observations, with the hand in `poses` [7].

    Raises InputError where one picture was encoded in more hues than another.
    """
    hues = [len(latents_VND) for latents_VND in (now_VND, goal_VND, *past)]
    if len(set(hues)) > 1:
        raise InputError(f"pictures that belong together are seen in as many hues as each other, got {hues}")
    poses_T7 = torch.from_numpy(np.array(poses, dtype=np.float32))
    past_V = list(zip(*past, strict=True)) or hues[0] * [()]
    return [
        HueView(latents_ND, goal_ND, Observations(torch.stack(earlier), poses_T7) if earlier else None)
        for latents_ND, goal_ND, earlier in zip(now_VND, goal_VND, past_V, strict=True)
    ]


def shown(now_VND: Tensor, goal_VND: Tensor, past: Sequence[Tensor] = (), poses: Sequence[Array] = ()) -> Shown:
    """The fields of a `Request` that are made of pictures; see `hue_views` for the arguments."""
    own, *turned = hue_views(now_VND, goal_VND, past, poses)
    return Shown(latents_ND=own.latents_ND, goal_ND=own.goal_ND, earlier=own.earlier, turned=tuple(turned))
