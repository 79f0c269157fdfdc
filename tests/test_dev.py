"""The front door, where it must not open."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

DEV = Path(__file__).parents[1] / "dev"


def test_an_old_python_is_refused_in_one_sentence(tmp_path: Path) -> None:
    shutil.copy(DEV, tmp_path)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "dirname"):
        (tools / name).symlink_to(str(shutil.which(name)))
    old = tools / "python3"
    old.write_text('#!/bin/bash\n[ "$1" = --version ] && echo Python 3.10.12\n')
    old.chmod(0o755)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHON"} | {"PATH": str(tools)}
    done = subprocess.run([tmp_path / "dev", "setup"], env=environment, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert done.stderr == "need Python >= 3.11; found Python 3.10.12. Set PYTHON=/path/to/python to choose one.\n"


def test_a_chosen_python_that_is_not_there_is_not_replaced_by_another(tmp_path: Path) -> None:
    shutil.copy(DEV, tmp_path)
    environment = {**os.environ, "PYTHON": "/nowhere/python"}
    done = subprocess.run([tmp_path / "dev", "setup"], env=environment, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert done.stderr == "need Python >= 3.11; found no /nowhere/python. Set PYTHON=/path/to/python to choose one.\n"


def test_a_chosen_python_is_not_replaced_by_that_of_an_environment_that_is_there(tmp_path: Path) -> None:
    tools = tmp_path / ".venv" / "bin"
    tools.mkdir(parents=True)
    for name in ("dev", "pyproject.toml", "constraints.txt"):
        shutil.copy(DEV.parent / name, tmp_path)
    for name in ("python", "pip"):
        (tools / name).write_text('#!/bin/bash\necho "$PWD" 3 11\n')
        (tools / name).chmod(0o755)
    (tools.parent / "made").write_text(f"{tmp_path} 3 11\n")
    wanted = b"".join((tmp_path / name).read_bytes() for name in ("pyproject.toml", "constraints.txt"))
    (tools.parent / "installed").write_text(f"{hashlib.sha256(wanted).hexdigest()}  -\n")

    def chosen(python: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "MUJOCO_GL": "glfw", "PYTHON": python}
        command = [tmp_path / "dev", "run", "echo", "ran"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20)

    assert chosen("").stdout == "ran\n"
    assert chosen(".venv/bin/python").stdout == "ran\n"
    other = chosen("/nowhere/python")
    assert other.returncode == 1
    assert other.stderr.startswith("need Python >= 3.11; found no /nowhere/python.")


@pytest.mark.parametrize("what", ["pip", "uv"])
def test_what_could_not_be_installed_ends_in_a_sentence(what: str, tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    tools = folder / ".venv" / "bin"
    tools.mkdir(parents=True)
    for name in ("dev", "pyproject.toml", "constraints.txt"):
        shutil.copy(DEV.parent / name, folder)
    (folder / ".venv" / "made").write_text(f"{folder} 3 11\n")
    pip_works = "0" if what == "uv" else "1"
    for name, does in {
        "python": f'[ "$1" = -c ] && echo "$PWD" 3 11 || exit {pip_works}',
        "pip": "",
        "uv": "exit 2",
    }.items():
        (tools / name).write_text(f"#!/bin/bash\n{does}\n")
        (tools / name).chmod(0o755)
    environment = {**os.environ, "MUJOCO_GL": "glfw", "PYTHON": ""}
    done = subprocess.run([folder / "dev", "setup"], env=environment, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"{what} could not install: ")
    assert not (folder / ".venv" / "installed").exists()
