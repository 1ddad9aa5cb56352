"""`/metrics` in the format of Prometheus."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.responses import Response

from transcribed.http.access import Admin
from transcribed.http.sign_ins import SignIns
from transcribed.options import Pace
from transcribed.scheduling.admission import AdmissionLimit, AdmittedEngine
from transcribed.service.broadcasts import Broadcasts
from transcribed.service.jobs import Counts as JobCounts

_PREFIX = "transcribed_"

GAUGES = {
    "streams": "Running transcriptions.",
    "places": "Live streams that can be served with the engine's best finals, including running ones.",
    "lag_seconds": "The longest lag of a live stream: audio received and not yet recognised.",
}
COUNTERS = {
    "streams_opened": "Transcriptions that were started.",
    "streams_refused": "Transcriptions that were refused for lack of capacity.",
    "streams_failed": "Transcriptions that failed, or could not start, for any other reason.",
    "audio_received_seconds": "Audio received.",
}
OF_MODELS = {
    "finals": "Final segments, by the model that made them; empty for engines that do not name theirs."
}
KEY_GAUGES = {
    "key_streams": "Running transcriptions of the key.",
    "key_audio_today_seconds": "Audio of the key today, on all servers with the same database.",
}
KEY_COUNTERS = {
    "key_streams_opened": "Transcriptions of the key that were started.",
    "key_refused": "Transcriptions of the key that were refused, or ended at its daily limit.",
    "key_audio_seconds": "Audio that was recognised for the key.",
}
OF_SIGN_INS = {
    "sign_ins_failed": "Requests with a wrong secret, token or signature.",
    "sign_ins_refused": "Requests refused unchecked after too many failed sign-ins from their address.",
}
OF_SHARED_SESSIONS = {
    "shared_sessions": "Shared sessions that are running, or wait for one that continues them.",
    "viewers": "Viewers of shared sessions.",
    "viewers_refused": "Viewers that were refused because too many were watching.",
}
JOB_GAUGES = {
    "jobs_waiting": "Jobs that wait, of all servers with the same database.",
    "jobs_running": "Running jobs.",
}
JOB_COUNTERS = {
    "jobs_completed": "Jobs that were completed.",
    "jobs_failed": "Jobs that failed.",
}
OF_REMOTE_ENGINES = {
    "audio_sent_seconds": "Audio sent to the remote engine, including audio that was sent again.",
}
OF_FAILOVER = {
    "takeovers": "Streams of the remote engine that were replaced before their time limit.",
    "recoveries": "Streams of the remote engine that were replaced after a failure.",
    "fail_overs": "Times that the fallback engine took over.",
    "hand_backs": "Times that the fallback engine handed back to the primary engine.",
    "fallback_seconds": "Audio recognised by the fallback engine.",
    "repeated_seconds": "Audio that was sent again.",
}


class EngineCollector(Collector):
    """The metrics of the engines, collected at each request."""

    def __init__(self, engines: Callable[[], Sequence[AdmittedEngine]], version: str) -> None:
        self._engines = engines
        self._version = version

    def collect(self) -> Iterable[Metric]:
        """The metrics as they are now, at each request of Prometheus."""
        yield InfoMetricFamily(f"{_PREFIX}build", "The version of the server.", {"version": self._version})
        engines = self._engines()
        streams = GaugeMetricFamily(f"{_PREFIX}streams", GAUGES["streams"], labels=["engine", "pace"])
        for engine in engines:
            paces = [status.pace for status in engine.statuses]
            for pace in Pace:
                streams.add_metric([engine.name, pace.value], paces.count(pace))
        yield streams
        for name in ("places", "lag_seconds"):
            gauge = GaugeMetricFamily(f"{_PREFIX}{name}", GAUGES[name], labels=["engine"])
            for engine in engines:
                gauge.add_metric([engine.name], engine.capacity if name == "places" else lag(engine))
            yield gauge
        for name, description in (COUNTERS | OF_REMOTE_ENGINES | OF_FAILOVER).items():
            counter = CounterMetricFamily(f"{_PREFIX}{name}", description, labels=["engine"])
            for engine in engines:
                for found, value in _counts(engine):
                    if found == name:
                        counter.add_metric([engine.name], value)
            yield counter
        finals = CounterMetricFamily(f"{_PREFIX}finals", OF_MODELS["finals"], labels=["engine", "model"])
        for engine in engines:
            for model, count in _finals(engine).items():
                finals.add_metric([engine.name, model or ""], count)
        yield finals


class KeyCollector(Collector):
    """The metrics of keys that were used since the start, and of failed sign-ins."""

    def __init__(self, limit: AdmissionLimit, sign_ins: SignIns) -> None:
        self._limit = limit
        self._sign_ins = sign_ins

    def collect(self) -> Iterable[Metric]:
        """The metrics as they are now, at each request of Prometheus."""
        accounts = self._limit.accounts.all
        for name, description in KEY_GAUGES.items():
            gauge = GaugeMetricFamily(f"{_PREFIX}{name}", description, labels=["key"])
            for account in accounts:
                open_streams = self._limit.open_streams(account)
                gauge.add_metric(
                    [account.key or ""], open_streams if name == "key_streams" else account.seconds_today
                )
            yield gauge
        for name, description in KEY_COUNTERS.items():
            counter = CounterMetricFamily(f"{_PREFIX}{name}", description, labels=["key"])
            for account in accounts:
                counted = {
                    "key_streams_opened": account.opened,
                    "key_refused": account.refused,
                    "key_audio_seconds": account.seconds,
                }
                counter.add_metric([account.key or ""], counted[name])
            yield counter
        for name, description in OF_SIGN_INS.items():
            count = self._sign_ins.failed if name == "sign_ins_failed" else self._sign_ins.refused
            yield CounterMetricFamily(f"{_PREFIX}{name}", description, count)


class ViewerCollector(Collector):
    """The metrics of shared sessions and their viewers."""

    def __init__(self, broadcasts: Broadcasts) -> None:
        self._broadcasts = broadcasts

    def collect(self) -> Iterable[Metric]:
        """The metrics as they are now, at each request of Prometheus."""
        for name, description in OF_SHARED_SESSIONS.items():
            match name:
                case "shared_sessions":
                    yield GaugeMetricFamily(f"{_PREFIX}{name}", description, self._broadcasts.running)
                case "viewers":
                    yield GaugeMetricFamily(f"{_PREFIX}{name}", description, self._broadcasts.viewers)
                case _:
                    yield CounterMetricFamily(f"{_PREFIX}{name}", description, self._broadcasts.refused)


class JobCollector(Collector):
    """The metrics of jobs."""

    def __init__(self, counts: Callable[[], JobCounts]) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        """The metrics as they are now, at each request of Prometheus."""
        counts = self._counts()
        found = {
            "jobs_waiting": counts.waiting,
            "jobs_running": counts.running,
            "jobs_completed": counts.completed,
            "jobs_failed": counts.failed,
        }
        for name, description in JOB_GAUGES.items():
            yield GaugeMetricFamily(f"{_PREFIX}{name}", description, found[name])
        for name, description in JOB_COUNTERS.items():
            yield CounterMetricFamily(f"{_PREFIX}{name}", description, found[name])


def lag(engine: AdmittedEngine) -> float:
    """The longest lag of an engine's live streams, in seconds."""
    return max((status.lag for status in engine.statuses if status.pace is Pace.LIVE), default=0.0)


def _counts(engine: AdmittedEngine) -> Iterator[tuple[str, float]]:
    totals = engine.totals
    yield "streams_opened", totals.opened
    yield "streams_refused", totals.refused
    yield "streams_failed", totals.failed
    yield "audio_received_seconds", totals.received
    if engine.remote:
        yield "audio_sent_seconds", engine.sent
    yield from engine.counters().items()


def _finals(engine: AdmittedEngine) -> Mapping[str | None, int]:
    """The finals of each model, also of those that have made none."""
    return dict.fromkeys(engine.capabilities.models or (None,), 0) | engine.totals.finals


def metrics_registry(
    engines: Callable[[], Sequence[AdmittedEngine]],
    limit: AdmissionLimit,
    sign_ins: SignIns,
    *,
    broadcasts: Broadcasts,
    jobs: Callable[[], JobCounts],
    version: str,
) -> CollectorRegistry:
    """A registry of all metrics: of engines, of keys, of viewers, of jobs, and of the process."""
    registry = CollectorRegistry()
    registry.register(EngineCollector(engines, version))
    registry.register(KeyCollector(limit, sign_ins))
    registry.register(ViewerCollector(broadcasts))
    registry.register(JobCollector(jobs))
    ProcessCollector(registry=registry)
    return registry


def router(registry: CollectorRegistry) -> APIRouter:
    """The route for the metrics of a registry."""
    routes = APIRouter(tags=["health"])

    @routes.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
    async def metrics(_: Admin, request: Request) -> Response:
        """Metrics of streams, capacity, lag, audio and errors; in OpenMetrics if Accept asks for it."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": content_type})

    return routes
