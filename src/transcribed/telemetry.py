"""Traces and metrics with OpenTelemetry, over OTLP. Imported only if `--otel` is set.

OpenTelemetry's own variables (OTEL_EXPORTER_OTLP_ENDPOINT and others) configure the destination and the
sampling. Spans wait in a bounded queue, which drops the oldest when it is full. Threads of their own send
spans and metrics.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from transcribed import __version__
from transcribed.errors import ConfigurationError
from transcribed.request_context import REQUEST
from transcribed.service.session_record import SessionRecord
from transcribed.service.trail import Outcome
from transcribed.transcript import LiveEvent, Segment

try:
    from opentelemetry import context as otel_context
    from opentelemetry import propagate
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.metrics import CallbackOptions, Meter, Observation
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
except ImportError as error:
    raise ConfigurationError(
        "--otel needs more packages: pip install 'transcribed[otel]'. Or leave --otel out."
    ) from error

STOP_SECONDS = 2.0
"""The time for sending the last spans and metrics when the server stops; the rest is lost."""

_COLLECT_SECONDS = 2.0
_FRESH_SECONDS = 1.0
_LOG_SECONDS = 60.0
_PROTOCOL = "http/protobuf"
_PROTOCOLS = (
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
)
_EXPORTERS = ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER")
# The methods of RFC 9110 and RFC 5789. Clients can send any other word as a method.
_METHODS = {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
_SERVER_ERROR = 500
_NANOSECONDS: Final = 1_000_000_000
_UNITS = {"seconds": "s", "bytes": "By"}

_log = logging.getLogger(__name__)


class Telemetry:
    """Sends traces and metrics to a collector. Must be closed on the event loop that created it."""

    def __init__(self) -> None:
        """Start sending. Raises ConfigurationError for OTEL_… variables with unsupported values."""
        _check_environment()
        _quieten(logging.getLogger("opentelemetry"))
        resource = Resource.create(
            {
                "service.name": "transcribed",
                "service.version": __version__,
                **OTELResourceDetector().detect().attributes,
            }
        )
        try:
            self._tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
            if _is_wanted("OTEL_TRACES_EXPORTER"):
                self._tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
            readers = (
                [PeriodicExportingMetricReader(OTLPMetricExporter())]
                if _is_wanted("OTEL_METRICS_EXPORTER")
                else []
            )
            self._meters = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
        except (ValueError, OSError) as error:
            raise ConfigurationError(f"The OTEL_… variables are not valid: {error}.") from error
        self._tracer = self._tracers.get_tracer("transcribed", __version__)

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """Wrap an application so that its HTTP requests are traced."""
        return _TracedRequests(app, self._tracer)

    def session(self, record: SessionRecord) -> "SessionSpan":
        """Begin the span of a session."""
        return SessionSpan(self._tracer, record)

    def measure(self, registry: CollectorRegistry) -> None:
        """Send the metrics of a registry, which is collected on the running event loop."""
        observe(self._meters.get_meter("transcribed", __version__), RegistrySource(registry))

    async def aclose(self) -> None:
        """Send the remaining spans and metrics, for at most STOP_SECONDS."""
        ends = [_in_background(self._tracers.shutdown), _in_background(self._meters.shutdown)]
        try:
            async with asyncio.timeout(STOP_SECONDS):
                for ended in ends:
                    await ended.wait()
        except TimeoutError:
            _log.warning("The last traces and metrics could not be sent within %g s.", STOP_SECONDS)


def _in_background(shut_down: Callable[[], None]) -> asyncio.Event:
    """Run a blocking call in a thread. Returns an event that is set when the call has ended."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def call() -> None:
        try:
            shut_down()
        except Exception as error:  # noqa: BLE001 - no failure may prevent the server from stopping
            _log.warning("The last traces or metrics could not be sent: %s", error)
        # The event loop may already be closed if the collector did not answer.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(ended.set)

    # Not a thread of asyncio, which would wait for its end.
    threading.Thread(target=call, name="otel-stop", daemon=True).start()
    return ended


def _check_environment() -> None:
    for name in _PROTOCOLS:
        if (protocol := os.environ.get(name, _PROTOCOL)) != _PROTOCOL:
            raise ConfigurationError(f"{name} is {protocol!r}. Only {_PROTOCOL} is supported.")
    for name in _EXPORTERS:
        if (exporter := os.environ.get(name, "otlp")) not in {"otlp", "none"}:
            raise ConfigurationError(f"{name} is {exporter!r}. It may be otlp or none.")


def _is_wanted(exporter: str) -> bool:
    return os.environ.get(exporter) != "none"


# --- Traces


class _TracedRequests:
    """ASGI middleware that creates a span for each HTTP request.

    A WebSocket has no span of its own, but its sessions have. All spans belong to the trace that the client
    names (W3C Trace Context, the header traceparent).
    """

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request or a WebSocket (ASGI)."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        token = otel_context.attach(propagate.extract(headers))
        try:
            if scope["type"] == "http":
                await self._trace(scope, receive, send)
            else:
                await self._app(scope, receive, send)
        finally:
            otel_context.detach(token)

    async def _trace(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        attributes: dict[str, str] = {
            "http.request.method": method,
            # The query is omitted, because it may contain secrets.
            "url.path": scope["path"],
            "url.scheme": scope["scheme"],
            "network.protocol.version": scope["http_version"],
        }
        with self._tracer.start_as_current_span(
            method,
            kind=SpanKind.SERVER,
            attributes=attributes | _of_request(),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:

            async def sending(message: Message) -> None:
                if message["type"] == "http.response.start":
                    _note_status(span, message["status"])
                await send(message)

            try:
                await self._app(scope, receive, sending)
            except BaseException as failure:
                _fail(span, type(failure).__name__)
                raise
            finally:
                route = _route(scope)
                if route is not None:
                    span.update_name(f"{method} {route}")
                    span.set_attribute("http.route", route)


def _route(scope: Scope) -> str | None:
    """The path of the route that served a request, with the names of its parameters; None if unknown."""
    found: str | None = getattr(scope.get("route"), "path_format", None)
    is_plain = "endpoint" in scope and not scope["path_params"] and not scope["root_path"]
    # Starlette reports no route for a plain ASGI application, whose path equals the request's.
    return str(scope["path"]) if found is None and is_plain else found


def _of_request() -> dict[str, str]:
    context = REQUEST.get()
    if context is None:
        return {}
    found = {"transcribed.request.id": context.id}
    return found if context.address is None else found | {"client.address": context.address}


def _note_status(span: Span, status: int) -> None:
    span.set_attribute("http.response.status_code", status)
    if status >= _SERVER_ERROR:
        _fail(span, str(status))


def _fail(span: Span, error: str) -> None:
    span.set_attribute("error.type", error)
    span.set_status(Status(StatusCode.ERROR))


class SessionSpan:
    """The span of one session, with the events first audio, first partial and first final."""

    def __init__(self, tracer: Tracer, record: SessionRecord) -> None:
        self._began = time.monotonic()
        self._finals = 0
        self._is_heard = False
        self._span = tracer.start_span(
            "session",
            attributes={
                "transcribed.session.id": record.id,
                "transcribed.engine": record.engine,
                "transcribed.source": "live" if record.is_live else "file",
                **_of_request(),
            },
        )

    def hear(self, event: LiveEvent) -> None:
        """Note an event of the session."""
        if not isinstance(event, Segment):
            return
        if event.final:
            self._finals += 1
            if self._finals == 1:
                self._span.add_event("first final")
        elif not self._is_heard:
            self._is_heard = True
            self._span.add_event("first partial")

    def end(self, record: SessionRecord) -> None:
        """End the span."""
        if record.first_audio is not None and record.first_audio >= self._began:
            self._span.add_event("first audio", timestamp=_date(record.first_audio))
        self._span.set_attribute("transcribed.audio_seconds", record.seconds)
        self._span.set_attribute("transcribed.finals", self._finals)
        if record.outcome is Outcome.FAILED:
            _fail(self._span, str(record.failure))
        self._span.end()


def _date(moment: float) -> int:
    """Convert a time of the monotonic clock to nanoseconds since 1970."""
    now = time.time_ns()  # noqa: TID251 - collectors expect the wall clock
    return now - int((time.monotonic() - moment) * _NANOSECONDS)


# --- Metrics


class RegistrySource:
    """Lets other threads read a registry that is collected on an event loop, with a cache of one second."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._collected = -_FRESH_SECONDS
        self._families: dict[str, Metric] = {}

    def families(self) -> dict[str, Metric]:
        """The metrics by name. Must be called on the event loop."""
        return {_name(family): family for family in self._registry.collect()}

    def samples(self, name: str) -> list[tuple[float, dict[str, str]]]:
        """The values of a metric and their labels. Raises TimeoutError if the event loop is blocked."""
        with self._lock:
            if time.monotonic() - self._collected >= _FRESH_SECONDS and not self._loop.is_closed():
                collecting = asyncio.run_coroutine_threadsafe(self._collect(), self._loop)
                self._families = collecting.result(_COLLECT_SECONDS)
                self._collected = time.monotonic()
            family = self._families.get(name)
        if family is None:
            return []
        own = {name, f"{name}_total"}
        return [(sample.value, sample.labels) for sample in family.samples if sample.name in own]

    async def _collect(self) -> dict[str, Metric]:
        return self.families()


def _name(family: Metric) -> str:
    """The name of a metric in Prometheus' format, without the _total of counters."""
    return f"{family.name}_info" if family.type == "info" else family.name


def observe(meter: Meter, source: RegistrySource) -> None:
    """Create an instrument for each metric of a source, with the metric's name in Prometheus' format."""
    for name, family in source.families().items():
        make: Callable[..., Any] = (
            meter.create_observable_counter if family.type == "counter" else meter.create_observable_gauge
        )
        unit = _UNITS.get(name.rpartition("_")[2], "")
        make(name, [partial(_observed, source, name)], unit, family.documentation)


def _observed(source: RegistrySource, name: str, _: CallbackOptions) -> Iterable[Observation]:
    for value, labels in source.samples(name):
        yield Observation(value, labels)


# --- The library's log


def _quieten(logger: logging.Logger) -> None:
    """Log at most one of its warnings and errors a minute, because a collector may be away for long."""
    logger.propagate = False
    logger.handlers = [_RateLimitedHandler(logging.WARNING)]


class _RateLimitedHandler(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._next = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _LOG_SECONDS
            _log.warning("Traces and metrics: %s", record.getMessage())
