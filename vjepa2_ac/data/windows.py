"""Windows: a few frames of an episode at 4 a second, with the poses, actions and extrinsics that belong to them.

Windows are drawn as for the training of V-JEPA 2-AC: a window covers `frames_per_clip` strides, its end is uniform over
what fits (the end itself excluded, so the very last frame is never seen), and frames and poses share their indices.

Shapes: T frames, P = T / frameskip poses, A = P - 1 actions, 7 numbers of a pose or action, 6 of an extrinsic, H
height, W width, C colours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vjepa2_ac import poses
from vjepa2_ac.data.episodes import Array, Episode
from vjepa2_ac.data.layout import CAMERAS
from vjepa2_ac.data.video import Frames
from vjepa2_ac.errors import ConfigError, EpisodeError

RATE_MAY_MISS = 0.1  # of the rate that is asked for; every fourth of DROID's 15 frames a second gives 3.75, not 4


class Draw(Protocol):
    """Draws from [low, high): `numpy.random.Generator.integers`, or `RandomState.randint` as in the reference."""

    def __call__(self, low: int, high: int, /) -> Any:
        """A whole number, as an int of Python's or numpy's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowConfig:
    """What a window is; the values are those of the released V-JEPA 2-AC."""

    frames_per_clip: int = 8
    fps: float = 4.0  # [1/s], at most; the stride is whole, so 15 Hz recordings come at 3.75
    frameskip: int = 1  # keep every k-th pose, but every frame (the reference's way; it trains with 1)
    camera_frame: bool = False  # poses and actions in the camera's frame instead of the base frame
    cameras: tuple[str, ...] = ("left",)  # one is drawn for each window

    def __post_init__(self) -> None:
        if self.frames_per_clip < 2:
            raise ConfigError(f"an action needs two frames; frames_per_clip is {self.frames_per_clip}")
        if not 0 < self.fps < math.inf or self.frameskip < 1:
            raise ConfigError(f"need a finite fps > 0 and frameskip ≥ 1, got {self.fps} and {self.frameskip}")
        if not self.cameras or any(camera not in CAMERAS for camera in self.cameras):
            raise ConfigError(f"cameras are some of {', '.join(CAMERAS)}; got {self.cameras}")


@dataclass(frozen=True, slots=True)
class Window:
    """Frames with their poses, and the actions between those."""

    episode: str
    camera: str
    numbers_T: NDArray[np.int64]  # which moments of the episode
    frames_THWC: Frames
    poses_P7: Array
    actions_A7: Array  # P - 1, from pose differences
    extrinsics_P6: Array | None


def draw_camera(config: WindowConfig, draw: Draw) -> str:
    """The camera of the next window, drawn from those of the configuration."""
    return config.cameras[int(draw(0, len(config.cameras)))]


def draw_window(episode: Episode, config: WindowConfig, draw: Draw) -> Window:
    """A window drawn anywhere in the episode. Raises EpisodeError when the episode is too short for one."""
    span = config.frames_per_clip * episode.stride(config.fps)
    if len(episode) <= span:
        raise EpisodeError(
            episode.name,
            f"too short: {len(episode)} frames at {episode.fps:g} fps, "
            f"{config.frames_per_clip} at {config.fps:g} fps need more than {span}",
        )
    return window_at(episode, int(draw(span, len(episode))) - span, config)


def window_at(episode: Episode, start: int, config: WindowConfig) -> Window:
    """The window whose first frame is `start`; for going through a held-out episode from end to end."""
    numbers_T = start + episode.stride(config.fps) * np.arange(config.frames_per_clip, dtype=np.int64)
    if not 0 <= start <= numbers_T[-1] < len(episode):
        raise EpisodeError(
            episode.name, f"a window from {start} needs frame {numbers_T[-1]}; the last is {len(episode) - 1}"
        )
    kept_P = numbers_T[:: config.frameskip]
    poses_P7 = episode.poses_N7[kept_P]
    extrinsics_P6 = None if episode.extrinsics_N6 is None else episode.extrinsics_N6[kept_P]
    if config.camera_frame:
        poses_P7 = poses.in_camera_frame(poses_P7, episode.extrinsics(kept_P))
    return Window(
        episode=episode.name,
        camera=episode.camera,
        numbers_T=numbers_T,
        frames_THWC=episode.frames(numbers_T),
        poses_P7=poses_P7,
        actions_A7=poses.pose_differences(poses_P7),
        extrinsics_P6=extrinsics_P6,
    )


def rate_missed(rate: float, fps: float) -> str | None:
    """A sentence on windows whose frames come at `rate`, where that is clearly slower than `fps`; else None."""
    if rate > (1 - RATE_MAY_MISS) * fps:
        return None
    return f"windows come at {rate:.3g} frames a second, not {fps:g}, which whole strides do not meet"


def window_starts(episode: Episode, config: WindowConfig) -> Sequence[int]:
    """Every start at which a whole window fits; empty for an episode that is too short."""
    return range(len(episode) - (config.frames_per_clip - 1) * episode.stride(config.fps))
