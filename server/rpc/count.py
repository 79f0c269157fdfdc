"""Records every gRPC call, answered or refused, in the metrics, the log and its trace."""

from __future__ import annotations

import logging
import time

import grpc

from server.metrics import Metrics
from server.traces import note

log = logging.getLogger(__name__)


def count(metrics: Metrics, method: str, code: str, started: float, *, is_stream: bool = False) -> None:
    """Record the end of a call that began at `started` [s]; `request_seconds` leaves out streams, as over REST."""
    took_s = time.monotonic() - started
    metrics.requests.labels("grpc", method, code).inc()
    if not is_stream:
        metrics.durations.labels("grpc", method).observe(took_s)
    note({"rpc.grpc.status_code": grpc.StatusCode[code].value[0]})
    log.info("answered", extra={"method": method, "status": code, "took_ms": round(1e3 * took_s, 1)})
