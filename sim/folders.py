"""Output folders of long-running work: resumable under the same settings only, and used by one process at a time.

A file in the folder says which work it belongs to and what settings it was begun with. It is written before any
results, so that work killed at any moment leaves a folder in which it can be resumed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vjepa2_ac.errors import InputError
from vjepa2_ac.files import aside_of, is_file, make_folder, read, write


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A kind of long-running work, and how it marks its folders."""

    name: str  # as in "another collector is at work in …"
    settings: str  # name of the file that says what a folder was made with
    lock: str  # name of the file that is locked while a process is at work
    differs: str  # error for a folder made with another setting; formatted with `name`, `found` and `wanted`
    renamed: Mapping[str, str] = field(default_factory=dict)  # what settings of older folders are called now


@contextlib.contextmanager
def held(folder: Path, owner: Owner, settings: Mapping[str, Any]) -> Iterator[None]:
    """Hold `folder` for the owner's work with these settings, alone, for as long as the context lasts.

    `settings` has a `format` that tells the owner's folders from others. Raises InputError where the folder belongs to
    something else, was begun with other settings, is in use, or cannot be written to; the content of a folder that
    belongs to something else is left as it was. Where the work is refused (InputError) before it has made a file, the
    folder is free for other settings.
    """
    wanted = json.loads(json.dumps(settings))
    make_folder(folder)
    _check(folder, owner, wanted)
    try:
        lock = (folder / owner.lock).open("w")
    except OSError as error:
        raise InputError(f"{folder} cannot be written to: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"another {owner.name} is at work in {folder}") from error
        _check(folder, owner, wanted)  # another process may have begun, and ended, since
        if not (folder / owner.settings).is_file():
            write(folder / owner.settings, json.dumps(wanted, indent=1) + "\n")
        try:
            yield
        except InputError:
            _forget(folder, owner)
            raise


def _forget(folder: Path, owner: Owner) -> None:
    """Let other settings be tried in a folder whose own were refused before anything was made with them."""
    marks = (folder / owner.settings, folder / owner.lock)
    others = [path for path in folder.rglob("*") if path not in marks]
    if all(path.is_dir() and not path.is_symlink() for path in others):
        for empty in sorted(others, reverse=True):
            empty.rmdir()
        marks[0].unlink()


def _check(folder: Path, owner: Owner, wanted: dict[str, Any]) -> None:
    settings_file = folder / owner.settings
    if is_file(settings_file):
        content = read(settings_file)
        try:
            found = json.loads(content.decode())
        except ValueError as error:
            raise InputError(f"{settings_file} is damaged: {error}; choose another folder") from error
        _compare(found, owner, wanted, settings_file)
        return
    ours = (owner.lock, aside_of(settings_file).name)
    if stranger := next((path.name for path in sorted(folder.iterdir()) if path.name not in ours), None):
        raise InputError(
            f"{folder} is not empty and holds {stranger}, but no {settings_file.name}; choose another folder"
        )


def _compare(found: Any, owner: Owner, wanted: dict[str, Any], settings_file: Path) -> None:
    if not isinstance(found, dict) or found.get("format") != wanted["format"]:
        raise InputError(f"{settings_file} is not of this {owner.name} ({wanted['format']}); choose another folder")
    ours = _leaves(wanted)
    theirs = _leaves({owner.renamed.get(name, name): value for name, value in found.items()})
    for name in ours | theirs:
        if ours.get(name) != theirs.get(name):
            values = {"found": json.dumps(theirs.get(name)), "wanted": json.dumps(ours.get(name))}
            raise InputError(
                f"{settings_file.parent} {owner.differs.format(name=name, **values)}; choose another folder"
            )


def _leaves(tree: Any, name: str = "") -> dict[str, Any]:
    """Every value by its dotted name."""
    if not isinstance(tree, dict) or not tree:
        return {name: tree}
    inner = [_leaves(value, f"{name}.{key}" if name else key) for key, value in tree.items()]
    return {key: value for leaves in inner for key, value in leaves.items()}
