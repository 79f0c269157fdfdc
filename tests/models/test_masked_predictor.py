from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.models.small import draw, masked_predictor
from vjepa2_ac.errors import ConfigError, InputError
from vjepa2_ac.models.build import build
from vjepa2_ac.models.masked_predictor import MaskedPredictor, MaskedPredictorConfig
from vjepa2_ac.models.positions import sincos_image

VISIBLE = torch.tensor([[3, 0, 17], [8, 31, 2]])
HIDDEN = torch.tensor([[9, 1, 30, 4], [0, 5, 3, 12]])


@torch.inference_mode()
def test_predictions_come_in_the_order_they_were_asked_for() -> None:
    model, context = masked_predictor(), draw(2, 3, 20)
    order = torch.tensor([2, 0, 3, 1])
    asked, reordered = model(context, VISIBLE, HIDDEN), model(context, VISIBLE, HIDDEN[:, order])
    torch.testing.assert_close(asked[:, order], reordered, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_the_order_of_visible_tokens_does_not_matter() -> None:
    model, context = masked_predictor(use_rope=False), draw(2, 3, 20)
    order = torch.tensor([2, 0, 1])
    again = model(context[:, order], VISIBLE[:, order], HIDDEN)
    torch.testing.assert_close(model(context, VISIBLE, HIDDEN), again, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_mask_tokens_are_counted_in_a_circle() -> None:
    model, context = masked_predictor(), draw(2, 3, 20)
    torch.testing.assert_close(model(context, VISIBLE, HIDDEN, 1), model(context, VISIBLE, HIDDEN, 4))
    assert not torch.allclose(model(context, VISIBLE, HIDDEN, 0), model(context, VISIBLE, HIDDEN, 1))
    # Unless told, it is the second, as in the released code.
    assert torch.equal(model(context, VISIBLE, HIDDEN), model(context, VISIBLE, HIDDEN, 1))


@torch.inference_mode()
def test_ids_are_read_as_if_pictures_were_square_as_released() -> None:
    square, wide = (masked_predictor(img_size=size) for size in ((32, 32), (32, 64)))
    context = draw(2, 3, 20)
    assert torch.equal(wide(context, VISIBLE, HIDDEN), square(context, VISIBLE, HIDDEN))


@torch.inference_mode()
def test_all_tokens_come_sorted_by_place() -> None:
    context = draw(2, 3, 20)
    everything = masked_predictor(return_all_tokens=True)(context, VISIBLE, HIDDEN)
    targets = masked_predictor()(context, VISIBLE, HIDDEN)
    places = torch.cat((VISIBLE, HIDDEN), dim=1).argsort(dim=1).argsort(dim=1)[:, 3:]
    torch.testing.assert_close(everything.gather(1, places.unsqueeze(-1).expand(-1, -1, 20)), targets)


def test_ids_that_do_not_fit_the_tokens_are_refused() -> None:
    with pytest.raises(InputError, match=r"expected int64 token ids \[2, 3\], got torch.int64 \[2, 4\]"):
        masked_predictor()(draw(2, 3, 20), HIDDEN, HIDDEN)
    with pytest.raises(InputError, match=r"token ids \[2, tokens\], got torch.float32 \[2, 4\]"):
        masked_predictor()(draw(2, 3, 20), VISIBLE, HIDDEN.float())


def test_mask_tokens_begin_at_zero_or_are_drawn_from_the_seed() -> None:
    shape: dict[str, Any] = {"embed_dim": 20, "predictor_embed_dim": 24, "depth": 1, "num_heads": 2}
    for zero in (True, False):
        config = MaskedPredictorConfig(**shape, zero_init_mask_tokens=zero)
        first, again = (torch.stack(list(build(MaskedPredictor, config, seed=3).mask_tokens)) for _ in range(2))
        assert torch.equal(first, again)
        assert not first.any() if zero else first.std().item() == pytest.approx(0.02, rel=0.2)
    assert MaskedPredictorConfig().zero_init_mask_tokens
    with pytest.raises(ConfigError, match="num_mask_tokens must be positive, got 0"):
        MaskedPredictorConfig(num_mask_tokens=0)


def test_without_rope_a_model_of_pictures_has_the_table_of_pictures() -> None:
    model = MaskedPredictor(MaskedPredictorConfig(img_size=(32, 48), num_frames=1, depth=1, use_rope=False))
    assert torch.equal(model.predictor_pos_embed, sincos_image(384, (2, 3)))
