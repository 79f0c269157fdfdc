"""A folder as real DROID comes: every hazard at once, read from end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.data.folders import folder_of, hazardous
from vjepa2_ac.data.check import CheckConfig, check_folder
from vjepa2_ac.data.episodes import BadEpisodes, usable
from vjepa2_ac.data.layout import EpisodeRef, find_episodes
from vjepa2_ac.data.windows import WindowConfig, draw_window

UNUSABLE = ("video far too short", "no metadata")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, EpisodeRef]]:
    root = tmp_path_factory.mktemp("droid")
    return root, hazardous(root)


@pytest.mark.parametrize("camera", ["left", "right"])
def test_all_that_can_be_used_is_and_the_rest_is_named(folder: tuple[Path, dict[str, EpisodeRef]], camera: str) -> None:
    root, refs = folder
    bad = BadEpisodes(limit=2)
    rng = np.random.default_rng(0)
    first_level = {"left": 20, "right": 40}[camera]
    for episode in usable(find_episodes(root), bad, camera):
        window = draw_window(episode, WindowConfig(), rng.integers)
        assert set(np.diff(window.numbers_T)) == {4}  # 15 Hz rows, also where the header says 60
        levels_T = window.frames_THWC.mean(axis=(1, 2, 3))
        np.testing.assert_allclose(levels_T, first_level + 3 * window.numbers_T, atol=2)  # the frame of that very row
    unusable = UNUSABLE if camera == "left" else ("no metadata",)  # only the left video is too short
    assert bad.reasons.keys() == {str(refs[name].folder.relative_to(root)) for name in unusable}


def documented(section: str) -> str:
    """The python of a section of the page about episodes."""
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    return page.partition(f"\n## {section}\n")[2].partition("```python\n")[2].partition("```")[0]


def test_the_documented_recorder_writes_episodes_that_are_fit_for_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poses_N7 = np.tile(np.array([0.5, 0.0, 0.3, 3.1, 0.0, 0.0, 0.0]), (60, 1))
    poses_N7[:, 0] += 0.05 * np.sin(np.linspace(0.0, 6.0, 60))
    poses_N7[30:, 6] = 1.0
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (32, 48, 3), np.uint8) for _ in poses_N7]
    monkeypatch.chdir(tmp_path)
    exec(documented("Recording your own"), {"frames": frames, "poses": poses_N7})
    found = check_folder(tmp_path / "lab", CheckConfig())
    assert found.is_usable, found.summary()
    (episode,) = usable(find_episodes(tmp_path / "lab"), BadEpisodes(limit=0), camera="left")
    np.testing.assert_allclose(episode.poses_N7, poses_N7)


def test_the_documented_loop_reads_what_can_be_read(
    folder: tuple[Path, dict[str, EpisodeRef]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = documented("Reading")
    (short,) = folder_of(tmp_path / "short", 1, rows=5)  # as branches and repaints are
    (tmp_path / "long").symlink_to(folder[0])
    exec(loop.replace("/data/droid_raw/1.0.1", str(tmp_path)), {})
    said = capsys.readouterr().out
    assert said.count("1.0.1/SIM") == len(UNUSABLE) + 1
    assert f"'short/{short.name}': 'too short: 5 frames" in said


def test_the_check_names_the_bad_and_notes_the_rest(folder: tuple[Path, dict[str, EpisodeRef]]) -> None:
    facts = check_folder(folder[0], CheckConfig(bad_share=0.25)).summary()
    assert facts["usable"]
    assert len(facts["bad_episodes"]) == len(UNUSABLE)
    assert facts["outcomes"] == {"success": 8, "failure": 1}
    assert facts["header_fps"] == {"15": 6, "60": 1}
    assert facts["measured_fps"] == {"15": 6, "none": 1}
    assert {
        "a space in the path (read here, not by the reference's CSV)",
        "header says 60 fps, timestamps 15: the timestamps are believed",
        "no timestamps",
        "no wrist video, though the metadata names one",
        "stereo videos, not read",
        "video and trajectory differ by 2: the shorter is used",
    } <= facts["notes"].keys()
