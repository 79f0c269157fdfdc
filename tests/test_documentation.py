"""Commands that are shown, in documents and in helps, are those there are."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException
from typer.testing import CliRunner

from vjepa2_ac.cli import app
from vjepa2_ac.data.layout import find_episodes

ROOT = Path(__file__).parents[1]
DOCUMENTS = (ROOT / "README.md", ROOT / "examples" / "README.md", *sorted((ROOT / "docs").glob("*.md")))
COMMANDS = typer.main.get_command(app)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_of_a_document_can_be_typed(document: Path) -> None:
    text = document.read_text().replace("\\\n", " ")
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in re.findall(r"(?:vjepa2-ac|vjepa2_ac\.cli) .+", block):
            if "[--" not in line:  # what may be said, not what is typed
                _parse(line)
    for line in re.findall(r"`(vjepa2-ac [^`\n]*--[^`\n]+)`", text):  # with an option; else it is named alone
        _parse(line)


def test_the_list_of_a_labs_episodes_is_what_the_folder_holds(tmp_path: Path) -> None:
    for folder in ("1.0.1/LAB/success/2026-11-30/a b", "1.0.1/LAB/failure/2026-11-30/c", ".unfinished/LAB+1.1"):
        (tmp_path / "disk" / folder).mkdir(parents=True)
        (tmp_path / "disk" / folder / "trajectory.h5").touch()
    (tmp_path / "lab").symlink_to("disk")
    (line,) = re.findall(r"^find lab/ .*", (ROOT / "docs" / "training.md").read_text(), re.MULTILINE)
    subprocess.run(line, shell=True, cwd=tmp_path, check=True)
    listed, held = (find_episodes(tmp_path / source) for source in ("all.txt", "lab"))
    assert [ref.folder for ref in listed] == [ref.folder for ref in held]
    assert len(held) == 2


def test_examples_in_helps_can_be_typed_and_are_shown_as_they_are() -> None:
    for path, command in _commands(COMMANDS, ()):
        shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).stdout
        for pair in re.findall(r"`(vjepa2-ac [^`]+)`|^ *(vjepa2-ac .+)$", command.help or "", re.MULTILINE):
            example = "".join(pair)
            assert example in shown, path
            if "…" not in example:
                _parse(example)


def _parse(line: str) -> None:
    """Read a command as the command line would, without running it; what a page leaves out once for all is `--out`."""
    typed = re.sub(r" [&>].*", "", line.replace("$yaw", "20"))
    command, words = COMMANDS, shlex.split(typed, comments=True)[1:]
    try:
        while isinstance(command, TyperGroup) and words:
            _, found, words = command.resolve_command(typer.Context(command), words)
            assert found, line
            command = found
        command.make_context("vjepa2-ac", words)
    except TyperException as error:
        if error.format_message() != "Missing option '--out'.":
            pytest.fail(f"{line}: {error.format_message()}")


def _commands(command, path):  # type: ignore[no-untyped-def]
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from _commands(below, (*path, name))
