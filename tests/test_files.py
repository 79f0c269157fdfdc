"""Files of results are whole or not there, and what stands in their way is one sentence."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from vjepa2_ac.errors import InputError, NotEnoughDiskError
from vjepa2_ac.files import make_folder, read, results_in, write


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    write(tmp_path / "a", "grün")
    write(tmp_path / "a", b"\x00")
    assert (tmp_path / "a").read_bytes() == b"\x00"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    for name, why in ((".", "Is a directory"), ("a", "No such file or directory")):
        with pytest.raises(InputError, match=f"cannot be read: {why}"):
            read(tmp_path / name)


def test_a_place_that_cannot_be_written_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").touch()
    for name, why in (("a", "Is a directory"), ("b/c", "Not a directory"), ("c/d", "No such file or directory")):
        with pytest.raises(InputError, match=f"{name} cannot be written: {why}"):
            write(tmp_path / name, "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_file_does_not_take_the_place_of_a_pipe_or_device(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe cannot be written: it is a pipe or a device"):
        write(tmp_path / "pipe", "text")
    assert [path.is_fifo() for path in tmp_path.iterdir()] == [True]


def test_a_full_disk_is_said_and_what_was_there_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a", "before")

    def full(path: Path, content: bytes) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(NotEnoughDiskError, match="No space left on device"):
        write(tmp_path / "a", "after")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "before")]


def test_names_that_are_no_text_are_written_escaped(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    write(tmp_path / "a", f'{{"name": "{name}"}}')
    assert (tmp_path / "a").read_bytes() == b'{"name": "caf\\udce9"}'
    assert json.loads((tmp_path / "a").read_text())["name"] == name


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(InputError, match="cannot be made a folder of results"):
        make_folder(tmp_path / "a")


def test_a_folder_is_taken_away_again_where_nothing_comes_of_it(tmp_path: Path) -> None:
    def stopped(folder: str, result: str | None = None) -> None:
        with results_in(tmp_path / folder):
            assert (tmp_path / folder).is_dir()
            if result is not None:
                write(tmp_path / result, "")
            raise KeyboardInterrupt

    (tmp_path / "there").mkdir()
    for folder in ("there", "a/b", "there/c"):
        with pytest.raises(KeyboardInterrupt):
            stopped(folder)
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]
    with pytest.raises(KeyboardInterrupt):
        stopped("kept/d", result="kept/e")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["e"]
    with results_in(None), results_in(tmp_path / "empty"):
        pass
    assert (tmp_path / "empty").is_dir()
