"""Reading and writing files for commands: faults raise our own errors, results are there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from vjepa2_ac.errors import InputError, NotEnoughDiskError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def make_folder(folder: Path) -> None:
    """Make a folder for results, unless it is there. Raises InputError where that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made a folder of results: {error.strerror}") from None


@contextlib.contextmanager
def results_in(folder: Path | None) -> Iterator[None]:
    """Make a folder for the results of the block; if the block fails, remove the new folders that are still empty.

    None: no folder is wanted. Raises InputError where it cannot be made.
    """
    made = list[Path]()
    if folder is not None:
        # Path.exists would raise inside a folder that may not be entered.
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
    """The path at which a file is written before it is renamed to `path`."""
    return path.with_name(path.name + ".part")


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk, so that they are there after a power failure."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_file(path: Path) -> bool:
    """Whether a file is there. Raises InputError where that cannot be told, as in a folder that may not be entered."""
    try:
        return path.is_file()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def read(path: Path) -> bytes:
    """The bytes of a file. Raises InputError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def write(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all; what UTF-8 cannot hold (in some file names) is escaped. Raises as `whole`."""
    with whole(path) as aside:
        aside.write_bytes(content.encode(errors="backslashreplace") if isinstance(content, str) else content)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write to, which is renamed to `path` when the block ends and removed when the block fails.

    Raises InputError where nothing can be written, NotEnoughDiskError on a full disk.
    """
    aside = aside_of(path)
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # root could put a file in the place of /dev/null
            raise InputError(f"{path} cannot be written: it is a pipe or a device, not a file")
        yield aside
        aside.replace(path)
    except OSError as error:
        kind = NotEnoughDiskError if error.errno in DISK_FULL else InputError
        raise kind(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()
