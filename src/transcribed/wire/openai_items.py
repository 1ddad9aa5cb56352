"""The items of a realtime session of OpenAI's, from the events of recognition to the server's events. Pure.

An item is one speech if the server commits (`turn_detection`), and otherwise what was said between two
commits of the client. The deltas of an item only grow: they contain settled words, and joined they are the
beginning of its transcript.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from transcribed.errors import BadRequest, TranscribedError
from transcribed.transcript import LiveEvent, Segment, SpeechEnded, SpeechStarted, Word
from transcribed.wire.openai import Error, openai_error

ServerEvent = dict[str, Any]
"""An event for the client, without its `event_id`."""

SHORTEST_COMMIT = 0.1
"""The least audio that can be committed, in seconds."""

_USUAL_SILENCE = 0.6
_TRANSCRIPTION = "conversation.item.input_audio_transcription"
_LEAST_CONFIDENCE = 1e-6


@dataclass(frozen=True, slots=True)
class Turns:
    """How items are made of speech.

    `committed_here`: an item ends with speech; otherwise the client commits. `padding` and `silence` are
    the seconds before speech that belong to it, and those that end it (None: the engine's own).
    `logprobs`: the log probabilities of words are told. `beta`: events have the names of the beta.
    """

    committed_here: bool = True
    padding: float = 0.3
    silence: float | None = None
    logprobs: bool = False
    beta: bool = False


@dataclass(slots=True)
class _Item:
    id: str
    start: float
    end: float | None = None
    """Where its speech ended, in seconds; None before."""
    text: str = ""
    """The text of its finals."""
    words: list[Word] = field(default_factory=list)
    """The words of its finals, if their log probabilities are told."""
    told: str = ""
    """All deltas."""
    words_told: int = 0
    previous: str | None = None
    """The id of the item before it."""


class Items:
    """The items of one session. Times are in seconds from its first audio.

    `turns` may change between two streams. `new_id` returns another id for each item.
    """

    def __init__(self, new_id: Callable[[], str], turns: Turns | None = None) -> None:
        self.turns = turns or Turns()
        self._new_id = new_id
        self._item: _Item | None = None
        self._previous: str | None = None
        self._committed = 0.0
        """Where the audio that has been committed ends. After speech, that is after the silence that ends
        it, and so beyond the audio if the audio ended first."""
        self._forgetting = False

    # --- Recognition

    def on(self, event: LiveEvent) -> list[ServerEvent]:
        """The events of the session that follow from an event of recognition."""
        match event:
            case SpeechStarted(at=at) if self.turns.committed_here and not self._forgetting:
                return [*self._complete(), *self._start(at)]
            case SpeechEnded(at=at) if self.turns.committed_here and self._item and self._item.end is None:
                return self._stop(self._item, at)
            case Segment():
                return self._on_segment(event)
        return []

    def _on_segment(self, segment: Segment) -> list[ServerEvent]:
        events: list[ServerEvent] = []
        if self._item is None:
            if self._forgetting or not segment.text:
                return []
            events = self._start(segment.start)
        item = self._item
        assert item is not None  # noqa: S101 - started above
        if not segment.final:
            settled = [word for word in segment.words if word.stable]
            return [*events, *self._grow(item, _joined(item, settled), settled)]
        item.text = " ".join(filter(None, (item.text, segment.text)))
        events += self._grow(item, item.text, segment.words)
        item.words += segment.words if self.turns.logprobs else ()
        return [*events, *(self._complete() if item.end is not None else ())]

    def end(self, at: float) -> list[ServerEvent]:
        """The audio of a stream has ended `at` this time, and all events of recognition have come."""
        self._forgetting = False
        item = self._item
        if item is None or not self.turns.committed_here:
            return []
        stopped = self._stop(item, at) if item.end is None else []
        return [*stopped, *self._complete()]

    def fail(self, at: float, error: TranscribedError) -> list[ServerEvent]:
        """The stream has failed `at` this time. What it has recognised remains in the client's own item."""
        self._forgetting = False
        told = openai_error(error)
        item = self._item
        if item is None or not self.turns.committed_here:
            return [error_event(told)]
        self._item = None
        stopped = self._stop(item, at) if item.end is None else []
        self.let_go(at)
        failed = {"item_id": item.id, "content_index": 0, "error": told.model_dump()}
        return [*stopped, {"type": f"{_TRANSCRIPTION}.failed", **failed}]

    # --- The client

    def commit(self, at: float, event_id: str | None = None) -> list[ServerEvent]:
        """The client has committed the audio, which ends `at` this time; its stream has ended."""
        if self.turns.committed_here and self._committed > at:
            self._committed = at  # The end of the audio has ended the speech, whose item was committed.
            return []
        if at - self._committed < SHORTEST_COMMIT:
            return [error_event(_nothing_to_commit(at - self._committed), event_id)]
        item = self._item or _Item(self._new_id(), self._committed)
        self._item, item.end = item, at
        item.start = self._committed
        self._committed = at
        return [*self._commit(item), *self._complete()]

    def let_go(self, at: float) -> None:
        """The audio has paused `at` this time, and no commit of the client is what ended it."""
        self._committed = min(self._committed, at)

    def forget(self) -> None:
        """The client has cleared the audio: nothing of the running stream is told that is not committed."""
        self._forgetting = True
        if self._item is not None and self._item.end is None:
            self._item = None

    def clear(self, at: float) -> list[ServerEvent]:
        """The audio since the last commit is forgotten. It ends `at` this time; its stream has ended."""
        self.forget()
        self._forgetting = False
        self._committed = at
        return [{"type": "input_audio_buffer.cleared"}]

    def switch(self, at: float, turns: Turns) -> list[ServerEvent]:
        """Change `turns` where the audio so far ends `at` this time. What was said is committed before."""
        events = []
        if self._item is not None and turns.committed_here and not self.turns.committed_here:
            events = self.commit(at)
        self.turns = turns
        self.let_go(at)
        return events

    # --- The life of an item

    def _start(self, at: float) -> list[ServerEvent]:
        item = self._item = _Item(self._new_id(), max(0.0, at - self.turns.padding))
        if not self.turns.committed_here:
            return []
        started = {"audio_start_ms": _milliseconds(item.start), "item_id": item.id}
        return [{"type": "input_audio_buffer.speech_started", **started}]

    def _stop(self, item: _Item, at: float) -> list[ServerEvent]:
        item.end = max(at, item.start)
        silence = _USUAL_SILENCE if self.turns.silence is None else self.turns.silence
        self._committed = at + silence
        stopped = {"audio_end_ms": _milliseconds(item.end), "item_id": item.id}
        return [{"type": "input_audio_buffer.speech_stopped", **stopped}, *self._commit(item)]

    def _commit(self, item: _Item) -> list[ServerEvent]:
        item.previous, self._previous = self._previous, item.id
        added = {"previous_item_id": item.previous, "item": _conversation_item(item.id, None)}
        kind = "conversation.item.created" if self.turns.beta else "conversation.item.added"
        committed = {"previous_item_id": item.previous, "item_id": item.id}
        return [{"type": "input_audio_buffer.committed", **committed}, {"type": kind, **added}]

    def _grow(self, item: _Item, text: str, words: Sequence[Word]) -> list[ServerEvent]:
        """The delta to `text`, of which `words` are those after the item's finals."""
        if not text.startswith(item.told) or text == item.told:
            return []
        delta = {"item_id": item.id, "content_index": 0, "delta": text[len(item.told) :]}
        if self.turns.logprobs:
            told = item.words_told - len(item.words)
            delta["logprobs"] = _logprobs(words[told:], first=item.words_told == 0)
            item.words_told = len(item.words) + len(words)
        item.told = text
        return [{"type": f"{_TRANSCRIPTION}.delta", **delta}]

    def _complete(self) -> list[ServerEvent]:
        item, self._item = self._item, None
        if item is None or item.end is None:
            return []
        if item.told.startswith(item.text):
            item.text = item.told  # The stream ended without the final of words that have settled.
        seconds = round(item.end - item.start, 3)
        completed: ServerEvent = {"item_id": item.id, "content_index": 0, "transcript": item.text}
        completed["usage"] = {"type": "duration", "seconds": seconds}
        if self.turns.logprobs:
            completed["logprobs"] = _logprobs(item.words)
        events = [{"type": f"{_TRANSCRIPTION}.completed", **completed}]
        if not self.turns.beta:
            done = {"previous_item_id": item.previous, "item": _conversation_item(item.id, item.text)}
            events.append({"type": "conversation.item.done", **done})
        return events


def error_event(error: Error, event_id: str | None = None) -> ServerEvent:
    """An error; `event_id` is the id of the client's event that caused it."""
    return {"type": "error", "error": {**error.model_dump(), "event_id": event_id}}


def _nothing_to_commit(seconds: float) -> Error:
    told = openai_error(
        BadRequest(
            f"The audio buffer is too small to commit: it has {max(0.0, seconds) * 1000:.0f} ms of audio, "
            f"and needs {SHORTEST_COMMIT * 1000:.0f} ms. Append audio first."
        )
    )
    return told.model_copy(update={"code": "input_audio_buffer_commit_empty"})


def _joined(item: _Item, settled: Sequence[Word]) -> str:
    return " ".join(filter(None, (item.text, *(word.text for word in settled))))


def _conversation_item(item_id: str, transcript: str | None) -> dict[str, Any]:
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "role": "user",
        "status": "completed",
        "content": [{"type": "input_audio", "transcript": transcript}],
    }


def _logprobs(words: Sequence[Word], *, first: bool = True) -> list[dict[str, Any]]:
    """The words as tokens, with the space before each but the `first` of all."""
    tokens = [f" {word.text}" for word in words]
    if first and words:
        tokens[0] = words[0].text
    return [
        {"token": token, "bytes": list(token.encode()), "logprob": _logprob(word.confidence)}
        for token, word in zip(tokens, words, strict=True)
    ]


def _logprob(confidence: float | None) -> float:
    return 0.0 if confidence is None else round(math.log(max(confidence, _LEAST_CONFIDENCE)), 6)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
