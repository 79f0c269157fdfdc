"""Textures of tables and walls, computed from noise and simple patterns, with nothing to download.

Each surface is a relief (a map in [0, 1]) that blends two colours; a draw tints and scales it. Reliefs are computed
from fixed seeds, so a scene looks the same on every machine. Shapes: H, W pixels, N points.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

SIZE = 256  # [px] a side
Picture = NDArray[np.uint8]  # [H, W, 3]
Relief = NDArray[np.float64]  # [H, W]
RGB = tuple[float, float, float]


@cache
def picture(name: str) -> Picture:
    """The surface `name` as an RGB picture that tiles."""
    dark, light, relief = SURFACES[name]
    grey_HW1 = relief()[..., None]
    colour = np.asarray(dark) * (1 - grey_HW1) + np.asarray(light) * grey_HW1
    return np.asarray(np.clip(255 * colour, 0, 255), dtype=np.uint8)


def _noise(seed: int, down: int, across: int) -> Relief:
    """Smooth tiling noise with about `down` x `across` bumps, scaled to [0, 1]."""
    frequency_down = np.fft.fftfreq(SIZE)[:, None] * SIZE / down
    frequency_across = np.fft.fftfreq(SIZE)[None, :] * SIZE / across
    white = np.fft.fft2(np.random.default_rng(seed).standard_normal((SIZE, SIZE)))
    smooth = np.real(np.fft.ifft2(white * np.exp(-(frequency_down**2 + frequency_across**2))))
    smooth -= smooth.min()
    return np.asarray(smooth / smooth.max())


def _coordinates() -> tuple[Relief, Relief]:
    down, across = np.meshgrid(np.arange(SIZE) / SIZE, np.arange(SIZE) / SIZE, indexing="ij")
    return down, across


def _wood(seed: int = 0, rings: int = 9) -> Relief:
    _, across = _coordinates()
    waves = 0.5 + 0.5 * np.sin(2 * np.pi * (rings * across + 1.6 * _noise(seed + 1, 3, 6)))
    return 0.55 * waves + 0.25 * _noise(seed + 2, 4, 90) + 0.2 * _noise(seed + 3, 2, 4)


def _laminate() -> Relief:
    return 0.5 + 0.35 * (_noise(4, 80, 80) - 0.5) + 0.3 * (_noise(5, 3, 3) - 0.5)


def _felt() -> Relief:
    return 0.5 + 0.8 * (_noise(6, 100, 100) - 0.5)


def _linen(seed: int = 7, threads: int = 48) -> Relief:
    down, across = _coordinates()
    weave = 0.25 * (np.sin(2 * np.pi * threads * down) + np.sin(2 * np.pi * threads * across))
    return 0.5 + 0.5 * weave + 0.3 * (_noise(seed, 30, 30) - 0.5)


def _clouds(seed: int, bumps: int) -> Relief:
    return _noise(seed, bumps, bumps)


def _brushed(seed: int, across: int) -> Relief:
    return 0.7 * _noise(seed, 3, across) + 0.3 * _noise(seed + 1, 2, 2)


def _terrazzo(seed: int, stones: int) -> Relief:
    ground = 0.5 + 0.3 * (_noise(seed, 60, 60) - 0.5)
    pale, dark = (_noise(seed + which, stones, stones) > 0.63 for which in (1, 2))
    return np.asarray(np.select([pale, dark], [0.95, 0.15], ground))


def _marble() -> Relief:
    down, across = _coordinates()
    return np.asarray(0.5 + 0.5 * np.sin(2 * np.pi * (2 * down + 2 * across + 2.5 * _noise(8, 5, 5)))) ** 0.4


def _checks() -> Relief:
    down, across = _coordinates()
    return np.asarray((np.floor(6 * down) + np.floor(6 * across)) % 2, dtype=np.float64)


def _stripes() -> Relief:
    _, across = _coordinates()
    return np.asarray(np.floor(10 * across) % 2, dtype=np.float64)


def _around_a_point(rng: np.random.Generator) -> tuple[Relief, Relief]:
    """Each pixel's offset (down, across) from a random point, by the shortest way round the edges of the tile."""
    down, across = ((axis - rng.random() + 0.5) % 1 - 0.5 for axis in _coordinates())
    return down, across


def _nearest(points_N2: NDArray[np.float64]) -> tuple[NDArray[np.intp], Relief, Relief]:
    """Which of the points (taken modulo 1) is nearest to each pixel, its distance, and that of the second nearest."""
    here_HW2 = np.stack(_coordinates(), axis=-1)
    away, which = map(np.asarray, cKDTree(points_N2 % 1.0, boxsize=np.ones(2)).query(here_HW2, k=2))
    return which[..., 0], away[..., 0], away[..., 1]


def _staggered(rows: int) -> NDArray[np.float64]:
    """A square grid of points [N, 2], `rows` a side, with every other row moved by half a step."""
    row, column = np.meshgrid(np.arange(rows), np.arange(rows), indexing="ij")
    return np.stack([row, column + 0.5 * (row % 2)], axis=-1).reshape(-1, 2) / rows


def _paved(seed: int, points_N2: NDArray[np.float64]) -> Relief:
    """Stones around some points, each of its own shade, with dark joints."""
    which, near, next_one = _nearest(points_N2)
    shade = np.random.default_rng(seed).uniform(0.25, 1.0, len(points_N2))[which]
    return np.where(next_one - near < 0.012, 0.0, shade)


def _stones(seed: int, count: int) -> Relief:
    return _paved(seed, np.random.default_rng(seed + 1).random((count, 2)))


def _hexagons(seed: int, rows: int) -> Relief:
    return _paved(seed, _staggered(rows))


def _bricks(seed: int, rows: int) -> Relief:
    down, across = _coordinates()
    row = np.floor(rows * down)
    along = rows / 2 * across + 0.5 * (row % 2)
    joint = (rows * down % 1 < 0.1) | (along % 1 < 0.06)
    shade = np.random.default_rng(seed).uniform(0.4, 1.0, (rows, rows))
    return np.where(joint, 0.0, shade[row.astype(int), np.floor(along).astype(int) % (rows // 2)])


def _dots(rows: int) -> Relief:
    _, near, _ = _nearest(_staggered(rows))
    return np.asarray(near * rows < 0.3, dtype=np.float64)


def _rings(seed: int, centres: int) -> Relief:
    _, near, _ = _nearest(np.random.default_rng(seed).random((centres, 2)))
    return np.asarray(np.floor(5 * near * np.sqrt(centres)) % 2, dtype=np.float64)


def _camouflage(seed: int, bumps: int) -> Relief:
    relief = _noise(seed, bumps, bumps)
    return np.asarray(np.digitize(relief, np.quantile(relief, (0.3, 0.55, 0.8))) / 3)


def _lines(count: int) -> Relief:
    down, across = _coordinates()
    return np.asarray((count * down % 1 < 0.12) | (count * across % 1 < 0.12), dtype=np.float64)


def _litter(seed: int, count: int) -> Relief:
    """Strewn leaves, each of its own shade."""
    rng, relief = np.random.default_rng(seed), np.full((SIZE, SIZE), 0.5)
    for _ in range(count):
        turn, long = rng.uniform(0, np.pi), rng.uniform(0.4, 1.0) / np.sqrt(count)
        x, y = _around_a_point(rng)
        along, aside = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        relief[(along / long) ** 2 + (3 * aside / long) ** 2 < 1] = rng.random()
    return relief


def _zigzag(rows: int) -> Relief:
    down, across = _coordinates()
    return np.asarray(np.floor(2 * rows * down + 2 * np.abs(2 * (rows * across % 1) - 1)) % 2)


def _mosaic(seed: int, cells: int) -> Relief:
    down, across = (np.floor(cells * axis).astype(int) for axis in _coordinates())
    return np.asarray(np.random.default_rng(seed).random((cells, cells))[down, across])


def _drops(seed: int, count: int) -> Relief:
    """Overlapping discs of different sizes, each of its own shade."""
    rng, relief = np.random.default_rng(seed), np.full((SIZE, SIZE), 0.4)
    for radius in rng.uniform(0.2, 0.8, count) / np.sqrt(count):
        x, y = _around_a_point(rng)
        relief[np.hypot(x, y) < radius] = rng.random()
    return relief


def _scratches(seed: int, count: int) -> Relief:
    rng, relief = np.random.default_rng(seed), 0.4 + 0.3 * (_noise(seed + 1, 8, 8) - 0.5)
    for turn in rng.uniform(0, np.pi, count):
        x, y = _around_a_point(rng)
        on = np.abs(x * np.cos(turn) + y * np.sin(turn)) < rng.uniform(0.003, 0.012)
        relief[on & (np.hypot(x, y) < rng.uniform(0.1, 0.4))] = rng.choice([0.0, 1.0])
    return relief


def _scales(rows: int) -> Relief:
    _, near, _ = _nearest(_staggered(rows))
    return np.asarray(np.clip(1.4 * rows * near, 0, 1))


def _two_colours(seed: int) -> tuple[RGB, RGB]:
    """A dark and a light colour of unrelated hues."""
    rng = np.random.default_rng(seed)
    dark = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.1, 0.7), rng.uniform(0.15, 0.5))
    return dark, colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.0, 0.5), rng.uniform(0.65, 1.0))


_PALE = ((0.52, 0.52, 0.52), (0.98, 0.98, 0.98))  # takes any tint
_STARK = ((0.22, 0.22, 0.22), (0.98, 0.98, 0.98))

_PATTERNS: dict[str, Callable[[], Relief]] = {
    **{f"stones {count}": partial(_stones, 500 + count, count) for count in (20, 60, 160)},
    **{f"hexagons {rows}": partial(_hexagons, 600 + rows, rows) for rows in (4, 8)},
    **{f"bricks {rows}": partial(_bricks, 700 + rows, rows) for rows in (4, 8, 14)},
    **{f"dots {rows}": partial(_dots, rows) for rows in (4, 8, 14)},
    **{f"rings {centres}": partial(_rings, 800 + centres, centres) for centres in (2, 5, 12)},
    **{f"camouflage {bumps}": partial(_camouflage, 900 + bumps, bumps) for bumps in (3, 7, 14)},
    **{f"lines {count}": partial(_lines, count) for count in (4, 8, 14)},
    **{f"litter {count}": partial(_litter, 1000 + count, count) for count in (25, 70)},
}
_MORE_PATTERNS: dict[str, Callable[[], Relief]] = {
    **{f"zigzag {rows}": partial(_zigzag, rows) for rows in (3, 6, 10)},
    **{f"mosaic {cells}": partial(_mosaic, 1200 + cells, cells) for cells in (6, 12, 24)},
    **{f"drops {count}": partial(_drops, 1300 + count, count) for count in (10, 30, 90)},
    **{f"scratches {count}": partial(_scratches, 1400 + count, count) for count in (20, 50)},
    **{f"scales {rows}": partial(_scales, rows) for rows in (4, 8, 14)},
}

SURFACES: dict[str, tuple[RGB, RGB, Callable[[], Relief]]] = {
    "oak": ((0.56, 0.41, 0.26), (0.76, 0.61, 0.43), _wood),
    "walnut": ((0.25, 0.16, 0.10), (0.42, 0.29, 0.19), _wood),
    "laminate": ((0.62, 0.63, 0.64), (0.82, 0.83, 0.84), _laminate),
    "felt": ((0.16, 0.24, 0.28), (0.26, 0.36, 0.40), _felt),
    "linen": ((0.60, 0.57, 0.50), (0.78, 0.75, 0.68), _linen),
    **{f"wood {rings}": (*_PALE, partial(_wood, 10 * rings, rings)) for rings in (3, 6, 14, 22)},
    **{f"linen {threads}": (*_PALE, partial(_linen, threads, threads)) for threads in (16, 28, 70)},
    **{f"clouds {bumps}": (*_PALE, partial(_clouds, 200 + bumps, bumps)) for bumps in (3, 5, 9, 16, 30)},
    **{f"brushed {across}": (*_PALE, partial(_brushed, 300 + across, across)) for across in (20, 50, 110)},
    **{f"terrazzo {stones}": (*_PALE, partial(_terrazzo, 400 + stones, stones)) for stones in (7, 12, 20, 32)},
    **{name: (*_STARK, relief) for name, relief in _PATTERNS.items()},
    **{f"{name} in colours": (*_two_colours(i), relief) for i, (name, relief) in enumerate(_PATTERNS.items())},
    **{name: (*_STARK, relief) for name, relief in _MORE_PATTERNS.items()},
    **{
        f"{name} in colours": (*_two_colours(100 + i), relief)
        for i, (name, relief) in enumerate(_MORE_PATTERNS.items())
    },
    "marble": ((0.45, 0.47, 0.50), (0.93, 0.93, 0.92), _marble),
    "checks": ((0.30, 0.36, 0.44), (0.80, 0.80, 0.76), _checks),
    "stripes": ((0.50, 0.28, 0.24), (0.82, 0.76, 0.66), _stripes),
}
SHIFT_SURFACES = ("marble", "checks", "stripes")
HARSH_SURFACES = tuple(name for name in SURFACES if name not in SHIFT_SURFACES)
WIDE_SURFACES = HARSH_SURFACES[: -2 * len(_MORE_PATTERNS)]
TRAIN_SURFACES = WIDE_SURFACES[: -2 * len(_PATTERNS)]  # and of the test split
