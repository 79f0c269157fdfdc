"""Patterns without end: each seed makes a relief of its own, so that hardly two scenes need share a surface.

A field (noise, waves, distances from points) is bent, then passed through a curve that makes bands, veins, patches or
steps of it; half of them are two such reliefs in one. All of them tile. Shapes: H, W pixels, 2 down and across.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

SIZE = 256  # [px] a side
Relief = NDArray[np.float64]  # [H, W] in [0, 1]


def relief(seed: int) -> Relief:
    """The pattern of `seed`."""
    rng = np.random.default_rng(seed)
    first = _one(rng)
    if rng.random() < 0.5:
        return first
    second, share = _one(rng), rng.uniform(0.25, 0.75)
    where = _one(rng) > 0.5
    mixes = (share * first + (1 - share) * second, first * second, np.where(where, first, second))
    return _scaled(mixes[rng.integers(len(mixes))])


def noise(rng: np.random.Generator, down: float, across: float) -> Relief:
    """Smooth noise with about `down` x `across` bumps."""
    frequency_down = np.fft.fftfreq(SIZE)[:, None] * SIZE / down
    frequency_across = np.fft.fftfreq(SIZE)[None, :] * SIZE / across
    white = np.fft.fft2(rng.standard_normal((SIZE, SIZE)))
    return _scaled(np.real(np.fft.ifft2(white * np.exp(-(frequency_down**2 + frequency_across**2)))))


def coordinates() -> tuple[Relief, Relief]:
    """How far down and how far across each pixel lies."""
    down, across = np.meshgrid(np.arange(SIZE) / SIZE, np.arange(SIZE) / SIZE, indexing="ij")
    return down, across


def _one(rng: np.random.Generator) -> Relief:
    field = _FIELDS[rng.integers(len(_FIELDS))](rng)
    if rng.random() < 0.5:
        field = _bent(rng, field)
    return _scaled(_CURVES[rng.integers(len(_CURVES))](rng, field))


def _bumps(rng: np.random.Generator) -> Relief:
    return noise(rng, *_between(rng, 2, 60, 2))


def _rough(rng: np.random.Generator) -> Relief:
    """Bumps on bumps, each finer and lower than the last."""
    bumps, finer = _between(rng, 2, 8, 1)[0], rng.uniform(0.4, 0.8)
    octaves = [finer**octave * noise(rng, 2**octave * bumps, 2**octave * bumps) for octave in range(4)]
    return _scaled(np.sum(octaves, axis=0))


def _waves(rng: np.random.Generator) -> Relief:
    """Straight ones in any direction that tiles, or crossing ones."""
    down, across = coordinates()
    waves = []
    for _ in range(rng.integers(1, 3)):
        turn, many = rng.uniform(0, np.pi), _between(rng, 2, 24, 1)[0]
        phase = np.round(many * np.sin(turn)) * down + np.round(many * np.cos(turn)) * across
        waves.append(np.sin(2 * np.pi * (phase + rng.random() + rng.uniform(0, 3) * noise(rng, 4, 4))))
    return _scaled(np.sum(waves, axis=0))


def _distances(rng: np.random.Generator) -> Relief:
    """From the nearest of some points, or to the border between it and the next."""
    points_N2 = rng.random((int(_between(rng, 6, 200, 1)[0]), 2))
    away_HW2, _ = cKDTree(points_N2, boxsize=np.ones(2)).query(np.stack(coordinates(), axis=-1), k=2)
    near, next_one = np.moveaxis(np.asarray(away_HW2), -1, 0)
    return _scaled(near if rng.random() < 0.5 else next_one - near)


def _cells(rng: np.random.Generator) -> Relief:
    """Tiles, each of a shade of its own."""
    down, across = (np.floor(rng.integers(3, 24) * axis).astype(int) for axis in coordinates())
    return _scaled(rng.random((SIZE, SIZE))[down, across])


def _bent(rng: np.random.Generator, field: Relief) -> Relief:
    """Every pixel taken from somewhere beside it."""
    bumps, far = _between(rng, 2, 10, 1)[0], rng.uniform(0.02, 0.2)
    moved = [axis + far * (noise(rng, bumps, bumps) - 0.5) for axis in coordinates()]
    return np.asarray(map_coordinates(field, [SIZE * axis for axis in moved], order=1, mode="grid-wrap"))


def _as_it_is(rng: np.random.Generator, field: Relief) -> Relief:
    return field


def _faint(rng: np.random.Generator, field: Relief) -> Relief:
    """Little of it, on fine grain."""
    strength = rng.uniform(0.1, 0.5)
    return 0.5 + strength * (field - 0.5) + 0.2 * (noise(rng, 80, 80) - 0.5)


def _bands(rng: np.random.Generator, field: Relief) -> Relief:
    return np.asarray(0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(1, 5) * field))


def _veins(rng: np.random.Generator, field: Relief) -> Relief:
    """Thin lines where the field passes some heights, dark or light."""
    many, width = rng.integers(1, 5), rng.uniform(0.05, 0.3)
    off = np.abs((many * field + rng.random()) % 1 - 0.5)
    line = np.exp(-((off / width) ** 2))
    return line if rng.random() < 0.5 else 1 - line


def _patches(rng: np.random.Generator, field: Relief) -> Relief:
    return np.asarray(field > np.quantile(field, rng.uniform(0.15, 0.85)), dtype=np.float64)


def _steps(rng: np.random.Generator, field: Relief) -> Relief:
    many = rng.integers(2, 6)
    return rng.random(many + 1)[np.digitize(field, np.quantile(field, np.sort(rng.random(many))))]


def _between(rng: np.random.Generator, low: float, high: float, count: int) -> NDArray[np.float64]:
    """Numbers of which one is as likely to be twice as large as half as large."""
    return np.asarray(np.exp(rng.uniform(np.log(low), np.log(high), count)))


def _scaled(values: NDArray[np.float64]) -> Relief:
    low, high = values.min(), values.max()
    return np.asarray((values - low) / (high - low) if high > low else np.full_like(values, 0.5))


_FIELDS: tuple[Callable[[np.random.Generator], Relief], ...] = (_bumps, _rough, _waves, _distances, _cells)
_CURVES: tuple[Callable[[np.random.Generator, Relief], Relief], ...] = (
    _as_it_is,
    _faint,
    _bands,
    _veins,
    _patches,
    _steps,
)
