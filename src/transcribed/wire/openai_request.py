"""The form of a request to OpenAI's `/audio/transcriptions` and `/audio/translations`.

The fields are those of the package `openai` 3.57 (`TranscriptionCreateParams`, `TranslationCreateParams`).
Names of lists may end in brackets, as the SDKs write them, or not. Other fields are ignored.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from transcribed.errors import InvalidField, MissingField, shown
from transcribed.options import (
    LONGEST_SILENCE,
    SHORTEST_SILENCE,
    Capabilities,
    StreamOptions,
    one_of,
)
from transcribed.wire.languages import matching
from transcribed.wire.openai import chosen_language
from transcribed.wire.prompt import phrases_of

UNUSED_FIELDS = ("known_speaker_",)
"""The beginnings of names of large fields that have no effect."""

ResponseFormat = Literal["json", "text", "srt", "verbose_json", "vtt", "diarized_json"]
Granularity = Literal["word", "segment"]

T = TypeVar("T", bound=str)

_FORMATS: tuple[ResponseFormat, ...] = get_args(ResponseFormat)
_GRANULARITIES: tuple[Granularity, ...] = get_args(Granularity)
_TRUTHS = {"true": True, "1": True, "false": False, "0": False, "": False}
_VAD, _MS = "server_vad", "silence_duration_ms"
_ENGLISH = "en"


@dataclass(frozen=True, slots=True)
class FileRequest:
    """A request for the transcript of a file.

    `model` is the name that the client sent, which may be unknown here. `languages` are hints. `silence` is
    the silence that ends a segment, in seconds.
    """

    model: str
    response_format: ResponseFormat = "json"
    language: str | None = None
    languages: tuple[str, ...] = ()
    prompt: str = ""
    keywords: tuple[str, ...] = ()
    granularities: frozenset[Granularity] = frozenset({"segment"})
    logprobs: bool = False
    stream: bool = False
    silence: float | None = None
    translate: bool = False

    def options(self, can: Capabilities) -> StreamOptions:
        """The options for an engine. What it cannot do has no effect, unless the response needs it.

        Raises InvalidField for an unknown language, and for speakers that the engine does not distinguish.
        """
        if self.response_format == "diarized_json" and not can.speaker_labels:
            raise InvalidField(
                f"{can.name} does not distinguish speakers. Ask for another response_format, such as "
                "verbose_json.",
                "response_format",
            )
        silence = self.silence if can.endpoint_silence else None
        return StreamOptions(
            language=self._english(can) if self.translate else self._language(can),
            phrases=phrases_of(self.prompt, self.keywords) if can.phrases else (),
            speaker_labels=self.response_format == "diarized_json",
            endpoint_silence=silence and min(max(silence, SHORTEST_SILENCE), LONGEST_SILENCE),
        )

    def _language(self, can: Capabilities) -> str | None:
        if self.language is not None or not self.languages:
            return chosen_language(self.language, can)
        known = [found for each in self.languages if (found := matching(each, can.languages)) is not None]
        return known[0] if known else chosen_language(self.languages[0], can, "languages")

    def _english(self, can: Capabilities) -> str:
        """The engine's English: where English is spoken, its transcript is the translation."""
        if self.language is not None and matching(self.language, ("en-US",)) is None:
            raise InvalidField(
                "This server does not translate: it transcribes English speech as English text. Ask for "
                "the transcript with /v1/audio/transcriptions.",
                "language",
            )
        found = matching(_ENGLISH, can.languages)
        if found is None:
            raise InvalidField(
                f"This server does not translate, and {can.name} does not recognise English.", "model"
            )
        return found


def file_request(fields: Iterable[tuple[str, str]], *, translate: bool = False) -> FileRequest:
    """A request from the names and values of the form's fields. Raises InvalidField and MissingField."""
    form = _Fields(fields)
    model = form.one("model")
    if model is None:
        raise MissingField(
            "The field `model` is missing. Any name will do, such as whisper-1: an unknown one means the "
            "default.",
            "model",
        )
    granularities = frozenset(
        form.choice("timestamp_granularities", value, _GRANULARITIES)
        for value in form.all("timestamp_granularities")
    )
    return FileRequest(
        model=model,
        response_format=form.choice("response_format", form.one("response_format") or "json", _FORMATS),
        language=form.one("language") or None,
        languages=form.all("languages"),
        prompt=form.one("prompt") or "",
        keywords=form.all("keywords"),
        granularities=granularities or frozenset({"segment"}),
        logprobs="logprobs" in form.all("include"),
        stream=not translate and form.truth("stream"),
        silence=_silence(form),
        translate=translate,
    )


class _Fields:
    """The fields of a form, by their names without brackets."""

    def __init__(self, fields: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in fields:
            self._values.setdefault(name.removesuffix("[]"), []).append(value)

    def one(self, name: str) -> str | None:
        """The value of a field, the last one if there are several; None if it is absent."""
        values = self._values.get(name)
        return values[-1].strip() if values else None

    def all(self, name: str) -> tuple[str, ...]:
        """The values of a list, without empty ones."""
        return tuple(value.strip() for value in self._values.get(name, ()) if value.strip())

    def choice(self, name: str, value: str, choices: tuple[T, ...]) -> T:
        """The value, which must be one of the choices."""
        for each in choices:
            if each == value:
                return each
        raise InvalidField(f"{name} is {shown(value)}. Ask for {one_of(choices)}.", name)

    def truth(self, name: str) -> bool:
        """Whether a field is true; an absent or empty one is false."""
        found = _TRUTHS.get((self.one(name) or "").lower())
        if found is None:
            raise InvalidField(f"{name} is {shown(self.one(name))}. Send true or false.", name)
        return found


def _silence(form: _Fields) -> float | None:
    """The silence of a chunking strategy, in seconds; it is "auto", or an object as JSON or in brackets."""
    text = form.one("chunking_strategy") or ""
    strategy: Any = {
        "type": form.one("chunking_strategy[type]"),
        _MS: form.one(f"chunking_strategy[{_MS}]"),
    }
    if text.startswith("{"):
        try:
            strategy = json.loads(text)
        except (ValueError, RecursionError):
            strategy = {}
    elif text or strategy["type"] is None:
        strategy = {"type": text or "auto"}
    kind, silence = strategy.get("type"), strategy.get(_MS)
    if kind not in ("auto", _VAD):
        raise InvalidField(
            f'chunking_strategy has the type {shown(kind)}. Send auto, or {{"type": "{_VAD}"}}.',
            "chunking_strategy",
        )
    if silence is None or kind != _VAD:
        return None
    try:
        seconds = float(silence) / 1000
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not seconds >= 0:
        raise InvalidField(
            f"{_MS} is {shown(silence)}. Send milliseconds, such as 500.", f"chunking_strategy[{_MS}]"
        )
    return seconds
