"""An HTTP connection with time limits, so that no slow caller holds it for ever, and whose refusals can be read.

uvicorn by itself waits without end for the head of a request, for the rest of one that was answered early, and for an
answer to be taken. It closes a connection that is not to be kept right after the answer. If more of the request comes
then, the system answers with a reset, and a caller who was still writing never reads why it was refused (RFC 9112,
section 9.6). Here what is left of such a request is read and thrown away first.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from server.errors import MalformedError, TooSlowError, problem_of
from server.http.problems import problem_response
from server.logs import new_request_id, request_id
from vjepa2_ac.errors import VJEPA2ACError

log = logging.getLogger(__name__)
LEAST_TAKEN = 256 * 1024  # [bytes] of an answer within `patience_s`; who takes less is gone
LAST_S = 1.0  # for the rest of a request that was answered, once the service shuts down


def connections(patience_s: float) -> type[HttpToolsProtocol]:
    """The connections that wait `patience_s` for each part: a request's head, the rest of a refused one, the next."""

    class Patient(Connection):
        pass

    Patient.patience_s = patience_s
    return Patient


class Connection(HttpToolsProtocol):
    """uvicorn's connection with one timer, which runs whenever it is the caller's turn."""

    patience_s: float

    _timer: asyncio.TimerHandle | None = None
    _untaken = 0  # bytes of answers that were not taken when the timer was set
    _is_in_head = False
    _is_leaving = False  # the last answer is sent; what still comes is thrown away
    _is_unreadable = False  # what comes can no longer be read as HTTP
    _is_shutting_down = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for a first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer: nothing more can come."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass a piece of a request to uvicorn, which reports its parts to the methods below."""
        if not self._is_unreadable:
            super().data_received(data)

    def on_message_begin(self) -> None:
        """Begin to wait for the end of a request's head."""
        super().on_message_begin()
        self._is_in_head = True
        self._wait()

    def on_headers_complete(self) -> None:
        """Stop the timer: it is the service's turn, which has a time limit of its own for bodies."""
        self._is_in_head = False
        if not self.transport.get_write_buffer_size():  # else the timer runs for an earlier answer
            self._stop_waiting()
        super().on_headers_complete()
        if self.cycle is not None:
            self.cycle.transport = _Line(self, self.cycle)

    def on_message_complete(self) -> None:
        """Close the connection if its last answer was sent before this, the end of the request, had come."""
        super().on_message_complete()
        if self._is_leaving:
            self.transport.close()

    def on_response_complete(self) -> None:
        """Begin to wait for the answer to be taken, for its request to end, and for the next one."""
        super().on_response_complete()
        self._wait()

    def pause_writing(self) -> None:
        """Begin to wait for answers to be taken, of which too much is left."""
        super().pause_writing()
        self._wait()

    def handle_websocket_upgrade(self) -> None:
        """Stop the timer: WebSockets find dead callers by pings."""
        self._stop_waiting()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, and all that comes after it."""
        self._refuse(MalformedError(f"what came cannot be read as HTTP: {msg}"))

    def shutdown(self) -> None:
        """Close the connection, if it is idle at once, else after its answer: the service stops."""
        self._is_shutting_down = True
        super().shutdown()

    def leave(self, answered: RequestResponseCycle) -> None:
        """Close the connection once the request has come whole; closed before, its caller could not read the answer."""
        if answered.more_body:
            self._say_farewell()
        else:
            self.transport.close()

    def _say_farewell(self) -> None:
        self._is_leaving = True
        self._wait()
        try:
            if self.transport.can_write_eof():  # TLS cannot: there the answer's length tells where it ends
                self.transport.write_eof()
        except OSError:  # whoever hung up needs no farewell
            self.transport.close()

    def _refuse(self, error: VJEPA2ACError) -> None:
        """Answer in place of the application, which never got a whole request, and say that the connection closes."""
        self._is_unreadable = True
        if self._is_leaving:
            return
        if self.cycle is not None and not self.cycle.response_complete:  # the body of that request cannot be read
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        token = request_id.set(new_request_id())
        answer = problem_response(problem_of(error))
        answer.headers.update({"X-Request-Id": request_id.get(), "Connection": "close"})
        log.info("refused what is no request", extra={"status": answer.status_code, "reason": str(error)})
        request_id.reset(token)
        head = [b"HTTP/1.1 %d %s" % (answer.status_code, HTTPStatus(answer.status_code).phrase.encode())]
        head += [b"%s: %s" % header for header in answer.raw_headers]
        self.transport.write(b"\r\n".join(head) + b"\r\n\r\n" + bytes(answer.body))
        self._say_farewell()

    def _wait(self) -> None:
        """Start the timer: the caller has `patience_s` to go on."""
        self._stop_waiting()
        self._untaken = self.transport.get_write_buffer_size()
        patience_s = min(LAST_S, self.patience_s) if self._is_shutting_down else self.patience_s
        self._timer = self.loop.call_later(patience_s, self._run_out)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _run_out(self) -> None:
        untaken = self.transport.get_write_buffer_size()
        if untaken and self._untaken - untaken >= LEAST_TAKEN:
            self._wait()
        elif untaken:
            self._cut_off()
        elif self.cycle is not None and not self.cycle.response_complete and not self._is_leaving:
            pass  # it is the service's turn; the timer is set again after its answer
        elif self._is_in_head and not self._is_leaving:
            self._refuse(TooSlowError(f"the head did not come within {self.patience_s:g} s"))
        else:
            self.transport.close()

    def _cut_off(self) -> None:
        """Close with a reset, or the system would keep the rest of the answer for minutes."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class _Line(asyncio.Transport):
    """The transport as one answer uses it: `close` leaves the connection, so that its request is read to the end."""

    def __init__(self, connection: Connection, cycle: RequestResponseCycle) -> None:
        super().__init__()
        self._connection, self._cycle = connection, cycle

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._connection.transport.write(data)

    def is_closing(self) -> bool:
        return self._connection.transport.is_closing()

    def close(self) -> None:
        self._connection.leave(self._cycle)
