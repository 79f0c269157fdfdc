"""The number format that a model computes in: fp32, bf16, or `auto`, which is bf16 where this machine is fast at it.

Fast means hardware that multiplies bf16 matrices: CUDA devices of compute capability 8.0 and up (A100, RTX 30 and
later), CPUs with AMX tiles (Intel Sapphire Rapids and later), where it is about ten times the speed of fp32, and CPUs
with AVX-512 BF16 (AMD Zen 4 and later), where it is about twice. Everything else stays with fp32.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch

from vjepa2_ac.devices import default_device
from vjepa2_ac.errors import ConfigError

Precision = Literal["fp32", "bf16", "auto"]

PRECISIONS: tuple[str, ...] = get_args(Precision)


def choose_dtype(precision: str, device: torch.device | str) -> torch.dtype:
    """The floating-point type that `precision` means on `device`."""
    if precision not in PRECISIONS:
        raise ConfigError(f"no precision {precision!r}; there are {', '.join(PRECISIONS)}")
    if precision == "auto":
        return torch.bfloat16 if is_fast_at_bf16(device) else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


def resolve(precision: str, device: torch.device | None = None) -> str:
    """The name, fp32 or bf16, of what `precision` means on `device` (by default `default_device()`)."""
    return "bf16" if choose_dtype(precision, device or default_device()) is torch.bfloat16 else "fp32"


def is_fast_at_bf16(device: torch.device | str) -> bool:
    """Whether the hardware multiplies bf16 matrices, by the capabilities that it reports."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and _multiplies_bf16()


def _multiplies_bf16() -> bool:
    get_capabilities = getattr(torch.cpu, "get_capabilities", None)
    if get_capabilities is not None:
        found = get_capabilities()
        return bool(found.get("amx_bf16", False) or found.get("avx512_bf16", False))
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
