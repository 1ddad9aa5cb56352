import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import cast

import pytest

from transcribed.errors import ExpiredToken
from transcribed.http.native.conversation import NativeConversation
from transcribed.http.native.query import StreamQuery
from transcribed.principal import ANYBODY
from transcribed.service.access_keys import Access
from transcribed.service.broadcasts import Broadcasts
from transcribed.service.transcription import Transcription
from transcribed.transcript import Segment, Word
from transcribed.wire.native import TranscribeFile


def _conversation(query: StreamQuery, access: Access | None = None) -> NativeConversation:
    # Encoding asks the service nothing.
    service = cast("Transcription", None)
    return NativeConversation(service, Broadcasts(), query, access or Access(ANYBODY))


@pytest.mark.parametrize(("form", "messages"), [("text", 3), ("json", 4)])
def test_that_words_have_settled_is_no_news_in_text(form: str, messages: int) -> None:
    conversation = _conversation(StreamQuery.model_validate({"format": form, "stability": "high"}))
    partial = Segment("a", 0, 0, 1, "This", False, "en-US", (Word("This", stable=False),))
    settled = replace(partial, words=(Word("This", stable=True),))
    said = [partial, settled, replace(settled, final=True), replace(partial, number=1)]
    assert sum(conversation.encode(event) is not None for event in said) == messages


def test_a_token_that_has_expired_begins_nothing_on_an_open_connection() -> None:
    conversation = _conversation(StreamQuery(), Access(ANYBODY, expires=0.0))
    with pytest.raises(ExpiredToken, match="Create another one"):
        conversation.answer(TranscribeFile("a.wav"))
    with pytest.raises(ExpiredToken):
        asyncio.run(anext(conversation.listen(_no_audio())))


async def _no_audio() -> AsyncIterator[bytes]:
    return
    yield b""
