from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sim.episode import Cell
from sim.rendering import SceneRenderer
from sim.splits import SPLITS, Split
from sim.variation import APPEARANCE, CUP_SIZES, KINDS, Distractor, Draw, Kind, Variation, draw


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_moves_or_sinks_in_at_the_start(cell: Cell, split: Split, kind: Kind) -> None:
    for seed in range(5):
        cell.dress(draw(Variation(split=split, kind=kind), seed))
        before = cell.truth()
        cell.controller.wait(1.0)
        after = cell.truth()
        np.testing.assert_allclose(after.object, before.object, atol=2e-4)
        np.testing.assert_allclose(after.hand, before.hand, atol=2e-4)
        assert after.is_upright
        data = cell.scene.data
        assert min((contact.dist for contact in data.contact[: data.ncon]), default=0.0) > -5e-4


def test_what_an_episode_does_not_use_floats_out_of_sight(cell: Cell) -> None:
    cell.dress(draw(Variation(kind="cup"), 0))
    cell.controller.wait(2.0)
    assert cell.scene.data.body("box").xpos[2] == pytest.approx(-2.0, abs=1e-6)


def test_a_second_lamp_lights_what_it_shines_on_and_one_that_is_off_nothing(cell: Cell) -> None:
    scene = draw(Variation(), 0)
    renderer = SceneRenderer(cell.scene, 64, 64)
    pictures = []
    for red, azimuth in ((0.0, 0.0), (0.0, 2.0), (0.5, 0.5), (0.5, 3.6)):
        cell.dress(replace(scene, light_rgb=(0.2, 0.2, 0.2), fill_rgb=(red, 0.0, 0.0), fill_azimuth=azimuth))
        pictures.append(renderer.draw().astype(int))
    renderer.close()
    off, also_off, front, behind = pictures
    np.testing.assert_array_equal(off, also_off)
    assert (front[..., 0] - off[..., 0]).mean() > 20
    assert abs(front[..., 2] - off[..., 2]).mean() < 2
    assert abs(front - behind).mean() > 2


@pytest.mark.parametrize("kind", KINDS)
def test_the_object_stands_on_the_table_at_its_size(cell: Cell, kind: Kind) -> None:
    for seed in range(6):
        scene = draw(Variation(kind=kind), seed)
        cell.dress(scene)
        truth = cell.truth()
        assert truth.is_supported
        np.testing.assert_allclose(truth.object, (*scene.object_xy, scene.size[2] / 2), atol=1e-3)


@pytest.mark.parametrize("target", ["bowl", "pad"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_object_let_go_over_the_target_stands_in_it(cell: Cell, kind: Kind, target: str) -> None:
    scene = draw(Variation(factors=("size",), kind=kind), 2)
    cell.dress(replace(scene, target=target, hand=(0.44, -0.1, 0.16)))  # type: ignore[arg-type]
    truth = cell.truth()
    cell.scene.data.joint(f"{kind}:free").qpos[:3] = truth.target + np.array([0.004, -0.003, 0.004])
    cell.controller.wait(1.5)
    truth = cell.truth()
    assert truth.is_supported
    assert truth.is_at_rest
    np.testing.assert_allclose(truth.object, truth.target, atol=8e-3)


def test_a_dropped_cup_falls_and_stays_on_the_table(cell: Cell) -> None:
    cell.dress(draw(Variation(factors=(), kind="cup"), 0))
    free = cell.scene.data.joint("cup:free")
    free.qpos[2], free.qpos[3:] = 0.12, (0.8, 0.6, 0.0, 0.0)
    cell.controller.wait(3.0)
    truth = cell.truth()
    assert truth.is_supported
    assert 0.015 < truth.object[2] < 0.06


def test_each_part_of_an_appearance_is_seen(cell: Cell) -> None:
    thing = Distractor(shape="box", xy=(0.36, 0.16), yaw=0.0, size=0.016, rgb=(1.0, 0.0, 0.0))
    white = (0.6, 0.6, 0.6)
    scene = replace(draw(Variation(split="wide", kind="box"), 3), distractors=(thing,), fill_rgb=white)
    renderer = SceneRenderer(cell.scene, 64, 64)

    def seen(other: Draw) -> np.ndarray:
        cell.scene.apply(other)
        return np.concatenate([renderer.draw("left"), renderer.draw("wrist"), renderer.draw("pretty")])

    usual = seen(scene)
    for name in APPEARANCE:
        value = getattr(scene, name)
        changed = {str: "checks", tuple: (0.1, 0.2, 0.9)}.get(type(value)) or value + (
            0.05 if name == "ambient" else 0.5
        )
        assert (seen(replace(scene, **{name: changed})) != usual).any(), name
    for change in ({"size": 0.011}, {"yaw": 0.7}, {"rgb": white}, {"shape": "ball"}, {"xy": (0.37, 0.16)}):
        other = replace(thing, **change)  # type: ignore[arg-type]
        assert (seen(replace(scene, distractors=(other,))) != usual).any(), change
    renderer.close()


def test_objects_look_as_large_as_they_are(cell: Cell) -> None:
    cell.dress(draw(Variation(kind="box"), 3))
    model = cell.scene.model
    np.testing.assert_array_equal(model.geom("box:seen").size, model.geom("box:solid").size)
    for index, (radius, height) in enumerate(CUP_SIZES):
        cell.dress(replace(draw(Variation(kind="cup"), 3), size=(2 * radius, 2 * radius, height)))
        shown = [model.geom(f"cup:seen{number}").rgba[3] for number in range(len(CUP_SIZES))]
        assert shown == [float(number == index) for number in range(len(CUP_SIZES))]
    scene = next(scene for seed in range(9) if (scene := draw(Variation(), seed)).distractors)
    cell.dress(scene)
    np.testing.assert_array_equal(model.geom("distractor0").size, [scene.distractors[0].size] * 3)
