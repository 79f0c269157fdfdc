"""Frames once more, in other colours: whoever learns from things of a few colours looks for those colours.

Colour jitter as on single pictures (Chen et al., A Simple Framework for Contrastive Learning of Visual
Representations, 2020, appendix A), but one draw for all frames of an episode, whose things keep their colour while
they move. Hues turn by any angle; then colours get stronger or weaker, and the light brighter or dimmer and tinted.
What has learned so can be asked in several hues, too (`ColourJitter.around`).

Legend: F frames · H, W pixels.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

HUES = 180  # of a full turn, as OpenCV counts them in bytes
SATURATION = (0.7, 1.3)
BRIGHTNESS = (0.8, 1.15)
TINT = (0.85, 1.15)  # of each channel
RANGES = f"any hue, saturation {SATURATION}, brightness {BRIGHTNESS}, tint {TINT}"  # what cached copies depend on

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ColourJitter:
    """One draw of it."""

    hue: int  # of HUES, by which all hues turn
    saturation: float
    gains: tuple[float, float, float]  # of red, green and blue

    @classmethod
    def of(cls, name: str, copy: int) -> ColourJitter:
        """The colours of an episode's n-th copy, everywhere and always the same."""
        digest = hashlib.sha256(f"{name} {copy}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        hue, saturation = int(rng.integers(HUES)), float(rng.uniform(*SATURATION))
        red, green, blue = rng.uniform(*BRIGHTNESS) * rng.uniform(*TINT, 3)
        return cls(hue, saturation, (float(red), float(green), float(blue)))

    @classmethod
    def around(cls, hues: int) -> list[ColourJitter]:
        """So many hues, evenly around the circle, but for the first, which is the picture's own."""
        return [cls(round(HUES * turn / hues), 1.0, (1.0, 1.0, 1.0)) for turn in range(1, hues)]

    def __call__(self, frames_FHW3: Bytes) -> Bytes:
        """The frames in these colours, RGB like those that came."""
        levels = np.arange(256)
        turned = ((levels + self.hue) % HUES).astype(np.uint8)
        tables = np.stack([turned, _scaled(levels, self.saturation), levels.astype(np.uint8)], axis=-1)
        channels = np.stack([_scaled(levels, gain) for gain in self.gains], axis=-1)
        seen = np.empty_like(frames_FHW3)
        for frame_HW3, into_HW3 in zip(frames_FHW3, seen, strict=True):
            hsv_HW3 = cv2.LUT(cv2.cvtColor(frame_HW3, cv2.COLOR_RGB2HSV), tables[None])
            into_HW3[:] = cv2.LUT(cv2.cvtColor(hsv_HW3, cv2.COLOR_HSV2RGB), channels[None])
        return seen


def _scaled(levels: NDArray[np.int64], factor: float) -> Bytes:
    scaled: Bytes = np.clip(np.rint(levels * factor), 0, 255).astype(np.uint8)
    return scaled
