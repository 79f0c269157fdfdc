from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from sim import cameras, workspace
from sim.arm import FINGERS
from sim.episode import Cell
from sim.rendering import SceneRenderer
from sim.variation import Variation, draw
from vjepa2_ac.errors import InputError

SIZE = 256
MOST_TURNED = [(0, 0, 0), (1.5, 1, -0.01), (-1.5, -1, 0.01), (15, 5, 0), (15, -5, 0), (-15, 5, 0), (-15, -5, 0)]


def pixels(cell: Cell, points: object) -> np.ndarray:
    scene = cell.scene
    return cameras.project(scene.model, scene.data, "left", np.asarray(points, dtype=float), SIZE, SIZE)


@pytest.mark.parametrize(("azimuth", "elevation", "distance"), MOST_TURNED)
def test_the_whole_workspace_is_in_the_picture(cell: Cell, azimuth: float, elevation: float, distance: float) -> None:
    usual = draw(Variation(factors=()), 0)
    turned = replace(usual, camera_azimuth=azimuth, camera_elevation=elevation, camera_distance=distance)
    cell.dress(turned)
    seen = pixels(cell, workspace.corners())
    assert seen.min() > 4
    assert seen.max() < SIZE - 4


def test_fingers_and_objects_span_dozens_of_pixels(cell: Cell) -> None:
    cell.dress(draw(Variation(factors=()), 0))
    data = cell.scene.data
    left, right = (data.xpos[cell.scene.model.body(name).id] for name in FINGERS)
    assert np.linalg.norm(np.subtract(*pixels(cell, [left, right]))) > 45
    x, y, z = cell.truth().object
    assert np.linalg.norm(np.subtract(*pixels(cell, [(x, y - 0.024, z), (x, y + 0.024, z)]))) > 24


@pytest.mark.parametrize("corner", range(8))
def test_the_hand_is_seen_in_every_corner_of_the_workspace(cell: Cell, corner: int) -> None:
    place = workspace.corners()[corner]
    cell.dress(replace(draw(Variation(factors=()), 0), hand=tuple(place), object_xy=(0.49, 0.5)))
    data = cell.scene.data
    open_pads = [data.geom(f"{name}:pad").xpos for name in FINGERS]
    seen = pixels(cell, [place, *open_pads])
    assert seen.min() > -4  # half of one open finger may leave at the far corners; the tool point never does
    assert seen.max() < SIZE + 4
    assert pixels(cell, [place]).min() > 4


def test_projection_agrees_with_the_renderer(cell: Cell) -> None:
    scene = replace(draw(Variation(factors=(), kind="box"), 0), object_rgb=(1.0, 0.0, 0.0), hand=(0.42, 0.12, 0.18))
    cell.dress(scene)
    renderer = SceneRenderer(cell.scene, SIZE, SIZE)
    frame = renderer.draw("left").astype(int)
    renderer.close()
    red = (frame[..., 0] > 90) & (frame[..., 1] < 60) & (frame[..., 2] < 60)
    down, across = np.argwhere(red).mean(axis=0)
    np.testing.assert_allclose(pixels(cell, [cell.truth().object])[0], (across, down), atol=4)


def test_extrinsics_look_at_the_workspace(cell: Cell) -> None:
    cell.dress(draw(Variation(factors=()), 0))
    scene = cell.scene
    pose = cameras.extrinsics(scene.model, scene.data, "left")
    np.testing.assert_allclose(pose[:3], cameras.LEFT.position(), atol=1e-9)
    assert pose[1] > 0.1  # DROID calls the camera with the larger y the left one
    np.testing.assert_allclose(pixels(cell, [cameras.LOOK_AT])[0], SIZE / 2, atol=1e-6)


@pytest.mark.parametrize(("width", "height"), [(64, 96), (96, 64)])
def test_pictures_are_upright_and_their_middle_is_what_a_camera_looks_at(cell: Cell, width: int, height: int) -> None:
    cell.dress(draw(Variation(factors=()), 0))
    seen = np.add(cameras.LOOK_AT, [(0.0, 0.0, 0.0), (0.0, 0.0, 0.1)])
    for name in ("left", "right"):
        middle, above = cameras.project(cell.scene.model, cell.scene.data, name, seen, width, height)
        np.testing.assert_allclose(middle, (width / 2, height / 2), atol=1e-6)
        np.testing.assert_allclose(above[0], width / 2, atol=1e-6)
        # What is 66 cm away and 38 degrees below, seen under 35 degrees over the height.
        rise = 0.1 * np.cos(np.deg2rad(38)) / (0.66 - 0.1 * np.sin(np.deg2rad(38)))
        assert middle[1] - above[1] == pytest.approx(0.5 * height * rise / np.tan(np.deg2rad(17.5)))


def test_every_camera_draws_and_an_unknown_one_is_named(cell: Cell) -> None:
    cell.dress(draw(Variation(), 1))
    renderer = SceneRenderer(cell.scene, 64, 96)
    for name in cameras.NAMES:
        frame = renderer.draw(name)
        assert frame.shape == (64, 96, 3)
        assert frame.std() > 5
    with pytest.raises(InputError, match="left, right, wrist"):
        renderer.draw("top")
    renderer.close()


DRAW_THEN_COMPILE = """
from sim.env import FrankaEnv
env = FrankaEnv("reach", frame_size=64)
env.reset(seed=0)
import torch._inductor
print("alive")
"""


def test_a_process_that_has_drawn_may_compile() -> None:
    found = subprocess.run([sys.executable, "-c", DRAW_THEN_COMPILE], capture_output=True, text=True, timeout=200)
    assert found.stdout == "alive\n", (found.returncode, found.stderr)


DRAW_AND_END = """
import weakref
weakref.finalize(weakref.ref, len, "")  # whoever has the first finalizer decides when all of them are called
from sim.rendering import SceneRenderer
from sim.scene import Scene
renderer = SceneRenderer(Scene(), 32, 32)
renderer.draw()
"""


def test_a_process_that_has_drawn_ends_without_a_word() -> None:
    found = subprocess.run([sys.executable, "-c", DRAW_AND_END], capture_output=True, text=True, timeout=200)
    assert (found.returncode, found.stderr) == (0, "")
