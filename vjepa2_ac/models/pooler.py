"""Attentive probes: a few learned queries read a frozen encoder's tokens, and a linear map classifies what they read.

Legend: B batch, N tokens, Q queries, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from vjepa2_ac.config import require
from vjepa2_ac.errors import InputError
from vjepa2_ac.models.attention import CrossAttention
from vjepa2_ac.models.blocks import MLP, check_stack, run_block, stack
from vjepa2_ac.models.build import draw, draw_weights, shrink, shrink_residuals


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentivePoolerConfig:
    """Shape of a pooler: `depth - 1` self-attention blocks over the tokens, then one cross-attention of the queries."""

    embed_dim: int = 1024
    num_heads: int = 16
    mlp_ratio: float = 4.0
    depth: int = 1
    num_queries: int = 1
    complete_block: bool = True  # otherwise the queries' attention stands alone, without norms, residual and MLP
    qkv_bias: bool = True
    norm_eps: float = 1e-5
    use_silu: bool = False
    wide_silu: bool = True
    use_activation_checkpointing: bool = False

    def __post_init__(self) -> None:
        check_stack(self, self.embed_dim)
        require(self.num_queries > 0, f"num_queries must be positive, got {self.num_queries}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentiveClassifierConfig:
    """Shape of a released probe: four deep, one query, 16 heads."""

    embed_dim: int = 1024
    num_heads: int = 16
    mlp_ratio: float = 4.0
    depth: int = 4
    num_classes: int = 174  # Something-Something v2
    complete_block: bool = True
    qkv_bias: bool = True
    norm_eps: float = 1e-5
    use_activation_checkpointing: bool = False

    def __post_init__(self) -> None:
        require(self.num_classes > 0, f"num_classes must be positive, got {self.num_classes}")
        _ = self.pooler  # which checks the rest

    @property
    def pooler(self) -> AttentivePoolerConfig:
        """The configuration of the pooler inside."""
        return AttentivePoolerConfig(
            embed_dim=self.embed_dim,
            num_heads=self.num_heads,
            mlp_ratio=self.mlp_ratio,
            depth=self.depth,
            complete_block=self.complete_block,
            qkv_bias=self.qkv_bias,
            norm_eps=self.norm_eps,
            use_activation_checkpointing=self.use_activation_checkpointing,
        )


class CrossAttentionBlock(nn.Module):
    """Cross-attention of queries, which are not normalised, to normalised tokens, then an MLP; each with a residual."""

    def __init__(self, config: AttentivePoolerConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        self.norm1 = nn.LayerNorm(dim, eps=config.norm_eps)
        self.xattn = CrossAttention(dim, config.num_heads, qkv_bias=config.qkv_bias)
        self.norm2 = nn.LayerNorm(dim, eps=config.norm_eps)
        self.mlp = MLP(dim, int(dim * config.mlp_ratio))

    def forward(self, queries_BQD: Tensor, x_BND: Tensor) -> Tensor:
        """What each query reads from the tokens, [B, Q, D]."""
        queries_BQD = queries_BQD + self.xattn(queries_BQD, self.norm1(x_BND))
        answers_BQD: Tensor = queries_BQD + self.mlp(self.norm2(queries_BQD))
        return answers_BQD


class AttentivePooler(nn.Module):
    """Pools tokens to one vector per learned query. Parameters are named as in the released probes."""

    def __init__(self, config: AttentivePoolerConfig) -> None:
        super().__init__()
        self.config = config
        self.query_tokens = nn.Parameter(torch.zeros(1, config.num_queries, config.embed_dim))
        self.cross_attention_block: nn.Module = (
            CrossAttentionBlock(config)
            if config.complete_block
            else CrossAttention(config.embed_dim, config.num_heads, qkv_bias=config.qkv_bias)
        )
        self.blocks = stack(config, config.embed_dim, depth=config.depth - 1)
        self.initialise()

    def forward(self, x_BND: Tensor) -> Tensor:
        """Tokens [B, N, D] to answers [B, Q, D]."""
        if x_BND.dim() != 3 or x_BND.shape[-1] != self.config.embed_dim:
            raise InputError(f"expected tokens [batch, tokens, {self.config.embed_dim}], got {list(x_BND.shape)}")
        for block in self.blocks:
            x_BND = run_block(block, x_BND, recompute=self.config.use_activation_checkpointing)
        queries_BQD = self.query_tokens.to(x_BND.dtype).expand(len(x_BND), -1, -1)
        answers_BQD: Tensor = self.cross_attention_block(queries_BQD, x_BND)
        return answers_BQD

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Draw initial weights the released way: the cross-attention counts as the first block."""
        draw_weights(self, generator)
        draw(self.query_tokens, generator)
        if self.config.complete_block:
            shrink(cast("CrossAttentionBlock", self.cross_attention_block).mlp.fc2, depth=1)
        shrink_residuals(self.blocks, first=2)


class AttentiveClassifier(nn.Module):
    """Scores classes from tokens: a pooler with one query and a linear map."""

    def __init__(self, config: AttentiveClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.pooler = AttentivePooler(config.pooler)
        self.linear = nn.Linear(config.embed_dim, config.num_classes)
        self.initialise()

    def forward(self, x_BND: Tensor) -> Tensor:
        """Tokens [B, N, D] to unnormalised scores [B, classes]."""
        scores: Tensor = self.linear(self.pooler(x_BND).squeeze(1))
        return scores

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Draw initial weights."""
        self.pooler.initialise(generator)
        draw_weights(self.linear, generator)
