from __future__ import annotations

import colorsys

import numpy as np

from vjepa2_ac.colour_jitter import ColourJitter

PLAIN = (1.0, 1.0, 1.0)


def pixel(jitter: ColourJitter, rgb: tuple[int, int, int]) -> list[int]:
    seen: list[int] = jitter(np.array(rgb, dtype=np.uint8).reshape(1, 1, 1, 3)).reshape(3).tolist()
    return seen


def test_a_third_of_a_turn_makes_red_green() -> None:
    third = ColourJitter(hue=60, saturation=1.0, gains=PLAIN)
    assert pixel(third, (200, 0, 0)) == [0, 200, 0]
    assert pixel(third, (0, 200, 0)) == [0, 0, 200]


def test_hues_lie_evenly_around_the_circle() -> None:
    assert [pixel(jitter, (200, 0, 0)) for jitter in ColourJitter.around(3)] == [[0, 200, 0], [0, 0, 200]]
    assert len(ColourJitter.around(5)) == 4
    assert ColourJitter.around(1) == []


def test_grey_keeps_its_place_under_every_hue_and_takes_the_tint_of_the_light() -> None:
    assert pixel(ColourJitter(hue=77, saturation=1.3, gains=PLAIN), (90, 90, 90)) == [90, 90, 90]
    assert pixel(ColourJitter(hue=77, saturation=1.3, gains=(1.0, 0.5, 2.0)), (90, 90, 90)) == [90, 45, 180]
    assert pixel(ColourJitter(hue=0, saturation=1.0, gains=(3.0, 3.0, 3.0)), (90, 90, 90)) == [255, 255, 255]


def test_stronger_colours_are_farther_from_grey() -> None:
    def saturation(factor: float) -> float:
        red, green, blue = pixel(ColourJitter(hue=0, saturation=factor, gains=PLAIN), (120, 90, 90))
        return colorsys.rgb_to_hsv(red, green, blue)[1]

    assert saturation(0.7) < saturation(1.0) < saturation(1.3)


def test_a_copy_has_the_same_colours_everywhere_and_each_its_own() -> None:
    assert ColourJitter.of("episode", 1) == ColourJitter.of("episode", 1)
    drawn = {ColourJitter.of(name, copy) for name in ("a", "b", "c") for copy in (1, 2, 3)}
    assert len(drawn) == 9
    assert len({jitter.hue // 30 for jitter in (ColourJitter.of(str(n), 1) for n in range(100))}) == 6  # any angle


def test_a_third_of_the_circle_trades_the_channels() -> None:
    frames_FHW3 = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    for hue, channels in ((60, [2, 0, 1]), (120, [1, 2, 0])):
        turned = ColourJitter(hue, 1.0, (1.0, 1.0, 1.0))(frames_FHW3).astype(int)
        assert np.abs(turned - frames_FHW3[..., channels]).max() <= 8  # hues are whole numbers of two degrees


def test_brightness_is_one_for_all_channels_and_only_the_tint_is_each_its_own() -> None:
    gains = [ColourJitter.of("episode", copy).gains for copy in range(200)]
    assert 1.2 < max(max(each) / min(each) for each in gains) <= 1.15 / 0.85
