from __future__ import annotations

import colorsys

import numpy as np

from vjepa2_ac.jitter import Jitter


def pixel(jitter: Jitter, rgb: tuple[int, int, int]) -> list[int]:
    seen: list[int] = jitter(np.array(rgb, dtype=np.uint8).reshape(1, 1, 1, 3)).reshape(3).tolist()
    return seen


def test_a_third_of_a_turn_makes_red_green() -> None:
    third = Jitter(hue=60)
    assert pixel(third, (200, 0, 0)) == [0, 200, 0]
    assert pixel(third, (0, 200, 0)) == [0, 0, 200]


def test_hues_lie_evenly_around_the_circle() -> None:
    assert [pixel(jitter, (200, 0, 0)) for jitter in Jitter.around(3)] == [[0, 200, 0], [0, 0, 200]]
    assert len(Jitter.around(5)) == 4
    assert Jitter.around(1) == []


def test_grey_keeps_its_place_under_every_hue_and_takes_the_tint_of_the_light() -> None:
    assert pixel(Jitter(hue=77, saturation=1.3), (90, 90, 90)) == [90, 90, 90]
    assert pixel(Jitter(hue=77, saturation=1.3, gains=(1.0, 0.5, 2.0)), (90, 90, 90)) == [90, 45, 180]
    assert pixel(Jitter(gains=(3.0, 3.0, 3.0)), (90, 90, 90)) == [255, 255, 255]


def test_stronger_colours_are_farther_from_grey() -> None:
    def saturation(factor: float) -> float:
        red, green, blue = pixel(Jitter(saturation=factor), (120, 90, 90))
        return colorsys.rgb_to_hsv(red, green, blue)[1]

    assert saturation(0.7) < saturation(1.0) < saturation(1.3)


def test_a_copy_has_the_same_colours_everywhere_and_each_its_own() -> None:
    assert Jitter.of("episode", 1) == Jitter.of("episode", 1)
    drawn = {Jitter.of(name, copy) for name in ("a", "b", "c") for copy in (1, 2, 3)}
    assert len(drawn) == 9
    assert len({jitter.hue // 30 for jitter in (Jitter.of(str(n), 1) for n in range(100))}) == 6  # any angle


def of_a_dot(jitter: Jitter, side: int = 64) -> tuple[float, float]:
    """Where a dot of four pixels around (47.5, 15.5) is seen, right and down."""
    frames_FHW3 = np.zeros((1, side, side, 3), dtype=np.uint8)
    frames_FHW3[0, 15:17, 47:49] = 200
    seen_HW = jitter(frames_FHW3)[0, :, :, 0].astype(float)
    right, down = (float(np.average(np.arange(side), weights=seen_HW.sum(axis=axis))) for axis in (0, 1))
    return right, down


def test_all_moves_aside_by_a_share_of_the_side_and_away_from_the_middle() -> None:
    np.testing.assert_allclose(of_a_dot(Jitter()), (47.5, 15.5))
    np.testing.assert_allclose(of_a_dot(Jitter(aside=(0.0625, -0.03125))), (51.5, 13.5))
    np.testing.assert_allclose(of_a_dot(Jitter(zoom=1.25)), (31.5 + 1.25 * 16, 31.5 - 1.25 * 16), atol=0.3)


def test_what_comes_into_sight_looks_like_the_edge_beside_it() -> None:
    frames_FHW3 = np.random.default_rng(0).integers(0, 2, (1, 32, 32, 1), dtype=np.uint8).repeat(3, axis=3) * 255
    seen_HW3 = Jitter(aside=(0.25, 0.0))(frames_FHW3)[0]
    assert np.array_equal(seen_HW3[:, 8:], frames_FHW3[0, :, :24])
    assert np.array_equal(seen_HW3[:, :8], frames_FHW3[0, :, :1].repeat(8, axis=1))


def test_each_of_five_hues_but_the_pictures_own_is_moved_to_another_corner() -> None:
    asides = [(round(256 * right, 6), round(256 * down, 6)) for right, down in (j.aside for j in Jitter.around(5))]
    assert asides == [(6, 6), (-6, 6), (-6, -6), (6, -6)]


def test_a_copy_is_framed_a_little_otherwise() -> None:
    drawn = [Jitter.of("episode", copy) for copy in range(1, 300)]
    asides = np.array([jitter.aside for jitter in drawn])
    assert np.abs(asides).max() <= 0.03
    assert (asides.min(axis=0) < -0.025).all()
    assert (asides.max(axis=0) > 0.025).all()
    assert 0.94 <= min(jitter.zoom for jitter in drawn) < 0.95
    assert 1.05 < max(jitter.zoom for jitter in drawn) <= 1.06


def test_a_third_of_the_circle_trades_the_channels() -> None:
    frames_FHW3 = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    for hue, channels in ((60, [2, 0, 1]), (120, [1, 2, 0])):
        turned = Jitter(hue=hue)(frames_FHW3).astype(int)
        assert np.abs(turned - frames_FHW3[..., channels]).max() <= 8  # hues are whole numbers of two degrees


def test_brightness_is_one_for_all_channels_and_only_the_tint_is_each_its_own() -> None:
    gains = [Jitter.of("episode", copy).gains for copy in range(200)]
    assert 1.2 < max(max(each) / min(each) for each in gains) <= 1.15 / 0.85
