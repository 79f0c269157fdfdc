"""The plan log: everything that went into a served plan, as one JSON line, so that it can be replayed.

Pictures are named by the SHA-256 of their bytes. Where the operator wants them kept they lie beside the log, in
`LOG.pictures/`, and `vjepa2-ac replay LOG` finds them there.
"""

from __future__ import annotations

import json
import logging
import os
import platform
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from planner.plan import Plan
from server.messages import Model, PlanResponse
from server.recording import RecordingPlanner
from vjepa2_ac import __version__
from vjepa2_ac.config import to_dict
from vjepa2_ac.errors import ConfigError
from vjepa2_ac.pictures import PNG

log = logging.getLogger(__name__)
KeptPicture = tuple[str, bytes]  # its name, and its bytes (may be b"" if pictures are not kept)


def versions() -> dict[str, str]:
    """The versions of all software that a plan's numbers depend on."""
    return {"vjepa2-ac": __version__, "torch": torch.__version__, "python": platform.python_version()}


def pictures_of(path: Path) -> Path:
    """The folder beside a plan log in which its pictures are kept."""
    return path.with_name(path.name + ".pictures")


def picture_path(folder: Path, name: str) -> Path | None:
    """Where a picture lies, or None when it was not kept."""
    return next((path for suffix in (".png", ".jpg") if (path := folder / (name + suffix)).is_file()), None)


def line_of(
    planner: RecordingPlanner,
    plan: Plan,
    answer: PlanResponse,
    *,
    request_id: str,
    observation: KeptPicture,
    goal: Sequence[KeptPicture],
    sub_goal: int,
    session_id: str | None = None,
    seen: Sequence[str] = (),
) -> dict[str, Any]:
    """All that a plan was made from, and the plan; `seen` names the pictures of earlier observations."""
    request = planner.asked
    assert request is not None
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "plan_id": answer.plan_id,
        "request_id": request_id,
        "session_id": session_id,
        "model": Model.model_dump(answer.model),
        "versions": versions(),
        "config": to_dict(planner.config),
        "camera": to_dict(planner.camera) if planner.camera else None,
        "seed": request.seed,
        "observation": {"sha256": observation[0], "pose": _list(request.pose), "commanded": _list(request.commanded)},
        "goal": {"sha256": [name for name, _ in goal], "sub_goal": sub_goal},
        "last_actions": _list(request.last_actions),
        "leaving": request.leaving,
        "changing": request.changing,
        "set_down": _list(request.set_down),
        "earlier": [
            {"sha256": name, "pose": pose}
            for name, pose in zip(seen, request.earlier.poses_T7.tolist() if request.earlier else (), strict=True)
        ],
        "unrecorded": [name for name in ("history", "surprise_ND") if getattr(request, name) is not None],
        "clock": planner.readings,
        "answer": {
            "actions": plan.actions_H7.tolist(),
            "cost": answer.cost,
            "failure_probability": answer.failure_probability,
            "stop_reason": plan.stop_reason,
            "iterations": plan.iterations,
            "evaluations": plan.evaluations,
            "timings_ms": answer.timings_ms,
        },
    }


class PlanLog:
    """Appends lines in order, from its own thread. A line that cannot be written is reported and stops no robot."""

    def __init__(self, path: Path, *, keep_pictures: bool) -> None:
        self.path, self.keep_pictures = path, keep_pictures
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if keep_pictures:
                pictures_of(path).mkdir(exist_ok=True)
            self._file = path.open("a", encoding="utf-8")
            if not _ends_a_line(path):  # whoever wrote it was cut off, as by a full disk
                self._file.write("\n")
        except OSError as error:
            raise ConfigError(f"plans cannot be logged to {path}: {error.strerror}") from None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="plan-log")

    def write(self, line: dict[str, Any], pictures: Sequence[KeptPicture]) -> None:
        """Have a line and its pictures written soon."""
        self._thread.submit(self._write, line, pictures)

    def close(self) -> None:
        """Write the lines that are left, as far as the disk has room, and close the file."""
        self._thread.shutdown(wait=True)
        try:
            self._file.close()
        except OSError:
            log.exception("the end of the plan log could not be written")

    def _write(self, line: dict[str, Any], pictures: Sequence[KeptPicture]) -> None:
        try:
            if self.keep_pictures:
                for name, data in pictures:
                    self._keep(name, data)
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        except OSError:
            log.exception("a plan could not be logged", extra={"plan_id": line["plan_id"]})

    def _keep(self, name: str, data: bytes) -> None:
        folder = pictures_of(self.path)
        if picture_path(folder, name) is None:
            unfinished = folder / f"{name}.part"
            unfinished.write_bytes(data)
            unfinished.rename(folder / (name + (".png" if data.startswith(PNG) else ".jpg")))


def _ends_a_line(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size == 0:  # a pipe has no end to look at
        return True
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def _list(values: Any) -> Any:
    return None if values is None else np.asarray(values, dtype=np.float64).tolist()
