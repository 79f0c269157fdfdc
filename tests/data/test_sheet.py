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
    bar = (sheet[CAPTION + HEIGHT - 2] == (235, 130, 20)).all(axis=1)
    assert [bar[at : at + HEIGHT].sum() for at in (0, (COLUMNS - 1) * HEIGHT)] == [0, HEIGHT - 1]  # open … closed


def test_many_episodes_are_sampled_and_bad_ones_shown(tmp_path: Path) -> None:
    refs = folder_of(tmp_path, ROWS + 3, rows=4)
    folders.video_of(refs[0]).unlink()
    sheet = contact_sheet(refs)
    assert len(sheet) == ROWS * (CAPTION + HEIGHT + 4)
    redness = [(sheet[at : at + CAPTION, :, 0] - sheet[at : at + CAPTION, :, 1].astype(int)).max() for at in (0, 118)]
    assert redness[0] > 100 > redness[1]


def test_no_episode_no_sheet() -> None:
    with pytest.raises(InputError, match="at least one episode"):
        contact_sheet([])
