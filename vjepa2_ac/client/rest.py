"""The REST wire: JSON, with pictures as files beside it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from urllib.parse import quote

import httpx

from vjepa2_ac.client.calls import Call
from vjepa2_ac.client.errors import PlannerError, PlannerUnavailableError, something_else
from vjepa2_ac.errors import InputError


class RestWire:
    """Calls over HTTP, one connection kept open."""

    def __init__(self, url: str, token: str | None, verify: Any) -> None:
        self._http = httpx.Client(base_url=_place(url), headers=_headers(token), verify=verify)

    def send(self, call: Call, timeout_s: float) -> Any:
        """The answer to a call. Raises PlannerError."""
        ends_at = time.monotonic() + timeout_s  # httpx counts anew for each part of an answer that comes
        try:
            with self._http.stream(**_request(call), timeout=timeout_s) as response:
                body = bytearray()
                for part in response.iter_bytes():
                    body += part
                    if time.monotonic() > ends_at:
                        raise httpx.ReadTimeout("the answer goes on and on")
            return _answer(response, bytes(body))
        except httpx.RequestError as error:
            raise _lost(error) from error

    def close(self) -> None:
        """Hang up."""
        self._http.close()


class AsyncRestWire:
    """The same for asyncio."""

    def __init__(self, url: str, token: str | None, verify: Any) -> None:
        self._http = httpx.AsyncClient(base_url=_place(url), headers=_headers(token), verify=verify)
        self._clocks: set[asyncio.Timeout] = set()  # of the calls that are under way

    async def send(self, call: Call, timeout_s: float) -> Any:
        """The answer to a call. Raises PlannerError."""
        clock = asyncio.timeout(timeout_s)
        self._clocks.add(clock)
        try:
            async with clock:
                patience = httpx.Timeout(timeout_s, connect=0.9 * timeout_s)  # or who cannot be reached is called slow
                response = await self._http.request(**_request(call), timeout=patience)
            return _answer(response, response.content)
        except TimeoutError:
            raise _lost(httpx.ReadTimeout("the time is up")) from None
        except httpx.RequestError as error:
            raise _lost(error) from error
        finally:
            self._clocks.remove(clock)

    async def close(self) -> None:
        """Hang up; the time of calls that are under way is up."""
        for clock in self._clocks:
            if not clock.expired():
                clock.reschedule(0.0)
        await self._http.aclose()


def _place(url: str) -> httpx.URL:
    """Where the service is. Raises InputError for the name of a host that is none to this library."""
    try:
        place = httpx.URL(url)
        _ = place.host  # which every request asks for, and not every name that begins as an encoded one has
    except (httpx.InvalidURL, UnicodeError) as error:
        raise InputError(f"{url!r} is no address of a service: {error}") from None
    return place


def _headers(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _request(call: Call) -> dict[str, Any]:
    fields = dict(call.fields)
    ids = {name: quote(fields.pop(name), safe="") for name in ("session_id", "goal_id") if name in fields}
    path = call.method.path.format(**ids)
    request: dict[str, Any] = {"method": call.method.verb, "url": path}
    if call.method.verb != "POST":
        return request
    files = _take_pictures(fields)
    try:
        content = json.dumps(fields)
    except (TypeError, ValueError) as error:
        raise InputError(f"the request cannot be sent: {error}") from None
    if not files:
        return {**request, "content": content, "headers": {"Content-Type": "application/json"}}
    return {**request, "data": {"request": content}, "files": files}


def _take_pictures(fields: dict[str, Any]) -> list[tuple[str, tuple[str, bytes]]]:
    """The pictures among the fields, taken out of them."""
    found = []
    if "observation" in fields:
        seen = dict(fields["observation"])
        found.append(("observation", ("observation", seen.pop("picture"))))
        fields["observation"] = seen
    if "goal" in fields and "pictures" in fields["goal"]:
        goal = dict(fields["goal"])
        found += [("goal", ("goal", data)) for data in goal.pop("pictures")]
        fields["goal"] = goal
    for side in ("before", "after"):
        found += [(side, (side, move[side])) for move in fields.get("moves", [])]
    if "moves" in fields:
        poses = ("pose_before", "pose_after")
        fields["moves"] = [{name: move[name] for name in poses} for move in fields["moves"]]
    found += [("pictures", ("goal", data)) for data in fields.pop("pictures", [])]
    return found


def _answer(response: httpx.Response, body: bytes) -> Any:
    if response.is_success:
        answer = _read(body)
        tensor = answer.get("latents")
        if tensor is not None:
            import base64

            tensor["data"] = base64.b64decode(tensor["data"])
        return answer
    try:
        problem = json.loads(body)
        code, detail = problem["code"], problem["detail"]
        if not (isinstance(code, str) and isinstance(detail, str)):
            raise TypeError("a service says both in words")
    except (ValueError, KeyError, TypeError, RecursionError):
        problem, code = {}, "http_error"
        detail = f"the service answered {response.status_code}: {body[:200].decode(errors='replace')}"
    request_id = problem.get("request_id") or response.headers.get("x-request-id")
    raise PlannerError(
        detail,
        code=code,
        field=problem.get("field"),
        retry_after_s=problem.get("retry_after_s"),
        request_id=request_id,
    )


def _read(body: bytes) -> dict[str, Any]:
    """The answer in a body. Raises PlannerUnavailableError where something else has answered."""
    try:
        answer = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise something_else(body[:80].decode(errors="replace"))
    return answer


def _lost(error: httpx.RequestError) -> PlannerUnavailableError:
    if isinstance(error, httpx.DecodingError):  # a service compresses nothing
        return something_else(f"an answer that cannot be unpacked: {error}")
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
        return PlannerUnavailableError(f"no planning service could be reached: {error}", code="unreachable")
    if isinstance(error, httpx.TimeoutException):
        return PlannerUnavailableError("the planning service did not answer in time", code="timeout")
    return PlannerUnavailableError(f"the connection to the planning service broke: {error}", code="connection_lost")
