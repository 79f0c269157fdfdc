"""What every gRPC call leaves behind, answered or refused: a count, its time, and a line of the log."""

from __future__ import annotations

import logging
import time

from server.metrics import Metrics

log = logging.getLogger(__name__)


def count(metrics: Metrics, method: str, code: str, started: float, *, is_stream: bool = False) -> None:
    """A call that began at `started` [s] is over; how long a stream was open is no time to answer, as on REST."""
    took_s = time.monotonic() - started
    metrics.requests.labels("grpc", method, code).inc()
    if not is_stream:
        metrics.durations.labels("grpc", method).observe(took_s)
    log.info("answered", extra={"method": method, "status": code, "took_ms": round(1e3 * took_s, 1)})
