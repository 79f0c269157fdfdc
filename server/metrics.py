"""What the service counts and times, in Prometheus form."""

from __future__ import annotations

import platform
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.process_collector import ProcessCollector

from vjepa2_ac import __version__

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
ITERATIONS = (1, 2, 3, 4, 6, 8, 10, 15, 20, 50)
COSTS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0)
PREFIX = "vjepa2_ac_"


class Metrics:
    """One registry for one service, so that several can live in one process (tests do that)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, file descriptors, processor time
        build = Info(PREFIX + "build", "What is running", registry=self.registry)
        build.info({"version": __version__, "python": platform.python_version()})
        self.requests = self._counter("requests", "Requests by outcome", "wire", "method", "code")
        self.durations = self._histogram("request_seconds", "Time to answer", SECONDS, "wire", "method")
        self.queue_wait = self._histogram("queue_wait_seconds", "Time a request waited for its turn", SECONDS)
        self.stages = self._histogram("stage_seconds", "Time of each stage of a plan", SECONDS, "stage")
        self.iterations = self._histogram("plan_iterations", "Iterations of the search", ITERATIONS)
        self.costs = self._histogram("plan_cost", "Cost of plans", COSTS)
        self.stops = self._counter("plans", "Plans by the reason their search stopped", "stop_reason")
        self.stale = self._counter("stale_observations_dropped", "Observations replaced by newer ones, or too old")
        self.missed = self._counter("deadlines_missed", "Requests without a plan at their deadline")

    def watch(self, name: str, what: str, value: Callable[[], float]) -> None:
        """Add a gauge whose value is read whenever the metrics are asked for."""
        Gauge(PREFIX + name, what, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """All metrics, in the text format of Prometheus."""
        return generate_latest(self.registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(PREFIX + name, what, labels, registry=self.registry)

    def _histogram(self, name: str, what: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(PREFIX + name, what, labels, buckets=buckets, registry=self.registry)
