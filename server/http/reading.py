"""Requests as they come over HTTP: JSON with pictures in base64, or multipart with pictures as files beside it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request

from server.errors import MalformedError, TooSlowError
from server.messages import MessageT, read
from server.threads import in_thread_if_large
from vjepa2_ac.errors import CancelledError

LARGEST_PART = 1 << 30  # [bytes] the gate limits whole bodies
MOST_FILES = 65  # before and after each of 32 exploratory moves, and the request itself
PARTS = (
    "the parts of a multipart request are 'request' (JSON) and, as PNG or JPEG, 'observation' and 'goal'; 'pictures' "
    "of a goal to register; 'before' and 'after' of exploratory moves"
)
T = TypeVar("T")


async def read_request(request: Request, kind: type[MessageT], patience_s: float) -> MessageT:
    """The request that a body describes. Raises MalformedError or FieldError for one that cannot be used.

    Raises TooSlowError when the body does not end within `patience_s`, CancelledError when the caller hangs up within.
    """
    try:
        async with asyncio.timeout(patience_s):
            if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
                content, files = await _multipart(request)
                return await in_thread_if_large(
                    len(content), lambda: read(kind, _with_pictures(parse_json(content), files))
                )
            body = await request.body()
    except TimeoutError:
        raise TooSlowError(f"the body did not come within {patience_s:g} s") from None
    except ClientDisconnect:
        raise CancelledError("the caller hung up within the body") from None
    return await in_thread_if_large(len(body), lambda: read(kind, parse_json(body)))


def parse_json(body: bytes | str) -> Any:
    """What a JSON text says. Raises MalformedError."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"the body is not JSON: {error}") from None


async def until_hang_up(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns. When the caller hangs up, it is given up, and CancelledError raised."""
    working, hanging_up = asyncio.ensure_future(work), asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait((working, hanging_up), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise CancelledError("the caller hung up")
        return working.result()
    finally:
        working.cancel()
        hanging_up.cancel()


async def _multipart(request: Request) -> tuple[bytes | str, dict[str, list[bytes]]]:
    """The part `request`, and the pictures by the names of their parts."""
    contents: list[bytes | str] = []
    files: dict[str, list[bytes]] = {}
    async with request.form(max_files=MOST_FILES, max_fields=16, max_part_size=LARGEST_PART) as form:
        for name, part in form.multi_items():
            data = await part.read() if isinstance(part, UploadFile) else part
            if name == "request":
                contents.append(data)
            elif isinstance(data, bytes):
                files.setdefault(name, []).append(data)
            else:
                raise MalformedError(f"the part {name!r} is text; {PARTS}")
    if len(contents) > 1:
        raise MalformedError(f"there are {len(contents)} parts 'request'; {PARTS}")
    return contents[0] if contents else "{}", files


def _with_pictures(content: Any, files: dict[str, list[bytes]]) -> Any:
    if not isinstance(content, dict):
        raise MalformedError("the part 'request' must be a JSON object")
    for name, pictures in files.items():
        if name == "observation" and len(pictures) == 1:
            _put(_inside(content, "observation"), "picture", pictures[0])
        elif name == "goal":
            _put(_inside(content, "goal"), "pictures", pictures)
        elif name == "pictures":
            _put(content, "pictures", pictures)
        elif name in ("before", "after"):
            _into_moves(content, name, pictures)
        else:
            raise MalformedError(f"{_counted(name, pictures)}; {PARTS}")
    return content


def _into_moves(content: dict[str, Any], name: str, pictures: list[bytes]) -> None:
    """The pictures before (or after) each exploratory move, in the order of the moves."""
    moves = content.get("moves")
    if not isinstance(moves, list) or len(moves) != len(pictures) or not all(isinstance(move, dict) for move in moves):
        raise MalformedError(f"{_counted(name, pictures)}; 'moves' needs one object for each picture")
    for move, picture in zip(moves, pictures, strict=True):
        _put(move, name, picture)


def _put(content: dict[str, Any], name: str, pictures: bytes | list[bytes]) -> None:
    if content.get(name):
        raise MalformedError(f"{name!r} came twice, within 'request' and as a part of its own; expected one of them")
    content[name] = pictures


def _counted(name: str, pictures: list[bytes]) -> str:
    return f"there is 1 part {name!r}" if len(pictures) == 1 else f"there are {len(pictures)} parts {name!r}"


def _inside(content: dict[str, Any], name: str) -> dict[str, Any]:
    part = content.setdefault(name, {})
    if not isinstance(part, dict):
        raise MalformedError(f"the field {name!r} must be a JSON object")
    return part


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
