"""Standard-normal draws for the search, plain or evenly spread.

Draws are made on the CPU from a request's own seed, so that they depend neither on the device nor on the other requests
of a batch.

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
    matters when there are few.
    """

    def __init__(self, kind: NoiseKind, seed: int, horizon: int, numbers: int) -> None:
        self.horizon, self.numbers = horizon, numbers
        self.generator = torch.Generator().manual_seed(seed)
        self.sobol = torch.quasirandom.SobolEngine(horizon * numbers, scramble=True, seed=seed)  # type: ignore[no-untyped-call]
        self.kind = kind

    def draw(self, samples: int) -> Tensor:
        """The next S draws; each number of each has mean 0 and variance 1."""
        if self.kind == "gaussian":
            return torch.randn(samples, self.horizon, self.numbers, generator=self.generator)
        uniform = self.sobol.draw(samples, dtype=torch.float64).clamp(1e-6, 1 - 1e-6)
        normal: Tensor = torch.special.ndtri(uniform).float()
        return normal.view(samples, self.horizon, self.numbers)
