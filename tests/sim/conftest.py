"""One cell for all tests that only need a scene: compiling it takes most of a second."""

from __future__ import annotations

import pytest

from sim.episode import Cell
from sim.scene import Scene


@pytest.fixture(scope="session")
def cell() -> Cell:
    return Cell(Scene())
