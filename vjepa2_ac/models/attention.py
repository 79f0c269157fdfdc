"""Multi-head attention: self-attention (with rotary positions and a cache), and cross-attention of queries to tokens.

PyTorch's fused attention is used throughout, with one exception that was measured: on a CPU in bf16, its backward pass
takes four to six times as long as plain matrix products while sequences are short (64 × 6 heads × 64 tokens × 32
channels, one thread, torch 2.15: 64 against 14 ms), so training there uses plain products. In fp32, and without
gradients, the fused kernel is as fast or faster at every size tried.

Legend: B batch, N tokens, Q queries, D width, H heads, C channels of one head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vjepa2_ac.models.rope import Rotation, rotate

SHORT = 384  # [tokens]; at 512 both take the same time


@dataclass(slots=True)
class PastKeys:
    """Keys and values of earlier tokens in one layer, [B, H, N, C]; grows by what each call appends."""

    keys: Tensor
    values: Tensor

    def append(self, keys_BHNC: Tensor, values_BHNC: Tensor) -> tuple[Tensor, Tensor]:
        """Append these to the earlier ones and return all of them (in new tensors: gradients stay right)."""
        self.keys = torch.cat((self.keys, keys_BHNC.to(self.keys.dtype)), dim=2)
        self.values = torch.cat((self.values, values_BHNC.to(self.values.dtype)), dim=2)
        return self.keys, self.values


def attend(q_BHQC: Tensor, k_BHNC: Tensor, v_BHNC: Tensor, may_attend_QN: Tensor | None = None) -> Tensor:
    """softmax(q kᵀ / √C) v, where `may_attend_QN` is true (everywhere, when not given)."""
    if _is_slow_when_fused(q_BHQC, k_BHNC):
        return attend_plainly(q_BHQC, k_BHNC, v_BHNC, may_attend_QN)
    return F.scaled_dot_product_attention(q_BHQC, k_BHNC, v_BHNC, attn_mask=may_attend_QN)


def attend_plainly(q_BHQC: Tensor, k_BHNC: Tensor, v_BHNC: Tensor, may_attend_QN: Tensor | None = None) -> Tensor:
    """The same as matrix products: the definition, and the faster way to train on short sequences on a CPU in bf16."""
    scores_BHQN = (q_BHQC * q_BHQC.shape[-1] ** -0.5) @ k_BHNC.transpose(-2, -1)
    if may_attend_QN is not None:
        scores_BHQN = scores_BHQN.masked_fill(~may_attend_QN, float("-inf"))
    attended: Tensor = scores_BHQN.softmax(dim=-1) @ v_BHNC
    return attended


class Attention(nn.Module):
    """Self-attention of tokens to those they may see; weights are named and laid out as released (`qkv`, `proj`)."""

    def __init__(self, dim: int, num_heads: int, *, qkv_bias: bool = True) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def forward(
        self,
        x_BND: Tensor,
        rotation: Rotation | None = None,
        may_attend_NN: Tensor | None = None,
        past: PastKeys | None = None,
    ) -> Tensor:
        """Tokens [B, N, D] to [B, N, D]; with `past`, they also attend to the tokens in it and are appended to it."""
        qkv_3BHNC = self.qkv(x_BND).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        qk_2BHNC, v_BHNC = qkv_3BHNC[:2], qkv_3BHNC[2]
        if rotation is not None:
            qk_2BHNC = rotate(qk_2BHNC, rotation)  # both at once: half the calls
        q_BHNC, k_BHNC = qk_2BHNC.unbind(0)
        if past is not None:
            k_BHNC, v_BHNC = past.append(k_BHNC, v_BHNC)
            q_BHNC = q_BHNC.to(k_BHNC.dtype)
        return _merge_heads(attend(q_BHNC, k_BHNC, v_BHNC, may_attend_NN), self.proj)


class CrossAttention(nn.Module):
    """Cross-attention of queries to tokens, without an output projection, as in the released probes."""

    def __init__(self, dim: int, num_heads: int, *, qkv_bias: bool = True) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim, bias=qkv_bias)
        self.kv = nn.Linear(dim, 2 * dim, bias=qkv_bias)

    def forward(self, queries_BQD: Tensor, x_BND: Tensor) -> Tensor:
        """What each query found in the tokens, [B, Q, D]."""
        q_BHQC = self.q(queries_BQD).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        k_BHNC, v_BHNC = self.kv(x_BND).unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return attend(q_BHQC, k_BHNC, v_BHNC).transpose(1, 2).flatten(2)


def _merge_heads(x_BHNC: Tensor, projection: nn.Linear) -> Tensor:
    merged_BND = x_BHNC.transpose(1, 2).flatten(2)
    if not torch.is_autocast_enabled(merged_BND.device.type):
        merged_BND = merged_BND.to(projection.weight.dtype)  # a cache may be kept in another precision
    projected: Tensor = projection(merged_BND)
    return projected


def _is_slow_when_fused(q_BHQC: Tensor, k_BHNC: Tensor) -> bool:
    return (
        q_BHQC.device.type == "cpu"
        and q_BHQC.requires_grad
        and q_BHQC.dtype is torch.bfloat16
        and k_BHNC.shape[2] <= SHORT
    )
