"""The masked-latent predictor of V-JEPA 2.1: it predicts several levels at once, and the visible tokens as well.

Legend: B batch, K visible tokens, M hidden (target) tokens, N = K + M, D width per level, G levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vjepa2_ac.config import require
from vjepa2_ac.errors import InputError
from vjepa2_ac.models.blocks import run_block, stack
from vjepa2_ac.models.build import draw_weights, shrink_residuals
from vjepa2_ac.models.encoder import check_positive, check_shape, rotation_of
from vjepa2_ac.models.encoder_v21 import add_modality, check_levels, draw_modalities, stretched
from vjepa2_ac.models.masked_predictor import by_position, draw_mask_tokens, mask_token, square_grid
from vjepa2_ac.models.patches import check_ids, keep
from vjepa2_ac.models.rope import Rope


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedPredictorV21Config:
    """Shape of a V-JEPA 2.1 predictor; the defaults are those of the released ViT-g."""

    img_size: tuple[int, int] = (384, 384)  # height, width [px]
    patch_size: int = 16
    num_frames: int = 64
    tubelet_size: int = 2
    embed_dim: int = 1408  # of the encoder, per level
    predictor_embed_dim: int = 384
    depth: int = 24
    num_heads: int = 12
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    norm_eps: float = 1e-6
    num_mask_tokens: int = 8
    zero_init_mask_tokens: bool = True
    use_silu: bool = False
    wide_silu: bool = True
    return_all_tokens: bool = True  # predict the visible tokens, too
    img_temporal_dim_size: int | None = 1
    modality_embedding: bool = True
    interpolate_rope: bool = False  # as the released models are built, although training stretched positions
    n_output_distillation: int = 4  # levels that go in and come out
    teacher_embed_dim: int | None = None  # width that comes out, over all levels, if not the encoder's own
    use_activation_checkpointing: bool = False

    def __post_init__(self) -> None:
        check_shape(self, self.predictor_embed_dim, self.img_size, self.patch_size)
        check_levels(self.n_output_distillation)
        check_positive(self, "num_frames", "tubelet_size", "embed_dim", "num_mask_tokens")
        require(self.out_dim > 0, f"teacher_embed_dim must be positive on every level, got {self.teacher_embed_dim}")

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.predictor_embed_dim // self.num_heads

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.img_size[0] // self.patch_size, self.img_size[1] // self.patch_size

    @property
    def out_dim(self) -> int:
        """Channels that come out for every token."""
        levels = self.n_output_distillation
        per_level = self.embed_dim if self.teacher_embed_dim is None else self.teacher_embed_dim // levels
        return levels * per_level


class MaskedPredictorV21(nn.Module):
    """Predicts hidden and visible tokens from visible ones. Parameters are named as in the released files."""

    def __init__(self, config: MaskedPredictorV21Config) -> None:
        super().__init__()
        self.config = config
        dim = config.predictor_embed_dim
        self.rope = Rope(config.head_dim, "pairwise")
        self.predictor_embed = _embedding(config)
        self.mask_tokens = nn.ParameterList(torch.zeros(1, 1, dim) for _ in range(config.num_mask_tokens))
        if config.modality_embedding and config.img_temporal_dim_size is not None:
            self.img_mod_embed = nn.Parameter(torch.zeros(1, 1, dim))
            self.video_mod_embed = nn.Parameter(torch.zeros(1, 1, dim))
        self.predictor_blocks = stack(config, dim)
        self.predictor_norm = nn.LayerNorm(dim, eps=config.norm_eps)
        self.predictor_proj = nn.Linear(dim, config.out_dim)
        self.predictor_proj_context = nn.Linear(dim, config.out_dim) if config.return_all_tokens else None
        self.initialise()

    def forward(
        self,
        context_BKD: Tensor,
        context_ids_BK: Tensor,
        target_ids_BM: Tensor,
        mod: Literal["video", "image"] = "video",
        mask_index: int = 1,
    ) -> tuple[Tensor, Tensor | None]:
        """Predict hidden tokens [B, M, G · D] and, with `return_all_tokens`, visible ones [B, K, G · D].

        `context_BKD` are the encoder's joined levels [B, K, G · D]; both results come in the order of their ids as
        given. `mod` says whether the tokens are of pictures or of clips.
        """
        if mod not in ("video", "image"):
            raise InputError(f"mod is 'video' or 'image', got {mod!r}")
        check_ids(context_ids_BK, *context_BKD.shape[:2])
        check_ids(target_ids_BM, len(context_BKD))
        x_BKD = self.predictor_embed(context_BKD)
        visible = x_BKD.shape[1]
        x_BND = torch.cat((x_BKD, mask_token(self.mask_tokens, mask_index, target_ids_BM).to(x_BKD.dtype)), dim=1)
        x_BND, ids_BN, order_BN = by_position(x_BND, torch.cat((context_ids_BK, target_ids_BM), dim=1))
        x_BND = add_modality(self, x_BND, is_image=mod == "image")
        grid = square_grid(self.config.grid)
        grid = stretched(grid, self.config.patch_size) if self.config.interpolate_rope else grid
        rotation = rotation_of(self.rope, grid, x_BND, [ids_BN])
        for block in self.predictor_blocks:
            x_BND = run_block(block, x_BND, rotation, recompute=self.config.use_activation_checkpointing)
        x_BND = keep(self.predictor_norm(x_BND), order_BN.argsort(dim=1))
        if self.predictor_proj_context is None:
            return self.predictor_proj(x_BND[:, visible:]), None
        return self.predictor_proj(x_BND[:, visible:]), self.predictor_proj_context(x_BND[:, :visible])

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Draw initial weights the released way."""
        draw_weights(self, generator)
        shrink_residuals(self.predictor_blocks)
        draw_mask_tokens(self.mask_tokens, generator, zero=self.config.zero_init_mask_tokens)
        draw_modalities(self, generator)


def _embedding(config: MaskedPredictorV21Config) -> nn.Module:
    dim, levels = config.predictor_embed_dim, config.n_output_distillation
    if levels == 1:
        return nn.Linear(config.embed_dim, dim)
    activation = nn.SiLU() if config.use_silu else nn.GELU()
    return nn.Sequential(
        nn.Linear(levels * config.embed_dim, config.embed_dim), activation, nn.Linear(config.embed_dim, dim)
    )
