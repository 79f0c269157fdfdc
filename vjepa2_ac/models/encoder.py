"""The V-JEPA 2 video encoder: a vision transformer over space-time patches (Assran et al. 2025, section 2).

Legend: B batch, C colours, T frames, H and W pixels, N tokens, K kept tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vjepa2_ac.config import require
from vjepa2_ac.errors import InputError
from vjepa2_ac.models.blocks import StackShape, check_stack, run_block, stack
from vjepa2_ac.models.build import draw_weights, shrink_residuals
from vjepa2_ac.models.patches import PatchEmbed, grid_of, keep_each
from vjepa2_ac.models.positions import resize_image, resize_video, sincos_image, sincos_video
from vjepa2_ac.models.rope import SMALLEST_HEAD, Grid, Rope, Rotation


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """Shape of an encoder. With `num_frames=1`, it takes single pictures; otherwise, clips of any length."""

    img_size: tuple[int, int] = (256, 256)  # height, width [px]; matters to sine-cosine positions only
    patch_size: int = 16  # [px]
    num_frames: int = 64
    tubelet_size: int = 2  # frames in one token
    in_chans: int = 3
    embed_dim: int = 1024
    depth: int = 24
    num_heads: int = 16
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    norm_eps: float = 1e-6
    use_rope: bool = True
    uniform_power: bool = False  # how sine-cosine positions share the channels
    use_silu: bool = False  # gated MLP
    wide_silu: bool = True
    use_activation_checkpointing: bool = False  # less memory in training, a third more time

    def __post_init__(self) -> None:
        check_shape(self, self.embed_dim, self.img_size, self.patch_size, use_rope=self.use_rope)
        check_positive(self, "num_frames", "tubelet_size", "in_chans")
        require(
            self.num_frames == 1 or self.num_frames % self.tubelet_size == 0,
            f"num_frames must be 1 or divide by tubelet_size {self.tubelet_size}, got {self.num_frames}",
        )

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.embed_dim // self.num_heads

    @property
    def is_video(self) -> bool:
        """Whether clips go in, rather than single pictures."""
        return self.num_frames > 1

    @property
    def patch(self) -> tuple[int, ...]:
        """Frames (for clips), height and width of what becomes one token."""
        space = (self.patch_size, self.patch_size)
        return (self.tubelet_size, *space) if self.is_video else space

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches at the configured picture size."""
        return self.img_size[0] // self.patch_size, self.img_size[1] // self.patch_size


def check_shape(
    shape: StackShape, dim: int, img_size: tuple[int, int], patch_size: int, *, use_rope: bool = True
) -> None:
    """Raise ConfigError for sizes that no transformer of this project can have."""
    check_stack(shape, dim)
    require(patch_size > 0 and min(img_size) > 0, f"img_size {img_size} and patch_size {patch_size} must be positive")
    require(
        img_size[0] % patch_size == 0 and img_size[1] % patch_size == 0,
        f"img_size {img_size} must divide by patch_size {patch_size}",
    )
    require(
        not use_rope or dim // shape.num_heads >= SMALLEST_HEAD,
        f"rotary positions need heads of {SMALLEST_HEAD} channels or more, got {dim} / {shape.num_heads}",
    )


def check_positive(config: object, *sizes: str) -> None:
    """Raise ConfigError unless these sizes of a configuration are positive."""
    for name in sizes:
        require(getattr(config, name) > 0, f"{name} must be positive, got {getattr(config, name)}")


class Encoder(nn.Module):
    """A vision transformer from pixels to tokens. Parameters are named as in the released files."""

    pos_embed: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.rope = Rope(config.head_dim, "tiled") if config.use_rope else None
        self.patch_embed = PatchEmbed(config.patch, config.in_chans, config.embed_dim)
        self.blocks = stack(config, config.embed_dim)
        self.norm = nn.LayerNorm(config.embed_dim, eps=config.norm_eps)
        if not config.use_rope:
            self.register_buffer("pos_embed", torch.empty(1, *self._table_shape()))
        self.initialise()

    def forward(
        self,
        video_BCTHW: Tensor,
        masks: Tensor | Sequence[Tensor] | None = None,
        *,
        out_layers: Sequence[int] | None = None,
    ) -> Tensor | list[Tensor]:
        """Clips [B, C, T, H, W] (pictures [B, C, H, W] if `num_frames` is 1) to normalised tokens [B, N, D].

        T, H and W may be any multiples of the patch; a still picture is the same frame `tubelet_size` times. A mask
        [B, K] keeps the tokens with those ids, id = (t · rows + row) · columns + column; several masks of one length
        are stacked along the batch. `out_layers` asks for the normalised output of these blocks (from 0) as a list.

        Raises `InputError` for pixels that cannot be cut into patches, or blocks the model does not have.
        """
        config = self.config
        grid = grid_of(video_BCTHW, config.patch, config.in_chans)
        x_BND = self.patch_embed(video_BCTHW)
        if not config.use_rope:
            x_BND = x_BND + self._positions(grid).to(x_BND.dtype)
        masks = as_masks(masks)
        if masks is not None:
            x_BND = keep_each(x_BND, masks)
        rotation = rotation_of(self.rope, token_grid(grid), x_BND, masks)
        wanted = [config.depth - 1] if out_layers is None else check_layers(out_layers, config.depth)

        outputs: list[Tensor] = []
        for i, block in enumerate(list(self.blocks)[: max(wanted) + 1]):
            x_BND = run_block(block, x_BND, rotation, recompute=config.use_activation_checkpointing)
            if i in wanted:
                outputs.append(self.norm(x_BND))
        return outputs[0] if out_layers is None else outputs

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Draw initial weights the released way, from `generator`'s random numbers, and fill in fixed tables."""
        draw_weights(self, generator)
        shrink_residuals(self.blocks)
        if not self.config.use_rope and not self.pos_embed.is_meta:
            self.pos_embed.copy_(self._table())

    def _table_shape(self) -> tuple[int, int]:
        steps = self.config.num_frames // self.config.tubelet_size if self.config.is_video else 1
        return steps * self.config.grid[0] * self.config.grid[1], self.config.embed_dim

    def _table(self) -> Tensor:
        config = self.config
        if not config.is_video:
            return sincos_image(config.embed_dim, config.grid)
        steps = config.num_frames // config.tubelet_size
        return sincos_video(config.embed_dim, (steps, *config.grid), uniform_power=config.uniform_power)

    def _positions(self, grid: tuple[int, ...]) -> Tensor:
        config = self.config
        if len(grid) == 2:
            return resize_image(self.pos_embed, config.grid, (grid[0], grid[1]))
        built = (config.num_frames // config.tubelet_size, *config.grid)
        return resize_video(self.pos_embed, built, (grid[0], grid[1], grid[2]))


def as_masks(masks: Tensor | Sequence[Tensor] | None) -> Sequence[Tensor] | None:
    """The masks as a sequence, which holds one where a single mask is given."""
    return [masks] if isinstance(masks, Tensor) else masks


def check_layers(out_layers: Sequence[int], depth: int) -> Sequence[int]:
    """`out_layers`, if they name blocks that the model has. Raises InputError if not."""
    if not out_layers or any(not 0 <= layer < depth for layer in out_layers):
        raise InputError(f"out_layers must name blocks from 0 to {depth - 1}, got {list(out_layers)}")
    return out_layers


def token_grid(grid: tuple[int, ...]) -> Grid:
    """The grid of patches as rotary positions see it; a single picture is one step."""
    return Grid(*grid) if len(grid) == 3 else Grid(1, *grid)


def rotation_of(rope: Rope | None, grid: Grid, x_BND: Tensor, masks: Sequence[Tensor] | None = None) -> Rotation | None:
    """The rotation of a grid's tokens, or of those the masks kept, on the tokens' device and in their precision."""
    if rope is None:
        return None
    if masks is None:
        return rope.of_grid(grid, x_BND.device, attention_dtype(x_BND))
    return rope.of_ids(torch.cat(list(masks)), grid, attention_dtype(x_BND))


def attention_dtype(x_BND: Tensor) -> torch.dtype:
    """The precision that queries and keys of these tokens will have: autocast's, where it is on."""
    kind = x_BND.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x_BND.dtype
