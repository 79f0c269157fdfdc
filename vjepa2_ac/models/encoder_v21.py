"""The V-JEPA 2.1 encoder: beyond V-JEPA 2's, it has true rotations, pictures beside clips, and features of four depths.

Legend: B batch, C colours, T frames, H and W pixels, N tokens, D width, G levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vjepa2_ac.config import require
from vjepa2_ac.errors import InputError
from vjepa2_ac.models.blocks import run_block, stack
from vjepa2_ac.models.build import draw_weights, shrink_residuals
from vjepa2_ac.models.encoder import as_masks, check_positive, check_shape, rotation_of
from vjepa2_ac.models.patches import PatchEmbed, grid_of, keep_each
from vjepa2_ac.models.rope import Grid, Rope

LEVELS = {12: (2, 5, 8, 11), 24: (5, 11, 17, 23), 40: (9, 19, 29, 39), 48: (11, 23, 37, 47)}  # by depth, from 0
PRETRAINED_SIDE = 256  # [px]; positions are stretched to the grid of this picture size


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderV21Config:
    """Shape of a V-JEPA 2.1 encoder; the defaults are the released ViT-L's. Depth is 12, 24, 40 or 48."""

    img_size: tuple[int, int] = (384, 384)  # height, width [px] it was trained for; others work
    patch_size: int = 16
    num_frames: int = 64
    tubelet_size: int = 2
    in_chans: int = 3
    embed_dim: int = 1024
    depth: int = 24
    num_heads: int = 16
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    norm_eps: float = 1e-6
    use_silu: bool = False
    wide_silu: bool = True
    img_temporal_dim_size: int | None = 1  # clips of this many frames are pictures; None: there are no pictures
    modality_embedding: bool = True  # tell pictures and clips apart by a learned vector
    interpolate_rope: bool = True  # stretch rows and columns to those of a 256-pixel picture
    n_output_distillation: int = 4  # how many of the deepest levels `hierarchical` joins
    use_activation_checkpointing: bool = False

    def __post_init__(self) -> None:
        check_shape(self, self.embed_dim, self.img_size, self.patch_size)
        check_positive(self, "num_frames", "tubelet_size", "in_chans")
        require(self.depth in LEVELS, f"depth must be one of {', '.join(map(str, LEVELS))}, got {self.depth}")
        check_levels(self.n_output_distillation)

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.embed_dim // self.num_heads

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches at the configured picture size."""
        return self.img_size[0] // self.patch_size, self.img_size[1] // self.patch_size

    @property
    def levels(self) -> tuple[int, ...]:
        """The blocks, from 0, whose outputs have a norm of their own."""
        return LEVELS[self.depth]


def check_levels(count: int) -> None:
    """Raise ConfigError for a number of joined levels that does not exist."""
    require(1 <= count <= 4, f"n_output_distillation must be 1 to 4, got {count}")


class EncoderV21(nn.Module):
    """A vision transformer from pixels to tokens. Parameters are named as in the released files."""

    def __init__(self, config: EncoderV21Config) -> None:
        super().__init__()
        self.config = config
        dim, space = config.embed_dim, (config.patch_size, config.patch_size)
        self.rope = Rope(config.head_dim, "pairwise")
        self.patch_embed = PatchEmbed((config.tubelet_size, *space), config.in_chans, dim)
        if config.img_temporal_dim_size is not None:
            self.patch_embed_img = PatchEmbed((1, *space), config.in_chans, dim)
            if config.modality_embedding:
                self.img_mod_embed = nn.Parameter(torch.zeros(1, 1, dim))
                self.video_mod_embed = nn.Parameter(torch.zeros(1, 1, dim))
        self.blocks = stack(config, dim)
        self.norms_block = nn.ModuleList(nn.LayerNorm(dim, eps=config.norm_eps) for _ in config.levels)
        self.initialise()

    def forward(
        self,
        video_BCTHW: Tensor,
        masks: Tensor | Sequence[Tensor] | None = None,
        *,
        out_layers: Sequence[int] | None = None,
        hierarchical: bool = False,
        is_clip: bool = False,
    ) -> Tensor | list[Tensor]:
        """Clips [B, C, T, H, W], or pictures with T = `img_temporal_dim_size`, to normalised tokens [B, N, D].

        `hierarchical` joins the deepest `n_output_distillation` levels, shallow to deep, along the channels
        [B, N, G · D], as pretraining wants them. `out_layers` asks for single levels as a list. With `is_clip`, what by
        its number of frames could be a picture is taken for a clip. Masks are as in `Encoder.forward`. Raises
        `InputError` for pixels that cannot be cut into patches, or levels the model does not have.
        """
        config = self.config
        x_BND, grid = self._embed(video_BCTHW, is_clip=is_clip)
        masks = as_masks(masks)
        if masks is not None:
            x_BND = keep_each(x_BND, masks)
        rotation = rotation_of(self.rope, self._token_grid(grid), x_BND, masks)
        if out_layers is not None:
            wanted = self._check_levels(out_layers)
        else:
            wanted = config.levels[-config.n_output_distillation :] if hierarchical else config.levels[-1:]

        outputs: list[Tensor] = []
        for i, block in enumerate(list(self.blocks)[: max(wanted) + 1]):
            x_BND = run_block(block, x_BND, rotation, recompute=config.use_activation_checkpointing)
            if i in wanted:
                outputs.append(self.norms_block[config.levels.index(i)](x_BND))
        return outputs if out_layers is not None else torch.cat(outputs, dim=-1)

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Draw initial weights the released way."""
        draw_weights(self, generator)
        shrink_residuals(self.blocks)
        draw_modalities(self, generator)

    def _embed(self, video_BCTHW: Tensor, *, is_clip: bool) -> tuple[Tensor, tuple[int, ...]]:
        config = self.config
        is_image = not is_clip and video_BCTHW.dim() == 5 and video_BCTHW.shape[2] == config.img_temporal_dim_size
        embed = self.patch_embed_img if is_image else self.patch_embed
        grid = grid_of(video_BCTHW, embed.patch, config.in_chans)
        x_BND: Tensor = embed(video_BCTHW)
        return add_modality(self, x_BND, is_image=is_image), grid

    def _token_grid(self, grid: tuple[int, ...]) -> Grid:
        if not self.config.interpolate_rope:
            return Grid(*grid)
        return stretched(Grid(*grid), self.config.patch_size)

    def _check_levels(self, out_layers: Sequence[int]) -> Sequence[int]:
        levels = self.config.levels
        if not out_layers or not set(out_layers) <= set(levels):
            raise InputError(f"out_layers must be among {list(levels)}, got {list(out_layers)}")
        return out_layers


def stretched(grid: Grid, patch_size: int) -> Grid:
    """The grid with rows and columns spread over those of the pretraining picture (a single row stays at 0)."""
    last = PRETRAINED_SIDE // patch_size - 1
    return Grid(
        grid.steps,
        grid.height,
        grid.width,
        height_scale=last / max(1, grid.height - 1),
        width_scale=last / max(1, grid.width - 1),
    )


def add_modality(model: nn.Module, x_BND: Tensor, *, is_image: bool) -> Tensor:
    """Tokens plus the learned vector of pictures or clips, where the model has them."""
    embedding: Tensor | None = getattr(model, "img_mod_embed" if is_image else "video_mod_embed", None)
    return x_BND if embedding is None else x_BND + embedding.to(x_BND.dtype)


@torch.no_grad()
def draw_modalities(model: nn.Module, generator: torch.Generator | None) -> None:
    """Draw the learned vectors of pictures and clips, close to zero at first."""
    for name in ("img_mod_embed", "video_mod_embed"):
        embedding: Tensor | None = getattr(model, name, None)
        if embedding is not None and not embedding.is_meta:
            embedding.normal_(std=1e-6, generator=generator)
