from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from planner.seeing import hue_views, see, shown
from tests.planner.worlds import HOME, PointWorld, moved
from vjepa2_ac.errors import InputError
from vjepa2_ac.images import Frames, as_frames
from vjepa2_ac.jitter import Jitter

FRAME = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


class Pixels(PointWorld):
    """Sees pixels as they are: each is a token."""

    def encode(self, frames: Frames) -> Tensor:
        return as_frames(frames).flatten(1, 2).float()


def test_a_picture_is_seen_as_it_is_and_with_its_hues_turned_by_even_parts_of_the_circle() -> None:
    seen_VND = see(Pixels(), FRAME, 3)
    third, two_thirds = (jitter(FRAME[None])[0] for jitter in Jitter.around(3))
    for latents_ND, frame in zip(seen_VND, (FRAME, third, two_thirds), strict=True):
        np.testing.assert_array_equal(latents_ND.numpy(), frame.reshape(-1, 3))


def test_in_its_own_hue_alone_a_picture_is_encoded_once() -> None:
    assert torch.equal(see(Pixels(), FRAME), Pixels().encode(FRAME))


@pytest.mark.parametrize("hues", [1, 3])
def test_several_pictures_are_not_taken_for_hues_of_one(hues: int) -> None:
    assert torch.equal(see(Pixels(), FRAME[None], hues), see(Pixels(), FRAME, hues))
    with pytest.raises(InputError, match=r"one at a time, .* got 2"):
        see(Pixels(), np.stack([FRAME, FRAME]), hues)


def test_every_hue_has_its_own_goal_and_its_own_earlier_observations() -> None:
    now, goal, before, first = torch.arange(4 * 2 * 3.0).reshape(4, 2, 1, 3)  # each in two hues
    poses = [moved(0.01, 0.0, 0.0), np.array(HOME)]
    for hue, view in enumerate(hue_views(now, goal, [first, before], poses)):
        assert torch.equal(view.latents_ND, now[hue])
        assert torch.equal(view.goal_ND, goal[hue])
        assert view.earlier is not None
        assert torch.equal(view.earlier.latents_TND, torch.stack([first[hue], before[hue]]))
        np.testing.assert_allclose(view.earlier.poses_T7, poses, atol=1e-6)
    assert [view.earlier for view in hue_views(now, goal)] == [None, None]


def test_a_request_shows_the_pictures_own_hue_and_beside_it_the_others() -> None:
    now, goal = torch.arange(2 * 3 * 2.0).reshape(2, 3, 1, 2)  # each in three hues
    told = shown(now, goal)
    assert torch.equal(told["latents_ND"], now[0])
    assert torch.equal(told["goal_ND"], goal[0])
    assert [view.latents_ND.tolist() for view in told["turned"]] == now[1:].tolist()


def test_pictures_seen_in_other_hues_than_each_other_are_refused() -> None:
    with pytest.raises(InputError, match=r"as many hues as each other, got \[3, 1\]"):
        hue_views(see(Pixels(), FRAME, 3), see(Pixels(), FRAME))
