from __future__ import annotations

import re

import pytest
import torch

from tests.models.small import draw, encoder
from vjepa2_ac.errors import InputError
from vjepa2_ac.models.build import build
from vjepa2_ac.models.encoder import Encoder, EncoderConfig


def ids(*rows: list[int]) -> torch.Tensor:
    return torch.tensor(rows)


@torch.inference_mode()
def test_a_mask_of_everything_in_another_order_reorders_the_tokens() -> None:
    model, video = encoder(), draw(2, 3, 4, 32, 32)
    order = torch.stack([torch.randperm(32, generator=torch.Generator().manual_seed(i)) for i in range(2)])
    whole = model(video)
    expected = torch.stack([whole[i, order[i]] for i in range(2)])
    torch.testing.assert_close(model(video, order), expected, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_hidden_pixels_have_no_influence() -> None:
    model, video = encoder(), draw(1, 3, 4, 32, 32)
    changed = video.clone()
    changed[:, :, :, 8:, :] = 5.0  # the first row of patches stays
    kept = ids([0, 1, 2, 3, 16, 17])
    torch.testing.assert_close(model(video, kept), model(changed, kept))


@torch.inference_mode()
def test_several_masks_are_stacked_along_the_batch() -> None:
    model, video = encoder(), draw(2, 3, 4, 32, 32)
    first, second = ids([0, 5, 9], [1, 2, 3]), ids([30, 4, 8], [7, 6, 5])
    both = model(video, [first, second])
    torch.testing.assert_close(both, torch.cat([model(video, first), model(video, second)]), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_the_last_of_the_out_layers_is_the_output() -> None:
    model, video = encoder(depth=3), draw(1, 3, 2, 32, 32)
    early, last = model(video, out_layers=[0, 2])
    torch.testing.assert_close(last, model(video))
    assert early.shape == last.shape
    assert not torch.allclose(early, last)


@pytest.mark.parametrize("size", [(2, 32, 32), (4, 16, 48), (10, 64, 8)])
@pytest.mark.parametrize("use_rope", [True, False])
@torch.inference_mode()
def test_clips_of_any_size_that_divides_go_in(size: tuple[int, int, int], *, use_rope: bool) -> None:
    tokens = encoder(use_rope=use_rope)(draw(1, 3, *size))
    assert tokens.shape == (1, size[0] // 2 * size[1] // 8 * size[2] // 8, 48)
    assert tokens.isfinite().all()


@pytest.mark.parametrize("width", [40, 44, 50, 52])
@pytest.mark.parametrize("uniform_power", [True, False])
def test_sine_cosine_positions_fit_any_width(width: int, *, uniform_power: bool) -> None:
    table = encoder(embed_dim=width, use_rope=False, uniform_power=uniform_power)._table()
    assert table.shape == (1, 32, width)
    assert len(table[0].unique(dim=0)) == 32  # every token has a place of its own


@torch.inference_mode()
def test_a_position_table_tells_equal_patches_apart_and_rope_alone_does_not() -> None:
    video = draw(1, 3, 2, 8, 8).repeat(1, 1, 1, 4, 4)  # the same patch everywhere
    for use_rope in (True, False):
        tokens = encoder(use_rope=use_rope, depth=1)(video)
        # Rope weighs values that are all equal here.
        assert torch.allclose(tokens[0, 0], tokens[0, 5], atol=1e-5) is use_rope


@torch.inference_mode()
def test_pictures_go_into_a_model_of_one_frame() -> None:
    pictures, clips = encoder(num_frames=1), encoder(tubelet_size=1)
    state = clips.state_dict()
    pictures.load_state_dict(state | {"patch_embed.proj.weight": state["patch_embed.proj.weight"].squeeze(2)})
    seen = draw(2, 3, 32, 48)
    tokens = pictures(seen)
    assert tokens.shape == (2, 24, 48)
    torch.testing.assert_close(tokens, clips(seen.unsqueeze(2)))  # as a clip of one frame would be seen
    assert encoder(num_frames=2)(draw(1, 3, 2, 32, 32)).shape == (1, 16, 48)  # two frames are a clip


@pytest.mark.parametrize(
    ("shape", "complaint"),
    [
        ((1, 3, 3, 32, 32), r"must divide by \[2, 8, 8\], got \[3, 32, 32\]"),
        ((1, 3, 2, 30, 32), r"must divide by \[2, 8, 8\]"),
        ((1, 3, 32, 32), r"takes pixels as \[batch, colours, frames, height, width\]"),
        ((1, 1, 2, 32, 32), "takes 3 colours"),
        ((1, 3, 0, 32, 32), r"must divide"),
    ],
)
def test_pixels_that_cannot_be_cut_are_refused(shape: tuple[int, ...], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        encoder()(torch.zeros(shape))


@pytest.mark.parametrize("layers", [[2], [-1], []], ids=str)
def test_a_layer_that_is_not_there_is_refused(layers: list[int]) -> None:
    with pytest.raises(InputError, match=f"blocks from 0 to 1, got {re.escape(str(layers))}"):
        encoder()(torch.zeros(1, 3, 2, 32, 32), out_layers=layers)


def test_recomputing_in_the_backward_pass_changes_no_gradient() -> None:
    gradients = []
    for recompute in (False, True):
        model = encoder(use_activation_checkpointing=recompute).train()
        model(draw(1, 3, 2, 32, 32), ids([0, 3, 7])).square().sum().backward()
        gradients.append(model.patch_embed.proj.weight.grad)
    torch.testing.assert_close(*gradients)


def test_the_product_of_cut_patches_is_the_released_convolution() -> None:
    model, video = encoder(), draw(2, 3, 4, 16, 24)
    convolved = model.patch_embed.proj(video).flatten(2).transpose(1, 2)
    torch.testing.assert_close(model.patch_embed(video), convolved, atol=1e-5, rtol=0)


def test_the_same_seed_builds_the_same_model_and_another_seed_another() -> None:
    config = EncoderConfig(embed_dim=48, depth=2, num_heads=2)
    weights = [build(Encoder, config, seed=seed).blocks[1].attn.proj.weight for seed in (3, 3, 4)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_first_weights_are_drawn_as_released() -> None:
    model = build(Encoder, EncoderConfig(embed_dim=192, depth=3, num_heads=3), seed=0)
    std = {name: parameter.std().item() for name, parameter in model.named_parameters() if parameter.dim() > 1}
    assert std["blocks.0.attn.qkv.weight"] == pytest.approx(0.02, rel=0.02)
    assert std["patch_embed.proj.weight"] == pytest.approx(0.02, rel=0.02)
    assert std["blocks.0.attn.proj.weight"] == pytest.approx(0.02 / 2**0.5, rel=0.02)
    assert std["blocks.2.mlp.fc2.weight"] == pytest.approx(0.02 / 6**0.5, rel=0.02)
    assert not any(parameter.any() for name, parameter in model.named_parameters() if name.endswith("bias"))


def test_build_lays_out_position_tables_too() -> None:
    config = EncoderConfig(img_size=(32, 32), num_frames=4, embed_dim=48, depth=1, num_heads=2, use_rope=False)
    assert torch.equal(build(Encoder, config).pos_embed, Encoder(config).pos_embed)


def test_autocast_and_bf16_come_close_to_float32() -> None:
    model, video = encoder(), draw(1, 3, 4, 32, 32)
    with torch.inference_mode():
        exact = model(video)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = model(video).float()
        rounded = model.to(torch.bfloat16)(video.to(torch.bfloat16)).float()
    for approximate in (mixed, rounded):
        assert (approximate - exact).abs().mean() < 0.05 * exact.abs().mean()
