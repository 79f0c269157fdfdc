from __future__ import annotations

from typing import Any

import pytest
import torch

from planner.noise import Noise, colouring


@pytest.mark.parametrize("kind", ["gaussian", "sobol"])
@pytest.mark.parametrize("colour", [0.0, 2.0])
def test_every_number_has_mean_0_and_variance_1(kind: Any, colour: float) -> None:
    draws_SHV = Noise(kind, 0, horizon=4, numbers=3, colour=colour).draw(4096)
    torch.testing.assert_close(draws_SHV.mean(dim=0), torch.zeros(4, 3), atol=0.06, rtol=0)
    torch.testing.assert_close(draws_SHV.var(dim=0), torch.ones(4, 3), atol=0.1, rtol=0)


def test_few_sobol_draws_are_spread_more_evenly_than_gaussian_ones() -> None:
    def mean_of_16(kind: Any, seed: int) -> float:
        return float(Noise(kind, seed, horizon=1, numbers=3).draw(16).mean(dim=(0, 1)).norm())

    spread = {kind: sum(mean_of_16(kind, seed) for seed in range(20)) for kind in ("sobol", "gaussian")}
    assert spread["sobol"] < 0.5 * spread["gaussian"]


def test_coloured_steps_are_alike_and_white_ones_are_not() -> None:
    def likeness(colour: float) -> float:
        draws_SH = Noise("gaussian", 0, horizon=8, numbers=1, colour=colour).draw(2000)[..., 0]
        return float((draws_SH[:, 1:] * draws_SH[:, :-1]).mean())

    assert abs(likeness(0.0)) < 0.05
    assert likeness(2.0) > 0.5


def test_power_falls_along_the_frequencies_by_the_exponent_and_the_mean_has_that_of_the_slowest_wave() -> None:
    power = torch.fft.rfft(colouring(8, 1.5)[0].double()).abs().square()
    expected = torch.tensor([1.0, *(wave**-1.5 for wave in range(1, 5))], dtype=torch.float64)
    torch.testing.assert_close(power / power[1], expected, atol=1e-5, rtol=0)


def test_white_noise_is_left_alone() -> None:
    torch.testing.assert_close(colouring(5, 0.0), torch.eye(5), atol=1e-6, rtol=0)
    torch.testing.assert_close(colouring(1, 2.0), torch.ones(1, 1))


def test_sobol_draws_go_on_where_they_stopped() -> None:
    whole, parts = (Noise("sobol", 3, horizon=2, numbers=4) for _ in range(2))
    torch.testing.assert_close(whole.draw(12), torch.cat((parts.draw(5), parts.draw(7))))
