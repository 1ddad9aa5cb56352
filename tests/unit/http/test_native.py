from dataclasses import replace
from typing import cast

import pytest

from transcribed.http.native.conversation import NativeConversation
from transcribed.http.native.query import StreamQuery
from transcribed.principal import NOBODY
from transcribed.service.transcription import Transcription
from transcribed.transcript import Segment, Word


def _conversation(query: StreamQuery) -> NativeConversation:
    # Encoding asks the service nothing.
    return NativeConversation(cast("Transcription", None), query, NOBODY)


@pytest.mark.parametrize(("form", "messages"), [("text", 3), ("json", 4)])
def test_that_words_have_settled_is_no_news_in_text(form: str, messages: int) -> None:
    conversation = _conversation(StreamQuery.model_validate({"format": form, "stability": "high"}))
    partial = Segment("a", 0, 0, 1, "This", False, "en-US", (Word("This", stable=False),))
    settled = replace(partial, words=(Word("This", stable=True),))
    said = [partial, settled, replace(settled, final=True), replace(partial, number=1)]
    assert sum(conversation.encode(event) is not None for event in said) == messages
