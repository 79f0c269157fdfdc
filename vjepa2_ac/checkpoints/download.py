"""Download of published files over unreliable connections: resumed where they broke off, kept only when whole.

While a file is under way, it lies beside its place as `NAME.part`, with the server's mark of its version (ETag or date)
in `NAME.part.etag`, so that two versions are never spliced. Nothing is published to check a file against except its
length, which is checked; its SHA-256 is written beside it, and compared with one that the user gives.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx

from vjepa2_ac import __version__
from vjepa2_ac.checkpoints.kinds import kind_of
from vjepa2_ac.checkpoints.released import Released
from vjepa2_ac.checkpoints.writing import require_room
from vjepa2_ac.errors import CheckpointError, DownloadError
from vjepa2_ac.files import make_folder, write
from vjepa2_ac.terminal import Advance, progress

CHUNK = 2**20  # [bytes]
ATTEMPTS = 8  # in a row without a single new byte
TIMEOUT = httpx.Timeout(30.0, connect=15.0)  # [s]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that is whole: where it is, its length, and its SHA-256."""

    path: Path
    size: int
    sha256: str
    already_there: bool = False


def download(
    model: Released,
    folder: Path,
    *,
    base_url: str | None = None,
    sha256: str | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> list[Fetched]:
    """Fetch the files of a released model into `folder`; files that are there and whole are not fetched again.

    `base_url` replaces the public address (a mirror, a proxy). `sha256` is the digest the weights must have.
    Raises `DownloadError` naming the address and the fault; what has arrived is kept for the next call.
    """
    base = (base_url or model.base).rstrip("/") + "/"
    place = folder / model.folder if model.folder else folder
    with httpx.Client(
        timeout=TIMEOUT, follow_redirects=True, headers={"User-Agent": f"vjepa2-ac/{__version__}"}
    ) as web:
        return [
            fetch(web, base + file, place / file.rpartition("/")[2], sha256=_digest_for(file, sha256), pause=pause)
            for file in model.files
        ]


def fetch(
    web: httpx.Client,
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> Fetched:
    """Fetch one file whole, or raise `DownloadError`."""
    if target.exists():
        return _confirm(target, sha256)
    make_folder(target.parent)
    with _sole_use(target.with_name(f"{target.name}.part")) as part:
        size = _fetch_patiently(web, url, part, pause)
        return _keep(part, target, url, size, sha256)


def wanted_digest(text: str) -> str:
    """A SHA-256 given as 64 hexadecimal digits, or as a file that starts with them (what `sha256sum` writes)."""
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        try:
            words = Path(text).expanduser().read_text().split()
        except (OSError, UnicodeDecodeError) as error:
            raise DownloadError(
                f"'{text}' is neither a SHA-256 of 64 hexadecimal digits nor a file with one"
            ) from error
        text = words[0] if words else ""
        if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
            raise DownloadError("the checksum file does not start with a SHA-256 of 64 hexadecimal digits")
    return text.lower()


def _digest_for(file: str, sha256: str | None) -> str | None:
    return None if file.endswith(".json") else sha256


# --- getting the bytes -----------------------------------------------------------------------------------------------


def _fetch_patiently(web: httpx.Client, url: str, part: Path, pause: Callable[[float], None]) -> int:
    """The size of the file, once it is whole; gives up after several attempts in a row that brought nothing."""
    failures = most = 0
    while True:
        most = max(most, part.stat().st_size)
        try:
            return _fetch_on(web, url, part)
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            if status < 500 and status not in (408, 429):
                raise DownloadError(f"{url}: the server answers {status} {error.response.reason_phrase}") from error
            reason = f"the server answers {status}"
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise DownloadError(f"{url} cannot be asked for: {error}") from error
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
        except httpx.HTTPError as error:
            raise DownloadError(f"{url}: {error}") from error
        failures = 0 if part.stat().st_size > most and _mark_file(part).exists() else failures + 1
        if failures >= ATTEMPTS:
            kept = f"{part.stat().st_size} bytes are kept, run the command again to go on"
            told = kept if _mark_file(part).exists() else "the server tells no version, so nothing of it is kept"
            raise DownloadError(f"{url}: {reason}; {told}")
        pause(min(2.0**failures, 30.0))


def _fetch_on(web: httpx.Client, url: str, part: Path) -> int:
    """One request for what is still missing; the size of the whole file when it has all arrived."""
    mark = _mark_file(part)
    if not mark.exists():  # what is missing might be of another version
        _start_over(part)
    have = part.stat().st_size
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": mark.read_text()}
    with web.stream("GET", url, headers=headers) as answer:
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            if _total(answer) == have:
                return have
            _start_over(part)
            raise httpx.RemoteProtocolError("the file on the server has another length than before")
        answer.raise_for_status()
        resumed = answer.status_code == httpx.codes.PARTIAL_CONTENT
        if resumed and _first_byte(answer) != have:
            _start_over(part)
            raise httpx.RemoteProtocolError("the server resumed at another place than asked")
        if resumed and not _is_of(answer, mark.read_text()):
            _start_over(part)
            raise httpx.RemoteProtocolError("the server resumed with another version of the file")
        if not resumed:
            _start_over(part)
            have = 0
        total = _total(answer)
        if not resumed:
            _remember_mark(answer, mark)
        if total is not None:
            require_room(part.parent, total - have)
        name = part.name.removesuffix(".part")
        with part.open("ab") as stream, progress(name, total, done=have, unit="bytes") as advance:
            _copy(answer, stream, advance)
    size = part.stat().st_size
    if total is not None and size < total:
        raise httpx.RemoteProtocolError(f"the line broke after {size} of {total} bytes")
    if total is not None and size > total:
        _start_over(part)
        raise DownloadError(f"{url}: {size} bytes came, {total} were announced")
    return size


def _copy(answer: httpx.Response, stream: IO[bytes], advance: Advance) -> None:
    for chunk in answer.iter_raw():  # as it comes: asked for even pieces, httpx drops the last one when the line breaks
        stream.write(chunk)
        advance(len(chunk))


def _total(answer: httpx.Response) -> int | None:
    """The length of the whole file, if the server tells it."""
    placed = re.fullmatch(r"bytes (?:\d+-\d+|\*)/(\d+)", answer.headers.get("Content-Range", ""))
    if placed:
        return int(placed.group(1))
    length = answer.headers.get("Content-Length", "")
    return int(length) if answer.status_code == httpx.codes.OK and length.isdigit() else None


def _first_byte(answer: httpx.Response) -> int | None:
    placed = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(placed.group(1)) if placed else None


# --- the part file ---------------------------------------------------------------------------------------------------


def _mark_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _remember_mark(answer: httpx.Response, mark: Path) -> None:
    etag = answer.headers.get("ETag", "")
    version = etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified", "")
    if version:
        mark.write_text(version)
    else:
        mark.unlink(missing_ok=True)


def _is_of(answer: httpx.Response, version: str) -> bool:
    """Whether a resumed answer is of the marked version, by If-Range or, from a server that ignores it, by its mark."""
    told: str = answer.headers.get("ETag" if version.startswith('"') else "Last-Modified", version)
    return told == version


def _start_over(part: Path) -> None:
    with part.open("r+b") as stream:
        stream.truncate(0)
    _mark_file(part).unlink(missing_ok=True)


@contextmanager
def _sole_use(part: Path) -> Iterator[Path]:
    """Hold the part file, so that two commands never write into one."""
    with part.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DownloadError(f"{part} is being written by another download") from error
        yield part


# --- keeping it ------------------------------------------------------------------------------------------------------


def _keep(part: Path, target: Path, url: str, size: int, sha256: str | None) -> Fetched:
    """Put a complete part file in its place, unless it is not what was wanted."""
    try:
        _look_at(part, target.suffix)
    except (CheckpointError, ValueError) as error:
        _start_over(part)
        part.unlink()
        wanted = "JSON" if target.suffix == ".json" else "a weights file"
        raise DownloadError(f"{url} did not give {wanted}: {error}") from error
    digest = _sha256(part, "checking")
    if sha256 is not None and digest != sha256:
        part.unlink()
        _mark_file(part).unlink(missing_ok=True)
        raise DownloadError(f"{url} has SHA-256 {digest}, expected {sha256}; what came was thrown away")
    write(_digest_file(target), f"{digest}  {target.name}\n")
    part.replace(target)
    _mark_file(part).unlink(missing_ok=True)
    return Fetched(target, size, digest)


def _look_at(part: Path, suffix: str) -> None:
    """Raise CheckpointError or ValueError unless the file is of the kind that its name says."""
    if suffix == ".json":
        json.loads(part.read_text(encoding="utf-8"))
    else:
        kind_of(part)


def _confirm(target: Path, sha256: str | None) -> Fetched:
    """The file that is there already. Raises DownloadError unless its SHA-256 is the one asked for or recorded."""
    recorded = _digest_file(target)
    words = recorded.read_text().split() if recorded.exists() else []  # none, where writing it was cut short
    wanted = sha256 or (words[0] if words else None)
    digest = _sha256(target, "checking")
    if wanted is not None and digest != wanted:
        raise DownloadError(f"{target} has SHA-256 {digest}, expected {wanted}; delete it to fetch it anew")
    return Fetched(target, target.stat().st_size, digest, already_there=True)


def _digest_file(target: Path) -> Path:
    return target.with_name(f"{target.name}.sha256")


def _sha256(file: Path, what: str) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream, progress(f"{what} {file.name}", file.stat().st_size, unit="bytes") as advance:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            advance(len(chunk))
    return digest.hexdigest()
