"""Decoding of a PNG's or JPEG's bytes to a frame; nothing is decoded before its header has been found harmless.

A few kilobytes can claim to be a picture of gigabytes. So width and height are read from the header by hand, and only
a picture within the limits is given to the decoder.
"""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vjepa2_ac.errors import FieldError

Frame = NDArray[np.uint8]  # [H, W, 3] RGB
LEAST_SIDE = 8  # [pixels]
LEAST_DEVIATION = 2.0  # of 255: below it a picture shows nothing (a cap on the lens, an exposure that failed)
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
START_OF_FRAME = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
STANDALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length
MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # of a JPEG's segment, start or end; pixel data have FF 00 for FF
START_OF_IMAGE, END_OF_IMAGE = b"\xff\xd8", b"\xff\xd9"
WANTED = "a PNG or JPEG picture"


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture and the hash of the bytes it came in."""

    frame_HW3: Frame
    sha256: str
    data: bytes


def fingerprint(data: bytes) -> str:
    """The SHA-256 of a picture's bytes in hexadecimal, by which it is known."""
    return hashlib.sha256(data).hexdigest()


def decode(data: bytes, field: str, max_side: int) -> Picture:
    """The picture in `data`. Raises FieldError, naming `field`, if it is no picture, too large or small, or blank."""
    width, height = _size(data, field)
    if max(width, height) > max_side:
        raise FieldError(field, f"a picture of {width} x {height} pixels", f"at most {max_side} a side")
    if min(width, height) < LEAST_SIDE:
        raise FieldError(field, f"a picture of {width} x {height} pixels", f"at least {LEAST_SIDE} a side")
    frame_HW3 = _decoded(data, field)
    deviation = _deviation(frame_HW3)
    if deviation < LEAST_DEVIATION:
        raise FieldError(field, f"the picture is blank: its pixels deviate by {deviation:.1f} of 255", "a scene")
    return Picture(frame_HW3, fingerprint(data), data)


def _decoded(data: bytes, field: str) -> Frame:
    import cv2

    if not _is_whole(data):
        raise FieldError(field, "the picture breaks off before its end", "all of the file")
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise FieldError(field, "the picture is damaged", WANTED)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _deviation(frame_HW3: Frame) -> float:
    """The standard deviation of the pixels, in the channel where it is largest."""
    import cv2

    return float(cv2.meanStdDev(frame_HW3)[1].max())


def _size(data: bytes, field: str) -> tuple[int, int]:
    """Width and height that the header claims."""
    if not data:
        raise FieldError(field, "nothing came", WANTED)
    size = _png_size(data) if data.startswith(PNG) else _jpeg_size(data) if data.startswith(JPEG) else None
    if size is None:
        raise FieldError(field, f"{len(data)} bytes that begin with {data[:8].hex(' ')}", WANTED)
    return size


def _png_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 24 or data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif marker in STANDALONE:
            at += 2
        elif marker in START_OF_FRAME:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _is_whole(data: bytes) -> bool:
    """Whether the end of the picture is there: decoders fill what is missing with grey, which a robot should not see.

    Bytes after the end, as phones write them, do no harm. The end of an embedded thumbnail is not taken for the end.
    """
    return _png_ends(data) if data.startswith(PNG) else _jpeg_ends(data)


def _png_ends(data: bytes) -> bool:
    at = len(PNG)
    while (kind := data[at + 4 : at + 8]) and kind != b"IEND":
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return kind == b"IEND"


def _jpeg_ends(data: bytes) -> bool:
    at = 2
    while marker := MARKER.search(data, at):
        if marker[0] in (START_OF_IMAGE, END_OF_IMAGE):  # a start here means that bytes were lost
            return marker[0] == END_OF_IMAGE
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return False
