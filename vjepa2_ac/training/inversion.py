"""Training of the inverse model on pairs of moments of one episode: what was seen at each, and where the hand was.

Every batch is a pure function of its number. Either any two moments of an episode, in either order, are as likely as
any other two, so long episodes come more often than in proportion to their frames; or every frame is as likely as any
other to be the first of two, so many short episodes, each with its own appearance, have their share.

Legend: B batch · T the two moments · N tokens of a frame · D latent width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from torch import Tensor

from vjepa2_ac.data.windows import WindowConfig
from vjepa2_ac.errors import InputError
from vjepa2_ac.models.inverse_model import NUMBERS, InverseModel
from vjepa2_ac.training.engine import Batch, Learner
from vjepa2_ac.training.latents import FrameEncoder
from vjepa2_ac.training.order import Layout, first_readable, generator_of
from vjepa2_ac.training.trajectories import Trajectory, collated, window_at

Asked = Literal["goal", "keyframe"]  # where the hand is in the goal, or at the next keyframe on the way there
Alike = Literal["pairs", "frames"]  # what is equally likely to be drawn
ERROR_SCALE = (0.05, 0.05, 0.05, 0.25)  # [m] of x, y, z, [stroke]: errors that weigh the same in the loss


class MomentPairs:
    """The micro-batches of a run; each sample is two moments of one episode."""

    def __init__(
        self,
        trajectories: Sequence[Trajectory],
        window: WindowConfig,
        layout: Layout,
        seed: int,
        alike: Alike = "pairs",
    ) -> None:
        self.window, self.layout, self.seed = window, layout, seed
        self.trajectories = [trajectory for trajectory in trajectories if len(trajectory) > 1]
        if not self.trajectories:
            raise InputError(f"none of {len(trajectories)} episodes has two frames")
        lengths = np.array([len(trajectory) for trajectory in self.trajectories])
        self.ends = np.cumsum(lengths * (lengths - 1) // 2 if alike == "pairs" else lengths)

    def __getitem__(self, micro_batch: int) -> dict[str, Any]:
        """`latents_BND` (the two moments one after the other) or `frames_BTHW3`, and `poses_BT7`.

        `bad` names the episodes that failed to decode; others were drawn in their place.
        """
        bad: dict[str, str] = {}
        pairs = [self._drawn(sample, bad) for sample in self.layout.samples(micro_batch)]
        return collated(pairs, self.window) | {"bad": bad}

    def _drawn(self, sample: int, bad: dict[str, str]) -> dict[str, Any]:
        def draw(attempt: int) -> dict[str, Any]:
            return self._pair(generator_of(self.seed, sample, attempt))

        return first_readable(draw, bad)

    def _pair(self, rng: np.random.Generator) -> dict[str, Any]:
        drawn = int(rng.integers(self.ends[-1]))
        return self._moments(int(np.searchsorted(self.ends, drawn, side="right")), rng)

    def _moments(self, which: int, rng: np.random.Generator) -> dict[str, Any]:
        """Two different moments of episode `which`, in random order."""
        trajectory = self.trajectories[which]
        return window_at(trajectory, rng.choice(len(trajectory), 2, replace=False))


class Inversion(Learner):
    """The inverse model as a learner; the encoder beside it is neither trained nor saved."""

    def __init__(self, inverse: InverseModel, encoder: FrameEncoder) -> None:
        super().__init__()
        self.inverse, self.encode = inverse, encoder

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """`loss`: the mean absolute error, each number weighted; `centimetres` and `closedness`: the plain errors."""
        first_BND, second_BND = self._latents(batch)
        first_B7, second_B7 = batch["poses_BT7"].unbind(1)
        move_B4 = self.inverse(first_BND, second_BND, first_B7).float()
        missed_B4 = move_B4 - (second_B7 - first_B7)[:, NUMBERS]
        missed = missed_B4.detach()
        return {
            "loss": (missed_B4 / missed_B4.new_tensor(ERROR_SCALE)).abs().mean(),
            "centimetres": 100 * missed[:, :3].norm(dim=-1).mean(),
            "closedness": missed[:, 3].abs().mean(),
        }

    def _latents(self, batch: Batch) -> tuple[Tensor, Tensor]:
        if "latents_BND" in batch:
            first_BND, second_BND = batch["latents_BND"].float().chunk(2, dim=1)
            return first_BND, second_BND
        firsts_BHW3, seconds_BHW3 = batch["frames_BTHW3"].unbind(1)
        return self.encode(firsts_BHW3), self.encode(seconds_BHW3)
