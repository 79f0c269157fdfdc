from __future__ import annotations

import json
import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.data.folders import folder_of
from vjepa2_ac.data import layout
from vjepa2_ac.data.episodes import BadEpisodes, open_episode, usable
from vjepa2_ac.data.layout import find_episodes, unfinished
from vjepa2_ac.data.writer import index_entry, write_index
from vjepa2_ac.errors import EpisodeError, InputError


def test_a_tree_is_searched_for_trajectories(tmp_path: Path) -> None:
    refs = folder_of(tmp_path)
    assert [ref.folder for ref in find_episodes(tmp_path)] == [ref.folder for ref in refs]
    assert find_episodes(refs[0].folder)[0].folder == refs[0].folder


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    refs = folder_of(tmp_path / "disk", 2)
    root = tmp_path / "mine"
    root.mkdir()
    (root / "all").symlink_to(tmp_path / "disk")
    (root / "one again").symlink_to(refs[0].folder)
    (tmp_path / "disk" / "round").symlink_to(root)
    assert [ref.name for ref in find_episodes(root)] == [f"all/{ref.name}" for ref in refs]


def test_what_lies_in_the_tree_is_called_by_its_own_name(tmp_path: Path) -> None:
    refs = folder_of(tmp_path / "mine" / "train", 2)
    (tmp_path / "mine" / "failure").mkdir()
    (tmp_path / "mine" / "failure" / "seen").symlink_to(tmp_path / "mine" / "train")
    assert [found.folder for found in find_episodes(tmp_path / "mine")] == [ref.folder for ref in refs]


def close(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody read a folder; root may whatever its permissions say."""
    listing = os.scandir, os.listdir

    def refuse(path: Any = ".", listed: Any = None) -> Any:
        if str(path) == str(folder):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", partial(refuse, listed=listing[0]))
    monkeypatch.setattr(os, "listdir", partial(refuse, listed=listing[1]))


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (ref,) = folder_of(tmp_path, 1)
    (tmp_path / "closed").mkdir()
    close(tmp_path / "closed", monkeypatch)
    bad = BadEpisodes(limit=1)
    assert [episode.ref for episode in usable(find_episodes(tmp_path), bad)] == [ref]
    assert bad.reasons == {"closed": "the folder cannot be read: Permission denied"}


def test_success_and_failure_can_be_told_apart(tmp_path: Path) -> None:
    folder_of(tmp_path / "good", 2)
    shutil.move(tmp_path / "good", tmp_path / "all")
    folder_of(tmp_path / "all" / "other", 1, success=False)
    outcomes = [ref.outcome for ref in find_episodes(tmp_path)]
    assert [len(outcomes), outcomes.count("success"), outcomes.count("failure")] == [3, 2, 1]


def test_the_outcome_is_the_last_folder_that_says_one(tmp_path: Path) -> None:
    def outcome(place: str) -> str | None:
        return layout.EpisodeRef(tmp_path / place, place).outcome

    assert outcome("failure/rerun/success/2026-01-01/noon") == "success"
    assert outcome("failure/2026-01-01/success") == "failure"  # an episode may be called anything
    assert outcome("2026-01-01/noon") is None


def test_branches_of_two_collections_are_not_one(tmp_path: Path) -> None:
    refs = [folder_of(tmp_path / name, 1)[0] for name in ("train", "wide")]
    assert len({ref.branch("7-0") for ref in refs}) == 2
    assert refs[0].branch("7-0") == layout.EpisodeRef(refs[0].folder.with_name("other"), "other").branch("7-0")
    assert refs[0].branch(None) is None


def test_leftovers_that_may_not_be_read_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".unfinished" / "somebody's").mkdir(parents=True)
    close(tmp_path / ".unfinished", monkeypatch)
    assert unfinished(tmp_path) == [tmp_path / ".unfinished"]


def test_a_list_in_a_folder_that_may_not_be_entered_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(InputError, match=r"list\.txt cannot be read: Permission denied"):
        find_episodes(tmp_path / "list.txt")


def test_what_a_stopped_writer_left_is_not_an_episode(tmp_path: Path) -> None:
    (ref,) = folder_of(tmp_path, 1)
    shutil.copytree(ref.folder, tmp_path / layout.ASIDE / "half")
    assert len(find_episodes(tmp_path)) == 1
    assert layout.unfinished(tmp_path) == [tmp_path / layout.ASIDE / "half"]


@pytest.mark.parametrize("line", ["{path}", "{path} 0", '"{path}"', "{path},7", "{path} 12 label"])
def test_an_index_names_folders_even_with_spaces(tmp_path: Path, line: str) -> None:
    (ref,) = folder_of(tmp_path / "a lab's disk", 1)
    index = tmp_path / "paths.csv"
    index.write_text("# a comment\n\n" + line.format(path=ref.folder) + "\n")
    assert [found.folder for found in find_episodes(index)] == [ref.folder]
    assert len(open_episode(find_episodes(index)[0])) == 40


def test_relative_lines_are_looked_for_beside_the_index(tmp_path: Path) -> None:
    refs = folder_of(tmp_path, 2)
    (tmp_path / "train.txt").write_text("".join(f"{ref.folder.relative_to(tmp_path)}\n" for ref in refs))
    assert [ref.folder for ref in find_episodes(tmp_path / "train.txt")] == [ref.folder for ref in refs]


def test_the_collectors_index_is_read(tmp_path: Path) -> None:
    refs = folder_of(tmp_path, 2)
    write_index(tmp_path, [index_entry(ref, layout.read_metadata(ref.folder, ref.name)) for ref in refs])
    assert [ref.folder for ref in find_episodes(tmp_path / layout.INDEX)] == [ref.folder for ref in refs]
    assert json.loads((tmp_path / layout.INDEX).read_text().splitlines()[1])["seed"] == 1


def test_a_line_that_leads_nowhere_is_an_episode_that_fails(tmp_path: Path) -> None:
    (tmp_path / "paths.csv").write_text("/nowhere/at all\n")
    (ref,) = find_episodes(tmp_path / "paths.csv")
    with pytest.raises(EpisodeError, match="/nowhere/at all: there is no such folder"):
        open_episode(ref)


def test_lines_that_lead_nowhere_stay_apart_where_a_folder_is_called_as_they_begin(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    lines = [f"{tmp_path}/a lab/1", f"{tmp_path}/a lab/2 7"]
    (tmp_path / "paths.csv").write_text("\n".join(lines))
    assert [ref.name for ref in find_episodes(tmp_path / "paths.csv")] == lines


def test_a_path_of_the_collectors_index_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "ep").mkdir()
    (tmp_path / layout.INDEX).write_text(json.dumps({"path": "ep 2"}))
    (ref,) = find_episodes(tmp_path / layout.INDEX)
    with pytest.raises(EpisodeError, match="ep 2: there is no such folder"):
        open_episode(ref)


def test_a_list_saved_by_a_spreadsheet_is_read(tmp_path: Path) -> None:
    (ref,) = folder_of(tmp_path, 1)
    (tmp_path / "paths.csv").write_text(f"{ref.folder}\n", encoding="utf-8-sig")
    assert [found.folder for found in find_episodes(tmp_path / "paths.csv")] == [ref.folder]


def test_nothing_there_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no episodes at .*missing: there is no such folder or file"):
        find_episodes(tmp_path / "missing")


@pytest.mark.skipif(sys.platform != "linux", reason="a file that not even root may read")
def test_a_list_that_cannot_be_read_is_said_so() -> None:
    with pytest.raises(InputError, match="/proc/self/mem cannot be read"):
        find_episodes("/proc/self/mem")


def test_what_is_no_list_is_said_so_and_what_is_too_long_is_no_path(tmp_path: Path) -> None:
    video = tmp_path / "video.mp4"
    video.write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match=r"video\.mp4 is no list"):
        find_episodes(video)
    listing = tmp_path / "list.txt"
    listing.write_text("x" * 5000 + "\n")
    (ref,) = find_episodes(listing)
    with pytest.raises(EpisodeError, match="there is no such folder"):
        open_episode(ref)


def test_a_broken_index_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "index.jsonl").write_text('{"frames": 3}\n')
    with pytest.raises(InputError, match="line 1"):
        find_episodes(tmp_path / "index.jsonl")
