"""Triangle meshes for what no primitive can show: a cup with its handle, and a bowl.

Both are turned on a lathe: a profile of (radius, height) points, walked from the inside of the floor over the rim to
the underside, is swept around z. The handle is a tube along half an ellipse. V vertices, F faces.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vertices = NDArray[np.float64]  # [V, 3] in metres
Faces = NDArray[np.int64]  # [F, 3]

HANDLE_REACH = 0.021  # [m] from the wall to the middle of the handle's bar
HANDLE_RADIUS = 0.0038  # [m] of the bar
WALL = 0.0035  # [m] thick


def cup(radius: float, height: float) -> tuple[Vertices, Faces]:
    """A mug around the origin, upright, its handle along +x."""
    inner, top, floor = radius - WALL, height / 2, -height / 2 + WALL
    rounded = 0.003
    profile = [
        (0.0, floor),
        (inner - rounded, floor),
        (inner, floor + rounded),
        (inner, top - 0.0008),
        (inner + 0.0008, top),
        (radius - 0.0008, top),
        (radius, top - 0.0008),
        (radius, -height / 2 + rounded),
        (radius - rounded, -height / 2),
        (0.0, -height / 2),
    ]
    return _join(_lathe(profile, 40), _handle(radius, 0.31 * height))


def bowl(floor_radius: float, rim_radius: float, height: float) -> tuple[Vertices, Faces]:
    """A shallow bowl standing on z = 0."""
    profile = [
        (0.0, WALL),
        (floor_radius - 0.004, WALL),
        (floor_radius, WALL + 0.002),
        (rim_radius - WALL, height - 0.001),
        (rim_radius - WALL / 2, height),
        (rim_radius, height - 0.001),
        (floor_radius + WALL, 0.002),
        (floor_radius, 0.0),
        (0.0, 0.0),
    ]
    return _lathe(profile, 48)


def _lathe(profile: list[tuple[float, float]], around: int) -> tuple[Vertices, Faces]:
    angles = np.linspace(0.0, 2 * np.pi, around, endpoint=False)
    rings = [np.stack([r * np.cos(angles), r * np.sin(angles), np.full(around, z)], axis=1) for r, z in profile[1:-1]]
    vertices = np.concatenate([*rings, [[0.0, 0.0, profile[0][1]]], [[0.0, 0.0, profile[-1][1]]]])
    first, last = len(vertices) - 2, len(vertices) - 1
    here, there = np.arange(around), (np.arange(around) + 1) % around
    faces = [np.stack([np.full(around, first), here, there], axis=1)]
    for ring in range(len(rings) - 1):
        faces += _between(ring * around, (ring + 1) * around, here, there)
    outer = (len(rings) - 1) * around
    faces.append(np.stack([outer + here, np.full(around, last), outer + there], axis=1))
    return vertices, np.concatenate(faces)


def _handle(radius: float, half_height: float, along: int = 15, around: int = 10) -> tuple[Vertices, Faces]:
    path = np.linspace(-np.pi / 2, np.pi / 2, along)
    middle = np.stack(
        [radius - 0.002 + HANDLE_REACH * np.cos(path) ** 0.6, np.zeros(along), half_height * np.sin(path)], 1
    )
    ahead = np.gradient(middle, axis=0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    side = np.array([0.0, 1.0, 0.0])
    out = np.cross(side, ahead)
    angles = np.linspace(0.0, 2 * np.pi, around, endpoint=False)
    rings = [
        centre + HANDLE_RADIUS * (np.cos(angles)[:, None] * o + 1.25 * np.sin(angles)[:, None] * side)
        for centre, o in zip(middle, out, strict=True)
    ]
    here, there = np.arange(around), (np.arange(around) + 1) % around
    faces = [face for ring in range(along - 1) for face in _between(ring * around, (ring + 1) * around, there, here)]
    return np.concatenate(rings), np.concatenate(faces)


def _between(low: int, high: int, here: NDArray[np.int64], there: NDArray[np.int64]) -> list[Faces]:
    return [
        np.stack([low + here, high + here, high + there], axis=1),
        np.stack([low + here, high + there, low + there], axis=1),
    ]


def _join(*parts: tuple[Vertices, Faces]) -> tuple[Vertices, Faces]:
    counts = np.cumsum([0, *(len(vertices) for vertices, _ in parts[:-1])])
    faces = [faces + start for (_, faces), start in zip(parts, counts, strict=True)]
    return np.concatenate([vertices for vertices, _ in parts]), np.concatenate(faces)
