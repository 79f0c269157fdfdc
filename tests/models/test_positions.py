from __future__ import annotations

import pytest
import torch

from vjepa2_ac.models.positions import resize_image, resize_video, sincos_image, sincos_video


@pytest.mark.parametrize("wanted", [(5, 4, 4), (1, 2, 6), (2, 4, 8)])
def test_a_clip_of_another_size_is_interpolated_over_its_own_grid(wanted: tuple[int, int, int]) -> None:
    axes = torch.meshgrid(*map(torch.arange, (2, 4, 4)), indexing="ij")
    table_1N3 = torch.stack(axes, dim=-1).reshape(1, 32, 3).float()  # every token's place
    placed = resize_video(table_1N3, (2, 4, 4), wanted).unflatten(1, wanted)[0]
    middles_3 = placed.mean(dim=(0, 1, 2))
    torch.testing.assert_close(middles_3, torch.tensor([0.5, 1.5, 1.5]), atol=0.05, rtol=0)
    for axis in (1, 2):
        assert placed[..., axis].diff(dim=axis).min() > 0


def test_fewer_steps_of_the_same_picture_size_are_the_first_ones() -> None:
    table_1ND = sincos_video(12, (4, 2, 3), uniform_power=True)
    torch.testing.assert_close(resize_video(table_1ND, (4, 2, 3), (3, 2, 3)), table_1ND[:, :18])


@pytest.mark.parametrize(
    ("built", "wanted", "kept"),
    [
        ((3, 3), (2, 8), (4, 4)),  # a square number of patches: the square's table, as released
        ((3, 3), (2, 3), (2, 3)),
        ((2, 8), (1, 4), (1, 4)),  # the model itself is not of squares
    ],
)
def test_a_picture_of_another_size_has_the_released_table_where_that_exists(
    built: tuple[int, int], wanted: tuple[int, int], kept: tuple[int, int]
) -> None:
    table_1ND = sincos_image(8, built)
    picture_1DHW = table_1ND.unflatten(1, built).movedim(-1, 1)
    expected = torch.nn.functional.interpolate(picture_1DHW, size=kept, mode="bicubic").flatten(2).transpose(1, 2)
    torch.testing.assert_close(resize_image(table_1ND, built, wanted), expected)


@pytest.mark.parametrize("width", [40, 42, 50])
def test_a_table_of_pictures_fits_any_width(width: int) -> None:
    assert sincos_image(width, (2, 3)).shape == (1, 6, width)
