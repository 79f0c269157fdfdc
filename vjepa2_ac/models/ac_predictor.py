"""The action-conditioned predictor of V-JEPA 2-AC, for the next frame's latents (Assran et al. 2025, section 3.1).

One time step is a few conditioning tokens (action, pose, optionally camera extrinsics) and the frame's patches. Tokens
attend to everything in their own and earlier steps, never to a later one; so the keys and values of earlier steps stay
valid while a rollout grows, and `step` computes only the newest one.

Legend: B batch, T time steps, P patches of one frame, N = T · P, S = conditioning tokens + P, A action and pose
numbers (7), E extrinsics numbers (6), D encoder width, W predictor width, L layers, H heads, C channels of one head.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from torch import Tensor, nn

from vjepa2_ac.config import require
from vjepa2_ac.errors import InputError
from vjepa2_ac.models.attention import PastKeys
from vjepa2_ac.models.blocks import run_block, stack
from vjepa2_ac.models.build import draw, draw_weights, shrink_residuals
from vjepa2_ac.models.copy_gate import CopyGate
from vjepa2_ac.models.encoder import attention_dtype, check_positive, check_shape
from vjepa2_ac.models.local_mixing import LocalMixing
from vjepa2_ac.models.rope import Grid, Rope, Rotation

ACTION_UNITS = (0.05, 0.05, 0.05, 0.25, 0.25, 0.25, 0.25)  # [m], [rad], [stroke]; counts as one in modulation


@dataclass(frozen=True, slots=True, kw_only=True)
class ACPredictorConfig:
    """Shape of an action-conditioned predictor, by default the released one's. It takes any number of steps."""

    img_size: tuple[int, int] = (256, 256)  # height, width [px]
    patch_size: int = 16
    embed_dim: int = 1408  # of the encoder
    predictor_embed_dim: int = 1024
    depth: int = 24
    num_heads: int = 16
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    norm_eps: float = 1e-6
    use_rope: bool = True  # without it tokens have no positions at all
    is_frame_causal: bool = True  # otherwise steps see later ones, and nothing can be cached
    use_silu: bool = False
    wide_silu: bool = True
    action_embed_dim: int = 7  # numbers in an action, and in a pose
    use_extrinsics: bool = False  # a third conditioning token: where the camera is
    fps: float = 4.0  # frames a second in training, one for each step
    camera_frame: bool = False  # trained on poses and actions in the camera's frame, not in the base frame
    modulation: Literal["none", "adaln"] = "none"  # also let action and pose scale, shift and gate every block
    local_mixing: bool = False  # a 3 x 3 convolution over each frame's patches before every block
    copy_gate: bool = False  # mix each predicted patch with the present one; for normalised latents
    use_activation_checkpointing: bool = False

    def __post_init__(self) -> None:
        check_shape(self, self.predictor_embed_dim, self.img_size, self.patch_size, use_rope=self.use_rope)
        check_positive(self, "embed_dim")
        require(0 < self.fps < math.inf, f"fps is a rate above 0, got {self.fps}")
        require(self.action_embed_dim > 1, f"action_embed_dim must be at least 2, got {self.action_embed_dim}")
        require(self.modulation in ("none", "adaln"), f"modulation is 'none' or 'adaln', got {self.modulation!r}")

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.predictor_embed_dim // self.num_heads

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.img_size[0] // self.patch_size, self.img_size[1] // self.patch_size

    @property
    def tokens_per_frame(self) -> int:
        """Patches of one frame."""
        return self.grid[0] * self.grid[1]

    @property
    def conditioning_tokens(self) -> int:
        """Tokens in front of each frame's patches."""
        return 3 if self.use_extrinsics else 2

    @property
    def extrinsics_dim(self) -> int:
        """Numbers that say where the camera is: a pose without gripper."""
        return self.action_embed_dim - 1


@dataclass(slots=True)
class KVCache:
    """The keys and values of a rollout's steps so far, [B, H, length · S, C] in each layer."""

    layers: list[PastKeys]
    steps: int  # how many it may grow to
    length: int = 0

    def expand(self, candidates: int) -> KVCache:
        """A cache in which so many candidates share each history of this one, in the order of `repeat_interleave`.

        This cache stays as it is. A single history is not even copied: its candidates share the same memory.
        """

        def share(past_BHNC: Tensor) -> Tensor:
            return past_BHNC.unsqueeze(1).expand(-1, candidates, -1, -1, -1).flatten(0, 1)

        shared = [PastKeys(share(past.keys), share(past.values)) for past in self.layers]
        return KVCache(shared, self.steps, self.length)


class ACPredictor(nn.Module):
    """Predicts next frames' latents from latents, actions and poses. Parameters are named as in the released files."""

    def __init__(self, config: ACPredictorConfig) -> None:
        super().__init__()
        self.config = config
        self.rope = Rope(config.head_dim, "tiled") if config.use_rope else None
        dim = config.predictor_embed_dim
        self.predictor_embed = nn.Linear(config.embed_dim, dim)
        self.action_encoder = nn.Linear(config.action_embed_dim, dim)
        self.state_encoder = nn.Linear(config.action_embed_dim, dim)
        self.extrinsics_encoder = nn.Linear(config.extrinsics_dim, dim)  # released files hold it even when unused
        is_modulated = config.modulation == "adaln"
        self.predictor_blocks = stack(config, dim, modulated=is_modulated)
        self.local_mixing = nn.ModuleList(
            LocalMixing(dim, config.grid, config.conditioning_tokens, norm_eps=config.norm_eps)
            if config.local_mixing
            else nn.Identity()
            for _ in range(config.depth)
        )
        self.predictor_norm = nn.LayerNorm(dim, eps=config.norm_eps)
        self.predictor_proj = nn.Linear(dim, config.embed_dim)
        self.copy_gate = CopyGate(dim) if config.copy_gate else None
        self.condition_encoder = (
            nn.Sequential(nn.Linear(2 * config.action_embed_dim, dim), nn.SiLU(), nn.Linear(dim, dim), nn.SiLU())
            if is_modulated
            else None
        )
        self.initialise()

    def forward(
        self, latents_BND: Tensor, actions_BTA: Tensor, poses_BTA: Tensor, extrinsics_BTE: Tensor | None = None
    ) -> Tensor:
        """Latents [B, T · P, D] of T frames to [B, T · P, D]: at step t the prediction of frame t + 1.

        `latents_BND` are normalised features of single frames; actions and poses are as in `vjepa2_ac.poses`.
        Raises `InputError` where shapes contradict each other.
        """
        self._check(latents_BND, actions_BTA, poses_BTA, extrinsics_BTE)
        x_BND = self._tokens(latents_BND, actions_BTA, poses_BTA, extrinsics_BTE)
        steps = actions_BTA.shape[1]
        rotation = self._rotation(x_BND, first_step=0, steps=steps)
        mask_NN = self.attention_mask(steps, x_BND.device) if self.config.is_frame_causal and steps > 1 else None
        condition_BTW = self._condition(actions_BTA, poses_BTA)
        for mix, block in zip(self.local_mixing, self.predictor_blocks, strict=True):
            x_BND = run_block(
                functools.partial(_mixed, mix, block),
                x_BND,
                rotation,
                mask_NN,
                condition_BTW,
                recompute=self.config.use_activation_checkpointing,
            )
        return self._predictions(x_BND, latents_BND, steps)

    def empty_cache(
        self,
        batch: int,
        steps: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> KVCache:
        """A cache for rollouts of up to `steps` steps, by default on the model's device and in its precision."""
        if not self.config.is_frame_causal:
            raise InputError("a predictor whose steps see later ones (is_frame_causal false) cannot be cached")
        weight, config = self.predictor_embed.weight, self.config
        shape = (batch, config.num_heads, 0, config.head_dim)
        nothing = torch.empty(shape, device=device or weight.device, dtype=dtype or weight.dtype)
        return KVCache([PastKeys(nothing, nothing) for _ in range(config.depth)], steps)

    def step(
        self,
        latents_BPD: Tensor,
        action_BA: Tensor,
        pose_BA: Tensor,
        cache: KVCache,
        extrinsics_BE: Tensor | None = None,
        *,
        is_last: bool = False,
    ) -> Tensor:
        """Latents [B, P, D] of the newest frame to those of the next one; the cache grows by this step.

        The result is that of `forward` on the whole history, at the price of one step. With `is_last`, the cache stays
        as it was: after the last step of a rollout, nobody reads it.
        """
        actions_B1A, poses_B1A = action_BA.unsqueeze(1), pose_BA.unsqueeze(1)
        extrinsics_B1E = None if extrinsics_BE is None else extrinsics_BE.unsqueeze(1)
        self._check(latents_BPD, actions_B1A, poses_B1A, extrinsics_B1E)
        if cache.length >= cache.steps and not is_last:
            raise InputError(f"this cache was made for {cache.steps} steps and holds as many")
        x_BSW = self._tokens(latents_BPD, actions_B1A, poses_B1A, extrinsics_B1E)
        rotation = self._rotation(x_BSW, first_step=cache.length, steps=1)
        condition_B1W = self._condition(actions_B1A, poses_B1A)
        for mix, block, past in zip(self.local_mixing, self.predictor_blocks, cache.layers, strict=True):
            x_BSW = _mixed(mix, block, x_BSW, rotation, None, replace(past) if is_last else past, condition_B1W)
        if not is_last:
            cache.length += 1
        return self._predictions(x_BSW, latents_BPD, steps=1)

    def attention_mask(self, steps: int, device: torch.device | str = "cpu") -> Tensor:
        """[T · S, T · S], true where a token (row) may attend to another (column): its own step and earlier ones."""
        return _block_causal(
            steps, self.config.conditioning_tokens + self.config.tokens_per_frame, torch.device(device)
        )

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Draw initial weights the released way; modulation and local mixing start without effect, a copy gate open."""
        draw_weights(self, generator)
        shrink_residuals(self.predictor_blocks)
        for mix in self.local_mixing:
            if isinstance(mix, LocalMixing):
                mix.silence()
        if self.copy_gate is not None:
            self.copy_gate.open()
        if self.condition_encoder is not None:
            self._draw_condition_encoder(self.condition_encoder, generator)

    @torch.no_grad()
    def _draw_condition_encoder(self, encoder: nn.Sequential, generator: torch.Generator | None) -> None:
        """Draw weights so large that a small move is not lost beside the pose's larger numbers."""
        for layer in encoder:
            if isinstance(layer, nn.Linear):
                draw(layer.weight, generator, std=layer.in_features**-0.5)
        if self.config.action_embed_dim == len(ACTION_UNITS):
            weight = cast("nn.Linear", encoder[0]).weight
            weight[:, : len(ACTION_UNITS)].div_(torch.tensor(ACTION_UNITS, dtype=weight.dtype, device=weight.device))

    def _tokens(self, latents_BND: Tensor, actions: Tensor, poses: Tensor, extrinsics: Tensor | None) -> Tensor:
        """[B, T · S, W], each step as action, pose, (extrinsics), patches."""
        patches_BTPW = self.predictor_embed(latents_BND).unflatten(1, (actions.shape[1], -1))
        conditions = [self.action_encoder(actions), self.state_encoder(poses)]
        if extrinsics is not None:
            conditions.append(self.extrinsics_encoder(extrinsics))
        return torch.cat((torch.stack(conditions, dim=2), patches_BTPW), dim=2).flatten(1, 2)

    def _condition(self, actions_BTA: Tensor, poses_BTA: Tensor) -> Tensor | None:
        if self.condition_encoder is None:
            return None
        condition_BTW: Tensor = self.condition_encoder(torch.cat((actions_BTA, poses_BTA), dim=-1))
        return condition_BTW

    def _predictions(self, x_BNW: Tensor, latents_BND: Tensor, steps: int) -> Tensor:
        patches_BTPW = torch.unflatten(x_BNW, 1, (steps, -1))[:, :, self.config.conditioning_tokens :]
        tokens_BNW = self.predictor_norm(patches_BTPW).flatten(1, 2)
        predicted_BND: Tensor = self.predictor_proj(tokens_BNW)
        if self.copy_gate is not None:
            predicted_BND = self.copy_gate(tokens_BNW, predicted_BND, latents_BND)
        return predicted_BND

    def _rotation(self, x_BNW: Tensor, *, first_step: int, steps: int) -> Rotation | None:
        if self.rope is None:
            return None
        height, width = self.config.grid
        grid = Grid(
            steps,
            height,
            width,
            width_scale=height / width,  # as released: columns count in units of the grid's height
            first_step=first_step,
            conditioning=self.config.conditioning_tokens,
        )
        return self.rope.of_grid(grid, x_BNW.device, attention_dtype(x_BNW))

    def _check(self, latents_BND: Tensor, actions: Tensor, poses: Tensor, extrinsics: Tensor | None) -> None:
        config = self.config
        if latents_BND.dim() != 3 or actions.dim() != 3:
            raise InputError(
                f"expected latents [batch, steps · {config.tokens_per_frame}, {config.embed_dim}] and actions "
                f"[batch, steps, {config.action_embed_dim}], got {list(latents_BND.shape)} and {list(actions.shape)}"
            )
        batch, steps = actions.shape[:2]
        expected = {
            "latents": (latents_BND, (batch, steps * config.tokens_per_frame, config.embed_dim)),
            "actions": (actions, (batch, steps, config.action_embed_dim)),
            "poses": (poses, (batch, steps, config.action_embed_dim)),
        }
        if extrinsics is not None:
            expected["extrinsics"] = (extrinsics, (batch, steps, config.extrinsics_dim))
        for name, (given, shape) in expected.items():
            if given.shape != shape:
                raise InputError(f"expected {name} {list(shape)} beside {steps} steps, got {list(given.shape)}")
        if (extrinsics is not None) != config.use_extrinsics:
            raise InputError(f"this predictor takes {'' if config.use_extrinsics else 'no '}extrinsics")


def _mixed(mix: nn.Module, block: nn.Module, x_BNW: Tensor, *given: object) -> Tensor:
    """A layer: local mixing, where there is any, then the block."""
    output: Tensor = block(mix(x_BNW), *given)
    return output


@functools.lru_cache(maxsize=32)
def _block_causal(steps: int, tokens: int, device: torch.device) -> Tensor:
    with torch.inference_mode(mode=False):
        step_N = torch.arange(steps, device=device).repeat_interleave(tokens)
        return step_N.unsqueeze(1) >= step_N.unsqueeze(0)
