"""Frames as the bytes of a PNG, without an imaging library; bytes and files pass through as they are."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vjepa2_ac.errors import InputError
from vjepa2_ac.files import is_file, read

Picture = NDArray[np.uint8] | bytes | Path
"""A frame [H, W, 3] uint8 RGB, the bytes of a PNG or JPEG, or a file of one."""


def picture_bytes(picture: Picture | str) -> bytes:
    """What goes over the wire. Raises InputError for text, an array that is no frame, or a file that cannot be read."""
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, str):
        raise InputError(f"a picture's file is given as a Path, not as text: Path({picture!r})")
    if isinstance(picture, Path):
        if not is_file(picture):
            raise InputError(f"no picture at {picture}")
        return read(picture)
    return png(picture)


def png(frame_HW3: NDArray[np.uint8]) -> bytes:
    """A frame as a PNG, lossless and lightly compressed."""
    frame_HW3 = np.asarray(frame_HW3)
    if frame_HW3.dtype != np.uint8 or frame_HW3.ndim != 3 or frame_HW3.shape[2] != 3 or 0 in frame_HW3.shape:
        raise InputError(f"a frame is uint8 [H, W, 3]; got {frame_HW3.dtype} {list(frame_HW3.shape)}")
    height, width = frame_HW3.shape[:2]
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # the first byte of a row says: not filtered
    rows[:, 1:] = frame_HW3.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
