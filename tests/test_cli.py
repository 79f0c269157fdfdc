"""The command line: it teaches, it answers at once, and scripts can trust its exit codes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
import typer

from vjepa2_ac import __version__, cli
from vjepa2_ac.errors import InputError


def shell(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "vjepa2_ac.cli", *arguments], capture_output=True, text=True, env=env)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    """A command line whose one command fails in the way its argument names."""
    app = typer.Typer()

    @app.command()
    def fail(how: str) -> None:
        raise {
            "input": InputError("pose has 6 numbers; expected 7"),
            "fault": ZeroDivisionError("division by zero"),
            "long": OSError(errno.ENAMETOOLONG, "File name too long", "a-long-name"),
            "memory": MemoryError("Unable to allocate 7.28 TiB for an array"),
            "torch's memory": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 16.00 GiB"),
            "interrupt": KeyboardInterrupt(),
            "no": typer.Exit(1),
            "abort": typer.Abort(),
        }[how]

    @app.command()
    def other() -> None: ...

    monkeypatch.setattr(cli, "app", app)
    return app


@pytest.mark.parametrize(
    ("how", "code", "words"),
    [
        ("input", 2, "error: pose has 6 numbers; expected 7\n"),
        ("fault", 70, "fault in vjepa2-ac: ZeroDivisionError: division by zero\nRun again with --debug"),
        ("long", 2, "error: a path is too long: a-long-name\n"),
        ("memory", 2, "error: memory ran out: Unable to allocate 7.28 TiB for an array\n"),
        ("torch's memory", 2, "error: memory ran out: CUDA out of memory. Tried to allocate 16.00 GiB\n"),
        ("interrupt", 130, "interrupted\n"),
        ("no", 1, ""),
        ("abort", 1, "nothing was done\n"),
    ],
)
def test_each_ending_has_its_exit_code_and_sentence(
    failing: typer.Typer, capsys: pytest.CaptureFixture[str], how: str, code: int, words: str
) -> None:
    assert cli.run(["fail", how]) == code
    said = capsys.readouterr()
    assert said.err.startswith(words)
    assert "Traceback" not in said.err + said.out


def test_debug_shows_the_traceback_wherever_it_stands(failing: typer.Typer, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["fail", "input", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_unknown_command_is_a_usage_error() -> None:
    done = shell("fly")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: No such command 'fly'.\nSee `vjepa2-ac --help`.\n"


def test_no_command_shows_the_help_and_is_a_usage_error() -> None:
    done = shell()
    assert done.returncode == 2
    assert "Usage: vjepa2-ac" in done.stdout


def test_it_knows_its_version() -> None:
    assert shell("--version").stdout == f"vjepa2-ac {__version__}\n"


def test_every_command_explains_itself() -> None:
    for name, command in _commands(typer.main.get_command(cli.app)):
        assert command.help, f"{name} has no help text"
        for parameter in command.params:
            assert getattr(parameter, "help", None) or parameter.param_type_name == "argument", (name, parameter.name)


def _commands(command, name="vjepa2-ac"):  # type: ignore[no-untyped-def]
    yield name, command
    for child, below in getattr(command, "commands", {}).items():
        yield from _commands(below, f"{name} {child}")


def test_help_loads_nothing_heavy() -> None:
    heavy = {"torch", "mujoco", "cv2", "fastapi", "matplotlib"}
    code = f"import sys, vjepa2_ac.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_name_that_is_no_text_can_be_printed(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    (folder / "trajectory.h5").touch()
    done = shell("data", "check", str(tmp_path), env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"})
    assert (done.returncode, done.stderr.count("fault")) == (1, 0)
    assert "caf\\udce9: metadata_*.json is missing" in done.stdout
