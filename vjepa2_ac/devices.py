"""The device that a model computes on: by default CUDA, where there is any."""

from __future__ import annotations

import torch

from vjepa2_ac.errors import ConfigError


def default_device() -> str:
    """`cuda` where torch can use it, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def choose_device(device: torch.device | str | None) -> torch.device:
    """The device asked for, by default `default_device()`. Raises ConfigError for one that this machine lacks."""
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
    """Wait until the device has done all its work; calls to a GPU return before it has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
