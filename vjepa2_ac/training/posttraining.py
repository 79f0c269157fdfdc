"""Post-training of the action-conditioned predictor on the latents of a frozen encoder (V-JEPA 2, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vjepa2_ac.errors import ConfigError
from vjepa2_ac.models.ac_predictor import ACPredictor
from vjepa2_ac.training.engine import Batch, Learner
from vjepa2_ac.training.latents import FrameEncoder
from vjepa2_ac.training.losses import action_conditioned_loss, contrast_loss


@dataclass(frozen=True, slots=True, kw_only=True)
class PostTrainingConfig:
    """The settings of the loss; the defaults are the reference's."""

    rollout_steps: int = 2
    exponent: float = 1.0  # 1 is L1
    normalize: bool = True  # targets and predictions, by layer norm without affine
    curriculum: tuple[tuple[float, int], ...] = ()  # (share of the run, rollout steps from there on), rising
    contrast_weight: float = 0.0  # of `contrast_loss`, in batches of counterfactual pairs

    def __post_init__(self) -> None:
        if self.rollout_steps < 1 or any(steps < 1 for _, steps in self.curriculum):
            raise ConfigError("a rollout has at least one step")
        if self.exponent <= 0 or self.contrast_weight < 0:
            raise ConfigError("exponent is above 0 and contrast_weight at least 0")
        shares = [share for share, _ in self.curriculum]
        if shares != sorted(shares) or any(not 0 <= share <= 1 for share in shares):
            raise ConfigError(f"a curriculum's shares rise from 0 to 1, got {shares}")

    def rollout_steps_at(self, progress: float) -> int:
        """The number of rollout steps when this share of the run is done."""
        steps = self.rollout_steps
        for share, later in self.curriculum:
            if progress >= share:
                steps = later
        return steps


class PostTraining(Learner):
    """The predictor as a learner; the encoder beside it is neither trained nor saved."""

    def __init__(
        self, predictor: ACPredictor, config: PostTrainingConfig, steps: int, encoder: FrameEncoder | None = None
    ) -> None:
        super().__init__()
        self.predictor, self.config, self.steps, self.encode = predictor, config, steps, encoder
        predictor.extrinsics_encoder.requires_grad_(predictor.config.use_extrinsics)

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """`loss` and its parts, `forced`, `rollout` and perhaps `contrast` (0 where a batch holds no pairs).

        Frames are encoded unless the batch brings latents.
        """
        latents_BND = self._latents(batch)
        loss = action_conditioned_loss(
            self.predictor,
            latents_BND,
            batch["actions_BS7"],
            batch["poses_BT7"],
            batch.get("extrinsics_BT6"),
            rollout_steps=self.config.rollout_steps_at((step - 1) / self.steps),
            exponent=self.config.exponent,
            normalize=self.config.normalize,
        )
        parts = {"forced": loss.teacher_forcing, "rollout": loss.rollout}
        if not self.config.contrast_weight:
            return {"loss": loss.total, **parts}
        contrast = torch.zeros_like(loss.total)
        if batch["is_paired"]:
            tokens = latents_BND.shape[1] // batch["poses_BT7"].shape[1]
            later_BND = latents_BND[:, tokens : tokens + loss.imagined_BND.shape[1]]
            contrast = contrast_loss(loss.imagined_BND, later_BND)
        return {"loss": loss.total + self.config.contrast_weight * contrast, **parts, "contrast": contrast}

    def _latents(self, batch: Batch) -> Tensor:
        if "latents_BND" in batch:
            latents_BND: Tensor = batch["latents_BND"].float()
            return latents_BND
        assert self.encode is not None, "batches of frames need an encoder"
        frames_BTHW3 = batch["frames_BTHW3"]
        latents_FND = self.encode(frames_BTHW3.flatten(0, 1))
        return latents_FND.reshape(len(frames_BTHW3), -1, latents_FND.shape[-1])
