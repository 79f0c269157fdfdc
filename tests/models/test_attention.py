from __future__ import annotations

import pytest
import torch

from tests.models.small import draw
from vjepa2_ac.models.attention import Attention, PastKeys, attend, attend_plainly


@pytest.mark.parametrize("is_masked", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_fast_road_gives_what_the_definition_gives(dtype: torch.dtype, *, is_masked: bool) -> None:
    q, k, v = (draw(2, 3, 10, 16, seed=seed).to(dtype) for seed in range(3))
    mask = torch.ones(10, 10, dtype=torch.bool).tril() if is_masked else None
    defined = attend_plainly(q.double(), k.double(), v.double(), mask)
    tolerance = 1e-5 if dtype is torch.float32 else 2e-2  # eight bits of mantissa
    torch.testing.assert_close(attend(q, k, v, mask).double(), defined, atol=tolerance, rtol=0)


@pytest.mark.parametrize("is_masked", [False, True])
def test_training_in_bf16_has_the_gradients_of_the_definition(*, is_masked: bool) -> None:
    q, k, v = (draw(2, 3, 10, 16, seed=seed) for seed in range(3))
    mask = torch.ones(10, 10, dtype=torch.bool).tril() if is_masked else None
    gradients = []
    for dtype in (torch.bfloat16, torch.float64):
        q_, k_, v_ = (x.to(dtype).requires_grad_() for x in (q, k, v))
        attend(q_, k_, v_, mask).square().sum().backward()
        assert q_.grad is not None
        gradients.append(q_.grad.double())
    torch.testing.assert_close(*gradients, atol=5e-2, rtol=0)


def test_past_keys_make_a_split_sequence_whole() -> None:
    attention, x = Attention(24, 2).eval(), draw(2, 6, 24)
    causal = torch.tensor([0, 0, 0, 1, 1, 1])
    whole = attention(x, None, causal.unsqueeze(1) >= causal)
    past = PastKeys(torch.empty(2, 2, 0, 12), torch.empty(2, 2, 0, 12))
    parts = [attention(x[:, :3], None, None, past), attention(x[:, 3:], None, None, past)]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)
