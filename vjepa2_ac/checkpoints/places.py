"""Where weights are looked for: a path, the shipped model, or the folder downloads are kept in."""

from __future__ import annotations

import os
from pathlib import Path

from vjepa2_ac.checkpoints.released import RELEASED
from vjepa2_ac.config import nearest
from vjepa2_ac.errors import CheckpointError

SHIPPED = Path(__file__).parent.parent / "weights"
RANDOM = "random:"  # before a size, or a release whose shape is taken: untrained weights


def home() -> Path:
    """The folder that downloads are kept in: $VJEPA2_AC_HOME, else `vjepa2-ac` in the user's cache folder."""
    if named := os.environ.get("VJEPA2_AC_HOME"):
        return Path(named).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "vjepa2-ac"


def find(source: str | Path) -> Path:
    """The file or folder that `source` names.

    A source is "default" (the model shipped with this project), a path, or the name of a downloaded model.
    Raises `CheckpointError`, saying what to do, where there is nothing of that name.
    """
    if source == "default":  # the word; Path("default") or "./default" is a folder
        if not (SHIPPED / "config.json").exists():
            raise CheckpointError(
                f"this installation ships no default model (looked in {SHIPPED}); name a file instead"
            )
        return SHIPPED
    try:
        path = Path(source).expanduser()
        is_there = path.exists()
    except (OSError, RuntimeError) as error:  # no such user's folder, too long a name, a folder that may not be entered
        raise CheckpointError(f"{source} cannot be looked up: {getattr(error, 'strerror', error)}") from error
    if is_there:
        return path
    name = str(source)
    if name in RELEASED:
        kept = home() / RELEASED[name].local_path
        if kept.exists():
            return kept
        raise CheckpointError(f"{name} is not downloaded; fetch it with 'vjepa2-ac download {name}'")
    meant = nearest(name, RELEASED)
    hint = f"; did you mean '{meant}'?" if meant else ", nor a released model of that name (vjepa2-ac download --list)"
    raise CheckpointError(f"there is no file or folder {name}{hint}")
