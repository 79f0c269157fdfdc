"""The masked-latent predictor of V-JEPA 2 pretraining: from visible tokens to the tokens that were hidden.

Legend: B batch, K visible tokens, M hidden (target) tokens, N = K + M, D encoder width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vjepa2_ac.models.blocks import run_block, stack
from vjepa2_ac.models.build import draw, draw_weights, shrink_residuals
from vjepa2_ac.models.encoder import check_positive, check_shape, rotation_of
from vjepa2_ac.models.patches import check_ids, keep
from vjepa2_ac.models.positions import sincos_image, sincos_video
from vjepa2_ac.models.rope import Grid, Rope


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedPredictorConfig:
    """Shape of a masked predictor; the defaults are those of the released ViT-L."""

    img_size: tuple[int, int] = (256, 256)  # height, width [px]
    patch_size: int = 16
    num_frames: int = 64
    tubelet_size: int = 2
    embed_dim: int = 1024  # of the encoder
    predictor_embed_dim: int = 384
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    norm_eps: float = 1e-6
    num_mask_tokens: int = 10
    zero_init_mask_tokens: bool = True
    use_rope: bool = True
    uniform_power: bool = False
    use_silu: bool = False
    wide_silu: bool = True
    return_all_tokens: bool = False  # visible and hidden ones, in the order of their positions
    use_activation_checkpointing: bool = False

    def __post_init__(self) -> None:
        check_shape(self, self.predictor_embed_dim, self.img_size, self.patch_size, use_rope=self.use_rope)
        check_positive(self, "num_frames", "tubelet_size", "embed_dim", "num_mask_tokens")

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.predictor_embed_dim // self.num_heads

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.img_size[0] // self.patch_size, self.img_size[1] // self.patch_size

    @property
    def steps(self) -> int:
        """Time steps of tokens in a clip of the configured length."""
        return max(1, self.num_frames // self.tubelet_size)


class MaskedPredictor(nn.Module):
    """Predicts hidden tokens from visible ones. Parameters are named as in the released files."""

    predictor_pos_embed: Tensor

    def __init__(self, config: MaskedPredictorConfig) -> None:
        super().__init__()
        self.config = config
        self.rope = Rope(config.head_dim, "tiled") if config.use_rope else None
        dim = config.predictor_embed_dim
        self.predictor_embed = nn.Linear(config.embed_dim, dim)
        self.mask_tokens = nn.ParameterList(torch.zeros(1, 1, dim) for _ in range(config.num_mask_tokens))
        self.predictor_blocks = stack(config, dim)
        self.predictor_norm = nn.LayerNorm(dim, eps=config.norm_eps)
        self.predictor_proj = nn.Linear(dim, config.embed_dim)
        if not config.use_rope:
            tokens = config.steps * config.grid[0] * config.grid[1]
            self.register_buffer("predictor_pos_embed", torch.empty(1, tokens, dim))
        self.initialise()

    def forward(
        self, context_BKD: Tensor, context_ids_BK: Tensor, target_ids_BM: Tensor, mask_index: int = 1
    ) -> Tensor:
        """Predict the hidden tokens [B, M, D] in the order of `target_ids_BM`, which need not be sorted.

        `mask_index` chooses the learned token that stands for what is hidden, modulo their number. With
        `return_all_tokens` the result is [B, N, D], every token in the order of its id.
        """
        check_ids(context_ids_BK, *context_BKD.shape[:2])
        check_ids(target_ids_BM, len(context_BKD))
        visible = context_ids_BK.shape[1]
        x_BND, ids_BN = self._tokens(context_BKD, context_ids_BK, target_ids_BM, mask_index)
        x_BND, ids_BN, order_BN = by_position(x_BND, ids_BN)
        rotation = rotation_of(self.rope, square_grid(self.config.grid), x_BND, [ids_BN])
        for block in self.predictor_blocks:
            x_BND = run_block(block, x_BND, rotation, recompute=self.config.use_activation_checkpointing)
        x_BND = self.predictor_norm(x_BND)
        if not self.config.return_all_tokens:
            x_BND = keep(x_BND, order_BN.argsort(dim=1)[:, visible:])
        predicted: Tensor = self.predictor_proj(x_BND)
        return predicted

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Draw initial weights the released way; mask tokens start at zero unless the config says otherwise."""
        draw_weights(self, generator)
        shrink_residuals(self.predictor_blocks)
        draw_mask_tokens(self.mask_tokens, generator, zero=self.config.zero_init_mask_tokens)
        if not self.config.use_rope and not self.predictor_pos_embed.is_meta:
            self.predictor_pos_embed.copy_(self._table())

    def _tokens(
        self, context_BKD: Tensor, context_ids: Tensor, target_ids: Tensor, index: int
    ) -> tuple[Tensor, Tensor]:
        x_BKD: Tensor = self.predictor_embed(context_BKD)
        mask_BMD = mask_token(self.mask_tokens, index, target_ids).to(x_BKD.dtype)
        x_BND, ids_BN = torch.cat((x_BKD, mask_BMD), dim=1), torch.cat((context_ids, target_ids), dim=1)
        if self.rope is None:
            table_BND = self.predictor_pos_embed.to(x_BND.dtype).expand(len(x_BND), -1, -1)
            x_BND = x_BND + keep(table_BND, ids_BN)
        return x_BND, ids_BN

    def _table(self) -> Tensor:
        config = self.config
        if config.num_frames == 1:
            return sincos_image(config.predictor_embed_dim, config.grid)
        grid = (config.steps, *config.grid)
        return sincos_video(config.predictor_embed_dim, grid, uniform_power=config.uniform_power)


def by_position(x_BND: Tensor, ids_BN: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens and ids sorted by id, and the order that sorted them (its argsort undoes it)."""
    ids_BN, order_BN = ids_BN.sort(dim=1, stable=True)
    return keep(x_BND, order_BN), ids_BN, order_BN


def mask_token(tokens: nn.ParameterList, index: int, target_ids_BM: Tensor) -> Tensor:
    """Token number `index` (modulo their number) for every hidden position: [B, M, D]."""
    token_11D: Tensor = tokens[index % len(tokens)]
    return token_11D.expand(*target_ids_BM.shape, -1)


def square_grid(grid: tuple[int, int]) -> Grid:
    """The grid that turns ids into positions: the released code takes the height for both sides."""
    return Grid(1, grid[0], grid[0])


@torch.no_grad()
def draw_mask_tokens(tokens: nn.ParameterList, generator: torch.Generator | None, *, zero: bool) -> None:
    """Set the mask tokens to zero, or draw them."""
    for token in tokens:
        if zero:
            token.zero_()
        else:
            draw(token, generator)
