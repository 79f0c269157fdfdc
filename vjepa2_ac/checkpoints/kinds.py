"""What kind of file lies at a path, told from its first bytes and its size and never from its name.

A wrong kind of file (a page saved as `.pt`, an unfetched git-lfs pointer) is refused here in one sentence, before any
reader sees it; the readers then deal only with what is at least of the right kind.
"""

from __future__ import annotations

import json
import struct
import zipfile
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Any

from vjepa2_ac.errors import CheckpointError

LARGEST_HEADER = 100_000_000  # [bytes], the safetensors format's own limit


class Kind(Enum):
    """The kinds of files that weights come in."""

    TORCH_ZIP = "torch file"
    TORCH_LEGACY = "torch file in the layout used before torch 1.6"
    SAFETENSORS = "safetensors file"


FOREIGN = (  # first bytes, what they give away
    (b"version https://git-lfs", "a git-lfs pointer; fetch the file itself with 'git lfs pull'"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89PNG", "a PNG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"\xfd7zXZ", "an xz archive; unpack it first"),
    (b"7z\xbc\xaf", "a 7-zip archive; unpack it first"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"GGUF", "a GGUF file"),
)


def kind_of(file: Path) -> Kind:
    """The kind of a weights file, told from its content; it says which reader the file is for.

    Raises `CheckpointError` where it is missing, empty, cut short, or no weights file at all.
    """
    size = _size(file)
    if size == 0:
        raise CheckpointError(f"{file} is empty; expected a weights file")
    start = _start(file, 512)
    # First, because the header's length, in 8 bytes, may look like another format's mark; below 4 GiB it ends in zeros.
    if start[4:9] == b"\0\0\0\0{":
        return Kind.SAFETENSORS
    _refuse_what_is_foreign(file, start)
    if start.startswith(b"PK"):
        _refuse_a_zip_that_torch_did_not_pack(file)
        return Kind.TORCH_ZIP
    if start[:2] == b"\x80\x02":
        return Kind.TORCH_LEGACY
    if start[:1] == b"\x80":
        raise CheckpointError(f"{file} is a pickle that torch did not write; it may hold code, which is never run")
    if len(start) > 8 and start[8:9] == b"{":
        return Kind.SAFETENSORS
    raise CheckpointError(f"{file} is not a weights file; expected a torch .pt or a .safetensors file")


def safetensors_header(file: Path) -> dict[str, Any]:
    """The table of contents of a safetensors file: for each tensor its dtype, shape and place.

    Raises `CheckpointError` where the file ends before its last tensor does, or the table makes no sense.
    """
    size = _size(file)
    with file.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= LARGEST_HEADER:
            raise CheckpointError(f"{file} is not a safetensors file: its header has an impossible length")
        text = stream.read(length)
    if len(text) < length:
        raise CheckpointError(f"{file} ends inside its header; it is cut short ({size} bytes)")
    try:
        header = json.loads(text)
        entries = [entry for key, entry in header.items() if key != "__metadata__"]
        end = max((entry["data_offsets"][1] for entry in entries), default=0)
        numbers = (number for entry in entries for number in (*entry["shape"], *entry["data_offsets"]))
        if not all(isinstance(entry["dtype"], str) for entry in entries) or any(type(n) is not int for n in numbers):
            raise TypeError("a tensor without dtype, shape or place")
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise CheckpointError(f"{file} is damaged: its header cannot be read") from error
    strange = [name for name in header if not name.isprintable()]
    if strange:
        raise CheckpointError(f"{file} is damaged: it names a tensor {strange[0]!r}")
    expected = 8 + length + end
    if size != expected:
        fault = "is cut short" if size < expected else "holds more than its header says"
        raise CheckpointError(f"{file} {fault}: {size} bytes, expected {expected}")
    return dict(header)


def _start(file: Path, count: int) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(count)
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}") from error


def _size(file: Path) -> int:
    if file.is_dir():
        raise CheckpointError(f"{file} is a folder; expected a weights file")
    try:
        return file.stat().st_size
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}") from error


def _refuse_what_is_foreign(file: Path, start: bytes) -> None:
    for bytes_, what in FOREIGN:
        if start.startswith(bytes_):
            raise CheckpointError(f"{file} is not a weights file but {what}")
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<error")):
        raise CheckpointError(f"{file} is not a weights file but a web page, perhaps saved by a failed download")
    if start[257:262] == b"ustar":
        raise CheckpointError(f"{file} is not a weights file but a tar archive; unpack it first")


def _refuse_a_zip_that_torch_did_not_pack(file: Path) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise CheckpointError(
            f"{file} is cut short or damaged: its table of contents, at the end, is missing"
        ) from error
    if not any(PurePosixPath(entry.filename).name == "data.pkl" for entry in entries):
        raise CheckpointError(f"{file} is not a weights file but a zip archive without tensors")
    # Torch never compresses tensors. Mapped, it would take the compressed bytes for their numbers.
    tensors = (entry for entry in entries if PurePosixPath(entry.filename).parent.name == "data")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in tensors):
        raise CheckpointError(
            f"{file} is a torch file that was packed again with compression; unpack it and pack it with 'zip -0 -r'"
        )
