from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path
from typing import Literal

import numpy as np
import psutil
import pytest

from tests.training.small import ALONE
from vjepa2_ac.data.episodes import BadEpisodes
from vjepa2_ac.errors import EpisodeError, InputError, TooManyBadEpisodesError
from vjepa2_ac.training.processes import Processes
from vjepa2_ac.training.store import Store, Work, _estimate, fill, fingerprint, identity_of_files


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_item_comes_back_with_its_facts(tmp_path: Path, order: Literal["C", "F"]) -> None:
    store = Store.keyed(tmp_path, {"encoder": "a"})
    rows = np.asarray(np.arange(12, dtype=np.uint16).reshape(3, 4), order=order)
    assert not store.has("0123")
    store.put("0123", rows, {"name": "first"})
    assert store.has("0123")
    np.testing.assert_array_equal(store.rows("0123"), rows)
    assert not store.rows("0123").flags.writeable
    assert store.facts("0123") == {"name": "first"}


def test_arrays_are_mapped_not_read_and_no_file_stays_open(tmp_path: Path) -> None:
    store = Store.keyed(tmp_path, {})
    for number in range(20):
        store.put(f"{number:02d}", np.full(2**18, number), {})
    process = psutil.Process()
    memory, files = process.memory_info().rss, process.num_fds()
    rows = [store.rows(f"{number:02d}") for number in range(20)]  # 40 MiB
    assert process.memory_info().rss < memory + 2**23
    assert process.num_fds() == files
    assert [int(array[-1]) for array in rows] == list(range(20))


def test_a_row_is_read_from_the_disk_whole_and_alone(tmp_path: Path) -> None:
    store = Store.keyed(tmp_path, {})
    rows = np.random.default_rng(0).integers(2**16, size=(64, 10, mmap.PAGESIZE), dtype=np.uint16)  # of 20 pages
    store.put("0123", rows, {})
    path = store._path("0123", "npy")
    if forgotten(path):
        pytest.skip("this file system lives in memory")
    np.testing.assert_array_equal(store.read("0123", np.array([40, 7, 8])), rows[[40, 7, 8]])
    assert 60 <= in_memory(path) <= 70  # with the file's head, and where rows begin or end within a page


def forgotten(path: Path) -> int:
    """How many pages of a file are still in memory once the kernel was told that nobody needs any."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return in_memory(path)


def in_memory(path: Path) -> int:
    """How many pages of a file the kernel holds in memory."""
    rows = np.memmap(path, mode="r")
    pages = np.zeros(-(-rows.nbytes // mmap.PAGESIZE), dtype=np.uint8)
    address, size = ctypes.c_void_p(rows.ctypes.data), ctypes.c_size_t(rows.nbytes)
    assert ctypes.CDLL(None).mincore(address, size, ctypes.c_void_p(pages.ctypes.data)) == 0
    return int((pages & 1).sum())


def test_a_link_that_leads_nowhere_is_a_file_like_others_until_it_is_opened(tmp_path: Path) -> None:
    link = tmp_path / "film.mp4"
    link.symlink_to(tmp_path / "not mounted.mp4")
    gone = identity_of_files(link)
    (tmp_path / "not mounted.mp4").write_bytes(b"film")
    assert identity_of_files(link) != gone


def test_a_file_that_changed_in_place_is_another_one(tmp_path: Path) -> None:
    file = tmp_path / "trajectory.h5"
    file.write_bytes(b"before")
    os.utime(file, ns=(10**18, 10**18))
    before = identity_of_files(file)
    file.write_bytes(b"after.")  # of the same size
    assert identity_of_files(file) != before


def test_an_array_without_its_facts_was_never_finished(tmp_path: Path) -> None:
    store = Store.keyed(tmp_path, {})
    store.put("0123", np.zeros(3), {})
    store._path("0123", "json").unlink()  # as if killed between the two
    assert not store.has("0123")


@pytest.mark.parametrize("suffix", ["npy", "json"])
@pytest.mark.parametrize("left", [0, 5, 140])  # bytes: none, within the first ones, within the array or the facts
def test_a_file_that_was_cut_off_is_named_and_made_again_once_it_is_deleted(
    tmp_path: Path, suffix: str, left: int
) -> None:
    store = Store.keyed(tmp_path, {})
    store.put("0123", np.zeros(100), {"name": "a" * 200})
    path = store._path("0123", suffix)
    os.truncate(path, left)
    with pytest.raises(InputError, match=rf"0123\.{suffix} cannot be read \(.*\); delete it, and it is made again"):
        _ = store.rows("0123"), store.facts("0123")
    path.unlink()
    assert not store.has("0123")


def test_what_killed_writers_left_is_removed_once_nobody_can_be_writing_it(tmp_path: Path) -> None:
    store = Store.keyed(tmp_path, {})
    store.put("0", np.array([0]), {"root": 0})
    left, begun = (store._path("0", "npy").with_name(f".0.npy.{mark}") for mark in ("0a1b2c3d", "4e5f6a7b"))
    left.touch()
    begun.touch()
    os.utime(left, (0, 0))
    fill(store, range(1), squares([]), BadEpisodes(0), ALONE)
    assert store.has("0")
    assert not left.exists()
    assert begun.exists()


def test_where_nothing_can_be_put_is_said(tmp_path: Path) -> None:
    store = Store.keyed(tmp_path, {})
    (store.folder / "01").symlink_to("/proc")  # where not even root may write
    with pytest.raises(InputError, match=r"0123\.npy is not there and cannot be written: .*; choose another --cache"):
        store.put("0123", np.zeros(3), {})


def test_equal_descriptions_share_a_store_and_others_do_not(tmp_path: Path) -> None:
    assert Store.keyed(tmp_path, {"a": 1, "b": 2}) == Store.keyed(tmp_path, {"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def squares(read: list[int], bad: tuple[int, ...] = ()) -> Work:
    """Arrays of a number's square; which numbers were read is noted."""

    def note(number: int) -> int:
        if number in bad:
            raise EpisodeError(f"number {number}", "it is a bad one")
        read.append(number)
        return number

    return Work("squares", str, "number {}".format, note, lambda n: (np.array([n * n]), {"root": n}), lambda _: 10**7)


def test_what_is_missing_is_announced_and_made_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, read = Store.keyed(tmp_path, {}), list[int]()
    store.put("3", np.array([9]), {"root": 3})
    for count, said in ((5, "squares: 4 of 5 to make, about 0.04 GB"), (6, "squares: 1 of 6 to make")):
        made = fill(store, range(count), squares(read), BadEpisodes(0), ALONE)
        assert [(identity, int(store.rows(identity)[0])) for identity, _ in made] == [
            (str(n), n * n) for n in range(count)
        ]
        assert said in capsys.readouterr().err
    assert sorted(read) == [0, 1, 2, 4, 5]
    fill(store, range(6), squares(read), BadEpisodes(0), ALONE)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("rank", "mine"), [(0, [6, 8]), (1, [1, 3, 5, 7, 9])])
def test_processes_share_all_items_since_others_may_be_filling_the_same_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rank: int, mine: list[int]
) -> None:
    monkeypatch.setattr(Processes, "wait", lambda _: None)
    monkeypatch.setattr(Processes, "united", lambda _, reasons: {"number 1": "the other one's reason"} | reasons)
    store, read, bad = Store.keyed(tmp_path, {}), list[int](), BadEpisodes(8)
    for number in (0, 2, 4):
        store.put(str(number), np.array([number]), {})
    made = fill(store, range(10), squares(read), bad, Processes(rank, 2, ALONE.device))
    assert sorted(read) == mine
    assert [number for _, number in made] == sorted([0, 2, 4, *mine])
    assert len(bad.reasons) == 10 - len(made)
    assert bad.reasons.get("number 1") == (None if rank else "the other one's reason")
    assert ("to make" in capsys.readouterr().err) == (rank == 0)


def test_items_that_fail_are_counted_and_left_out_in_their_order(tmp_path: Path) -> None:
    bad = BadEpisodes(2)
    made = fill(Store.keyed(tmp_path, {}), range(20), squares([], bad=(3, 11)), bad, ALONE)
    assert [number for _, number in made] == [n for n in range(20) if n not in (3, 11)]
    assert bad.reasons == {"number 3": "it is a bad one", "number 11": "it is a bad one"}
    with pytest.raises(TooManyBadEpisodesError):
        fill(Store.keyed(tmp_path, {}), range(20), squares([], bad=(3, 11)), BadEpisodes(1), ALONE)


@pytest.mark.parametrize("count", [1, 50, 99, 1000])
def test_the_size_of_all_is_estimated_from_few_spread_over_them(count: int) -> None:
    asked: list[int] = []

    def size(item: int) -> int:
        asked.append(item)
        if item == 0:
            raise EpisodeError("0", "it cannot be opened")
        return item

    estimate = _estimate(range(count), Work("numbers", str, str, int, lambda _: (np.zeros(1), {}), size))
    assert len(asked) <= 50
    assert estimate == pytest.approx(sum(range(count)), rel=0.05)
