"""Files as commands take and leave them: what cannot be read or written is said, results are whole or not there."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from vjepa2_ac.errors import InputError, NotEnoughDiskError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def make_folder(folder: Path) -> None:
    """Make a folder for results, or see that it is one. Raises InputError where none can be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made a folder of results: {error.strerror}") from None


@contextlib.contextmanager
def results_in(folder: Path | None) -> Iterator[None]:
    """A folder for what comes of the work within; where nothing comes, what was made of it is taken away again.

    None: no folder is asked for. Raises InputError where none can be made.
    """
    made = list[Path]()
    if folder is not None:
        # A Path would raise for what lies in a folder that may not be entered.
        made = [path for path in (folder, *folder.parents) if not os.path.exists(path)]  # noqa: PTH110
        make_folder(folder)
    try:
        yield
    except BaseException:
        for path in made:
            with contextlib.suppress(OSError):  # something is in it
                path.rmdir()
        raise


def aside_of(path: Path) -> Path:
    """Where a file is written before it has its name."""
    return path.with_name(path.name + ".part")


def is_file(path: Path) -> bool:
    """Whether a file is there. Raises InputError where nobody can tell: in a folder that may not be entered, say."""
    try:
        return path.is_file()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def read(path: Path) -> bytes:
    """What a file holds. Raises InputError where it may not or cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def write(path: Path, content: str | bytes) -> None:
    """Write whole or not at all; names of files in it that are no text are written escaped. Raises as `whole` does."""
    with whole(path) as aside:
        aside.write_bytes(content.encode(errors="backslashreplace") if isinstance(content, str) else content)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write what is to become `path`, whole or not at all.

    Raises InputError where nothing can be written, NotEnoughDiskError on a full disk.
    """
    aside = aside_of(path)
    try:
        yield aside
        aside.replace(path)
    except OSError as error:
        kind = NotEnoughDiskError if error.errno in DISK_FULL else InputError
        raise kind(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()
