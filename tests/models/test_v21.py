from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.models.small import draw, lively
from vjepa2_ac.errors import ConfigError, InputError
from vjepa2_ac.models.build import build
from vjepa2_ac.models.encoder_v21 import EncoderV21, EncoderV21Config, stretched
from vjepa2_ac.models.masked_predictor_v21 import MaskedPredictorV21, MaskedPredictorV21Config
from vjepa2_ac.models.rope import Grid

VISIBLE, HIDDEN = torch.tensor([[9, 2, 4]]), torch.tensor([[7, 0]])


def encoder(**changes: Any) -> EncoderV21:
    shape: dict[str, Any] = {"img_size": (32, 32), "patch_size": 8, "embed_dim": 24, "depth": 12, "num_heads": 2}
    return lively(EncoderV21(EncoderV21Config(**(shape | {"mlp_ratio": 2.0} | changes))))


@torch.inference_mode()
def test_levels_joined_are_the_levels_asked_for_one_by_one() -> None:
    model, video = encoder(), draw(1, 3, 2, 32, 32)
    levels = model(video, out_layers=[2, 5, 8, 11])
    torch.testing.assert_close(model(video, hierarchical=True), torch.cat(levels, dim=-1))
    torch.testing.assert_close(model(video), levels[-1])


@torch.inference_mode()
def test_a_picture_is_not_a_clip_of_one_picture() -> None:
    model, picture = encoder(), draw(1, 3, 1, 32, 32)
    assert model(picture).shape == model(picture.repeat(1, 1, 2, 1, 1)).shape == (1, 16, 24)
    assert not torch.allclose(model(picture), model(picture.repeat(1, 1, 2, 1, 1)), atol=0.1)


@torch.inference_mode()
def test_a_mask_of_everything_in_another_order_reorders_the_tokens() -> None:
    model, video = encoder(), draw(1, 3, 2, 24, 32)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0)).unsqueeze(0)
    torch.testing.assert_close(model(video, order), model(video)[:, order[0]], atol=1e-5, rtol=0)


def test_positions_are_stretched_to_the_grid_of_the_pretraining_picture() -> None:
    grid = stretched(Grid(2, 24, 24), patch_size=16)
    assert (grid.height - 1) * grid.height_scale == pytest.approx(15)
    assert stretched(Grid(1, 1, 4), patch_size=16).height_scale == 15  # a single row, at 0 whatever the scale
    assert stretched(Grid(1, 4, 1), patch_size=16).width_scale == 15


def test_a_depth_without_levels_and_a_level_without_norm_are_refused() -> None:
    with pytest.raises(ConfigError, match="depth must be one of 12, 24, 40, 48, got 32"):
        EncoderV21Config(depth=32)
    with pytest.raises(InputError, match=r"must be among \[2, 5, 8, 11\], got \[3\]"):
        encoder()(torch.zeros(1, 3, 2, 32, 32), out_layers=[3])
    with pytest.raises(InputError, match=r"got \[\]"):
        encoder()(torch.zeros(1, 3, 2, 32, 32), out_layers=[])
    for count in (0, 5):
        with pytest.raises(ConfigError, match=f"n_output_distillation must be 1 to 4, got {count}"):
            EncoderV21Config(n_output_distillation=count)


@pytest.mark.parametrize(
    ("depth", "levels"),
    [(12, (2, 5, 8, 11)), (24, (5, 11, 17, 23)), (40, (9, 19, 29, 39)), (48, (11, 23, 37, 47))],
)
def test_levels_lie_where_the_released_norms_are(depth: int, levels: tuple[int, ...]) -> None:
    assert EncoderV21Config(depth=depth).levels == levels


@pytest.mark.parametrize(
    ("model", "config"),
    [
        (EncoderV21, EncoderV21Config(embed_dim=24, depth=12, num_heads=2)),
        (MaskedPredictorV21, MaskedPredictorV21Config(embed_dim=24, predictor_embed_dim=24, depth=1, num_heads=2)),
    ],
)
def test_what_tells_pictures_from_clips_is_drawn_from_the_seed_next_to_nothing(model: Any, config: Any) -> None:
    first, again = (build(model, config, seed=3) for _ in range(2))
    for name in ("img_mod_embed", "video_mod_embed"):
        assert torch.equal(getattr(first, name), getattr(again, name))
        assert 2e-7 < getattr(first, name).std() < 5e-6


def test_released_encoders_stretch_positions_and_released_predictors_do_not() -> None:
    assert EncoderV21Config().interpolate_rope
    assert not MaskedPredictorV21Config().interpolate_rope


def test_a_model_without_pictures_has_nothing_for_them() -> None:
    names = {name.split(".")[0] for name in encoder(img_temporal_dim_size=None).state_dict()}
    assert names == {"patch_embed", "blocks", "norms_block"}


def predictor(**changes: Any) -> MaskedPredictorV21:
    shape: dict[str, Any] = {"img_size": (32, 32), "patch_size": 8, "embed_dim": 24, "predictor_embed_dim": 24}
    return lively(MaskedPredictorV21(MaskedPredictorV21Config(**(shape | {"depth": 2, "num_heads": 2} | changes))))


@torch.inference_mode()
def test_the_predictor_answers_in_the_orders_it_was_given() -> None:
    model, context = predictor(), draw(1, 3, 96)
    predicted, seen = model(context, VISIBLE, HIDDEN)
    flipped, seen_flipped = model(context.flip(1), VISIBLE.flip(1), HIDDEN.flip(1))
    torch.testing.assert_close(predicted.flip(1), flipped, atol=1e-5, rtol=0)
    torch.testing.assert_close(seen.flip(1), seen_flipped, atol=1e-5, rtol=0)
    assert not torch.allclose(model(context, VISIBLE, HIDDEN, "image")[0], predicted)
    with pytest.raises(InputError, match="'video' or 'image', got 'audio'"):
        model(context, VISIBLE, HIDDEN, "audio")  # type: ignore[arg-type]


@torch.inference_mode()
def test_mask_tokens_are_counted_in_a_circle_and_the_second_is_taken_unless_told() -> None:
    model, context = predictor(num_mask_tokens=3), draw(1, 3, 96)
    first, second, fifth = (model(context, VISIBLE, HIDDEN, mask_index=index)[0] for index in (0, 1, 4))
    assert torch.equal(fifth, second)
    assert torch.equal(model(context, VISIBLE, HIDDEN)[0], second)
    assert not torch.allclose(first, second)


def test_mask_tokens_of_the_predictor_begin_at_zero_or_are_drawn() -> None:
    shape: dict[str, Any] = {"embed_dim": 24, "predictor_embed_dim": 24, "depth": 1, "num_heads": 2}
    zeros, drawn = (
        build(MaskedPredictorV21, MaskedPredictorV21Config(**shape, zero_init_mask_tokens=zero)).mask_tokens
        for zero in (True, False)
    )
    assert not any(token.any() for token in zeros)
    assert all(token.any() for token in drawn)


def test_a_teacher_of_another_width_is_answered_in_its_width() -> None:
    joined = predictor(teacher_embed_dim=160)(draw(1, 3, 96), VISIBLE, HIDDEN)
    alone = predictor(n_output_distillation=1, teacher_embed_dim=40)(draw(1, 3, 24), VISIBLE, HIDDEN)
    assert [part.shape for part in (*joined, *alone)] == [(1, 2, 160), (1, 3, 160), (1, 2, 40), (1, 3, 40)]


@torch.inference_mode()
def test_gated_predictors_join_levels_by_the_same_activation() -> None:
    model, context = predictor(use_silu=True), draw(1, 3, 96)
    assert isinstance(model.predictor_embed, nn.Sequential)
    wide, _, narrow = model.predictor_embed
    torch.testing.assert_close(model.predictor_embed(context), narrow(F.silu(wide(context))))


def test_ids_that_do_not_fit_the_predictors_tokens_are_refused() -> None:
    with pytest.raises(InputError, match=r"expected int64 token ids \[1, 3\], got torch.int64 \[1, 2\]"):
        predictor()(draw(1, 3, 96), HIDDEN, HIDDEN)
    with pytest.raises(InputError, match=r"expected int64 token ids \[1, tokens\], got torch.int64 \[2, 2\]"):
        predictor()(draw(1, 3, 96), VISIBLE, HIDDEN.repeat(2, 1))


@pytest.mark.parametrize("changes", [{"modality_embedding": False}, {"img_temporal_dim_size": None}], ids=str)
def test_a_predictor_that_does_not_tell_pictures_from_clips_has_nothing_to_tell_them_by(changes: Any) -> None:
    model, context = predictor(**changes), draw(1, 3, 96)
    assert not any("mod_embed" in name for name in model.state_dict())
    assert torch.equal(model(context, VISIBLE, HIDDEN, "image")[0], model(context, VISIBLE, HIDDEN, "video")[0])
