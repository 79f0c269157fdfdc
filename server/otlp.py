"""Traces made with OpenTelemetry and sent to a collector by OTLP. Imported only where traces are asked for.

The standard OTEL_* variables say where spans go, by which protocol, and which are sampled. The tracer is the service's
own: nothing global is set, so several services can live in one process, and spans of other libraries stay apart.
"""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from server.traces import Value
from vjepa2_ac import __version__
from vjepa2_ac.errors import ConfigError

PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


def open_otlp(environment: Mapping[str, str]) -> OTLPTraces:
    """Traces as the environment asks for them. Raises ConfigError for an unknown protocol."""
    return OTLPTraces(_exporter(environment), environment)


class OTLPTraces:
    """Begins the spans of requests."""

    def __init__(self, exporter: SpanExporter, environment: Mapping[str, str]) -> None:
        self._provider = TracerProvider(resource=Resource.create(_about_us(environment)), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("vjepa2_ac.server", __version__)
        self._incoming = TraceContextTextMapPropagator()

    def begin(self, name: str, carrier: Mapping[str, str], attributes: Mapping[str, Value]) -> OTLPSpan:
        """The span of a request; without a valid `traceparent` in `carrier` it begins a trace of its own."""
        context = self._incoming.extract(carrier)
        return OTLPSpan(
            self._tracer, self._tracer.start_span(name, context, kind=SpanKind.SERVER, attributes={**attributes})
        )

    def close(self) -> None:
        """Send the spans that have not been sent yet."""
        self._provider.shutdown()


class OTLPSpan:
    """A span of a request or a stage, below which others can be begun."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer, self._span = tracer, span

    @property
    def trace_id(self) -> str:
        """The trace's id, 32 hexadecimal digits as in a `traceparent`."""
        return format_trace_id(self._span.get_span_context().trace_id)

    def child(self, name: str, began_ns: int | None = None) -> OTLPSpan:
        """A span within this one."""
        return OTLPSpan(
            self._tracer, self._tracer.start_span(name, set_span_in_context(self._span), start_time=began_ns)
        )

    def note(self, attributes: Mapping[str, Value]) -> None:
        """Add attributes."""
        self._span.set_attributes({**attributes})

    def rename(self, name: str) -> None:
        """Give it another name."""
        self._span.update_name(name)

    def fail(self, code: str, words: str, *, is_ours: bool) -> None:
        """Record a failure. By the conventions for server spans the status is ERROR only if the service is to blame."""
        self._span.set_attribute("error.type", code)
        if is_ours:
            self._span.set_status(Status(StatusCode.ERROR, words))

    def end(self) -> None:
        """End it now."""
        self._span.end()


def _exporter(environment: Mapping[str, str]) -> SpanExporter:
    protocol = next((value for name in PROTOCOLS if (value := environment.get(name, "").strip())), "http/protobuf")
    if protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHTTP

        return OverHTTP()
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OverGRPC

        return OverGRPC()
    raise ConfigError(f"OTLP is spoken as http/protobuf or grpc, not {protocol!r}; see {' and '.join(PROTOCOLS)}")


def _about_us(environment: Mapping[str, str]) -> dict[str, str]:
    """The service's version, and its name where the operator does not give it another."""
    named = "OTEL_SERVICE_NAME" in environment or "service.name=" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return {SERVICE_VERSION: __version__} | ({} if named else {SERVICE_NAME: "vjepa2-ac"})
