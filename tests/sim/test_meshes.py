from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from sim import meshes


@pytest.mark.parametrize("shape", [meshes.bowl(0.05, 0.07, 0.02), meshes._lathe([(0, 0), (1, 0), (1, 1), (0, 1)], 12)])
def test_a_turned_shape_is_closed(shape: tuple[meshes.Vertices, meshes.Faces]) -> None:
    _, faces = shape
    edges = Counter(tuple(sorted(edge)) for face in faces for edge in zip(face, np.roll(face, -1), strict=True))
    assert set(edges.values()) == {2}


def test_faces_look_outwards() -> None:
    vertices, faces = meshes._lathe([(0, 0), (1, 0), (1, 1), (0, 1)], 200)
    a, b, c = vertices[faces].transpose(1, 0, 2)
    assert abs(np.einsum("fi,fi->f", a, np.cross(b, c)).sum() / 6) == pytest.approx(np.pi, rel=1e-3)


def test_a_cup_has_its_size_and_a_handle_on_one_side() -> None:
    vertices, _ = meshes.cup(radius=0.026, height=0.07)
    assert np.ptp(vertices[:, 2]) == pytest.approx(0.07)
    assert vertices[:, 0].min() == pytest.approx(-0.026, abs=1e-4)
    assert vertices[:, 0].max() > 0.026 + 0.018
