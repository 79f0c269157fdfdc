"""Standard-normal draws for the search: plain or evenly spread, and smooth along the horizon if asked.

Draws are made on the CPU from a request's own seed, so that neither the device nor the other requests of a batch have
a part in them.

Shapes: S draws, H steps, V searched numbers.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

NoiseKind = Literal["gaussian", "sobol"]


class Noise:
    """A seeded source of draws [S, H, V].

    `sobol` spreads draws evenly (a scrambled Sobol sequence through the normal's inverse distribution function), which
    matters when there are few. `colour` is the exponent β of a power spectrum 1 / fᵝ along the horizon: 0 is white, 2
    makes neighbouring steps alike (coloured noise for planning: Pinneri et al. 2020, iCEM).
    """

    def __init__(self, kind: NoiseKind, seed: int, horizon: int, numbers: int, colour: float = 0.0) -> None:
        self.horizon, self.numbers = horizon, numbers
        self.colouring_HH = colouring(horizon, colour)
        self.generator = torch.Generator().manual_seed(seed)
        self.sobol = torch.quasirandom.SobolEngine(horizon * numbers, scramble=True, seed=seed)  # type: ignore[no-untyped-call]
        self.kind = kind

    def draw(self, samples: int) -> Tensor:
        """The next S draws; each number of each has mean 0 and variance 1."""
        white_SHV = self._white(samples).view(samples, self.horizon, self.numbers)
        coloured_SHV: Tensor = self.colouring_HH @ white_SHV
        return coloured_SHV

    def _white(self, samples: int) -> Tensor:
        width = self.horizon * self.numbers
        if self.kind == "gaussian":
            return torch.randn(samples, width, generator=self.generator)
        uniform = self.sobol.draw(samples, dtype=torch.float64).clamp(1e-6, 1 - 1e-6)
        normal: Tensor = torch.special.ndtri(uniform)
        return normal.float()


def colouring(horizon: int, colour: float) -> Tensor:
    """The matrix [H, H] that gives white noise a power spectrum 1 / f^colour, keeping its variance."""
    frequencies = torch.fft.rfftfreq(horizon, dtype=torch.float64)
    frequencies[0] = 1 / horizon  # the mean of a sequence is drawn as its slowest wave is
    amplitudes = frequencies ** (-colour / 2)
    shaped_HH: Tensor = torch.fft.irfft(amplitudes * torch.fft.rfft(torch.eye(horizon, dtype=torch.float64)), n=horizon)
    unit_HH: Tensor = shaped_HH / shaped_HH[0].norm()
    return unit_HH.float()
