"""Traces and metrics by OpenTelemetry, as a collector gets them."""

import gzip
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from amazon_client import PCM, Http2, results
from native_client import answer
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import connect

if TYPE_CHECKING:
    from tests.conftest import Server

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
SECRET = "a-secret-in-a-query"  # noqa: S105 - a test's


class Collector(ThreadingHTTPServer):
    """Takes what is sent to it, as OTLP over HTTP."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.bodies: list[tuple[str, bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def requests(self) -> list[ExportTraceServiceRequest]:
        return [ExportTraceServiceRequest.FromString(b) for path, b in self.bodies if path == "/v1/traces"]

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def span(self, name: str) -> Span:
        (found,) = [span for span in self.spans if span.name == name]
        return found

    @property
    def metrics(self) -> dict[str, dict[tuple[tuple[str, Any], ...], float]]:
        """The newest values of each metric, by the labels."""
        found: dict[str, dict[tuple[tuple[str, Any], ...], float]] = {}
        for path, body in self.bodies:
            if path != "/v1/metrics":
                continue
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                    points = (metric.sum if metric.HasField("sum") else metric.gauge).data_points
                    found[metric.name] = {
                        tuple(sorted(attributes(point).items())): point.as_double or point.as_int
                        for point in points
                    }
        return found


class _Taking(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.bodies.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def attributes(of: Any) -> dict[str, Any]:
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value")
        for each in of.attributes
    }


@contextmanager
def collecting() -> Iterator[Collector]:
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            collector.shutdown()
            thread.join()


Scraped = dict[str, dict[tuple[tuple[str, Any], ...], float]]


@pytest.fixture(scope="module")
def done(
    run_server: "Callable[..., AbstractContextManager[Server]]", script: Path
) -> Iterator[tuple[Collector, Scraped]]:
    """What a server sent until it had ended, and its last /metrics. What waits is sent at the stop."""
    options = ["--engine", "scripted", "--script", str(script), "--otel"]
    with collecting() as collector:
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}
        with run_server(*options, settings=settings) as server:
            server.http.get(f"/audio/none.wav?access_token={SECRET}", headers=TRACEPARENT)
            server.http.request("WONDER", "/health")
            url = f"{server.stream_url}?format=json"
            with connect(url, additional_headers=TRACEPARENT | {"X-Request-Id": "live-1"}) as ws:
                for _ in range(4):
                    ws.send(bytes(8_000))
                    time.sleep(0.02)
                ws.send(b"")
                answer(ws)
            with Http2(server.address, PCM) as client:
                client.send(bytes(32_000))
                client.end()
                list(results(client.events()))
            scraped = {
                family.name: {
                    tuple(sorted(sample.labels.items())): sample.value for sample in family.samples
                }
                for family in text_string_to_metric_families(server.http.get("/metrics").text)
            }
        yield collector, scraped


def test_a_request_has_a_span_in_its_clients_trace(done: tuple[Collector, Scraped]) -> None:
    collector, _ = done
    span = collector.span("GET /audio/{name}")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert span.kind == Span.SPAN_KIND_SERVER
    found = attributes(span)
    assert found.pop("transcribed.request.id")
    assert found == {
        "http.request.method": "GET",
        "http.response.status_code": 404,
        "http.route": "/audio/{name}",
        "url.path": "/audio/none.wav",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "client.address": "127.0.0.1",
    }
    assert span.status.code == 0
    (resource, *_) = collector.requests[0].resource_spans
    assert attributes(resource.resource)["service.name"] == "transcribed"


def test_a_method_that_nobody_knows_makes_no_name(done: tuple[Collector, Scraped]) -> None:
    collector, _ = done
    (span,) = [each for each in collector.spans if attributes(each).get("http.request.method") == "_OTHER"]
    assert span.name.startswith("_OTHER")
    assert attributes(span)["http.response.status_code"] == 405


def test_a_session_has_a_span_with_what_came_first(done: tuple[Collector, Scraped]) -> None:
    collector, _ = done
    (span,) = [s for s in collector.spans if attributes(s).get("transcribed.request.id") == "live-1"]
    assert (span.name, span.trace_id.hex(), span.parent_span_id.hex()) == ("session", TRACE, PARENT)
    found = attributes(span)
    assert found["transcribed.engine"] == "scripted"
    assert found["transcribed.source"] == "live"
    assert found["transcribed.audio_seconds"] == 1
    assert found["transcribed.finals"] == 2
    moments = {event.name: event.time_unix_nano for event in span.events}
    assert moments.keys() == {"first audio", "first partial", "first final"}
    assert span.start_time_unix_nano <= moments["first audio"] <= moments["first final"]
    assert max(moments.values()) <= span.end_time_unix_nano


def test_a_session_in_a_request_belongs_to_its_span(done: tuple[Collector, Scraped]) -> None:
    collector, _ = done
    request = collector.span("POST /stream-transcription")
    (session,) = [span for span in collector.spans if span.parent_span_id == request.span_id]
    assert session.name == "session"
    assert session.trace_id == request.trace_id != b""


def test_metrics_are_those_of_prometheus(done: tuple[Collector, Scraped]) -> None:
    collector, scraped = done
    sent = collector.metrics
    own = {name for name, points in scraped.items() if points}
    assert sent.keys() >= own
    stood_still = ["transcribed_streams_opened", "transcribed_finals", "transcribed_audio_received_seconds"]
    for name in stood_still:
        assert sent[name] == scraped[name]
        assert scraped[name]


def test_nothing_secret_is_sent(done: tuple[Collector, Scraped]) -> None:
    collector, _ = done
    assert collector.bodies
    assert not any(SECRET.encode() in body for _, body in collector.bodies)


@contextmanager
def refusing() -> Iterator[str]:
    with socket.socket() as never:
        never.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{never.getsockname()[1]}"


@contextmanager
def silent() -> Iterator[str]:
    """It takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("collector", [refusing, silent])
def test_a_collector_that_is_away_harms_nothing(
    scripted: "Callable[..., Server]", collector: Callable[[], AbstractContextManager[str]]
) -> None:
    with collector() as url:
        settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "OTEL_BSP_MAX_QUEUE_SIZE": "8",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "8",
            "OTEL_METRIC_EXPORT_INTERVAL": "100",
        }
        server = scripted("--otel", settings=settings)
        for _ in range(50):
            assert server.http.get("/health").status_code == 200
        with connect(f"{server.stream_url}?format=json") as ws:
            ws.send(bytes(32_000))
            ws.send(b"")
            assert answer(ws)[0] == ["first", "second"]
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 5
        told = server.log.read_text().count("Traces and metrics:")
        assert told <= 1


def test_without_being_asked_for_it_is_not_loaded() -> None:
    code = (
        "import sys, transcribed.cli, transcribed.server;"
        "sys.exit('opentelemetry.sdk' in sys.modules or 'transcribed.telemetry' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize(
    ("code", "settings", "told"),
    [
        ("sys.modules['opentelemetry.sdk.trace'] = None", {}, "pip install 'transcribed[otel]'"),
        ("", {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'"),
        ("", {"OTEL_TRACES_EXPORTER": "console"}, "OTEL_TRACES_EXPORTER is 'console'"),
        ("", {"OTEL_METRIC_EXPORT_INTERVAL": "-1"}, "The OTEL_… variables are not valid"),
    ],
)
def test_what_is_not_there_is_told_at_the_start(
    said: list[str], code: str, settings: dict[str, str], told: str, tmp_path: Path, free_port: int
) -> None:
    run = f"import sys; {code}\nfrom transcribed.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", run, "serve", "--otel", "--port", str(free_port), *said],
        cwd=tmp_path,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr
