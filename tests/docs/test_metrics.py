"""docs/operations.md lists every metric, with what it counts."""

import re
from dataclasses import fields
from itertools import chain
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector

from transcribed.engines.base import RecognitionStream
from transcribed.engines.failover.stream import Counters
from transcribed.http import metrics
from transcribed.http.sign_ins import SignIns
from transcribed.options import Capabilities, StreamOptions
from transcribed.principal import Principal, Role
from transcribed.scheduling.admission import AdmissionLimit, AdmittedEngine
from transcribed.service.broadcasts import Broadcasts
from transcribed.service.jobs import Counts

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


class _Engine:
    capabilities = Capabilities("remote", ("en-US",))

    async def open(self, options: StreamOptions) -> RecognitionStream:
        raise NotImplementedError


def served() -> AdmittedEngine:
    counters = dict.fromkeys(metrics.OF_FAILOVER, 0.0)
    return AdmittedEngine(_Engine(), AdmissionLimit(), lambda: 25, remote=True, counters=lambda: counters)


def test_the_metrics_are_those_of_the_code() -> None:
    limit = AdmissionLimit()
    limit.accounts.account(Principal("a", Role.TRANSCRIBE, "a"))
    collectors = (
        metrics.EngineCollector(lambda: [served()], "1"),
        metrics.KeyCollector(limit, SignIns(10)),
        metrics.ViewerCollector(Broadcasts()),
        metrics.JobCollector(Counts),
    )
    found = {}
    for metric in chain.from_iterable(collector.collect() for collector in collectors):
        assert metric.samples, metric.name
        (name,) = {sample.name for sample in metric.samples}
        found[name] = ("gauge" if metric.type == "info" else metric.type, metric.documentation)
    assert found.pop("transcribed_build_info") == ("gauge", "The version of the server.")
    rows = re.findall(r"^\| `(transcribed_\w+)` \| (\w+) \| (.*) \|$", PAGE, re.MULTILINE)
    listed = {name: (kind, told) for name, kind, told in rows}
    assert listed.pop("transcribed_build_info")[0] == "gauge"
    assert listed == found


def test_everything_that_succession_counts_is_a_metric() -> None:
    assert [each.name for each in fields(Counters)] == list(metrics.OF_FAILOVER)


def test_those_of_the_process_are_those_of_the_library() -> None:
    found = {
        sample.name
        for metric in ProcessCollector(registry=CollectorRegistry()).collect()
        for sample in metric.samples
    }
    assert set(re.findall(r"`(process_\w+)`", PAGE)) == found
