from __future__ import annotations

import pytest
import torch

from tests.models.small import draw
from vjepa2_ac.models.rope import Grid, Pairing, Rope, rotate

CPU = torch.device("cpu")


def scores(pairing: Pairing, shift: int) -> torch.Tensor:
    """How much each token's query likes each token's key, all alike but for their place."""
    rope = Rope(64, pairing)
    rotation = rope.of_grid(Grid(1, 1, 6, first_step=shift), CPU, torch.float32)
    query, key = draw(64, seed=1).expand(6, 64), draw(64, seed=2).expand(6, 64)
    return rotate(query, rotation) @ rotate(key, rotation).T


def test_pairwise_rope_keeps_norms() -> None:
    x = draw(12, 64)
    turned = rotate(x, Rope(64, "pairwise").of_grid(Grid(2, 2, 3), CPU, torch.float32))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))


def test_tiled_rope_does_not_keep_norms_as_the_released_weights_expect() -> None:
    x = draw(12, 64)
    turned = rotate(x, Rope(64, "tiled").of_grid(Grid(2, 2, 3), CPU, torch.float32))
    assert ((turned.norm(dim=-1) / x.norm(dim=-1))[1:] - 1).abs().max() > 0.01


def test_pairwise_rope_sees_only_differences_of_place() -> None:
    torch.testing.assert_close(scores("pairwise", 0), scores("pairwise", 7), atol=1e-4, rtol=0)
    assert (scores("tiled", 0) - scores("tiled", 7)).abs().max() > 0.01


@pytest.mark.parametrize("head_dim", [12, 13, 24, 32, 48, 64, 88])
@pytest.mark.parametrize("pairing", ["tiled", "pairwise"])
def test_the_first_token_and_the_rest_of_each_head_are_not_turned(head_dim: int, pairing: Pairing) -> None:
    rope, x = Rope(head_dim, pairing), draw(12, head_dim)
    turned = rotate(x, rope.of_grid(Grid(2, 2, 3), CPU, torch.float32))
    torch.testing.assert_close(turned[0], x[0])
    torch.testing.assert_close(turned[:, 3 * rope.part :], x[:, 3 * rope.part :])
    assert (turned[1:, : 3 * rope.part] - x[1:, : 3 * rope.part]).abs().max() > 0.1


@pytest.mark.parametrize("pairing", ["tiled", "pairwise"])
def test_ids_and_the_whole_grid_mean_the_same_places(pairing: Pairing) -> None:
    rope, grid, x = Rope(32, pairing), Grid(3, 2, 4, height_scale=1.5, width_scale=0.5), draw(1, 1, 24, 32)
    ids = torch.arange(24).unsqueeze(0)
    whole = rotate(x, rope.of_grid(grid, CPU, torch.float32))
    torch.testing.assert_close(rotate(x, rope.of_ids(ids, grid, torch.float32)), whole)


def test_conditioning_tokens_know_their_step_and_no_place() -> None:
    rope, x = Rope(32, "tiled"), torch.ones(2 * 7, 32)
    turned = rotate(x, rope.of_grid(Grid(2, 2, 3, conditioning=1), CPU, torch.float32)).unflatten(0, (2, 7))
    torch.testing.assert_close(turned[1, 0, rope.part :], x[0, rope.part :])
    torch.testing.assert_close(turned[1, 0, : rope.part], turned[1, 4, : rope.part])


def test_a_table_is_made_once_and_serves_training_after_inference() -> None:
    rope, grid = Rope(36, "tiled"), Grid(5, 2, 2)
    with torch.inference_mode():
        first = rope.of_grid(grid, CPU, torch.float32)
    assert rope.of_grid(grid, CPU, torch.float32) is first
    x = draw(20, 36).requires_grad_()
    rotate(x, first).square().sum().backward()
    assert x.grad is not None


def test_tokens_kept_by_a_mask_can_be_trained_on_after_inference() -> None:
    rope, grid, ids, x = Rope(52, "tiled"), Grid(1, 2, 2), torch.tensor([[3, 0]]), draw(1, 1, 2, 52).requires_grad_()
    with torch.inference_mode():
        rope.of_ids(ids, grid, torch.float32)  # a head so wide is nowhere else: its pairs are found here
    rotate(x, rope.of_ids(ids, grid, torch.float32)).square().sum().backward()
    assert x.grad is not None


def test_a_later_step_is_cut_out_of_the_whole_sequence() -> None:
    rope = Rope(32, "tiled")
    whole = rope.of_grid(Grid(3, 2, 2, conditioning=2), CPU, torch.float32)
    last = rope.of_grid(Grid(1, 2, 2, conditioning=2, first_step=2), CPU, torch.float32)
    torch.testing.assert_close(whole.cos[12:], last.cos)
    torch.testing.assert_close(whole.sin[12:], last.sin)
