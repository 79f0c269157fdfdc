"""What differs between episodes: every factor is drawn from the seed, can be switched off, and is written down.

A `Draw` is the whole description of one scene; from it alone the scene can be built again. Each factor has its own
stream of random numbers, so switching one off leaves the others as they were, and no two splits share one.

- `train`, `test`: the same factors over the same ranges; other seeds.
- `shift`: colours, surfaces and distractors that no other split shows, no light from the front, the camera turned by up
  to 15°.
- `wide`: to learn from beside `train`: patterned surfaces too, two lamps of any colour, one of them anywhere, the
  camera turned by up to 4°.
- `views`: the same seen from farther aside, the camera turned by up to 30°, and with more of the light from elsewhere.
- `harsh`: as `views`, on more patterns, in the light of one lamp anywhere and little beside it.
- `vivid`: as `views`, on those patterns, with things of any hue but those that `shift` keeps for itself.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from sim.surfaces import HARSH_SURFACES, RGB, SHIFT_SURFACES, TRAIN_SURFACES, WIDE_SURFACES
from vjepa2_ac.errors import ConfigError

Split = Literal["train", "test", "shift", "wide", "views", "harsh", "vivid"]
Kind = Literal["cup", "box"]
Target = Literal["bowl", "pad"]
SPLITS: tuple[Split, ...] = get_args(Split)
KINDS: tuple[Kind, ...] = get_args(Kind)

FACTORS = ("layout", "kind", "size", "colours", "surfaces", "light", "camera", "distractors")

LOOK = (
    *("object_rgb", "target_rgb", "table", "table_tint", "table_repeat", "wall", "wall_tint", "wall_repeat"),
    *("light_azimuth", "light_elevation", "light_rgb", "fill_azimuth", "fill_elevation", "fill_rgb", "ambient"),
    *("camera_azimuth", "camera_elevation", "camera_distance"),
)

# Outer radius and height of the cups [m]; their meshes are made once, so they come in sizes.
CUP_SIZES = ((0.0240, 0.062), (0.0250, 0.070), (0.0260, 0.064), (0.0270, 0.074), (0.0285, 0.068))
BOX_LOW, BOX_HIGH = (0.036, 0.042, 0.042), (0.050, 0.053, 0.060)  # [m], full sizes; fingers close across y
MOST_YAW = {"cup": 0.7, "box": 0.2}  # [rad]; fingers pass beside the handle, and a box is not held by its edges
SLOTS = 3  # distractors at most

_OBJECT_HUES = {"train": (0.0, 0.08, 0.145, 0.36, 0.60), "shift": (0.47, 0.75, 0.88)}
_TARGET_HUES = {"train": (0.58, 0.12, 0.33), "shift": (0.02, 0.80)}
_OBJECT_SPREAD, _TARGET_SPREAD = 0.02, 0.03  # colours lie as near to a hue
_SURFACES: dict[Split, tuple[str, ...]] = {
    "train": TRAIN_SURFACES,
    "test": TRAIN_SURFACES,
    "shift": SHIFT_SURFACES,
    "wide": WIDE_SURFACES,
    "views": WIDE_SURFACES,
    "harsh": HARSH_SURFACES,
    "vivid": HARSH_SURFACES,
}
_Lamp = tuple[float, float, Any]  # azimuth and elevation [rad], and colour
_OUT: _Lamp = (0.0, 1.1, (0.0, 0.0, 0.0))
_BESIDE = ((0.36, 0.16), (0.36, -0.16), (0.44, 0.185), (0.44, -0.185), (0.52, 0.19), (0.52, -0.19), (0.345, 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """Which factors vary (all of them, unless named otherwise) and from which split they are drawn."""

    split: Split = "train"
    factors: tuple[str, ...] = FACTORS
    kind: Kind | None = None  # None: drawn
    camera_yaw: float = 0.0  # [deg] by which the cameras stand further to the robot's left, beside what is drawn

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ConfigError(f"no split {self.split!r}; there are {', '.join(SPLITS)}")
        if self.kind is not None and self.kind not in KINDS:
            raise ConfigError(f"no object {self.kind!r}; there are {', '.join(KINDS)}")
        unknown = sorted(set(self.factors) - set(FACTORS))
        if unknown:
            raise ConfigError(f"no factor {', '.join(unknown)}; there are {', '.join(FACTORS)}")

    def without(self, factors: Iterable[str]) -> Variation:
        """The same variation with some factors held at their usual value."""
        kept = tuple(factor for factor in self.factors if factor not in set(factors))
        return replace(self, factors=kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Distractor:
    """A thing beside the workspace that has nothing to do with the task."""

    shape: Literal["box", "cylinder", "ball"]
    xy: tuple[float, float]
    yaw: float
    size: float  # [m], half of its width
    rgb: RGB


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """One scene, in numbers. Metres and radians in the base frame; the camera's offsets in degrees."""

    split: Split
    entropy: int
    kind: Kind
    size: tuple[float, float, float]  # full extent of a box; diameter, diameter, height of a cup
    object_xy: tuple[float, float]
    object_yaw: float
    object_rgb: RGB
    target: Target
    target_xy: tuple[float, float]
    target_rgb: RGB
    hand: tuple[float, float, float]
    table: str
    table_tint: RGB
    table_repeat: float  # how often the surface's picture is laid along the table
    wall: str
    wall_tint: RGB
    wall_repeat: float
    light_azimuth: float
    light_elevation: float
    light_rgb: RGB
    fill_azimuth: float
    fill_elevation: float
    fill_rgb: RGB  # of the second lamp; black where there is none
    ambient: float
    camera_azimuth: float
    camera_elevation: float
    camera_distance: float  # [m], added to the usual distance
    distractors: tuple[Distractor, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Draw:
        """The draw that `as_dict` wrote down."""
        plain: dict[str, Any] = _tuples(values)
        plain["distractors"] = tuple(Distractor(**_tuples(each)) for each in values["distractors"])
        return cls(**plain)


def draw(variation: Variation, entropy: int) -> Draw:
    """The scene that belongs to `entropy`; equal arguments give equal scenes."""

    def stream(factor: str) -> np.random.Generator | None:
        if factor not in variation.factors:
            return None
        key = (SPLITS.index(variation.split), FACTORS.index(factor))
        return np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=key))

    split = variation.split
    kind = variation.kind or _kind(stream("kind"))
    size = _size(stream("size"), kind)
    camera = _camera(stream("camera"), split)
    camera["camera_azimuth"] += variation.camera_yaw
    return Draw(
        split=split,
        entropy=entropy,
        kind=kind,
        size=size,
        **_layout(stream("layout"), kind),
        **_colours(stream("colours"), split),
        **_surfaces(stream("surfaces"), split),
        **_light(stream("light"), split),
        **camera,
        distractors=_distractors(stream("distractors"), split),
    )


def in_another_look(scene: Draw, variation: Variation, entropy: int) -> Draw:
    """The same things in the same places, in the colours, surfaces, light and view that belong to `entropy`."""
    other = draw(variation, entropy)
    return replace(scene, **{name: getattr(other, name) for name in LOOK})


def _kind(rng: np.random.Generator | None) -> Kind:
    return "box" if rng is None else KINDS[rng.integers(len(KINDS))]


def _size(rng: np.random.Generator | None, kind: Kind) -> tuple[float, float, float]:
    if kind == "cup":
        radius, height = CUP_SIZES[2 if rng is None else rng.integers(len(CUP_SIZES))]
        return (2 * radius, 2 * radius, height)
    width, depth, height = np.mean([BOX_LOW, BOX_HIGH], axis=0) if rng is None else rng.uniform(BOX_LOW, BOX_HIGH)
    return (float(width), float(depth), float(height))


def _layout(rng: np.random.Generator | None, kind: Kind) -> dict[str, Any]:
    """Object and target well apart and both where the hand can work; the hand above them."""
    target: Target = "bowl"
    if rng is None:
        hand, object_xy, target_xy, yaw = (0.49, 0.0, 0.15), (0.49, -0.075), (0.49, 0.075), 0.0
    else:
        target = "bowl" if rng.random() < 0.75 else "pad"
        while True:
            object_xy = _floats(rng.uniform((0.435, -0.10), (0.545, 0.10)))
            target_xy = _floats(rng.uniform((0.450, -0.085), (0.530, 0.085)))
            if np.hypot(object_xy[0] - target_xy[0], object_xy[1] - target_xy[1]) > 0.125:
                break
        yaw = float(rng.uniform(-1.0, 1.0)) * MOST_YAW[kind]
        hand = _floats(rng.uniform((0.42, -0.10, 0.120), (0.56, 0.10, 0.165)))
    return {
        "object_xy": object_xy,
        "object_yaw": yaw,
        "target": target,
        "target_xy": target_xy,
        "hand": hand,
    }


def _hue(rng: np.random.Generator, of: dict[str, tuple[float, ...]], spread: float, split: Split) -> float:
    if split != "vivid":
        return float(rng.choice(of["shift" if split == "shift" else "train"]))
    while True:
        hue = rng.random()  # no colour near it is one near a hue of shift
        if all(abs((hue - kept + 0.5) % 1.0 - 0.5) > 2 * spread + 0.01 for kept in of["shift"]):
            return float(hue)


def _colours(rng: np.random.Generator | None, split: Split) -> dict[str, Any]:
    if rng is None:
        return {"object_rgb": _rgb(0.0, 0.80, 0.80), "target_rgb": _rgb(0.58, 0.30, 0.85)}
    hue = _hue(rng, _OBJECT_HUES, _OBJECT_SPREAD, split)
    target_hue = _hue(rng, _TARGET_HUES, _TARGET_SPREAD, split)
    return {
        "object_rgb": _rgb(
            hue + rng.uniform(-_OBJECT_SPREAD, _OBJECT_SPREAD), rng.uniform(0.65, 0.95), rng.uniform(0.65, 0.95)
        ),
        "target_rgb": _rgb(
            target_hue + rng.uniform(-_TARGET_SPREAD, _TARGET_SPREAD), rng.uniform(0.05, 0.45), rng.uniform(0.65, 0.95)
        ),
    }


def _surfaces(rng: np.random.Generator | None, split: Split) -> dict[str, Any]:
    table = ("oak", _grey(1.0)) if rng is None else _surface(rng, split, (0.85, 1.1))
    wall = ("laminate", _grey(0.9)) if rng is None else _surface(rng, split, (0.7, 1.0))
    scale = (1.0, 1.0) if rng is None or split == "shift" else np.exp(rng.uniform(-0.6, 0.6, 2))
    return {
        "table": table[0],
        "table_tint": table[1],
        "table_repeat": float(2.0 * scale[0]),
        "wall": wall[0],
        "wall_tint": wall[1],
        "wall_repeat": float(scale[1]),
    }


def _surface(rng: np.random.Generator, split: Split, shade: tuple[float, float]) -> tuple[str, RGB]:
    """Its name and tint: of another colour in more than half of what training sees, of another shade in the rest."""
    names = _SURFACES[split]
    name, tint = str(rng.choice(names)), _grey(rng.uniform(*shade))
    if split != "shift" and rng.random() < 0.6:
        tint = _rgb(rng.random(), 0.6 * rng.random() ** 1.5, rng.uniform(0.3, 1.05))
    return name, tint


def _light(rng: np.random.Generator | None, split: Split) -> dict[str, Any]:
    if rng is None:
        return _lamps((0.5, 1.1, (0.65, 0.65, 0.65)), _OUT, ambient=0.34)
    if split == "shift":  # from behind the robot or very low, dim or glaring, coloured
        azimuth = rng.uniform(1.6, 4.7)
        power = rng.choice([rng.uniform(0.30, 0.42), rng.uniform(0.85, 1.0)])
        warmth, ambient = rng.choice([-1, 1]) * rng.uniform(0.12, 0.22), rng.uniform(0.18, 0.26)
    else:
        azimuth, power = rng.uniform(-1.4, 1.5), rng.uniform(0.45, 0.82)
        warmth, ambient = rng.uniform(-0.11, 0.11), rng.uniform(0.27, 0.42)
    elevation, fill = rng.uniform(0.8, 1.35), _OUT
    colour = power * np.array([1 + warmth, 1.0, 1 - warmth])
    if split in ("wide", "views", "harsh", "vivid"):
        # A second lamp anywhere; some of the light comes from the front, 15 % at least or 5 %.
        power = rng.uniform(0.30, 1.05)
        share = _share_elsewhere(split, rng.random())
        ambient = rng.uniform(0.15, 0.35) if split == "harsh" else rng.uniform(0.18, 0.50)
        colour = (1 - share) * power * rng.uniform(0.8, 1.2, 3)
        fill = (rng.uniform(-np.pi, np.pi), rng.uniform(0.6, 1.35), share * power * rng.uniform(0.8, 1.2, 3))
    return _lamps((azimuth, elevation, colour), fill, ambient)


def _share_elsewhere(split: Split, quantile: float) -> float:
    """Of the light, how much the second lamp gives."""
    if split == "wide":
        return 0.85 * quantile
    return 0.75 + 0.20 * quantile if split == "harsh" else 0.95 * math.sqrt(quantile)


def _lamps(key: _Lamp, fill: _Lamp, ambient: float) -> dict[str, Any]:
    return {
        "light_azimuth": float(key[0]),
        "light_elevation": float(key[1]),
        "light_rgb": _floats(key[2]),
        "fill_azimuth": float(fill[0]),
        "fill_elevation": float(fill[1]),
        "fill_rgb": _floats(fill[2]),
        "ambient": float(ambient),
    }


def _camera(rng: np.random.Generator | None, split: Split) -> dict[str, Any]:
    if rng is None:
        return {"camera_azimuth": 0.0, "camera_elevation": 0.0, "camera_distance": 0.0}
    if split == "shift":
        azimuth = rng.choice([-1, 1]) * rng.uniform(5.0, 15.0)
        elevation, distance = rng.uniform(-5.0, 5.0), rng.uniform(0.0, 0.03)
    elif split in ("views", "harsh", "vivid"):  # as often nearly ahead as far aside
        azimuth = rng.choice([-1, 1]) * 30.0 * rng.random() ** 2
        elevation, distance = rng.uniform(-6.0, 6.0), rng.uniform(-0.01, 0.04)
    else:
        turn, nearer = (4.0, 0.02) if split == "wide" else (1.5, 0.01)
        azimuth, elevation = rng.uniform(-turn, turn), rng.uniform(-turn / 1.5, turn / 1.5)
        distance = rng.uniform(-nearer, nearer)
    return {
        "camera_azimuth": float(azimuth),
        "camera_elevation": float(elevation),
        "camera_distance": float(distance),
    }


def _distractors(rng: np.random.Generator | None, split: Split) -> tuple[Distractor, ...]:
    if rng is None:
        return ()
    count = rng.integers(1, SLOTS + 1) if split == "shift" else rng.integers(0, SLOTS)
    places = rng.permutation(len(_BESIDE))[:count]
    return tuple(_distractor(rng, _BESIDE[place], split) for place in places)


def _distractor(rng: np.random.Generator, place: tuple[float, float], split: Split) -> Distractor:
    shape: Literal["box", "cylinder", "ball"] = "ball" if split == "shift" else ("box", "cylinder")[rng.integers(2)]
    hue = _hue(rng, _OBJECT_HUES, _OBJECT_SPREAD, split)
    return Distractor(
        shape=shape,
        xy=_floats(np.asarray(place) + rng.uniform(-0.01, 0.01, 2)),
        yaw=float(rng.uniform(0, np.pi)),
        size=float(rng.uniform(0.011, 0.018)),
        rgb=_rgb(hue, rng.uniform(0.3, 0.8), rng.uniform(0.4, 0.9)),
    )


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def _rgb(hue: float, saturation: float, value: float) -> RGB:
    return colorsys.hsv_to_rgb(float(hue) % 1.0, float(saturation), float(value))


def _grey(value: float) -> RGB:
    return (float(value),) * 3


def _floats(values: Any) -> Any:
    return tuple(float(value) for value in values)
