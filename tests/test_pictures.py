"""Pictures are found harmless before they are decoded, and what shows nothing is refused."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from tests.server import pictures
from vjepa2_ac.errors import FieldError
from vjepa2_ac.pictures import PNG, decode


def refused(data: bytes, words: str, max_side: int = 4096) -> None:
    with pytest.raises(FieldError, match=words) as caught:
        decode(data, "observation.picture", max_side)
    assert caught.value.field == "observation.picture"


def test_a_png_comes_back_as_it_was_rgb() -> None:
    frame = pictures.noise(20, 30)
    np.testing.assert_array_equal(decode(pictures.png(frame), "picture", 4096).frame_HW3, frame)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (31, 64), (256, 17)])
def test_a_jpeg_keeps_its_size(height: int, width: int) -> None:
    assert decode(pictures.jpeg(pictures.noise(height, width)), "p", 4096).frame_HW3.shape == (height, width, 3)


def test_a_progressive_jpeg_is_read() -> None:
    import cv2

    data = cv2.imencode(".jpg", pictures.noise(40, 50), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1]
    assert decode(bytes(data), "p", 4096).frame_HW3.shape == (40, 50, 3)


def bomb(side: int) -> bytes:
    """A few bytes that claim to be a picture of `side` squared."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return PNG + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + b"IEND"


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vjepa2_ac.pictures._decoded", lambda *_: pytest.fail("it was decoded"))
    refused(bomb(60_000), r"60000 x 60000 pixels; expected at most 4096 a side")


def test_a_jpeg_bomb_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vjepa2_ac.pictures._decoded", lambda *_: pytest.fail("it was decoded"))
    data = bytearray(pictures.jpeg(pictures.noise()))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 50_000, 50_000)
    refused(bytes(data), "50000 x 50000")


def test_a_picture_that_breaks_off_is_refused() -> None:
    for data in (pictures.png(pictures.noise()), pictures.jpeg(pictures.noise())):
        refused(data[: len(data) // 2], "breaks off")


def test_what_follows_the_end_of_a_picture_is_no_part_of_it() -> None:
    for data in (pictures.png(pictures.noise()), pictures.jpeg(pictures.noise())):
        alone = decode(data, "p", 4096)
        np.testing.assert_array_equal(decode(data + bytes(5000), "p", 4096).frame_HW3, alone.frame_HW3)
        refused(data[: len(data) // 2] + bytes(5000), "breaks off")


def test_the_end_of_a_thumbnail_is_not_the_end_of_a_picture() -> None:
    data, thumbnail = pictures.jpeg(pictures.noise(200, 200)), pictures.jpeg(pictures.noise(8, 8))
    with_thumbnail = data[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail + data[2:]
    assert decode(with_thumbnail, "p", 4096).frame_HW3.shape == (200, 200, 3)
    refused(with_thumbnail[: with_thumbnail.rindex(b"\xff\xda") + 200], "breaks off")


def test_a_picture_that_breaks_off_before_another_is_refused() -> None:
    data = pictures.jpeg(pictures.noise(200, 200))
    refused(data[: len(data) // 2] + data, "breaks off")  # as in a stream that lost bytes
    assert decode(data + data, "p", 4096).frame_HW3.shape == (200, 200, 3)


def test_what_is_no_end_of_a_picture_does_not_end_it() -> None:
    import cv2

    frame = pictures.noise(200, 200)
    with_restarts = bytes(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1])
    padded = with_restarts[:-2] + b"\xff\xff\xff\xd9"
    text, data = b"tEXtsaid\0IEND", pictures.png(frame)
    with_text = data[:33] + struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text)) + data[33:]
    for whole in (with_restarts, padded, with_text):
        assert decode(whole, "p", 4096).frame_HW3.shape == (200, 200, 3)
        refused(whole[: len(whole) // 2], "breaks off")


def test_what_is_no_picture_says_what_came() -> None:
    refused(b"", "nothing came; expected a PNG or JPEG")
    refused(b"GIF89a......", "begin with 47 49 46 38")
    refused(b"\xff\xd8\xff" + b"\x00" * 50, "a PNG or JPEG")
    refused(PNG, "a PNG or JPEG")


def test_a_damaged_picture_is_refused() -> None:
    data = bytearray(pictures.png(pictures.noise()))
    data[60:80] = bytes(20)
    refused(bytes(data), "damaged")


def test_a_blank_picture_is_refused() -> None:
    refused(pictures.png(np.full((32, 32, 3), 17, np.uint8)), "the picture is blank")
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 250
    refused(pictures.png(red), "the picture is blank")
    grain = np.random.default_rng(0).integers(0, 2, (32, 32, 3)).astype(np.uint8)
    refused(pictures.png(17 + 2 * grain), "the picture is blank")  # what a dark sensor makes of nothing
    assert decode(pictures.png(17 + 6 * grain), "now", 4096).frame_HW3.shape == (32, 32, 3)


def test_a_picture_that_is_too_small_is_refused() -> None:
    refused(pictures.png(pictures.noise(4, 4)), "at least 8 a side")


def test_the_same_bytes_have_the_same_name() -> None:
    data = pictures.png(pictures.noise())
    assert decode(data, "a", 4096).sha256 == decode(data, "b", 4096).sha256
