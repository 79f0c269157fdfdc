"""Masks are the recorded ones, id for id, from the same seeds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.parity.golden import Case, cases_of
from vjepa2_ac.errors import ConfigError
from vjepa2_ac.training.masks import MultiBlockConfig, MultiBlockMasks


def test_blocks_that_hide_everything_are_refused_and_do_not_try_for_ever() -> None:
    config = MultiBlockConfig(spatial_scale=(1.0, 1.0), temporal_scale=(1.0, 1.0), aspect_ratio=(1.0, 1.0))
    with pytest.raises(ConfigError, match="hide all of 2 x 4 x 4"):
        MultiBlockMasks((2, 4, 4), config)(1)


def test_blocks_that_may_hide_nothing_are_refused() -> None:
    for config in (
        MultiBlockConfig(),
        MultiBlockConfig(spatial_scale=(0.1, 1.0), aspect_ratio=(1.0, 1.0)),
        MultiBlockConfig(spatial_scale=(0.25, 0.25), aspect_ratio=(0.1, 1.0)),
        MultiBlockConfig(spatial_scale=(0.25, 0.25), aspect_ratio=(1.0, 10.0)),
    ):
        with pytest.raises(ConfigError, match="tokens may hide none"):
            MultiBlockMasks((2, 2, 2), config)


@pytest.mark.parametrize(("share", "steps"), [(0.7, 3), (0.1, 1)])
def test_a_share_of_the_steps_is_rounded_down_and_never_none(share: float, steps: int) -> None:
    config = MultiBlockConfig(blocks=1, spatial_scale=(0.25, 0.25), max_context_share=share)
    seen = MultiBlockMasks((5, 4, 4), config)(8, torch.Generator().manual_seed(0)).context_BK // 16
    assert set(seen.flatten().tolist()) == set(range(steps))


def test_more_than_is_visible_is_not_kept() -> None:
    config = MultiBlockConfig(blocks=2, spatial_scale=(0.25, 0.25), temporal_scale=(0.5, 0.5))
    every, most = (
        MultiBlockMasks((4, 4, 4), replace(config, max_keep=keep))(8, torch.Generator().manual_seed(0))
        for keep in (None, 1000)
    )
    assert torch.equal(most.context_BK, every.context_BK)


def masks_of(case: Case) -> MultiBlockMasks:
    k = case.config["kwargs"]
    (height, width), (patch_h, patch_w) = k["crop_size"], k["spatial_patch_size"]
    grid_THW = (k["num_frames"] // k["temporal_patch_size"], height // patch_h, width // patch_w)
    config = MultiBlockConfig(
        blocks=k["npred"],
        spatial_scale=tuple(k["spatial_pred_mask_scale"]),
        temporal_scale=tuple(k["temporal_pred_mask_scale"]),
        aspect_ratio=tuple(k["aspect_ratio"]),
        max_context_share=k["max_context_frames_ratio"],
        max_keep=k.get("max_keep"),
        targets_are_complement=k.get("full_complement", False),
        context_is_complement=k.get("pred_full_complement", False),
        swapped=k.get("inv_block", False),
    )
    return MultiBlockMasks(grid_THW, config)


@pytest.mark.parametrize("case", cases_of("masks"), ids=lambda case: case.name)
def test_ids(case: Case) -> None:
    masks = masks_of(case)
    generator = torch.Generator().manual_seed(case.config["seed"])
    for call in range(case.config["iters"]):
        drawn = masks(case.config["batch"], generator)
        assert drawn.context_BK.shape[1] == case.output("n_enc")[call]
        assert drawn.target_BK.shape[1] == case.output("n_pred")[call]
        if call < case.config["store"]:
            np.testing.assert_array_equal(drawn.context_BK, case.output(f"enc{call}"))
            np.testing.assert_array_equal(drawn.target_BK, case.output(f"pred{call}"))


@pytest.mark.parametrize("case", cases_of("masks"), ids=lambda case: case.name)
def test_block_sizes(case: Case) -> None:
    masks = masks_of(case)
    sizes = [masks.next_block_size() for _ in range(case.config["iters"])]
    np.testing.assert_array_equal(sizes, case.output("block_sizes"))
