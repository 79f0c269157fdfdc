"""Pictures as bytes, for requests."""

from __future__ import annotations

import base64

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tests.planner.worlds import paint

Bytes = bytes


def png(frame_HW3: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".png", frame_HW3[..., ::-1])[1])


def jpeg(frame_HW3: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".jpg", frame_HW3[..., ::-1])[1])


def noise(height: int = 32, width: int = 32, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def base64_of(pose: ArrayLike) -> str:
    """The same, as JSON carries it."""
    return base64.b64encode(of(pose)).decode()


def of(pose: ArrayLike) -> bytes:
    """What the camera of the point world sees with the hand in `pose`."""
    return png(paint(pose))
