"""What varies between episodes: layout, object, colours, surfaces, light, camera and distractors, drawn from a seed.

A `Draw` describes one scene completely, so the scene can be built again from it alone. Each factor can be switched off
and has its own stream of random numbers: switching one off leaves the others as they were, and no two splits share a
stream. The ranges that factors are drawn from belong to the split (`sim.splits`).
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args, get_type_hints

import numpy as np

from sim.splits import APPEARANCES, LAMP_OFF, SPLITS, AppearanceRanges, Camera, Lamp, Light, Shape, Split
from sim.surfaces import RGB, SURFACES
from vjepa2_ac.errors import ConfigError, InputError

Kind = Literal["cup", "box"]
Target = Literal["bowl", "pad"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TARGETS: tuple[Target, ...] = get_args(Target)

FACTORS = ("layout", "kind", "size", "colours", "surfaces", "light", "camera", "distractors")

# The fields of a draw that `with_another_appearance` replaces.
APPEARANCE = (
    *("object_rgb", "target_rgb", "table", "table_tint", "table_repeat", "wall", "wall_tint", "wall_repeat"),
    *("light_azimuth", "light_elevation", "light_rgb", "fill_azimuth", "fill_elevation", "fill_rgb", "ambient"),
    *("camera_azimuth", "camera_elevation", "camera_distance"),
)

# Outer radius and height of each cup [m]; meshes are compiled into the model once, so cups come in fixed sizes.
CUP_SIZES = ((0.0240, 0.062), (0.0250, 0.070), (0.0260, 0.064), (0.0270, 0.074), (0.0285, 0.068))
BOX_LOW, BOX_HIGH = (0.036, 0.042, 0.042), (0.050, 0.053, 0.060)  # [m], full sizes; fingers close across y
MOST_YAW = {"cup": 0.7, "box": 0.2}  # [rad], either way: fingers clear a cup's handle, and no box is held by its edges
SLOTS = max(ranges.distractors[1] for ranges in APPEARANCES.values()) - 1  # most distractors in a scene

_OBJECT_SPREAD, _TARGET_SPREAD = 0.02, 0.03  # of a hue in [0, 1], either way
_USUAL_LIGHT = Light(Lamp(0.5, 1.1, (0.65, 0.65, 0.65)), LAMP_OFF, 0.34)
# x and y of the places for distractors, beside the workspace [m]
_BESIDE = ((0.36, 0.16), (0.36, -0.16), (0.44, 0.185), (0.44, -0.185), (0.52, 0.19), (0.52, -0.19), (0.345, 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """Which factors vary (all of them by default), and the split whose ranges they are drawn from."""

    split: Split = "train"
    factors: tuple[str, ...] = FACTORS
    kind: Kind | None = None  # None: drawn
    camera_yaw: float = 0.0  # [deg], added to the drawn azimuth: positive is further to the robot's left

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ConfigError(f"no split {self.split!r}; there are {', '.join(SPLITS)}")
        if self.kind is not None and self.kind not in KINDS:
            raise ConfigError(f"no object {self.kind!r}; there are {', '.join(KINDS)}")
        if not math.isfinite(self.camera_yaw):
            raise ConfigError(f"cameras are turned by a number of degrees, got camera_yaw={self.camera_yaw}")
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

    shape: Shape
    xy: tuple[float, float]
    yaw: float
    size: float  # [m], half of its width
    rgb: RGB

    def __post_init__(self) -> None:
        if self.shape not in get_args(Shape):
            raise InputError(f"this is no distractor of a scene: there is no shape {self.shape!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """One scene, in numbers: metres and radians in the base frame, but degrees for the angles of the camera."""

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

    def __post_init__(self) -> None:
        names = {"split": SPLITS, "kind": KINDS, "target": TARGETS, "table": SURFACES, "wall": SURFACES}
        for part, known in names.items():
            if (name := getattr(self, part)) not in tuple(known):
                raise InputError(f"this is no draw of a scene: there is no {part} {name!r}")
        cups = [(2 * radius, 2 * radius, height) for radius, height in CUP_SIZES]  # only these have meshes
        if self.kind == "cup" and tuple(self.size) not in cups:
            raise InputError(f"this is no draw of a scene: there is no cup of size {self.size}")
        if min(self.size) <= 0:
            raise InputError(f"this is no draw of a scene: there is no {self.kind} of size {self.size}")
        if len(self.distractors) > SLOTS:
            raise InputError(f"this is no draw of a scene: {len(self.distractors)} distractors; {SLOTS} at most")

    def as_dict(self) -> dict[str, Any]:
        """The draw as plain values, for a JSON file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Draw:
        """The draw that `as_dict` wrote down. Raises InputError for a missing, unknown or impossible part."""
        plain = _parts(cls, values)
        if not isinstance(plain["distractors"], tuple):
            raise InputError(f"this is no draw of a scene: distractors are a list, got {plain['distractors']!r}")
        plain["distractors"] = tuple(Distractor(**_parts(Distractor, each)) for each in plain["distractors"])
        return cls(**plain)


def draw(variation: Variation, entropy: int) -> Draw:
    """The scene drawn from the seed `entropy`; equal arguments give equal scenes."""

    def stream(factor: str) -> np.random.Generator | None:
        if factor not in variation.factors:
            return None
        key = (SPLITS.index(variation.split), FACTORS.index(factor))
        return np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=key))

    ranges = APPEARANCES[variation.split]
    kind = variation.kind or _kind(stream("kind"))
    camera_rng, light_rng = stream("camera"), stream("light")
    camera = Camera(0.0, 0.0, 0.0) if camera_rng is None else ranges.camera(camera_rng)
    light = _USUAL_LIGHT if light_rng is None else ranges.light(light_rng)
    return Draw(
        split=variation.split,
        entropy=entropy,
        kind=kind,
        size=_size(stream("size"), kind),
        **_layout(stream("layout"), kind),
        **_colours(stream("colours"), ranges),
        **_surfaces(stream("surfaces"), ranges),
        light_azimuth=float(light.key.azimuth),
        light_elevation=float(light.key.elevation),
        light_rgb=light.key.rgb,
        fill_azimuth=float(light.fill.azimuth),
        fill_elevation=float(light.fill.elevation),
        fill_rgb=light.fill.rgb,
        ambient=float(light.ambient),
        camera_azimuth=float(camera.azimuth) + variation.camera_yaw,
        camera_elevation=float(camera.elevation),
        camera_distance=float(camera.distance),
        distractors=_distractors(stream("distractors"), ranges),
    )


def with_another_appearance(scene: Draw, variation: Variation, entropy: int) -> Draw:
    """`scene` with its things and places kept; colours, surfaces, light and camera are drawn from `entropy`."""
    other = draw(variation, entropy)
    return replace(scene, **{name: getattr(other, name) for name in APPEARANCE})


def _kind(rng: np.random.Generator | None) -> Kind:
    return "box" if rng is None else KINDS[rng.integers(len(KINDS))]


def _size(rng: np.random.Generator | None, kind: Kind) -> tuple[float, float, float]:
    if kind == "cup":
        radius, height = CUP_SIZES[2 if rng is None else rng.integers(len(CUP_SIZES))]
        return (2 * radius, 2 * radius, height)
    width, depth, height = np.mean([BOX_LOW, BOX_HIGH], axis=0) if rng is None else rng.uniform(BOX_LOW, BOX_HIGH)
    return (float(width), float(depth), float(height))


def _layout(rng: np.random.Generator | None, kind: Kind) -> dict[str, Any]:
    """Places for object, target and hand: the first two well apart, where the hand can work, the hand above them."""
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


def _colours(rng: np.random.Generator | None, ranges: AppearanceRanges) -> dict[str, Any]:
    if rng is None:
        return {"object_rgb": _rgb(0.0, 0.80, 0.80), "target_rgb": _rgb(0.58, 0.30, 0.85)}
    hue, target_hue = rng.choice(ranges.object_hues), rng.choice(ranges.target_hues)
    return {
        "object_rgb": _rgb(
            hue + rng.uniform(-_OBJECT_SPREAD, _OBJECT_SPREAD), rng.uniform(0.65, 0.95), rng.uniform(0.65, 0.95)
        ),
        "target_rgb": _rgb(
            target_hue + rng.uniform(-_TARGET_SPREAD, _TARGET_SPREAD), rng.uniform(0.05, 0.45), rng.uniform(0.65, 0.95)
        ),
    }


def _surfaces(rng: np.random.Generator | None, ranges: AppearanceRanges) -> dict[str, Any]:
    table = ("oak", _grey(1.0)) if rng is None else _surface(rng, ranges, (0.85, 1.1))
    wall = ("laminate", _grey(0.9)) if rng is None else _surface(rng, ranges, (0.7, 1.0))
    scale = np.exp(rng.uniform(-0.6, 0.6, 2)) if rng is not None and ranges.tinted else (1.0, 1.0)
    return {
        "table": table[0],
        "table_tint": table[1],
        "table_repeat": float(2.0 * scale[0]),
        "wall": wall[0],
        "wall_tint": wall[1],
        "wall_repeat": float(scale[1]),
    }


def _surface(rng: np.random.Generator, ranges: AppearanceRanges, shade: tuple[float, float]) -> tuple[str, RGB]:
    """A surface's name and tint: where the split tints surfaces, a colour in 60 % of draws, else a shade of grey."""
    name, tint = str(rng.choice(ranges.surfaces)), _grey(rng.uniform(*shade))
    if ranges.tinted and rng.random() < 0.6:
        tint = _rgb(rng.random(), 0.6 * rng.random() ** 1.5, rng.uniform(0.3, 1.05))
    return name, tint


def _distractors(rng: np.random.Generator | None, ranges: AppearanceRanges) -> tuple[Distractor, ...]:
    if rng is None:
        return ()
    count = rng.integers(*ranges.distractors)
    places = rng.permutation(len(_BESIDE))[:count]
    return tuple(_distractor(rng, _BESIDE[place], ranges) for place in places)


def _distractor(rng: np.random.Generator, place: tuple[float, float], ranges: AppearanceRanges) -> Distractor:
    shape, hue = ranges.shapes[rng.integers(len(ranges.shapes))], rng.choice(ranges.object_hues)
    return Distractor(
        shape=shape,
        xy=_floats(np.asarray(place) + rng.uniform(-0.01, 0.01, 2)),
        yaw=float(rng.uniform(0, np.pi)),
        size=float(rng.uniform(0.011, 0.018)),
        rgb=_rgb(hue, rng.uniform(0.3, 0.8), rng.uniform(0.4, 0.9)),
    )


def _parts(of: type[Draw] | type[Distractor], values: dict[str, Any]) -> dict[str, Any]:
    what = f"this is no {of.__name__.lower()} of a scene"
    if not isinstance(values, dict):
        raise InputError(f"{what}: {values!r}; expected its parts by name")
    names = [field.name for field in fields(of)]
    if wrong := [name for name in names if name not in values] + [name for name in values if name not in names]:
        raise InputError(f"{what}: {wrong[0]!r} is missing or none of its parts")
    for name, hint in get_type_hints(of).items():
        several, value = get_args(hint), values[name]
        if hint is float and not _is_finite(value, ()):
            raise InputError(f"{what}: {name} is a finite number, got {value!r}")
        if several[:1] == (float,) and not _is_finite(value, (len(several),)):
            raise InputError(f"{what}: {name} is {len(several)} finite numbers, got {value!r}")
    return {name: _plain(value) for name, value in values.items()}


def _is_finite(value: Any, shape: tuple[int, ...]) -> bool:
    try:
        numbers = np.asarray(value)
    except ValueError:  # lists of different lengths
        return False
    return numbers.shape == shape and numbers.dtype.kind in "iuf" and bool(np.isfinite(numbers).all())


def _plain(value: Any) -> Any:
    """A value as a draw holds it: a tuple for a list or an array, because draws are compared."""
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    return tuple(value) if isinstance(value, list) else value


def _rgb(hue: float, saturation: float, value: float) -> RGB:
    return colorsys.hsv_to_rgb(float(hue) % 1.0, float(saturation), float(value))


def _grey(value: float) -> RGB:
    return (float(value),) * 3


def _floats(values: Any) -> Any:
    return tuple(float(value) for value in values)
