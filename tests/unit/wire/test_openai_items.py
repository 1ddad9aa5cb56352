"""Items of OpenAI's realtime sessions: the order of their events, and that they have all that was said."""

import itertools
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from realtime_contract import Contract

from transcribed.errors import EngineFailure
from transcribed.transcript import LiveEvent, Segment, SpeechEnded, SpeechStarted, Word
from transcribed.wire.openai_items import Items, ServerEvent, Turns

SILENCE = 0.5
CLIENT = Turns(committed_here=False)
SERVER = Turns(silence=SILENCE)


@dataclass(frozen=True)
class Speech:
    """What is said between two silences; `parts` are cut from running speech. An empty part is noise."""

    parts: tuple[tuple[str, ...], ...]
    settled: tuple[int, ...]
    seconds: float
    silence: float


WORDS = st.sampled_from(["I", "say", "it.", "Yes,", "well", "12"])
PARTS = st.lists(st.lists(WORDS, max_size=5).map(tuple), min_size=1, max_size=3).map(tuple)
SPEECHES = st.builds(
    Speech,
    PARTS,
    st.lists(st.integers(0, 5), max_size=4).map(lambda each: tuple(sorted(each))),
    st.floats(0.2, 5),
    st.floats(SILENCE, 3),
)
RUNS = st.lists(st.lists(SPEECHES, max_size=3), min_size=1, max_size=4)
ENDS = st.sampled_from(["commit", "commit twice", "pause", "clear", "switch", "fail"])


class Recogniser:
    """The events of recognition of a session whose client says some speeches."""

    def __init__(self, *, turns: bool) -> None:
        self.at = 0.0
        self.said: list[str] = []
        self._turns = turns
        self._numbers = itertools.count()

    def hear(self, speech: Speech) -> list[LiveEvent]:
        events: list[LiveEvent] = [SpeechStarted(self.at)]
        start = self.at
        self.at += speech.seconds
        for part in speech.parts:
            number = next(self._numbers)
            events += [
                self._segment(number, start, part, settled, final=False) for settled in speech.settled
            ]
            final = self._segment(number, start, part, len(part), final=True)
            events.append(final)
            self.said += [final.text] if final.text else []
        events.insert(-1, SpeechEnded(self.at))
        self.at += speech.silence
        return events if self._turns else [each for each in events if isinstance(each, Segment)]

    def _segment(
        self, number: int, start: float, texts: tuple[str, ...], settled: int, *, final: bool
    ) -> Segment:
        words = tuple(Word(text, start, self.at, 0.9, stable=i < settled) for i, text in enumerate(texts))
        return Segment("s", number, start, self.at, " ".join(texts), final, "en-US", words)


def _session(turns: Turns) -> tuple[Items, Contract]:
    numbers = itertools.count()
    return Items(lambda: f"item_{next(numbers)}", turns), Contract(greeted=True)


def _check(contract: Contract, events: list[ServerEvent]) -> None:
    for event in events:
        contract.check(event)


@given(RUNS, st.lists(ENDS, min_size=4, max_size=4), st.booleans(), st.booleans())
def test_whatever_is_said_and_asked_the_events_keep_their_order(
    runs: list[list[Speech]], ends: list[str], turns: bool, logprobs: bool
) -> None:
    way = replace(SERVER if turns else CLIENT, logprobs=logprobs)
    items, contract = _session(way)
    at = 0.0
    for run, end in zip(runs, ends, strict=False):
        recogniser = Recogniser(turns=items.turns.committed_here)
        recogniser.at = at
        for event in [each for speech in run for each in recogniser.hear(speech)]:
            _check(contract, items.on(event))
        at = recogniser.at
        if end == "clear":
            items.forget()
        if end == "fail":
            _check(contract, items.fail(at, EngineFailure("it fell over")))
            continue
        _check(contract, items.end(at))
        match end:
            case "commit" | "commit twice":
                for _ in range(end.count(" ") + 1):
                    _check(contract, items.commit(at))
            case "pause":
                items.let_go(at)
            case "clear":
                _check(contract, items.clear(at))
            case "switch":
                other = CLIENT if items.turns.committed_here else SERVER
                _check(contract, items.switch(at, replace(other, logprobs=logprobs)))
    if items.turns.committed_here:
        contract.check_end()


@given(st.lists(SPEECHES, max_size=5), st.booleans())
def test_the_items_have_all_that_was_said(speeches: list[Speech], turns: bool) -> None:
    items, contract = _session(replace(SERVER if turns else CLIENT, logprobs=True))
    recogniser = Recogniser(turns=turns)
    events = [told for speech in speeches for event in recogniser.hear(speech) for told in items.on(event)]
    events += [*items.end(recogniser.at), *items.commit(recogniser.at)]
    _check(contract, events)
    contract.check_end()
    for event in events:
        if "logprobs" in event:
            text = event.get("delta", event.get("transcript"))
            assert "".join(one["token"] for one in event["logprobs"]) == text
    assert " ".join(filter(None, contract.transcripts)) == " ".join(recogniser.said)
    assert len(contract.items) >= (len(speeches) if turns else bool(speeches))
    for item in contract.items.values():
        assert item.told == item.transcript, "the last delta is the rest"


def _types(events: list[ServerEvent]) -> list[str]:
    short = {"input_audio_buffer.": "", "conversation.item.": "", "input_audio_transcription.": ""}
    kinds = []
    for event in events:
        kind = event["type"]
        for long, brief in short.items():
            kind = kind.replace(long, brief)
        kinds.append(kind)
    return kinds


ONE = Speech((("I", "say", "it."),), (1, 3), 2, 1)


def _told(items: Items, events: list[LiveEvent]) -> list[ServerEvent]:
    return [told for event in events for told in items.on(event)]


def test_the_turn_of_a_speaker() -> None:
    items, contract = _session(SERVER)
    events = _told(items, Recogniser(turns=True).hear(ONE))
    assert _types(events) == [
        *("speech_started", "delta", "delta", "speech_stopped", "committed", "added", "completed", "done")
    ]
    _check(contract, events)
    assert contract.transcripts == ["I say it."]
    assert events[0]["audio_start_ms"] == 0
    assert events[3]["audio_end_ms"] == 2000
    assert events[6]["usage"] == {"type": "duration", "seconds": 2.0}


def test_the_padding_of_a_turn_is_before_its_speech() -> None:
    items, _ = _session(replace(SERVER, padding=0.25))
    (started,) = items.on(SpeechStarted(1.0))
    assert started["audio_start_ms"] == 750


def test_the_beta_has_names_of_its_own() -> None:
    items, contract = _session(replace(SERVER, beta=True))
    events = _told(items, Recogniser(turns=True).hear(ONE))
    assert _types(events)[-3:] == ["committed", "created", "completed"]
    _check(contract, events)


def test_noise_is_an_item_without_words() -> None:
    items, contract = _session(SERVER)
    _check(contract, _told(items, Recogniser(turns=True).hear(Speech(((),), (), 1, 1))))
    contract.check_end()
    assert contract.transcripts == [""]


def test_a_speech_without_a_final_ends_with_the_next() -> None:
    items, contract = _session(SERVER)
    for event in (SpeechStarted(0), SpeechEnded(1), SpeechStarted(2), SpeechEnded(3)):
        _check(contract, items.on(event))
    _check(contract, items.end(4))
    contract.check_end()
    assert contract.transcripts == ["", ""]


@pytest.mark.parametrize("turns", [SERVER, CLIENT])
@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.099])
def test_a_commit_of_nothing_is_an_error_that_names_its_event(turns: Turns, seconds: float) -> None:
    items, contract = _session(turns)
    _check(contract, items.commit(seconds, "event_1"))
    (error,) = contract.errors
    assert error["code"] == "input_audio_buffer_commit_empty"
    assert error["event_id"] == "event_1"
    assert not contract.items


def test_a_commit_after_speech_that_it_has_ended_itself_says_no_more() -> None:
    items, contract = _session(SERVER)
    speech = Recogniser(turns=True).hear(replace(ONE, silence=0))
    _check(contract, _told(items, speech))
    _check(contract, items.end(2))
    assert items.commit(2) == []
    assert items.commit(2)[0]["type"] == "error", "the second has nothing to commit"
    assert len(contract.items) == 1


@pytest.mark.parametrize("end", ["pause", "change", "failure"])
def test_a_commit_after_speech_that_something_else_has_ended_has_nothing_to_commit(end: str) -> None:
    items, contract = _session(SERVER)
    _check(contract, _told(items, Recogniser(turns=True).hear(replace(ONE, silence=0))[:-2]))
    match end:
        case "pause":
            _check(contract, items.end(2))
            items.let_go(2)
        case "change":
            _check(contract, [*items.end(2), *items.switch(2, SERVER)])
        case "failure":
            _check(contract, items.fail(2, EngineFailure("it fell over")))
    _check(contract, items.commit(2))
    assert [error["code"] for error in contract.errors] == ["input_audio_buffer_commit_empty"]


def test_a_commit_after_the_server_has_committed_commits_the_silence_since() -> None:
    items, contract = _session(SERVER)
    _check(contract, _told(items, Recogniser(turns=True).hear(ONE)))
    _check(contract, items.end(3))
    _check(contract, items.commit(3))
    assert contract.transcripts == ["I say it.", ""]


def test_what_was_said_before_a_clear_is_forgotten_unless_it_was_committed() -> None:
    items, contract = _session(SERVER)
    recogniser = Recogniser(turns=True)
    _check(contract, _told(items, recogniser.hear(ONE)))
    second = recogniser.hear(ONE)
    _check(contract, _told(items, second[:2]))
    items.forget()
    _check(contract, _told(items, second[2:] + recogniser.hear(ONE)))
    _check(contract, items.end(recogniser.at))
    items.forget()
    _check(contract, items.clear(recogniser.at))
    assert contract.transcripts == ["I say it."]
    _check(contract, items.commit(recogniser.at))
    assert [error["code"] for error in contract.errors] == ["input_audio_buffer_commit_empty"]
    _check(contract, _told(items, recogniser.hear(ONE)))
    assert contract.transcripts == ["I say it."] * 2


def test_words_that_differ_from_what_was_told_are_not_told_again() -> None:
    items, _ = _session(CLIENT)
    heard = Segment("s", 0, 0, 1, "I say", False, "en-US", (Word("I", stable=True), Word("say")))
    final = replace(heard, text="Eye say", final=True, words=(Word("Eye"), Word("say")))
    assert [event["delta"] for event in items.on(heard)] == ["I"]
    assert items.on(final) == []
    completed = items.commit(1)[-2]
    assert completed["transcript"] == "Eye say"


def test_log_probabilities_are_those_of_the_words() -> None:
    items, contract = _session(replace(SERVER, logprobs=True))
    events = _told(items, Recogniser(turns=True).hear(ONE))
    _check(contract, events)
    in_deltas: list[dict[str, Any]] = [
        one for event in events if event["type"].endswith("delta") for one in event["logprobs"]
    ]
    (completed,) = [event for event in events if event["type"].endswith("completed")]
    assert in_deltas == completed["logprobs"]
    assert "".join(one["token"] for one in in_deltas) == completed["transcript"]
    assert all(bytes(one["bytes"]).decode() == one["token"] for one in in_deltas)
    assert {one["logprob"] for one in in_deltas} == {-0.105361}


def test_a_failure_in_speech_fails_its_item_and_else_is_an_error() -> None:
    items, contract = _session(SERVER)
    _check(contract, items.on(SpeechStarted(0)))
    _check(contract, items.fail(1, EngineFailure("it fell over")))
    assert [item.failed for item in contract.items.values()] == [True]
    _check(contract, items.fail(1, EngineFailure("it fell over")))
    assert contract.errors[0]["type"] == "server_error"
    contract.check_end()
