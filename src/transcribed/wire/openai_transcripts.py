"""Transcripts of files as OpenAI's clients read them: whole, or as server-sent events.

The shapes are those of the package `openai` 3.57 (`Transcription`, `TranscriptionVerbose`,
`TranscriptionDiarized`, `TranscriptionStreamEvent`).
"""

import json
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from string import ascii_uppercase
from typing import Any

from transcribed.transcript import Segment, Word
from transcribed.wire.languages import name_of
from transcribed.wire.openai import Error, error_body
from transcribed.wire.openai_request import FileRequest
from transcribed.wire.subtitles import srt, vtt

JSON, TEXT, VTT = "application/json", "text/plain; charset=utf-8", "text/vtt; charset=utf-8"
KEEP_ALIVE = ": \n\n"
"""A server-sent comment, for connections that would be closed because nothing comes."""
END = "data: [DONE]\n\n"
"""The last server-sent event."""

_LEAST_PROBABILITY = 1e-6


@dataclass
class FileTranscript:
    """The transcript of a file while it grows. Its text is the texts of the finals, joined by spaces.

    `language` is that of the audio if no segment says another one.
    """

    request: FileRequest
    language: str
    _finals: list[Segment] = field(default_factory=list, init=False)
    _speakers: dict[str, str] = field(default_factory=dict, init=False)
    _turns: int = field(default=0, init=False)

    def add(self, final: Segment) -> list[str]:
        """Add a final segment. Returns its server-sent events: all deltas, joined, are the text so far."""
        if not final.text:
            return []
        before = " " if self._finals else ""
        self._finals.append(final)
        if self.request.response_format == "diarized_json":
            return self._diarized_events(final, before)
        delta: dict[str, Any] = {"type": "transcript.text.delta", "delta": before + final.text}
        return [_event(delta | self._logprobs([final], before))]

    def done(self, seconds: float) -> list[str]:
        """The server-sent events at the end. `seconds` is the length of the audio."""
        done = {"type": "transcript.text.done", "text": self.text, "usage": _usage(seconds)}
        if self.request.response_format == "verbose_json":
            done |= self._verbose(seconds)
        return [_event(done | self._logprobs(self._finals)), END]

    @property
    def text(self) -> str:
        """The text so far."""
        return " ".join(segment.text for segment in self._finals)

    def response(self, seconds: float) -> tuple[str, str]:
        """The whole response and its media type. `seconds` is the length of the audio."""
        match self.request.response_format:
            case "text":
                return f"{self.text}\n", TEXT
            case "srt":
                return srt(self._finals), TEXT
            case "vtt":
                return vtt(self._finals), VTT
            case "verbose_json":
                return _dumped(self._verbose(seconds)), JSON
            case "diarized_json":
                return _dumped(self._diarized(seconds)), JSON
            case _:
                body = {"text": self.text, "usage": _usage(seconds)} | self._logprobs(self._finals)
                return _dumped(body), JSON

    # --- Parts of responses

    def _logprobs(self, segments: Sequence[Segment], before: str = "") -> dict[str, Any]:
        if not self.request.logprobs:
            return {}
        return {"logprobs": list(logprobs(segments, before))}

    def _verbose(self, seconds: float) -> dict[str, Any]:
        language = self._finals[0].language if self._finals else self.language
        body: dict[str, Any] = {
            "task": "translate" if self.request.translate else "transcribe",
            "language": name_of(language),
            "duration": round(seconds, 3),
            "text": self.text,
            "usage": _usage(seconds),
        }
        if "segment" in self.request.granularities:
            body["segments"] = [_segment(number, each) for number, each in enumerate(self._finals)]
        if "word" in self.request.granularities:
            body["words"] = [_word(word, each) for each in self._finals for word in each.words]
        return body

    def _diarized(self, seconds: float) -> dict[str, Any]:
        self._turns = 0
        return {
            "task": "transcribe",
            "duration": round(seconds, 3),
            "text": self.text,
            "segments": [turn for final in self._finals for turn in self._said_by(final)],
            "usage": _usage(seconds),
        }

    def _diarized_events(self, final: Segment, before: str) -> list[str]:
        events = []
        for turn in self._said_by(final):
            delta = {"type": "transcript.text.delta", "delta": before + turn["text"]}
            events += [_event(delta | {"segment_id": turn["id"]}), _event(turn)]
            before = " "
        return events

    def _said_by(self, final: Segment) -> Iterator[dict[str, Any]]:
        """The turns of speakers in a segment. Words without a speaker belong to the turn before them."""
        speaker = next((word.speaker for word in final.words if word.speaker is not None), None)
        spoken: list[tuple[str | None, Word]] = []
        for word in final.words:
            speaker = speaker if word.speaker is None else word.speaker
            spoken.append((speaker, word))
        for label, group in groupby(spoken, lambda pair: pair[0]):
            words = [word for _, word in group]
            yield self._turn(
                label,
                " ".join(word.text for word in words),
                next((word.start for word in words if word.start is not None), final.start),
                next((word.end for word in reversed(words) if word.end is not None), final.end),
            )
        if not spoken:
            yield self._turn(None, final.text, final.start, final.end)

    def _turn(self, label: str | None, text: str, start: float, end: float) -> dict[str, Any]:
        number, self._turns = self._turns, self._turns + 1
        return {
            "type": "transcript.text.segment",
            "id": f"seg_{number}",
            "start": round(start, 3),
            "end": round(end, 3),
            "speaker": self._letter(label or ""),
            "text": text,
        }

    def _letter(self, label: str) -> str:
        """The speaker's name: A for the first who speaks."""
        number = len(self._speakers)
        letter = ascii_uppercase[number] if number < len(ascii_uppercase) else str(number)
        return self._speakers.setdefault(label, letter)


def failed(error: Error) -> str:
    """The server-sent event for an error, after which nothing follows."""
    return _event(error_body(error))


def logprobs(segments: Sequence[Segment], before: str = "") -> Iterator[dict[str, Any]]:
    """The words as tokens, with the logarithms of their confidences; joined, `before` and the text.

    Words without a confidence have no `logprob`.
    """
    for segment in segments:
        for word in segment.words:
            token = before + word.text
            logprob = {} if word.confidence is None else {"logprob": _logarithm(word.confidence)}
            yield {"token": token, "bytes": list(token.encode())} | logprob
            before = " "


def _logarithm(probability: float) -> float:
    return round(math.log(max(probability, _LEAST_PROBABILITY)), 6)


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    known = [_logarithm(word.confidence) for word in segment.words if word.confidence is not None]
    content = segment.text.encode()
    return {
        "id": number,
        "seek": 0,
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(sum(known) / len(known), 6) if known else 0.0,
        "compression_ratio": round(len(content) / len(zlib.compress(content)), 4),
        "no_speech_prob": 0.0,
    }


def _word(word: Word, segment: Segment) -> dict[str, Any]:
    """A word with its times; without them, those of its segment."""
    start = segment.start if word.start is None else word.start
    end = segment.end if word.end is None else word.end
    return {"word": word.text, "start": round(start, 3), "end": round(end, 3)}


def _usage(seconds: float) -> dict[str, Any]:
    return {"type": "duration", "seconds": math.ceil(seconds)}


def _event(content: dict[str, Any]) -> str:
    return f"data: {_dumped(content)}\n\n"


def _dumped(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
