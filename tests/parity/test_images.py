"""Frames reach the encoder exactly as in the reference, for every released way of preparing them."""

from __future__ import annotations

import random
from dataclasses import astuple

import numpy as np
import pytest
import torch

from tests.parity.golden import Case, cases_of
from vjepa2_ac.images import Preprocessing, RandomResizedCrop, as_frames, hub_views

TOLERANCE = 1e-4
NOTEBOOK = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": False}
DROID = {"scale": (1.777, 1.777), "ratio": (0.75, 1.35), "flip": False}


@pytest.mark.parametrize("case", cases_of("preproc"), ids=lambda case: case.name)
def test_frames_are_prepared_as_in_the_reference(case: Case) -> None:
    if case.config["which"] == "eval":
        check_views(case)
    else:
        check_crop(case)


def check_views(case: Case) -> None:
    kwargs = case.config["kwargs"]
    views = kwargs.get("num_views_per_clip", 1)
    found = hub_views(case.input("frames"), kwargs["crop_size"], views)
    assert len(found) == views
    for number, view in enumerate(found):
        check(case, view, prefix="" if views == 1 else f"view{number}_")
    if views == 1:
        size = kwargs["crop_size"]
        check(case, Preprocessing(name="hub", img_size=(size, size))(case.input("frames")))


def check_crop(case: Case) -> None:
    kwargs, frames = case.config["kwargs"], case.input("frames")
    size = (kwargs["crop_size"], kwargs["crop_size"])
    settings = {
        "scale": tuple(kwargs["random_resize_scale"]),
        "ratio": tuple(kwargs["random_resize_aspect_ratio"]),
        "flip": kwargs["random_horizontal_flip"],
    }
    crop = RandomResizedCrop(img_size=size, **settings)
    check(case, crop(frames, *generators(case)))
    box = crop.box(*as_frames(frames).shape[1:3], *generators(case))
    assert astuple(box) == tuple(case.output("crop_ijhw"))
    if settings == NOTEBOOK:
        check(case, Preprocessing(name="notebook", img_size=size)(frames))
    if settings == DROID:
        check(case, Preprocessing(name="droid", img_size=size)(frames))


def generators(case: Case) -> tuple[random.Random, np.random.RandomState]:
    return random.Random(case.config["py_seed"]), np.random.RandomState(case.config["np_seed"])


def check(case: Case, video_T3HW: torch.Tensor, prefix: str = "") -> None:
    video_3THW = video_T3HW.movedim(0, 1)
    stride = case.config["stride"]
    assert list(video_3THW.shape) == case.output(f"{prefix}shape").tolist()
    np.testing.assert_allclose(
        video_3THW[..., ::stride, ::stride].numpy(), case.output(f"{prefix}y"), rtol=0, atol=TOLERANCE
    )
    flat = video_3THW.double().flatten(1)
    statistics = torch.stack((flat.mean(1), flat.std(1, correction=0), flat.amin(1), flat.amax(1)), dim=1)
    np.testing.assert_allclose(statistics.numpy(), case.output(f"{prefix}stats"), rtol=0, atol=TOLERANCE)
