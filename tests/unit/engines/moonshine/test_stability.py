"""What a program that reads the JSON may rely on while words settle, with the real model."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import cycle, pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import Effort, Hypothesis, StepKind
from transcribed.engines.segments.engine import SegmentEngine
from transcribed.engines.segments.stream import SegmentStream
from transcribed.options import Pace, Stability, StreamOptions
from transcribed.transcript import Segment
from transcribed.wire.results import transcript_event

Read = Callable[[str], Samples]
Item = dict[str, Any]
ACTIVE = [Stability.LOW, Stability.MEDIUM, Stability.HIGH]
OPTIONS = [StreamOptions(pace, stability) for pace in Pace for stability in ACTIVE] + [
    StreamOptions(Pace.FAST)
]
RECORDINGS = ["test.wav", "jfk.mp3", "common_voice.mp3", "telephone.wav", "steamers.ogg", "trumpet.ogg"]


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: f"{o.pace.value}-{o.stability.name}")
def test_a_stable_item_never_changes_and_items_are_the_transcript(
    moonshine: SegmentEngine, samples: Read, options: StreamOptions, name: str
) -> None:
    split = Random(f"{name} {options}")
    sizes = [round(SAMPLE_RATE ** split.random()) for _ in range(200)]
    said = _checked(moonshine.open(options), samples(name), sizes, idle=split.random() < 0.5)
    assert bool(said) == (name != "trumpet.ogg")


@pytest.mark.parametrize("stability", ACTIVE)
@settings(max_examples=4, deadline=None, derandomize=True, phases=[Phase.generate])
@given(sizes=st.lists(st.integers(100, SAMPLE_RATE), min_size=1, max_size=30), idle=st.booleans())
def test_so_it_is_however_the_audio_is_cut(
    moonshine: SegmentEngine, samples: Read, stability: Stability, sizes: list[int], idle: bool
) -> None:
    assert _checked(
        moonshine.open(StreamOptions(stability=stability)), samples("test.wav"), sizes, idle=idle
    )


def _checked(
    stream: SegmentStream, audio: Samples, sizes: Sequence[int], *, idle: bool
) -> list[tuple[Hypothesis, dict[str, Any]]]:
    said = list(_said(stream, audio, cycle(sizes), idle))
    for hypothesis, result in said:
        (alternative,) = result["Alternatives"]
        assert _joined(alternative["Items"]) == alternative["Transcript"]
        marks = [item.get("Stable") for item in alternative["Items"]]
        if None in marks:
            assert set(marks) == {None}
        else:
            assert marks == sorted(marks, reverse=True), "items settle from the first on"
            assert not hypothesis.final or all(marks)
    for (one, before), (following, after) in pairwise(said):
        if one.segment == following.segment:
            _check_kept(before["Alternatives"][0]["Items"], after["Alternatives"][0]["Items"])
    return said


def _check_kept(before: Sequence[Item], after: Sequence[Item]) -> None:
    stable = [item for item in before if item.get("Stable")]
    assert len(after) >= len(stable)
    for item, later in zip(stable, after, strict=False):
        assert item.items() <= later.items(), "a stable item has changed"


def _said(
    stream: SegmentStream, audio: Samples, sizes: Iterable[int], idle: bool
) -> Iterator[tuple[Hypothesis, dict[str, Any]]]:
    """All that is said of audio that comes in chunks of these sizes, by a machine that is idle or not."""
    start = 0
    for size in sizes:
        if start >= len(audio):
            break
        stream.accept(audio[start : start + size])
        start += size
        yield from _stepped(stream, idle)
    stream.finish()
    yield from _stepped(stream, idle)


def _stepped(stream: SegmentStream, idle: bool) -> Iterator[tuple[Hypothesis, dict[str, Any]]]:
    while (following := stream.next_step()) is not None and (idle or following.kind is not StepKind.AHEAD):
        for said in stream.step(Effort.FULL):
            segment = Segment(
                "3f", said.segment, said.start, said.end, said.text, said.final, "en-US", said.words
            )
            (result,) = transcript_event(segment)["Transcript"]["Results"]
            yield said, result


def _joined(items: Sequence[Item]) -> str:
    """By Amazon's rule, as its users apply it."""
    text = ""
    for item in items:
        text += f" {item['Content']}" if text and item["Type"] == "pronunciation" else item["Content"]
    return text
