from __future__ import annotations

from typing import Any

import pytest
import torch

from planner.noise import Noise


@pytest.mark.parametrize("kind", ["gaussian", "sobol"])
def test_every_number_has_mean_0_and_variance_1(kind: Any) -> None:
    draws_SHV = Noise(kind, 0, horizon=4, numbers=3).draw(4096)
    torch.testing.assert_close(draws_SHV.mean(dim=0), torch.zeros(4, 3), atol=0.06, rtol=0)
    torch.testing.assert_close(draws_SHV.var(dim=0), torch.ones(4, 3), atol=0.1, rtol=0)


def test_few_sobol_draws_are_spread_more_evenly_than_gaussian_ones() -> None:
    def mean_of_16(kind: Any, seed: int) -> float:
        return float(Noise(kind, seed, horizon=1, numbers=3).draw(16).mean(dim=(0, 1)).norm())

    spread = {kind: sum(mean_of_16(kind, seed) for seed in range(20)) for kind in ("sobol", "gaussian")}
    assert spread["sobol"] < 0.5 * spread["gaussian"]


def test_sobol_draws_go_on_where_they_stopped() -> None:
    whole, parts = (Noise("sobol", 3, horizon=2, numbers=4) for _ in range(2))
    torch.testing.assert_close(whole.draw(12), torch.cat((parts.draw(5), parts.draw(7))))
