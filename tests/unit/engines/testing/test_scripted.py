import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.audio.formats import silence
from transcribed.engines.base import Effort, Hypothesis, LocalStream, NextStep, StepKind
from transcribed.engines.testing.levels import LevelEngine, LevelScript
from transcribed.engines.testing.scripted import Script, ScriptedEngine, load
from transcribed.errors import ConfigurationError, EngineFailure
from transcribed.options import Capabilities, StreamOptions
from transcribed.transcript import Word


def _open(*events: dict[str, Any]) -> LocalStream:
    return ScriptedEngine(Script.model_validate({"events": events})).open(StreamOptions())


def _said(stream: LocalStream) -> list[Hypothesis]:
    said: list[Hypothesis] = []
    while stream.next_step() is not None:
        said += stream.step(Effort.ALONE)
    return said


def test_says_exactly_what_the_script_says_when_it_says_it() -> None:
    stream = _open(
        {"at": 0.5, "text": "This is a"},
        {"at": 1.0, "text": "This is a test.", "final": True},
        {"at": 1.0, "text": "And"},
        {"at": "end", "text": "And another.", "final": True},
    )
    assert _said(stream) == []
    stream.accept(silence(0.4))
    assert _said(stream) == []
    stream.accept(silence(0.1))
    assert [h.text for h in _said(stream)] == ["This is a"]
    stream.accept(silence(1.0))
    assert stream.next_step() == NextStep(StepKind.FINAL, since=1.0)
    assert [(h.text, h.segment, h.final) for h in _said(stream)] == [
        ("This is a test.", 0, True),
        ("And", 1, False),
    ]
    assert stream.backlog == 0.0
    stream.finish()
    assert _said(stream) == [
        Hypothesis(
            1,
            1.0,
            1.5,
            "And another.",
            final=True,
            words=(Word("And", 1.0, 1.25, confidence=1.0), Word("another.", 1.25, 1.5, confidence=1.0)),
        )
    ]


def test_what_is_due_later_than_the_audio_lasts_is_not_said() -> None:
    stream = _open(
        {"at": 0.5, "text": "a"}, {"at": 2.0, "text": "b"}, {"at": "end", "text": "c", "final": True}
    )
    stream.accept(silence(1.0))
    stream.finish()
    assert [h.text for h in _said(stream)] == ["a"]


def test_fails_where_the_script_fails() -> None:
    stream = _open({"at": 0.5, "text": "a"}, {"at": 0.5, "error": "the recogniser fell over"})
    stream.accept(silence(1.0))
    assert [h.text for h in stream.step(Effort.ALONE)] == ["a"]
    with pytest.raises(EngineFailure, match="fell over"):
        stream.step(Effort.ALONE)


def test_each_stream_begins_at_the_start() -> None:
    engine = ScriptedEngine(Script.model_validate({"events": [{"at": 0.0, "text": "a"}]}))
    assert [h.text for _ in range(2) for h in _said(engine.open(StreamOptions()))] == ["a", "a"]


@given(st.lists(st.integers(1, 8_000), max_size=20))
def test_how_the_audio_is_cut_changes_nothing(cuts: list[int]) -> None:
    events = [{"at": n / 10, "text": f"word {n}", "final": n % 3 == 0} for n in range(10)]
    stream = _open(*events)
    said = []
    for samples in cuts:
        stream.accept(silence(samples / 16_000))
        said += _said(stream)
    due = [event for event in events if event["at"] <= sum(cuts) / 16_000] if cuts else []
    assert [(h.text, h.final) for h in said] == [(event["text"], event["final"]) for event in due]
    ends = [h.end for h in said]
    assert ends == sorted(ends)
    assert all(0 <= h.start <= h.end for h in said)


def test_a_script_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text(
        json.dumps({"language": "fr-FR", "events": [{"at": "end", "text": "Oui.", "final": True}]})
    )
    engine = load(path)
    assert engine.capabilities == Capabilities("scripted", ("fr-FR",))
    path.write_text('{"events": []}')
    assert load(path).capabilities.languages == ("en-US",)
    path.write_text('{"language": "fr-FR", "levels": ["oui"]}')
    assert load(path) == LevelEngine(LevelScript(language="fr-FR", levels=("oui",)))


@pytest.mark.parametrize(
    ("script", "place"),
    [
        ("", "JSON"),
        ("{}", "events"),
        ('{"events": [{"text": "a"}]}', "events.0.at"),
        ('{"events": [{"at": -1, "text": "a"}]}', "events.0.at"),
        ('{"events": [{"at": "later", "text": "a"}]}', "events.0.at"),
        ('{"events": [{"at": 1}]}', "either a text or an error"),
        ('{"events": [{"at": 1, "text": "a", "error": "b"}]}', "either a text or an error"),
        ('{"events": [{"at": 1, "text": "a", "finale": true}]}', "finale"),
        ('{"levels": ["a b"]}', "levels.0"),
        ('{"levels": ["a"], "events": []}', "events"),
        ("[]", "file"),
        ('{"events": [{"at": 2, "text": "a"}, {"at": 1, "text": "b"}]}', "in the order of their times"),
        ('{"events": [{"at": "end", "text": "a"}, {"at": 1, "text": "b"}]}', "in the order of their times"),
    ],
)
def test_a_wrong_script_is_refused_with_the_place(tmp_path: Path, script: str, place: str) -> None:
    path = tmp_path / "script.json"
    path.write_text(script)
    with pytest.raises(ConfigurationError, match=place) as refused:
        load(path)
    assert str(path) in refused.value.message


def test_a_script_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"script\.json cannot be read: No such file"):
        load(tmp_path / "script.json")
