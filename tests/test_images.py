from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from vjepa2_ac.errors import ConfigError, InputError
from vjepa2_ac.images import MEAN, STD, Preprocessing, RandomResizedCrop, as_frames, centred_box, denormalize, hub_views

WAYS = ["centre", "notebook", "droid", "hub"]


def frame(height: int, width: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("size", [(48, 48), (90, 160), (160, 90)])
def test_every_way_turns_any_frame_into_the_size_of_the_model(name: str, size: tuple[int, int]) -> None:
    preprocess = Preprocessing(name=name, img_size=(32, 32))
    assert preprocess(frame(*size)).shape == (1, 3, 32, 32)
    assert preprocess([frame(*size), frame(*size)]).shape == (2, 3, 32, 32)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1)])
@pytest.mark.parametrize("img_size", [(32, 8), (8, 32)])
def test_of_the_thinnest_frame_a_pixel_is_left(size: tuple[int, int], img_size: tuple[int, int]) -> None:
    assert Preprocessing(name="centre", img_size=img_size)(frame(*size)).shape == (1, 3, *img_size)


@pytest.mark.parametrize("name", WAYS)
def test_one_colour_keeps_its_value(name: str) -> None:
    video_B3HW = Preprocessing(name=name, img_size=(32, 32))(np.full((90, 160, 3), 51, np.uint8))
    expected_3 = (51 / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    torch.testing.assert_close(video_B3HW, expected_3.view(1, 3, 1, 1).expand_as(video_B3HW), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["centre", "notebook", "droid"])
def test_a_frame_of_the_right_size_is_only_normalised(name: str) -> None:
    original = frame(32, 32)
    video_B3HW = Preprocessing(name=name, img_size=(32, 32))(original)
    np.testing.assert_array_equal(denormalize(video_B3HW)[0].numpy(), original)


def test_tensors_and_arrays_are_prepared_alike() -> None:
    preprocess = Preprocessing(img_size=(32, 32))
    torch.testing.assert_close(preprocess(frame(90, 160)), preprocess(torch.from_numpy(frame(90, 160))), atol=0, rtol=0)


def test_a_picture_that_may_not_be_written_to_is_copied_and_others_are_not() -> None:
    picture = frame(8, 8)
    assert as_frames(picture).data_ptr() == picture.ctypes.data
    picture.flags.writeable = False
    taken = as_frames(picture)  # torch would warn of it, and write to it
    assert taken.data_ptr() != picture.ctypes.data
    np.testing.assert_array_equal(taken[0], picture)


def test_centre_keeps_the_shape_of_things_for_models_that_are_not_square() -> None:
    left_half_white = np.zeros((64, 200, 3), np.uint8)
    left_half_white[:, :100] = 255
    frames = denormalize(Preprocessing(img_size=(32, 64))(left_half_white))[0]
    assert frames.shape == (32, 64, 3)
    assert (frames[:, :31] == 255).all()
    assert (frames[:, 33:] == 0).all()


def test_only_the_antialiased_way_sees_what_is_finer_than_its_pixels() -> None:
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::4] = 255  # a quarter of the picture, and never where plain bilinear looks
    assert (denormalize(Preprocessing(name="notebook", img_size=(32, 32))(stripes)) == 0).all()
    assert (denormalize(Preprocessing(name="centre", img_size=(32, 32))(stripes)) > 40).all()


def test_the_droid_way_squashes_what_is_left_after_the_crop() -> None:
    box = centred_box(180, 320, (0.75, 1.35))
    assert (box.top, box.left, box.height, box.width) == (0, 38, 180, 243)


def test_views_move_along_the_long_side() -> None:
    wide = np.zeros((32, 96, 3), np.uint8)
    wide[:, :32], wide[:, 64:] = 0, 255
    left, _, right = hub_views(wide, 32, views=3)
    assert (denormalize(left) == 0).all()
    assert (denormalize(right) == 255).all()


def test_the_same_seeds_cut_the_same_window() -> None:
    crop = RandomResizedCrop(img_size=(32, 32))
    first, second = (crop(frame(90, 160), random.Random(7), np.random.RandomState(7)) for _ in range(2))
    torch.testing.assert_close(first, second, atol=0, rtol=0)


@pytest.mark.parametrize(
    ("frames", "complaint"),
    [
        (np.zeros((32, 32, 3), np.float32), "float32; expected uint8"),
        (np.zeros((32, 32), np.uint8), r"\[32, 32\]; expected"),
        (np.zeros((3, 32, 32), np.uint8), r"\[3, 32, 32\]; expected"),
        (np.zeros((32, 32, 4), np.uint8), "RGB"),
        (np.zeros((0, 32, 32, 3), np.uint8), "are no pixels"),
        ([], "are no pixels"),
        ([frame(32, 32), frame(32, 48)], "different shapes"),
        (None, "no pictures but 'None'"),
        ("now.png", "no pictures but 'now.png'"),
        ([frame(8, 8).astype(object)], "no pictures"),
    ],
)
def test_what_is_no_picture_is_refused_in_words(frames: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Preprocessing(img_size=(32, 32))(frames)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"name": "center"}, "centre, droid, hub, notebook"),
        ({"img_size": (0, 32)}, "height and width"),
        ({"name": "hub", "img_size": (32, 64)}, "squares"),
    ],
)
def test_a_preprocessing_that_cannot_be_is_refused(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Preprocessing(**values)
