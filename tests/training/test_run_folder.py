from __future__ import annotations

import os
import resource
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from vjepa2_ac.errors import InputError, NotEnoughDiskError
from vjepa2_ac.training.run_folder import Run

STATE = {"weights": torch.arange(1000.0)}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    run.recipe.touch()
    return run


def test_the_newest_two_states_are_kept(run: Run) -> None:
    for step in (1, 2, 3):
        run.save(step, STATE | {"step": step})
    assert [step for step, _ in run.states()] == [3, 2]
    found = run.newest()
    assert found is not None
    assert found[0] == found[1]["step"] == 3


def test_a_state_is_on_the_disk_before_it_has_its_name(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    done, fsync, replace = list[str](), os.fsync, Path.replace

    def synced(handle: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    def renamed(path: Path, target: Path) -> Path:
        done.append("name")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    run.save(1, STATE)
    assert done == ["file", "name", "folder"]


class Code:
    """What a pickle may hold: something to call."""

    def __reduce__(self) -> Any:
        return print, ("this was run",)


def test_code_in_a_state_is_not_run(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.save(1, {"step": 1, "code": Code()})
    with pytest.raises(InputError, match="none of the 1 states"):
        run.newest()
    assert "this was run" not in capsys.readouterr().out


def test_the_log_is_cut_back_to_the_update_that_a_run_goes_on_from(run: Run) -> None:
    for step in (2, 4, 6):
        run.note({"step": step})
    with run.log.open("a") as file:
        file.write('{"step": 8, "lo')  # half a line, from a kill
    run.forget_after(4)
    assert run.log.read_text() == '{"step": 2}\n{"step": 4}\n'


def test_a_damaged_state_is_passed_over_by_name(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.save(1, STATE)
    run.save(2, STATE)
    newest = run.states()[0][1]
    newest.write_bytes(newest.read_bytes()[:500])
    found = run.newest()
    assert found is not None
    assert found[0] == 1
    assert "00000002.pt cannot be read" in capsys.readouterr().err


def test_states_of_which_none_can_be_read_are_not_written_over(run: Run) -> None:
    for step in (1, 2):
        run.save(step, STATE)
    for _, path in run.states():
        path.write_bytes(b"torn")
    with pytest.raises(InputError, match="none of the 2 states"):
        run.newest()
    assert [step for step, _ in run.states()] == [2, 1]


def test_a_run_that_goes_on_sets_later_states_aside_and_clears_up_after_killed_writers(run: Run) -> None:
    run.save(1, STATE)
    run.save(2, STATE)
    (run.folder / "states" / ".00000003.pt.ab12cd34").write_bytes(b"half")
    run.states()[0][1].write_bytes(b"torn")
    run.tidy(1)
    run.save(2, STATE)  # made again; neither of the two kept is the torn one
    assert [step for step, _ in run.states()] == [2, 1]
    assert sorted(path.name for path in (run.folder / "states").iterdir()) == [
        "00000001.pt",
        "00000002.damaged",
        "00000002.pt",
    ]


def test_half_a_state_of_a_killed_writer_is_not_taken_for_one(run: Run) -> None:
    run.save(1, STATE)
    (run.folder / "states" / ".00000002.pt.123").write_bytes(b"half")
    assert [step for step, _ in run.states()] == [1]


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Files may not grow beyond 100 kB: to a writer the same as a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_is_a_clear_error_and_the_run_stays_usable(run: Run) -> None:
    run.save(1, STATE)
    with pytest.raises(NotEnoughDiskError, match=r"disk is full.*intact"):
        run.save(2, {"weights": torch.zeros(100_000)})
    assert sorted(path.name for path in (run.folder / "states").iterdir()) == ["00000001.pt"]
    found = run.newest()
    assert found is not None
    assert torch.equal(found[1]["weights"], STATE["weights"])


def test_runs_are_not_mixed(run: Run) -> None:
    with pytest.raises(InputError, match="--resume"):
        run.check(resume=False)
    with pytest.raises(InputError, match="nothing to resume"):
        Run(run.folder / "elsewhere").check(resume=True)


def test_a_folder_that_can_hold_no_run_is_refused_before_any_work(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="cannot be made a folder"):
        Run(run.recipe / "below a file").check(resume=False)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(InputError, match="nothing can be written"):
        Run(run.folder / "read-only").check(resume=False)
    assert not (run.folder / "read-only").exists()
