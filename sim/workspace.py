"""Where the hand may go: a box in front of the robot that the camera sees whole.

Base frame: x forward, y to the robot's left, z up from the table top; the robot stands at the origin. [m]
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

LOW = np.array([0.40, -0.12, 0.0105])  # fingertips 1.5 mm above the table
HIGH = np.array([0.58, 0.12, 0.17])
CENTRE = np.array([0.49, 0.0, 0.075])


def corners() -> NDArray[np.float64]:
    """The eight corners [8, 3]."""
    return np.array(list(itertools.product(*zip(LOW, HIGH, strict=True))))
