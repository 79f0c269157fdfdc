"""Self-supervised pretraining of an encoder: predict the latents of what was masked (V-JEPA 2, section 2; V-JEPA 2.1).

The targets come from a moving average of the encoder, which sees the whole clip. In V-JEPA 2.1 they are the encoder's
features at four depths, and what was visible is predicted as well.

Legend: B batch · C colours · T frames · H, W pixels · N tokens · K tokens of a mask · D width (times levels for 2.1).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from vjepa2_ac.errors import ConfigError
from vjepa2_ac.models.encoder import Encoder
from vjepa2_ac.models.encoder_v21 import EncoderV21
from vjepa2_ac.models.masked_predictor import MaskedPredictor
from vjepa2_ac.models.masked_predictor_v21 import MaskedPredictorV21
from vjepa2_ac.training import losses, schedules
from vjepa2_ac.training.engine import Batch, Learner
from vjepa2_ac.training.masks import Masks

_OF_VIDEO, _OF_PICTURES = ("patch_embed.", "video_mod_embed"), ("patch_embed_img.", "img_mod_embed")  # in V-JEPA 2.1
MASK_TOKEN = 0  # the released training only ever uses the first


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainingConfig:
    """The loss and the moving average; the `context_…` settings are V-JEPA 2.1's."""

    exponent: float = 1.0  # 1 is L1
    momentum: tuple[float, float] = (0.99925, 0.99925)  # of the moving average, first and final
    stretch: float = 1.25  # momentum runs over this many times the updates
    context_weight: float = 0.5
    context_ramp: tuple[int, int] | None = (15_000, 30_000)  # updates between which it rises from 0; null: no ramp
    context_by_distance: bool = True  # visible tokens near the masked ones weigh more

    def __post_init__(self) -> None:
        if not all(0 <= momentum <= 1 for momentum in self.momentum):
            raise ConfigError(f"momentum lies between 0 and 1, got {self.momentum}")
        if self.exponent <= 0 or self.context_weight < 0:
            raise ConfigError("exponent is above 0 and context_weight at least 0")
        if self.stretch <= 0:
            raise ConfigError(f"stretch is a share of the updates above 0, got {self.stretch}")
        if self.context_ramp is not None and not 0 <= self.context_ramp[0] < self.context_ramp[1]:
            raise ConfigError(f"context_ramp is two rising numbers of updates, got {self.context_ramp}")

    def context_weight_at(self, step: int) -> float:
        """The weight of the loss on visible tokens in update `step`."""
        if self.context_ramp is None:
            return self.context_weight
        first, last = self.context_ramp
        return schedules.context_weight(step, full=self.context_weight, ramp_from=first, ramp_to=last)


class Prediction(NamedTuple):
    """The predictions for each mask, and the targets of all tokens."""

    hidden: list[Tensor]  # [B, K, D]
    visible: list[Tensor]  # [B, K, D], of V-JEPA 2.1
    targets_BND: Tensor


class Pretraining(Learner):
    """The encoder, the masked predictor, and the moving average of the encoder, which gives the targets."""

    def __init__(
        self,
        encoder: Encoder | EncoderV21,
        predictor: MaskedPredictor | MaskedPredictorV21,
        config: PretrainingConfig,
        steps: int,
        target: Encoder | EncoderV21 | None = None,
    ) -> None:
        super().__init__()
        if isinstance(encoder, EncoderV21) != isinstance(predictor, MaskedPredictorV21):
            raise ConfigError("encoder and masked predictor must both be V-JEPA 2 or both V-JEPA 2.1")
        self.config, self.steps = config, steps
        self.encoder, self.predictor = encoder, predictor
        self.target = (target or copy.deepcopy(encoder)).requires_grad_(False)
        for token in self.predictor.mask_tokens[MASK_TOKEN + 1 :]:
            token.requires_grad = False

    def expect(self, frames: int) -> None:
        """Freeze the weights of V-JEPA 2.1 that clips of `frames` frames do not reach; no other clips may come.

        With several processes, DDP waits for a gradient of every weight that is trained.
        """
        if not isinstance(self.encoder, EncoderV21):
            return
        config = self.encoder.config
        shallow = len(config.levels) - config.n_output_distillation
        others = (
            *(_OF_VIDEO if frames == config.img_temporal_dim_size else _OF_PICTURES),
            *(f"norms_block.{level}." for level in range(shallow)),
        )
        for network in (self.encoder, self.predictor):
            for name, parameter in network.named_parameters():
                if name.startswith(others):
                    parameter.requires_grad_(False)

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """`loss`, and for V-JEPA 2.1 its two parts, on `hidden` and on `visible` tokens."""
        masks = [
            Masks(context_BK, target_BK)
            for context_BK, target_BK in zip(batch["contexts"], batch["targets"], strict=True)
        ]
        prediction = self.predict(batch["video_BCTHW"], masks)
        config = self.config
        loss = losses.masked_prediction_loss(prediction.hidden, prediction.targets_BND, masks, config.exponent)
        if not prediction.visible:
            return {"loss": loss}
        grid_HW = _grid(self.encoder, batch["video_BCTHW"]) if config.context_by_distance else None
        context = losses.context_loss(prediction.visible, prediction.targets_BND, masks, config.exponent, grid_HW)
        total = loss + config.context_weight_at(step) * context
        return {"loss": total, "hidden": loss, "visible": context}

    def predict(self, video_BCTHW: Tensor, masks: Sequence[Masks]) -> Prediction:
        """Run the three networks; each mask is encoded and completed on its own."""
        hidden, visible = [], []
        for mask in masks:
            if isinstance(self.encoder, EncoderV21):
                context_BKD = self.encoder(video_BCTHW, mask.context_BK, hierarchical=True)
                is_image = video_BCTHW.shape[2] == self.encoder.config.img_temporal_dim_size
                kind = "image" if is_image else "video"
                found = self.predictor(context_BKD, mask.context_BK, mask.target_BK, kind, mask_index=MASK_TOKEN)
                hidden.append(found[0])
                visible += [found[1]] if found[1] is not None else []
            else:
                context_BKD = self.encoder(video_BCTHW, mask.context_BK)
                hidden.append(self.predictor(context_BKD, mask.context_BK, mask.target_BK, mask_index=MASK_TOKEN))
        return Prediction(hidden, visible, self._targets(video_BCTHW))

    @torch.no_grad()
    def _targets(self, video_BCTHW: Tensor) -> Tensor:
        if isinstance(self.target, EncoderV21):
            latents = cast("Tensor", self.target(video_BCTHW, hierarchical=True))
            return losses.normalized(latents, self.target.config.n_output_distillation)
        return losses.normalized(cast("Tensor", self.target(video_BCTHW)))

    def after_update(self, step: int) -> None:
        """Move the target towards the encoder."""
        first, final = self.config.momentum
        total = self.config.stretch * self.steps
        follow(self.target, self.encoder, schedules.ema_momentum(step - 1, total_steps=total, first=first, final=final))


@torch.no_grad()
def follow(target: nn.Module, source: nn.Module, momentum: float) -> None:
    """target = momentum · target + (1 - momentum) · source, for every parameter."""
    averages: list[Tensor] = list(target.parameters())
    newest: list[Tensor] = list(source.parameters())
    torch._foreach_mul_(averages, momentum)
    torch._foreach_add_(averages, newest, alpha=1 - momentum)


def _grid(encoder: nn.Module, video_BCTHW: Tensor) -> tuple[int, int]:
    patch = cast("Encoder | EncoderV21", encoder).config.patch_size
    return video_BCTHW.shape[-2] // patch, video_BCTHW.shape[-1] // patch
