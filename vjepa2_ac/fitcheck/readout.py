"""What the encoder's latents hold, in centimetres: hand, object and gripper read from them.

A linear read-out, an attentive one and one by feature points learn from some scenes and are judged on others
(`examples` says which). The error of always answering the mean stands beside them. The true hand comes from the robot's
poses; the true object position only from a simulator.

Shapes: M frames to learn from, Q frames asked about, N tokens, D latent width, K targets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vjepa2_ac.data.episodes import Array
from vjepa2_ac.fitcheck import ridge
from vjepa2_ac.fitcheck.attentive import AttentiveReadOut
from vjepa2_ac.fitcheck.estimates import Estimate, NotMeasured, mean
from vjepa2_ac.fitcheck.examples import Examples, TrainingExamples
from vjepa2_ac.fitcheck.learning import LearningConfig, learn, read
from vjepa2_ac.fitcheck.points import PointsReadOut

WIDTHS = {"hand": 3, "object": 3, "closedness": 1}
SCALE = {"hand": 100.0, "object": 100.0, "closedness": 1.0}  # from [m] to [cm]; closedness is a share of the stroke


@dataclass(frozen=True, slots=True)
class ReadOut:
    """Mean errors on scenes that were not learned from: hand and object [cm], closedness [stroke, 0 … 1]."""

    linear: dict[str, Estimate | NotMeasured]
    attentive: dict[str, Estimate | NotMeasured]
    points: dict[str, Estimate | NotMeasured]
    mean: dict[str, Estimate | NotMeasured]
    learned_from: int  # frames
    linear_learned_from: int  # frames of these that the linear read-out learned from
    scenes: int  # that were learned from
    judged_on: int  # frames

    @property
    def by_kind(self) -> dict[str, dict[str, Estimate | NotMeasured]]:
        """The errors of each kind of read-out, and of the mean."""
        return {"linear": self.linear, "attentive": self.attentive, "points": self.points, "mean": self.mean}


Reader = Callable[[Tensor], dict[str, Array]]
"""Latents [Q, N, D] to quantities by name: hand [Q, 3] and object [Q, 3] in m, closedness [Q, 1]."""


def read_out(
    learned_from: TrainingExamples,
    test: Examples,
    *,
    grid: tuple[int, int],
    steps: int,
    linear_frames: int,
    seed: int,
    device: torch.device,
) -> tuple[ReadOut, Reader]:
    """The errors of all read-outs on `test`, and the trained read-out by points; `grid` is rows, columns of tokens."""
    train, validation = learned_from.examples, set(learned_from.validation)
    names = [name for name in WIDTHS if name in _truth(train) and name in _truth(test)]
    train_MK, test_QK = (np.concatenate([_truth(each)[name] for name in names], axis=1) for each in (train, test))
    centre_K, spread_K = train_MK.mean(axis=0), train_MK.std(axis=0) + 1e-6

    def scaled(numbers_MK: Array) -> Tensor:
        return torch.from_numpy((numbers_MK - centre_K) / spread_K).to(device)

    def in_units(answers_QK: Tensor) -> Array:
        return np.asarray(answers_QK.double().cpu().numpy() * spread_K + centre_K)

    test_QND = test.latents_MND.to(device)
    few = train.some(linear_frames)
    few_MK = scaled(np.concatenate([_truth(few)[name] for name in names], axis=1))
    linear_QK = in_units(ridge.predict(few.latents_MND.to(device), few_MK, test_QND, few.groups, validation))
    tokens, width = train.latents_MND.shape[1:]
    widths = [WIDTHS[name] for name in names]
    targets_MK = scaled(train_MK)
    attentive = learn(
        AttentiveReadOut(tokens, width, widths), train.latents_MND, targets_MK,
        LearningConfig(steps=steps, batch=64, rate=2e-3, seed=seed), device,
    )  # fmt: skip
    points = learn(
        PointsReadOut(grid, width, sum(widths)), train.latents_MND, targets_MK,
        LearningConfig(steps=steps, batch=128, rate=1e-3, noise=0.3, seed=seed), device,
    )  # fmt: skip

    def errors(answers_QK: Array) -> dict[str, Estimate | NotMeasured]:
        answers, truth = by_quantity(answers_QK, names), by_quantity(test_QK, names)
        found: dict[str, Estimate | NotMeasured] = {
            name: mean(SCALE[name] * np.linalg.norm(answers[name] - truth[name], axis=1), test.groups) for name in names
        }
        missing = NotMeasured("the episodes do not say where the object is")
        return {name: found.get(name, missing) for name in WIDTHS}

    def reader(latents_QND: Tensor) -> dict[str, Array]:
        return by_quantity(in_units(read(points, latents_QND.to(device))), names)

    found = ReadOut(
        linear=errors(linear_QK),
        attentive=errors(in_units(read(attentive, test_QND))),
        points=errors(in_units(read(points, test_QND))),
        mean=errors(np.broadcast_to(centre_K, test_QK.shape)),
        learned_from=len(train),
        linear_learned_from=len(few),
        scenes=len(set(train.groups)),
        judged_on=len(test),
    )
    return found, reader


def by_quantity(numbers_QK: Array, names: Sequence[str]) -> dict[str, Array]:
    """The columns that belong to each quantity, by its name."""
    ends = np.cumsum([WIDTHS[name] for name in names])
    return dict(zip(names, np.split(numbers_QK, ends[:-1], axis=1), strict=True))


def _truth(examples: Examples) -> dict[str, Array]:
    """The true values [M, width] by quantity; the object only where its position is known."""
    truth = {"hand": examples.poses_M7[:, :3], "closedness": examples.poses_M7[:, 6:]}
    return truth if examples.objects_M3 is None else truth | {"object": examples.objects_M3}
