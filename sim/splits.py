"""The splits, each defined by its entry in `APPEARANCES`: ranges of colours, surfaces, light, camera and distractors.

- `train`, `test`: the same ranges, drawn from different random streams.
- `shift`: colours, surfaces and distractors that no other split shows, no light from the front, the camera turned by up
  to 15°.
- `wide`: for training beside `train`: patterned surfaces as well, two lamps of any colour, one of them anywhere, the
  camera turned by up to 4°.
- `views`: as `wide`, with the camera turned by up to 30° and more of the light from the second lamp.
- `harsh`: as `views`, with more patterns, nearly all of the directed light from the second lamp (a share of 75 % to
  95 %, before each lamp gets its colour), and less ambient light.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from sim.surfaces import HARSH_SURFACES, RGB, SHIFT_SURFACES, TRAIN_SURFACES, WIDE_SURFACES

Split = Literal["train", "test", "shift", "wide", "views", "harsh"]
SPLITS: tuple[Split, ...] = get_args(Split)


Rng = np.random.Generator
Shape = Literal["box", "cylinder", "ball"]


class Lamp(NamedTuple):
    """A directed light."""

    azimuth: float  # [rad]
    elevation: float  # [rad]
    rgb: RGB


LAMP_OFF = Lamp(0.0, 1.1, (0.0, 0.0, 0.0))


class Light(NamedTuple):
    """The two lamps and the ambient light of a scene."""

    key: Lamp
    fill: Lamp
    ambient: float


class Camera(NamedTuple):
    """By how much the camera is moved from its usual place."""

    azimuth: float  # [deg]
    elevation: float  # [deg]
    distance: float  # [m]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppearanceRanges:
    """The ranges that a split draws its scenes from."""

    surfaces: tuple[str, ...]
    tinted: bool  # surfaces vary in tint and scale
    object_hues: tuple[float, ...]
    target_hues: tuple[float, ...]
    light: Callable[[Rng], Light]
    camera: Callable[[Rng], Camera]
    distractors: tuple[int, int]  # how many: at least, and fewer than
    shapes: tuple[Shape, ...]  # of distractors


def _in_front(rng: Rng) -> Light:
    azimuth, power = rng.uniform(-1.4, 1.5), rng.uniform(0.45, 0.82)
    warmth, ambient = rng.uniform(-0.11, 0.11), rng.uniform(0.27, 0.42)
    return Light(Lamp(azimuth, rng.uniform(0.8, 1.35), _warm(power, warmth)), LAMP_OFF, ambient)


def _behind(rng: Rng) -> Light:
    """One coloured lamp behind the robot or beside it, dim or glaring."""
    azimuth = rng.uniform(1.6, 4.7)
    power = rng.choice([rng.uniform(0.30, 0.42), rng.uniform(0.85, 1.0)])
    warmth, ambient = rng.choice([-1, 1]) * rng.uniform(0.12, 0.22), rng.uniform(0.18, 0.26)
    return Light(Lamp(azimuth, rng.uniform(0.8, 1.35), _warm(power, warmth)), LAMP_OFF, ambient)


def _two_lamps(share_of: Callable[[float], float], ambient: tuple[float, float], rng: Rng) -> Light:
    """A lamp in front, and a second one anywhere that gives the share of their light which `share_of` draws."""
    front = _in_front(rng).key
    power, share = rng.uniform(0.30, 1.05), share_of(rng.random())
    around = rng.uniform(*ambient)
    key_rgb = (1 - share) * power * rng.uniform(0.8, 1.2, 3)
    azimuth, elevation = rng.uniform(-np.pi, np.pi), rng.uniform(0.6, 1.35)
    fill_rgb = share * power * rng.uniform(0.8, 1.2, 3)
    return Light(front._replace(rgb=_floats(key_rgb)), Lamp(azimuth, elevation, _floats(fill_rgb)), around)


def _warm(power: float, warmth: float) -> RGB:
    return _floats(power * np.array([1 + warmth, 1.0, 1 - warmth]))


def _nearly_ahead(turn: float, nearer: float, rng: Rng) -> Camera:
    azimuth, elevation = rng.uniform(-turn, turn), rng.uniform(-turn / 1.5, turn / 1.5)
    return Camera(azimuth, elevation, rng.uniform(-nearer, nearer))


def _aside(rng: Rng) -> Camera:
    """Turned by up to 30° to either side, in half of the draws by less than 7.5°."""
    azimuth = rng.choice([-1, 1]) * 30.0 * rng.random() ** 2
    return Camera(azimuth, rng.uniform(-6.0, 6.0), rng.uniform(-0.01, 0.04))


def _to_a_side(rng: Rng) -> Camera:
    azimuth = rng.choice([-1, 1]) * rng.uniform(5.0, 15.0)
    return Camera(azimuth, rng.uniform(-5.0, 5.0), rng.uniform(0.0, 0.03))


def _floats(values: Any) -> RGB:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


_TRAIN = AppearanceRanges(
    surfaces=TRAIN_SURFACES,
    tinted=True,
    object_hues=(0.0, 0.08, 0.145, 0.36, 0.60),
    target_hues=(0.58, 0.12, 0.33),
    light=_in_front,
    camera=partial(_nearly_ahead, 1.5, 0.01),
    distractors=(0, 3),
    shapes=("box", "cylinder"),
)
_WIDE = replace(
    _TRAIN,
    surfaces=WIDE_SURFACES,
    light=partial(_two_lamps, lambda quantile: 0.85 * quantile, (0.18, 0.50)),
    camera=partial(_nearly_ahead, 4.0, 0.02),
)
_VIEWS = replace(
    _WIDE,
    light=partial(_two_lamps, lambda quantile: 0.95 * math.sqrt(quantile), (0.18, 0.50)),
    camera=_aside,
)
APPEARANCES: dict[Split, AppearanceRanges] = {
    "train": _TRAIN,
    "test": _TRAIN,
    "shift": AppearanceRanges(
        surfaces=SHIFT_SURFACES,
        tinted=False,
        object_hues=(0.47, 0.75, 0.88),
        target_hues=(0.02, 0.80),
        light=_behind,
        camera=_to_a_side,
        distractors=(1, 4),
        shapes=("ball",),
    ),
    "wide": _WIDE,
    "views": _VIEWS,
    "harsh": replace(
        _VIEWS,
        surfaces=HARSH_SURFACES,
        light=partial(_two_lamps, lambda quantile: 0.75 + 0.20 * quantile, (0.15, 0.35)),
    ),
}
