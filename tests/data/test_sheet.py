from __future__ import annotations

from pathlib import Path

import pytest

from tests.data import folders
from tests.data.folders import folder_of
from vjepa2_ac.data.sheet import CAPTION, COLUMNS, HEIGHT, ROWS, contact_sheet
from vjepa2_ac.errors import InputError


def test_each_episode_has_a_row_that_brightens_as_its_film_does(tmp_path: Path) -> None:
    sheet = contact_sheet(folder_of(tmp_path, 2))
    assert sheet.shape == (2 * (CAPTION + HEIGHT + 4), COLUMNS * HEIGHT, 3)
    picture = sheet[CAPTION + HEIGHT // 2]
    assert picture[HEIGHT // 2].mean() < picture[-HEIGHT // 2].mean()


def test_many_episodes_are_sampled_and_bad_ones_shown(tmp_path: Path) -> None:
    refs = folder_of(tmp_path, ROWS + 3, rows=4)
    folders.video_of(refs[0]).unlink()
    assert len(contact_sheet(refs)) == ROWS * (CAPTION + HEIGHT + 4)


def test_no_episode_no_sheet() -> None:
    with pytest.raises(InputError, match="at least one episode"):
        contact_sheet([])
