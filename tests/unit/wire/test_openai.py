"""OpenAI's requests and responses: what is read of a form, and what is written of a transcript."""

import json
import math
from typing import Any

import pytest

from transcribed.errors import InvalidField, MissingField
from transcribed.options import Capabilities, Phrase, StreamOptions
from transcribed.transcript import Segment, Word
from transcribed.wire.languages import matching, name_of
from transcribed.wire.openai import chosen_engine, chosen_language
from transcribed.wire.openai_request import file_request
from transcribed.wire.openai_transcripts import END, FileTranscript
from transcribed.wire.prompt import MOST_PHRASES, MOST_READ, phrases_of

MODEL = ("model", "whisper-1")
UNFIT: tuple[object, ...] = (-1, "soon", [], {}, math.nan, 10**400)
PLAIN = Capabilities("moonshine", ("en-US",), models=("base-en", "tiny-en"))
ABLE = Capabilities(
    "amazon",
    ("de-DE", "en-GB", "en-US"),
    phrases=True,
    endpoint_silence=True,
    speaker_labels=True,
)


def options(*fields: tuple[str, str], can: Capabilities = ABLE, translate: bool = False) -> StreamOptions:
    return file_request([MODEL, *fields], translate=translate).options(can)


# --- Requests


def test_a_form_with_a_model_alone_asks_for_nothing_else() -> None:
    asked = file_request([MODEL])
    assert (asked.response_format, asked.stream, asked.logprobs) == ("json", False, False)
    assert asked.granularities == {"segment"}
    assert asked.options(PLAIN) == StreamOptions()


@pytest.mark.parametrize("brackets", ["", "[]"])
def test_names_of_lists_may_have_brackets(brackets: str) -> None:
    asked = file_request(
        [
            (f"timestamp_granularities{brackets}", "word"),
            MODEL,
            (f"timestamp_granularities{brackets}", "segment"),
            (f"include{brackets}", "logprobs"),
            (f"include{brackets}", "something.new"),
            (f"keywords{brackets}", "Siobhan"),
            (f"keywords{brackets}", " "),
            ("vad_filter", "true"),
        ]
    )
    assert asked.granularities == {"word", "segment"}
    assert asked.logprobs
    assert asked.keywords == ("Siobhan",)


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ([], "model", "whisper-1"),
        ([MODEL, ("response_format", "xml")], "response_format", "verbose_json"),
        ([MODEL, ("stream", "maybe")], "stream", "true or false"),
        ([MODEL, ("timestamp_granularities[]", "letter")], "timestamp_granularities", "word or segment"),
        ([MODEL, ("chunking_strategy", "never")], "chunking_strategy", "auto"),
        ([MODEL, ("chunking_strategy", '{"type": ')], "chunking_strategy", "auto"),
        ([MODEL, ("chunking_strategy", '{"type": ["auto"]}')], "chunking_strategy", "auto"),
        ([MODEL, ("chunking_strategy", '{"type": {}}')], "chunking_strategy", "auto"),
        ([MODEL, ("chunking_strategy[type]", "semantic_vad")], "chunking_strategy", "server_vad"),
        *(
            (
                [
                    MODEL,
                    ("chunking_strategy", json.dumps({"type": "server_vad", "silence_duration_ms": ms})),
                ],
                "chunking_strategy[silence_duration_ms]",
                "milliseconds",
            )
            for ms in UNFIT
        ),
    ],
)
def test_what_a_field_cannot_be_is_told_with_its_name(
    fields: list[tuple[str, str]], param: str, says: str
) -> None:
    with pytest.raises(InvalidField, match=says) as raised:
        file_request(fields)
    assert raised.value.field == param
    assert isinstance(raised.value, MissingField) == (fields == [])


@pytest.mark.parametrize(("value", "expected"), [("true", True), ("True", True), ("1", True), ("", False)])
def test_a_truth_is_written_in_many_ways(value: str, expected: bool) -> None:
    assert file_request([MODEL, ("stream", value)]).stream is expected
    assert not file_request([MODEL, ("stream", value)], translate=True).stream


@pytest.mark.parametrize(
    ("fields", "silence"),
    [
        ([], None),
        ([("chunking_strategy", "auto")], None),
        ([("chunking_strategy", '{"type": "server_vad"}')], None),
        ([("chunking_strategy", '{"type": "server_vad", "silence_duration_ms": 700}')], 0.7),
        ([("chunking_strategy[type]", "server_vad"), ("chunking_strategy[silence_duration_ms]", "1")], 0.2),
        ([("chunking_strategy[type]", "server_vad"), ("chunking_strategy[silence_duration_ms]", "1e9")], 5),
    ],
)
def test_a_chunking_strategy_sets_the_silence(fields: list[tuple[str, str]], silence: float | None) -> None:
    assert options(*fields).endpoint_silence == silence
    assert options(*fields, can=PLAIN).endpoint_silence is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], None),
        ([("language", "")], None),
        ([("language", "de")], "de-DE"),
        ([("language", "en_us")], "en-US"),
        ([("languages[]", "fr"), ("languages[]", "en")], "en-GB"),
        ([("languages[]", "en"), ("language", "de")], "de-DE"),
    ],
)
def test_a_language_is_the_engines(fields: list[tuple[str, str]], expected: str | None) -> None:
    assert options(*fields).language == expected


@pytest.mark.parametrize("field", ["language", "languages"])
def test_a_language_that_the_engine_does_not_know_is_refused(field: str) -> None:
    with pytest.raises(InvalidField, match=r"'fr' is not recognised by amazon\. Ask for de-DE") as raised:
        options((field, "fr"))
    assert raised.value.field == field


def test_only_english_is_translated_and_only_to_english() -> None:
    assert options(translate=True).language == "en-GB"
    assert options(("language", "english"), translate=True).language == "en-GB"
    for field, can in (("language", ABLE), ("model", Capabilities("other", ("de-DE",)))):
        with pytest.raises(InvalidField, match="does not translate") as raised:
            options(*([("language", "de")] if field == "language" else []), can=can, translate=True)
        assert raised.value.field == field


def test_speakers_are_told_apart_where_the_engine_can() -> None:
    assert options(("response_format", "diarized_json")).speaker_labels
    with pytest.raises(InvalidField, match="verbose_json") as raised:
        options(("response_format", "diarized_json"), can=PLAIN)
    assert raised.value.field == "response_format"


def test_phrases_are_for_engines_that_favour_them() -> None:
    fields = ("prompt", "Siobhan, Niamh"), ("keywords[]", "kubectl apply")
    assert options(*fields).phrases == (Phrase("kubectl apply"), Phrase("Siobhan"), Phrase("Niamh"))
    assert options(*fields, can=PLAIN).phrases == ()


def test_every_unknown_model_means_the_default() -> None:
    loaded = [PLAIN, ABLE]
    for name in (None, "", "whisper-1", "gpt-4o-transcribe", "Systran/faster-whisper-small", "moonshine"):
        assert chosen_engine(name, loaded) == (PLAIN, None)
    assert chosen_engine("Amazon", loaded) == (ABLE, None)
    assert chosen_engine("Tiny-EN", [ABLE, PLAIN]) == (PLAIN, "tiny-en")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("en", "en-GB"),
        ("EN-us", "en-US"),
        ("English", "en-GB"),
        ("en-NZ", "en-GB"),
        ("e", None),
        ("fr", None),
    ],
)
def test_a_language_matches_by_its_prefix(asked: str, expected: str | None) -> None:
    assert matching(asked, ABLE.languages) == expected


def test_blank_means_no_language() -> None:
    assert chosen_language(" ", PLAIN) is None
    assert (name_of("en-US"), name_of("ckb-IQ")) == ("english", "ckb")


# --- The phrases of a prompt


@pytest.mark.parametrize(
    ("prompt", "phrases"),
    [
        ("", []),
        ("kubernetes, terraform; and Ansible", ["kubernetes", "terraform", "Ansible"]),
        (
            "Niamh O'Brien\nC++\nSão Paulo State University\n",
            ["Niamh O'Brien", "C++", "São Paulo State University"],
        ),
        (
            "The transcript is about OpenAI which makes technology like DALL·E, GPT-3, and ChatGPT.",
            ["OpenAI", "DALL E", "GPT-3", "ChatGPT"],
        ),
        ("In Vienna Maria Lopez met us. We talked, and I'm glad.", ["Vienna Maria Lopez"]),
        ("Hello, welcome to my lecture.", []),
        ("So, I went to the store, bought milk, and came back.", []),
        ("Umm, let me think like, hmm... Okay, here's what I'm, like, thinking.", []),
        ("WE ALL SHOUT IN THIS LONG TEXT, ALL OF US", []),
        ("--, ?!, ...", []),
        ("a\0b,\ud800x, X, x", ["a b", "x"]),
    ],
)
def test_a_prompt_has_the_phrases_that_look_like_names(prompt: str, phrases: list[str]) -> None:
    assert [phrase.text for phrase in phrases_of(prompt)] == phrases


def test_keywords_are_phrases_as_they_are() -> None:
    words = ["this whole sentence is one.", "AT&T", "at&t", "§", "x" * 300, ""]
    assert [phrase.text for phrase in phrases_of("", words)] == ["this whole sentence is one", "AT&T"]


def test_there_are_not_too_many_phrases() -> None:
    assert len(phrases_of(",".join(f"Name{number}" for number in range(5 * MOST_PHRASES)))) == MOST_PHRASES


def test_the_beginning_of_a_long_prompt_and_of_many_keywords_is_read() -> None:
    assert phrases_of("word " * MOST_READ + "Siobhan") == ()
    assert phrases_of(f"We met Siobhan. {'word ' * MOST_READ}") == (Phrase("Siobhan"),)
    assert phrases_of("", ["x" * (MOST_READ - 10), "read", "not read"]) == (Phrase("read"),)
    keywords = iter([f"word {number}" for number in range(3 * MOST_PHRASES)])
    assert len(phrases_of("", keywords)) == MOST_PHRASES
    assert next(keywords) == f"word {MOST_PHRASES + 1}"


# --- Responses


def final(number: int, text: str, *, speakers: str = "", confidence: float | None = 0.5) -> Segment:
    said = text.split()
    words = tuple(
        Word(
            word,
            number + at / 10,
            number + (at + 1) / 10,
            confidence,
            speaker=speakers[at : at + 1].strip() or None,
        )
        for at, word in enumerate(said)
    )
    return Segment("s", number, number, number + 0.9, text, final=True, language="en-US", words=words)


SAID = [final(0, "Well, then."), final(1, ""), final(2, "Good — bye.", confidence=None)]


def written(*fields: tuple[str, str], said: list[Segment] = SAID) -> tuple[str, str, list[Any]]:
    """The response, its media type, and the content of all events."""
    transcript = FileTranscript(file_request([MODEL, *fields]), "en-US")
    events = [event for segment in said for event in transcript.add(segment)] + transcript.done(3.21)
    assert events[-1] == END
    assert all(event.startswith("data: ") and event.endswith("\n\n") for event in events)
    content, media_type = transcript.response(3.21)
    return content, media_type, [json.loads(event.removeprefix("data: ")) for event in events[:-1]]


def test_json_has_the_text_and_the_seconds() -> None:
    content, media_type, events = written()
    usage = {"type": "duration", "seconds": 4}
    assert media_type == "application/json"
    assert json.loads(content) == {"text": "Well, then. Good — bye.", "usage": usage}
    assert events == [
        {"type": "transcript.text.delta", "delta": "Well, then."},
        {"type": "transcript.text.delta", "delta": " Good — bye."},
        {"type": "transcript.text.done", "text": "Well, then. Good — bye.", "usage": usage},
    ]


def test_nothing_said_is_an_empty_text() -> None:
    content, _, events = written(said=[])
    assert json.loads(content)["text"] == ""
    assert [event["type"] for event in events] == ["transcript.text.done"]
    assert written(("response_format", "text"), said=[])[0] == "\n"
    assert written(("response_format", "vtt"), said=[])[0] == "WEBVTT\n"
    verbose = json.loads(written(("response_format", "verbose_json"), said=[])[0])
    assert (verbose["language"], verbose["segments"]) == ("english", [])


def test_the_other_formats_are_plain_text() -> None:
    content, media_type, _ = written(("response_format", "text"))
    assert (content, media_type) == ("Well, then. Good — bye.\n", "text/plain; charset=utf-8")
    assert written(("response_format", "srt"))[0].startswith("1\n00:00:00,000 --> ")
    assert written(("response_format", "srt"))[1].startswith("text/plain")
    assert written(("response_format", "vtt"))[0].startswith("WEBVTT\n\n00:00:00.000 --> ")
    assert written(("response_format", "vtt"))[1].startswith("text/vtt")


def test_tokens_joined_are_the_text() -> None:
    content, _, events = written(("include[]", "logprobs"))
    whole = json.loads(content)["logprobs"]
    assert "".join(token["token"] for token in whole) == "Well, then. Good — bye."
    assert [token for event in events[:-1] for token in event["logprobs"]] == whole
    assert events[-1]["logprobs"] == whole
    assert all(bytes(token["bytes"]).decode() == token["token"] for token in whole)
    assert [token.get("logprob") for token in whole] == [*[round(math.log(0.5), 6)] * 2, None, None, None]
    assert json.loads(written(("include", "logprobs"), said=[final(0, "no", confidence=0)])[0])["logprobs"]


@pytest.mark.parametrize(
    ("wanted", "lists"),
    [([], {"segments"}), (["word"], {"words"}), (["word", "segment"], {"segments", "words"})],
)
def test_verbose_json_has_the_lists_that_are_wanted(wanted: list[str], lists: set[str]) -> None:
    fields = [("timestamp_granularities[]", each) for each in wanted]
    content, _, events = written(("response_format", "verbose_json"), *fields)
    body = json.loads(content)
    assert events[-1] == body | {"type": "transcript.text.done"}
    assert body.keys() - {"task", "language", "duration", "text", "usage"} == lists
    assert (body["task"], body["language"], body["duration"]) == ("transcribe", "english", 3.21)
    if "words" in lists:
        assert body["words"][0] == {"word": "Well,", "start": 0.0, "end": 0.1}
        assert [word["word"] for word in body["words"]] == body["text"].split()
    if "segments" in lists:
        first, second = body["segments"]
        assert (first["id"], first["start"], first["end"], first["text"]) == (0, 0.0, 0.9, "Well, then.")
        assert first["avg_logprob"] == round(math.log(0.5), 6)
        assert (second["id"], second["avg_logprob"]) == (1, 0.0)


def test_turns_have_the_letters_of_their_speakers() -> None:
    said = [
        final(0, "Hi there you", speakers="77 "),
        final(1, "Yes no", speakers="53"),
        final(2, "Ah", speakers="7"),
    ]
    content, _, events = written(("response_format", "diarized_json"), said=said)
    turns = json.loads(content)["segments"]
    assert [(turn["speaker"], turn["text"]) for turn in turns] == [
        ("A", "Hi there you"),
        ("B", "Yes"),
        ("C", "no"),
        ("A", "Ah"),
    ]
    assert [(turn["start"], turn["end"]) for turn in turns] == [(0, 0.3), (1, 1.1), (1.1, 1.2), (2, 2.1)]
    assert len({turn["id"] for turn in turns}) == len(turns)
    assert [event for event in events if event["type"] == "transcript.text.segment"] == turns
    deltas = [event for event in events if event["type"] == "transcript.text.delta"]
    assert "".join(delta["delta"] for delta in deltas) == events[-1]["text"] == json.loads(content)["text"]
    assert [delta["segment_id"] for delta in deltas] == [turn["id"] for turn in turns]
