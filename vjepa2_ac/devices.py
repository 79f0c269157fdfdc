"""Where a model computes: CUDA where there is one, unless told otherwise."""

from __future__ import annotations

import torch

from vjepa2_ac.errors import ConfigError


def default_device() -> str:
    """CUDA where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def choose_device(device: torch.device | str | None) -> torch.device:
    """The device that is asked for, by default `default_device`. Raises ConfigError for one that is not here."""
    try:
        chosen = torch.device(device or default_device())
    except RuntimeError:
        chosen = None
    if chosen is None or chosen.type not in ("cpu", "cuda"):
        raise ConfigError(f"no device {device!r}; there are cpu, cuda, and cuda:0, cuda:1 … of several GPUs")
    if chosen.type == "cuda":
        here = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (chosen.index or 0) >= here:
            raise ConfigError(f"no device {chosen}: torch {torch.__version__} can use {here} CUDA devices here")
    return chosen


def finish(device: torch.device) -> None:
    """Return when the device has done all it was asked to: a GPU is asked, and works on after the call is over."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
