"""Writing of folders that appear whole or not at all: written aside, then renamed; and a check that there is room."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vjepa2_ac.errors import CheckpointError, NotEnoughDiskError
from vjepa2_ac.files import DISK_FULL

SPARE = 64 * 2**20  # [bytes] left free beside what is written


def require_room(folder: Path, size: int) -> None:
    """Raise NotEnoughDiskError where `size` bytes do not fit on the disk of `folder`, before writing begins."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < size + SPARE:
        needed = (size + SPARE) / 1e9
        raise NotEnoughDiskError(f"{folder} has {free / 1e9:.2f} GB free, {needed:.2f} GB are needed")


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill. When the block ends, it replaces `target`; if the block fails, it is removed.

    Raises CheckpointError where nothing can be written, NotEnoughDiskError on a full disk.
    """
    target = target.resolve()  # what a link leads to is replaced, not the link
    aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside.mkdir()
        yield aside
        _put_in_place(aside, target)
    except OSError as error:
        kind = NotEnoughDiskError if error.errno in DISK_FULL else CheckpointError
        raise kind(f"{target} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _put_in_place(aside: Path, target: Path) -> None:
    if not target.exists():
        aside.rename(target)
        return
    replaced = aside.with_name(f"{aside.name}.replaced")
    target.rename(replaced)
    try:
        aside.rename(target)
    except OSError:
        replaced.rename(target)
        raise
    if replaced.is_dir():
        shutil.rmtree(replaced)
    else:
        replaced.unlink()
