"""Progress without a terminal: plain lines on stderr, nothing on stdout."""

from __future__ import annotations

import pytest

from vjepa2_ac import terminal


def test_without_a_terminal_the_end_is_told_in_one_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.progress("reading", total=3, unit="episodes") as advance:
        for _ in range(3):
            advance(note="2 bad")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("reading: 3/3 episodes in 0 s")
    assert said.err.endswith("2 bad\n")
    assert said.err.count("\n") == 1


def test_plain_lines_come_as_time_passes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "PLAIN_LINE_EVERY", 0.0)
    with terminal.progress("training", total=4) as advance:
        advance()
        advance()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" in ")[0] for line in lines] == ["training: 1/4", "training: 2/4", "training: 2/4"]


def test_work_that_was_begun_before_counts_from_there(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.progress("training", total=10, done=6) as advance:
        advance(4)
    assert capsys.readouterr().err.startswith("training: 10/10 in")


def test_the_rate_is_of_what_was_done_now_and_the_last_note_stays(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([0.0])
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(now, 4.0))
    with terminal.progress("training", total=14, done=6) as advance:
        advance(2, "loss 0.5")
        advance(2)
    assert capsys.readouterr().err == "training: 10/14 in 4 s (1.0/s, 4 s left), loss 0.5\n"


def test_bytes_are_told_in_megabytes(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.progress("download", total=4_000_000, done=1_500_000, unit="bytes") as advance:
        advance(2_500_000)
    said = capsys.readouterr().err
    assert said.startswith("download: 4.0/4.0 MB in 0 s (")
    assert "MB/s" in said
