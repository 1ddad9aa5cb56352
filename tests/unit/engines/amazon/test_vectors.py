"""Requests beside those of Amazon's JavaScript SDK over its WebSocket, and of pipecat-ai, as recorded.

Only this differs: the JavaScript SDK says what it is (x-amz-user-agent), its addresses are good for 60 s,
not for 300, and each of the three puts the query into an order of its own, which the signature does not
know. pipecat-ai gives no session-id, and has the headers of its messages in another order.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qsl, urlsplit

import pytest

from transcribed.engines.amazon.account import Account
from transcribed.engines.amazon.refusals import refusal_of_status
from transcribed.engines.amazon.request import audio_event, stream_parameters
from transcribed.engines.amazon.settings import LANGUAGES, AmazonSettings
from transcribed.options import (
    FilterMethod,
    LanguageIdentification,
    Redaction,
    Stability,
    StreamOptions,
    VocabularyFilter,
)
from transcribed.transcript import Word
from transcribed.wire.amazon_results import read_event
from transcribed.wire.eventstream import decode

RECORDED = Path(__file__).parents[3] / "vectors" / "recorded"
JAVASCRIPT = json.loads((RECORDED / "javascript-websocket-urls.json").read_text())
PIPECAT = json.loads((RECORDED / "pipecat.json").read_text())
KEY, SECRET, TOKEN = "AKIDEXAMPLE", "secret/of+the=vectors", "a session/token+of=the vectors"
NOW = datetime(2026, 11, 25, 9)
SOUND = bytes(range(64))

ENGLISH = StreamOptions(language="en-US")
ASKED = {
    "the least": ENGLISH,
    "no session token": ENGLISH,
    "at an endpoint": ENGLISH,
    "settled words": StreamOptions(language="en-US", stability=Stability.HIGH, speaker_labels=True),
    "words and filters": StreamOptions(
        language="en-US",
        vocabularies=("our.words",),
        vocabulary_filter=VocabularyFilter(("bad-words_1",), FilterMethod.TAG),
        language_model="m",
    ),
    "personal data": StreamOptions(redaction=Redaction(("NAME", "ADDRESS", " PIN"))),
    "which language": StreamOptions(
        language_identification=LanguageIdentification(("en-US", "de-DE"), "de-DE"),
        vocabularies=("a", "b"),
    ),
}
ASKED_AS_PIPECAT = {
    "as the service asks": StreamOptions(stability=Stability.HIGH),
    "no session token": StreamOptions(stability=Stability.HIGH),
    "low stability, speakers": StreamOptions(
        stability=Stability.LOW, language="de-DE", speaker_labels=True
    ),
    "words and filters": StreamOptions(
        stability=Stability.HIGH,
        vocabularies=("our.words",),
        vocabulary_filter=VocabularyFilter(("bad-words_1",)),
    ),
}


@pytest.fixture
def account(bare: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    bare.setenv("AWS_ACCESS_KEY_ID", KEY)
    bare.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    bare.setenv("AWS_REGION", "eu-west-1")
    return bare


def _parts(url: str) -> tuple[str, list[tuple[str, str]]]:
    """The address, and the query in an order of ours; its encoding is that of the wire."""
    address, _, query = url.partition("?")
    return address, sorted((name, value) for name, _, value in (p.partition("=") for p in query.split("&")))


def _address(options: StreamOptions, others: dict[str, str]) -> str:
    settings = AmazonSettings()
    with mock.patch("botocore.auth.get_current_datetime", return_value=NOW):
        return Account(settings).address(stream_parameters(settings, options) | others)


@pytest.mark.parametrize("case", JAVASCRIPT["cases"])
def test_the_address_is_that_of_the_javascript_sdk_signature_and_all(
    case: str, account: pytest.MonkeyPatch
) -> None:
    recorded = JAVASCRIPT["cases"][case]["url"]
    given = dict(parse_qsl(urlsplit(recorded).query))
    if "X-Amz-Security-Token" in given:
        account.setenv("AWS_SESSION_TOKEN", TOKEN)
    if case == "at an endpoint":
        account.setenv("AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING", "https://localhost")
    account.setattr("transcribed.engines.amazon.account.EXPIRES", 60)
    its_own = {name: given[name] for name in ("session-id", "x-amz-user-agent")}
    assert _parts(_address(ASKED[case], its_own)) == _parts(recorded)


def test_every_case_is_tried() -> None:
    assert JAVASCRIPT["cases"].keys() == ASKED.keys()
    assert PIPECAT["urls"].keys() == ASKED_AS_PIPECAT.keys()


def test_messages_are_the_javascript_sdks_to_the_last_byte() -> None:
    for case in JAVASCRIPT["cases"].values():
        sound, end, closing = map(bytes.fromhex, case["messages"])
        assert audio_event(SOUND) == sound
        assert audio_event(b"") == end
        # So the SDK says that its generator has ended, and closes; we wait for the last words.
        assert closing == b""


def test_the_languages_are_amazons() -> None:
    assert set(JAVASCRIPT["languages"]) == set(LANGUAGES)


@pytest.mark.parametrize("case", PIPECAT["urls"])
def test_the_address_is_that_of_pipecat_signature_and_all(case: str, account: pytest.MonkeyPatch) -> None:
    recorded = PIPECAT["urls"][case]
    if "X-Amz-Security-Token" in recorded:
        account.setenv("AWS_SESSION_TOKEN", TOKEN)
    assert _parts(_address(ASKED_AS_PIPECAT[case], {})) == _parts(recorded)


def test_messages_say_what_those_of_pipecat_say() -> None:
    for payload, message in PIPECAT["messages"].items():
        theirs = bytes.fromhex(message)
        ours = audio_event(bytes.fromhex(payload))
        assert decode(theirs) == decode(ours)
        assert (len(theirs), theirs[:12]) == (len(ours), ours[:12])


def _answer(name: str) -> tuple[bytes, Any]:
    found = PIPECAT["answers"][name]
    message = decode(bytes.fromhex(found["message"]))
    assert dict(message.headers) == found["read"][0]
    return message.payload, found["read"][1]


def test_answers_are_read_as_pipecat_reads_them() -> None:
    payload, body = _answer("a transcript")
    (reading,) = read_event(payload)
    (result,) = body["Transcript"]["Results"]
    assert reading.words == (Word(result["Alternatives"][0]["Transcript"]),)
    assert reading.final is not result["IsPartial"]
    payload, body = _answer("an exception")
    error = refusal_of_status(0, {"x-amzn-errortype": "BadRequestException"}, payload)
    assert body["Message"] in error.message
