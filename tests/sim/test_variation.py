from __future__ import annotations

import colorsys
import hashlib
import json
import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from sim import workspace
from sim.splits import SPLITS, Split
from sim.surfaces import HARSH_SURFACES, SHIFT_SURFACES, SIZE, SURFACES, TRAIN_SURFACES, WIDE_SURFACES
from sim.surfaces import picture as surface
from sim.variation import APPEARANCE, FACTORS, Draw, Kind, Variation, draw, with_another_appearance
from vjepa2_ac.errors import ConfigError


@pytest.mark.parametrize("split", SPLITS)
def test_equal_seeds_give_equal_scenes_and_json_keeps_them(split: str) -> None:
    variation = Variation(split=split)  # type: ignore[arg-type]
    scene = draw(variation, 12)
    assert draw(variation, 12) == scene
    assert Draw.from_dict(json.loads(json.dumps(scene.as_dict()))) == scene


@pytest.mark.parametrize(
    ("split", "fingerprint"),
    [
        ("train", "8bff05f5359f2884"),
        ("test", "0e1b1bb0bc1a3cdf"),
        ("shift", "50ff79f44f1d98e9"),
        ("wide", "0677df230ca1155a"),
        ("views", "03d65b38882d04e5"),
        ("harsh", "e83829001707327a"),
    ],
)
def test_a_seed_gives_the_scene_it_always_gave(split: Split, fingerprint: str) -> None:
    """Else what was measured, and what was collected, could not be compared with what comes now."""
    told = json.dumps([draw(Variation(split=split), seed).as_dict() for seed in range(20)])
    rounded = json.dumps(json.loads(told, parse_float=lambda text: f"{float(text):.6f}"))
    assert hashlib.sha256(rounded.encode()).hexdigest()[:16] == fingerprint


def test_the_size_of_a_cup_may_be_an_array() -> None:
    written = draw(Variation(kind="cup"), 7).as_dict()
    assert Draw.from_dict(written | {"size": np.array(written["size"])}).kind == "cup"


def test_a_scene_told_in_arrays_is_the_scene_told_in_lists() -> None:
    scene = draw(Variation(split="shift"), 7)
    told = {name: np.array(part) if isinstance(part, float) or name == "hand" else part
            for name, part in scene.as_dict().items()}  # fmt: skip
    assert Draw.from_dict(told) == scene
    assert json.dumps(Draw.from_dict(told).as_dict()) == json.dumps(scene.as_dict())


def test_splits_share_no_scene() -> None:
    layouts = [draw(Variation(split=split), 5).object_xy for split in SPLITS]
    assert len(set(layouts)) == len(SPLITS)


@pytest.mark.parametrize("factor", FACTORS)
def test_switching_one_factor_off_leaves_the_others(factor: str) -> None:
    full, partial = draw(Variation(kind="box"), 3).as_dict(), draw(Variation(kind="box").without([factor]), 3).as_dict()
    changed = {key for key in full if full[key] != partial[key]}
    owners = {
        "layout": {"object_xy", "object_yaw", "target", "target_xy", "hand"},
        "kind": set(),
        "size": {"size"},
        "colours": {"object_rgb", "target_rgb"},
        "surfaces": {f"{where}{what}" for where in ("table", "wall") for what in ("", "_tint", "_repeat")},
        "light": {"light_azimuth", "light_elevation", "light_rgb", "ambient"},
        "camera": {"camera_azimuth", "camera_elevation", "camera_distance"},
        "distractors": {"distractors"},
    }
    assert changed <= owners[factor]


def test_object_and_target_are_apart_and_in_reach() -> None:
    for seed in range(300):
        scene = draw(Variation(), seed)
        assert math.dist(scene.object_xy, scene.target_xy) > 0.125
        for x, y in (scene.object_xy, scene.target_xy):
            assert workspace.LOW[0] + 0.02 < x < workspace.HIGH[0] - 0.02
            assert workspace.LOW[1] + 0.015 < y < workspace.HIGH[1] - 0.015
        assert scene.size[1] < 0.060  # the hand opens to 80 mm


def hue(rgb: tuple[float, ...]) -> float:
    return colorsys.rgb_to_hsv(*rgb)[0]


def apart(one: float, other: float) -> float:
    """Around the circle of hues."""
    return abs((one - other + 0.5) % 1.0 - 0.5)


def test_shift_shows_what_training_never_showed() -> None:
    train = [draw(Variation(split="train"), seed) for seed in range(80)]
    shift = [draw(Variation(split="shift"), seed) for seed in range(80)]
    assert {scene.table for scene in train} <= set(TRAIN_SURFACES)
    assert {scene.table for scene in shift} == set(SHIFT_SURFACES)
    assert max(abs(scene.camera_azimuth) for scene in train) <= 1.5
    assert all(5 <= abs(scene.camera_azimuth) <= 15 for scene in shift)
    assert not {d.shape for s in train for d in s.distractors} & {d.shape for s in shift for d in s.distractors}
    assert all(scene.distractors for scene in shift)
    assert max(scene.light_rgb[1] for scene in train) < 0.85
    assert min(scene.light_rgb[1] for scene in train) > 0.42
    assert all(scene.light_rgb[1] < 0.42 or scene.light_rgb[1] > 0.85 for scene in shift)
    assert min(scene.ambient for scene in train) > max(scene.ambient for scene in shift)
    for name in ("object_rgb", "target_rgb"):
        seen, kept = ([hue(getattr(scene, name)) for scene in scenes] for scenes in (train, shift))
        assert min(apart(one, other) for one in seen for other in kept) > 0.03


def test_the_wide_split_shows_more_than_training_and_nothing_of_shift() -> None:
    wide = [draw(Variation(split="wide"), seed) for seed in range(400)]
    assert {scene.table for scene in wide} == set(WIDE_SURFACES)
    assert set(TRAIN_SURFACES) < set(WIDE_SURFACES)
    assert not set(WIDE_SURFACES) & set(SHIFT_SURFACES)
    assert 3 < max(abs(scene.camera_azimuth) for scene in wide) <= 4  # where shift begins at 5
    assert all(-1.4 <= scene.light_azimuth <= 1.5 for scene in wide)  # shift's only lamp stands behind
    assert all(sum(scene.light_rgb) > 0.1 * sum(scene.light_rgb + scene.fill_rgb) for scene in wide)
    assert max(scene.light_rgb[0] / scene.light_rgb[1] for scene in wide) > 1.2
    assert {d.shape for scene in wide for d in scene.distractors} == {"box", "cylinder"}


def test_the_views_split_shows_what_the_wide_split_does_from_farther_aside() -> None:
    views = [draw(Variation(split="views"), seed) for seed in range(400)]
    assert {scene.table for scene in views} == set(WIDE_SURFACES)
    turned = [abs(scene.camera_azimuth) for scene in views]
    assert 25 < max(turned) <= 30
    assert 0.15 < sum(azimuth < 1.5 for azimuth in turned) / len(views) < 0.30  # as train and test see
    assert all(-1.4 <= scene.light_azimuth <= 1.5 for scene in views)  # shift's only lamp stands behind
    assert all(sum(scene.light_rgb) > 0.03 * sum(scene.light_rgb + scene.fill_rgb) for scene in views)
    darker = [sum(scene.light_rgb) < 0.2 * sum(scene.light_rgb + scene.fill_rgb) for scene in views]
    assert sum(darker) > len(views) / 5
    assert {d.shape for scene in views for d in scene.distractors} == {"box", "cylinder"}


def test_the_harsh_split_shows_what_the_views_split_does_on_more_patterns_in_one_sided_light() -> None:
    harsh = [draw(Variation(split="harsh"), seed) for seed in range(800)]
    assert {scene.table for scene in harsh} == set(HARSH_SURFACES)
    assert set(WIDE_SURFACES) < set(HARSH_SURFACES)
    assert not set(HARSH_SURFACES) & set(SHIFT_SURFACES)
    assert 25 < max(abs(scene.camera_azimuth) for scene in harsh) <= 30
    shares = [sum(scene.light_rgb) / sum(scene.light_rgb + scene.fill_rgb) for scene in harsh]
    assert 0.03 < min(shares) < max(shares) < 0.34  # the colours of the lamps differ by up to a half
    assert 0.15 < min(scene.ambient for scene in harsh) < 0.17
    assert max(scene.ambient for scene in harsh) < 0.35
    assert {d.shape for scene in harsh for d in scene.distractors} == {"box", "cylinder"}


@pytest.mark.parametrize(
    ("split", "turned", "raised", "farther"),
    [
        *((split, (0.0, 1.5), 1.0, (-0.01, 0.01)) for split in ("train", "test")),
        ("wide", (0.0, 4.0), 4.0 / 1.5, (-0.02, 0.02)),
        *((split, (0.0, 30.0), 6.0, (-0.01, 0.04)) for split in ("views", "harsh")),
        ("shift", (5.0, 15.0), 5.0, (0.0, 0.03)),
    ],
)
def test_cameras_stand_where_their_split_says(
    split: Split, turned: tuple[float, float], raised: float, farther: tuple[float, float]
) -> None:
    scenes = [draw(Variation(split=split), seed) for seed in range(300)]
    azimuths, elevations = ([abs(getattr(s, f"camera_{way}")) for s in scenes] for way in ("azimuth", "elevation"))
    assert turned[0] <= min(azimuths) < turned[0] + 0.5
    assert 0.9 * turned[1] < max(azimuths) <= turned[1]
    assert 0.9 * raised < max(elevations) <= raised
    distances, slack = [scene.camera_distance for scene in scenes], 0.05 * (farther[1] - farther[0])
    assert farther[0] <= min(distances) < farther[0] + slack
    assert farther[1] - slack < max(distances) <= farther[1]


def test_a_turn_of_the_cameras_comes_beside_what_is_drawn() -> None:
    usual, turned = draw(Variation(), 3), draw(Variation(camera_yaw=30.0), 3)
    assert turned == replace(usual, camera_azimuth=usual.camera_azimuth + 30.0)


@pytest.mark.parametrize(("kind", "most"), [("cup", 0.7), ("box", 0.2)])
def test_objects_are_turned_as_far_as_fingers_can_take_them(kind: Kind, most: float) -> None:
    scenes = [draw(Variation(kind=kind), seed) for seed in range(300)]
    assert {scene.kind for scene in scenes} == {kind}
    assert 0.9 * most < max(abs(scene.object_yaw) for scene in scenes) <= most
    assert 0.65 < sum(scene.target == "bowl" for scene in scenes) / len(scenes) < 0.85


@pytest.mark.parametrize(("split", "counts"), [("train", {0, 1, 2}), ("harsh", {0, 1, 2}), ("shift", {1, 2, 3})])
def test_distractors_stand_beside_each_other(split: Split, counts: set[int]) -> None:
    scenes = [draw(Variation(split=split), seed) for seed in range(200)]
    assert {len(scene.distractors) for scene in scenes} == counts
    assert all(math.dist(a.xy, b.xy) > 0.05 for s in scenes for a, b in combinations(s.distractors, 2))


@pytest.mark.parametrize("split", ["train", "wide", "harsh"])
def test_surfaces_to_learn_from_come_in_any_tint_and_scale(split: Split) -> None:
    scenes = [draw(Variation(split=split), seed) for seed in range(300)]
    assert 0.5 < sum(len(set(scene.table_tint)) > 1 for scene in scenes) / len(scenes) < 0.7
    assert max(s.table_repeat for s in scenes) > 3.0 * min(s.table_repeat for s in scenes)
    assert max(s.wall_repeat for s in scenes) > 3.0 * min(s.wall_repeat for s in scenes)


@pytest.mark.parametrize("split", ["train", "test", "shift"])
def test_what_models_are_judged_on_has_one_lamp(split: str) -> None:
    assert not any(any(draw(Variation(split=split), seed).fill_rgb) for seed in range(20))  # type: ignore[arg-type]


def test_training_sees_no_surface_twice() -> None:
    scenes = [draw(Variation(), seed) for seed in range(200)]
    assert {scene.table for scene in scenes} == {scene.wall for scene in scenes} == set(TRAIN_SURFACES)
    assert len({(scene.table, scene.table_tint, scene.table_repeat) for scene in scenes}) == 200


def test_another_appearance_leaves_things_where_they_are() -> None:
    scene = draw(Variation(), 3)
    other = with_another_appearance(scene, Variation(), 4)
    assert replace(scene, **{name: getattr(draw(Variation(), 4), name) for name in APPEARANCE}) == other
    changed = {name for name, value in scene.as_dict().items() if value != other.as_dict()[name]}
    assert {"table_tint", "light_rgb", "object_rgb", "camera_azimuth"} <= changed <= set(APPEARANCE)


@pytest.mark.parametrize("name", SURFACES)
def test_a_surface_is_a_picture_and_no_flat_one(name: str) -> None:
    picture = surface(name)
    assert picture.dtype == np.uint8
    assert picture.shape == (SIZE, SIZE, 3)
    assert picture.mean(axis=2).std() > 2


def test_unknown_factors_are_named() -> None:
    with pytest.raises(ConfigError, match="weather"):
        Variation(factors=("weather",))
