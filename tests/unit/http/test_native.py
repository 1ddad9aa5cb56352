import asyncio
from dataclasses import replace
from typing import cast

import pytest

from transcribed.decoding.decoders import Decoders
from transcribed.engines.base import Engine
from transcribed.http.native.conversation import NativeConversation
from transcribed.http.native.query import StreamQuery
from transcribed.service.library import Library
from transcribed.service.transcripts import Transcripts
from transcribed.transcript import Segment, Word


def _conversation(query: StreamQuery) -> NativeConversation:
    # Encoding asks neither the engine nor the library anything.
    engine, library = cast("Engine", None), cast("Library", None)
    return NativeConversation(
        lambda: engine,
        library,
        lambda: Transcripts(None),
        query,
        decoders=Decoders(),
        audio_timeout=15,
        stopping=asyncio.Event(),
    )


@pytest.mark.parametrize(("form", "messages"), [("text", 3), ("json", 4)])
def test_that_words_have_settled_is_no_news_in_text(form: str, messages: int) -> None:
    conversation = _conversation(StreamQuery.model_validate({"format": form, "stability": "high"}))
    partial = Segment("a", 0, 0, 1, "This", False, "en-US", (Word("This", stable=False),))
    settled = replace(partial, words=(Word("This", stable=True),))
    said = [partial, settled, replace(settled, final=True), replace(partial, number=1)]
    assert sum(conversation.encode(event) is not None for event in said) == messages
