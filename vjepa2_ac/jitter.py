"""Augmentation: frames once more, in other colours and framed otherwise.

A network that has seen few colours or places looks for those. Hence colour jitter and random crops, as usual for single
pictures (Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, 2020, appendix A), but one
draw for all frames of an episode, because its things keep their colour while they move and its camera stands still. All
hues turn by the same angle, which may be any; colours get stronger or weaker, the light brighter or dimmer and tinted;
and the camera seems to point a little aside and to be a little nearer or farther, so that things lie otherwise on the
encoder's patches. A network that was trained so can also be asked in several hues (`Jitter.around`).

Legend: F frames · H, W pixels.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

HUES = 180  # in a full turn, as OpenCV counts hues in bytes
SATURATION = (0.7, 1.3)
BRIGHTNESS = (0.8, 1.15)
TINT = (0.85, 1.15)  # of each channel
ASIDE = 0.03  # of the side, along each axis
ZOOM = (0.94, 1.06)
RANGES = (  # part of the key under which copies are cached
    f"any hue, saturation {SATURATION}, brightness {BRIGHTNESS}, tint {TINT}, aside {ASIDE}, zoom {ZOOM}"
)
TO_THE_CORNERS = 6 * math.sqrt(2) / 256  # of the side; how far pictures in several hues are moved

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Jitter:
    """One draw: which colours and which framing the frames get."""

    hue: int = 0  # of HUES, by which all hues turn
    saturation: float = 1.0
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)  # of red, green and blue
    aside: tuple[float, float] = (0.0, 0.0)  # shift of the picture to the right and down, of its width and height
    zoom: float = 1.0  # magnification about the middle

    @classmethod
    def of(cls, name: str, copy: int) -> Jitter:
        """The draw for copy number `copy` of the episode `name`: the same on every machine and in every run."""
        digest = hashlib.sha256(f"{name} {copy}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        hue, saturation = int(rng.integers(HUES)), float(rng.uniform(*SATURATION))
        red, green, blue = rng.uniform(*BRIGHTNESS) * rng.uniform(*TINT, 3)
        right, down = rng.uniform(-ASIDE, ASIDE, 2)
        return cls(
            hue=hue,
            saturation=saturation,
            gains=(float(red), float(green), float(blue)),
            aside=(float(right), float(down)),
            zoom=float(rng.uniform(*ZOOM)),
        )

    @classmethod
    def around(cls, hues: int) -> list[Jitter]:
        """The `hues - 1` draws that, with the picture itself, show `hues` hues evenly around the circle.

        Each also moves the picture aside, in directions evenly around the circle too (four: to the corners). Where a
        network locates something depends on how it lies on the patches; averaging places averages those errors as well.
        """
        return [
            cls(hue=round(HUES * turn / hues), aside=_towards((turn - 0.5) / (hues - 1))) for turn in range(1, hues)
        ]

    def __call__(self, frames_FHW3: Bytes) -> Bytes:
        """The frames with these colours and this framing, RGB like those given."""
        levels = np.arange(256)
        turned = ((levels + self.hue) % HUES).astype(np.uint8)
        tables = np.stack([turned, _scaled(levels, self.saturation), levels.astype(np.uint8)], axis=-1)
        channels = np.stack([_scaled(levels, gain) for gain in self.gains], axis=-1)
        seen = np.empty_like(frames_FHW3)
        for frame_HW3, into_HW3 in zip(frames_FHW3, seen, strict=True):
            hsv_HW3 = cv2.LUT(cv2.cvtColor(frame_HW3, cv2.COLOR_RGB2HSV), tables[None])
            into_HW3[:] = cv2.LUT(cv2.cvtColor(hsv_HW3, cv2.COLOR_HSV2RGB), channels[None])
            into_HW3[:] = self._framed(into_HW3)
        return seen

    def _framed(self, frame_HW3: Bytes) -> Bytes:
        """The frame moved aside and zoomed; what comes into view repeats the edge beside it."""
        height, width = frame_HW3.shape[:2]
        across, along = ((1 - self.zoom) * (side - 1) / 2 for side in (width, height))
        right, down = self.aside[0] * width, self.aside[1] * height
        moved_23 = np.array([[self.zoom, 0, across + right], [0, self.zoom, along + down]])
        framed_HW3 = cv2.warpAffine(frame_HW3, moved_23, (width, height), borderMode=cv2.BORDER_REPLICATE)
        return framed_HW3.astype(np.uint8, copy=False)


def _towards(share: float) -> tuple[float, float]:
    """The shift to the right and down [of the side] in the direction of this share of a full turn."""
    angle = 2 * math.pi * share
    return TO_THE_CORNERS * math.cos(angle), TO_THE_CORNERS * math.sin(angle)


def _scaled(levels: NDArray[np.int64], factor: float) -> Bytes:
    scaled: Bytes = np.clip(np.rint(levels * factor), 0, 255).astype(np.uint8)
    return scaled
