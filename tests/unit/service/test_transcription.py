"""What every front end relies on: one request, one way to a transcript."""

import asyncio
import io
import logging
import wave
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from memory_source import MemorySource

from transcribed.audio.formats import InputFormat, silence
from transcribed.audio.source import FileSource
from transcribed.decoding.decoders import Decoders
from transcribed.engines.moonshine import engine as moonshine
from transcribed.engines.testing.scripted import Script, ScriptedEngine
from transcribed.errors import BadRequest, Disconnected, LimitExceeded, NotFound
from transcribed.logs import TRAIL
from transcribed.options import FilterMethod, StreamOptions, TranscriptForm, VocabularyFilter
from transcribed.principal import NOBODY
from transcribed.recognition.endpointing import EndpointingRules
from transcribed.scheduling.admission import AdmissionLimit, AdmittedEngine
from transcribed.scheduling.scheduler import Scheduler
from transcribed.service.library import Library
from transcribed.service.transcription import Transcription, TranscriptionRequest
from transcribed.service.transcripts import Query, Transcripts, TranscriptSource
from transcribed.service.vocabulary_filters import VocabularyFilters
from transcribed.storage.folder import FolderMediaStore
from transcribed.storage.opening import open_transcripts
from transcribed.storage.vocabulary_filters import FilterFolder
from transcribed.transcript import Done, LiveEvent, Segment

pytestmark = pytest.mark.anyio
SCRIPT = {"language": "en-US", "events": [{"at": "end", "text": "I owe 5 darn dollars.", "final": True}]}
ANY = TranscriptionRequest()


def wav(seconds: float = 1.0) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as target:
        target.setparams((1, 2, 16_000, 0, "NONE", ""))
        target.writeframes(bytes(round(seconds * 16_000) * 2))
    return content.getvalue()


async def chunks(channels: int = 1) -> AsyncIterator[bytes]:
    for _ in range(10):
        yield silence(0.1 * channels).astype("<i2").tobytes()


async def texts(events: AsyncGenerator[LiveEvent, None]) -> list[str]:
    async with aclosing(events):
        return [event.text async for event in events if isinstance(event, Segment) and event.final]


@pytest.fixture
async def scheduler() -> AsyncIterator[Scheduler]:
    async with Scheduler(1) as scheduler:
        yield scheduler
        assert scheduler.streams == []


@pytest.fixture
async def service(scheduler: Scheduler, decoders: Decoders, tmp_path: Path) -> AsyncIterator[Transcription]:
    engine = scheduler.run(ScriptedEngine(Script.model_validate(SCRIPT)))
    filters = VocabularyFilters(FilterFolder(tmp_path))
    await filters.put(NOBODY, "rude", ["darn"])
    await filters.put("anna", "rude", ["dollars"])
    service = Transcription(lambda _: engine, decoders, filters=filters)
    yield service
    await service.aclose()


async def test_an_upload_without_a_name_is_transcribed_by_a_real_engine_and_kept(
    data: Path, decoders: Decoders, environment: dict[str, str], tmp_path: Path
) -> None:
    store = await open_transcripts(str(tmp_path / "transcripts.db"))
    async with Scheduler(1) as scheduler, Transcripts(store) as kept:
        loaded = moonshine.load(Path(environment["TRANSCRIBED_CACHE"]), EndpointingRules())
        engine = scheduler.run(loaded)
        service = Transcription(lambda _: engine, decoders, transcripts=lambda: kept)
        with FileSource((data / "test.wav").open("rb")) as source:
            request = replace(ANY, engine="moonshine", model="tiny-en")
            events = [event async for event in service.transcribe_upload(source, request)]
        assert isinstance(events[-1], Done)
        (found,) = (await kept.page(NOBODY, Query(source=TranscriptSource.FILE))).found
        transcript = await kept.get(NOBODY, events[-1].session_id)
    assert (found.info.id, found.info.recording) == (events[-1].session_id, None)
    assert [segment.text for segment in transcript.segments] == ["This is a test."]


ASKED: list[tuple[dict[str, Any], str]] = [
    ({}, "I owe 5 darn dollars."),
    ({"transcript_form": TranscriptForm.SPOKEN}, "I owe five darn dollars."),
    ({"vocabulary_filter": VocabularyFilter(("rude",))}, "I owe 5 *** dollars."),
    (
        {
            "transcript_form": TranscriptForm.SPOKEN,
            "vocabulary_filter": VocabularyFilter(("rude",), FilterMethod.REMOVE),
        },
        "I owe five dollars.",
    ),
    ({"language": "EN-us", "transcript_form": TranscriptForm.WRITTEN}, "I owe 5 darn dollars."),
]


@pytest.mark.parametrize(("asked", "text"), ASKED)
async def test_recordings_and_live_audio_are_changed_alike(
    service: Transcription, asked: dict[str, Any], text: str
) -> None:
    request = TranscriptionRequest(options=StreamOptions(**asked))
    assert await texts(service.transcribe_upload(MemorySource(wav()), request)) == [text]
    async with service.open_live(request) as live:
        assert await texts(live.events(chunks())) == [text]


@pytest.mark.parametrize(
    ("language", "form", "text"),
    [
        ("en-US", None, "I owe five darn dollars and fifty cents."),
        ("en-US", TranscriptForm.WRITTEN, "I owe five *** dollars and 50 cents."),
        ("fr-FR", TranscriptForm.WRITTEN, "I owe five *** dollars and fifty cents."),
    ],
)
async def test_numbers_are_in_digits_on_request_and_in_english(
    scheduler: Scheduler,
    decoders: Decoders,
    tmp_path: Path,
    language: str,
    form: TranscriptForm | None,
    text: str,
) -> None:
    said = "I owe five darn dollars and fifty cents."
    script = {"language": language, "events": [{"at": "end", "text": said, "final": True}]}
    engine = scheduler.run(ScriptedEngine(Script.model_validate(script)))
    filters = VocabularyFilters(FilterFolder(tmp_path))
    await filters.put(NOBODY, "rude", ["darn"])
    service = Transcription(lambda _: engine, decoders, filters=filters)
    filtered = VocabularyFilter(("rude",)) if form else None
    options = StreamOptions(transcript_form=form, vocabulary_filter=filtered)
    request = TranscriptionRequest(options=options)
    assert await texts(service.transcribe_upload(MemorySource(wav()), request)) == [text]


async def test_a_filter_is_its_owners(service: Transcription) -> None:
    options = StreamOptions(vocabulary_filter=VocabularyFilter(("rude",)))
    for owner, text in ((NOBODY, "I owe 5 *** dollars."), ("anna", "I owe 5 darn ***.")):
        request = TranscriptionRequest(options=options, owner=owner)
        assert await texts(service.transcribe_upload(MemorySource(wav()), request)) == [text]
    with pytest.raises(BadRequest, match="There is no vocabulary filter 'rude'"):
        await anext(
            service.transcribe_upload(
                MemorySource(wav()), TranscriptionRequest(options=options, owner="bert")
            )
        )


@pytest.mark.parametrize("window", [None, 60.0])
async def test_one_session_id_of_two_owners_is_two_sessions(
    scheduler: Scheduler, decoders: Decoders, tmp_path: Path, window: float | None
) -> None:
    engine = scheduler.run(ScriptedEngine(Script.model_validate(SCRIPT)))
    async with Transcripts(await open_transcripts(str(tmp_path / "transcripts.db"))) as kept:
        service = Transcription(lambda _: engine, decoders, transcripts=lambda: kept)
        annas, berts = (
            TranscriptionRequest(session_id="Same", resume_window=window, owner=owner)
            for owner in ("anna", "bert")
        )
        async with service.open_live(annas) as one, service.open_live(berts) as other:
            heard = await asyncio.gather(texts(one.events(chunks())), texts(other.events(chunks())))
        assert heard == [["I owe 5 darn dollars."]] * 2
        await service.aclose()
        for owner in ("anna", "bert"):
            (found,) = (await kept.page(owner, Query())).found
            assert (found.info.id, found.owner) == ("same", owner)
            assert len((await kept.get(owner, "same")).segments) == 1
        await kept.correct("anna", "same", 0, "corrected")
        await kept.delete("bert", "same")
        assert (await kept.get("anna", "same")).segments[0].text == "corrected"
        assert not await kept.has("bert", "same")
        assert (await kept.page(NOBODY, Query())).found == ()
        assert [found.owner for found in (await kept.page(None, Query())).found] == ["anna"]


async def test_the_trail_has_each_connection_of_a_session_that_is_resumed(
    scheduler: Scheduler, decoders: Decoders, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, TRAIL)
    engine = scheduler.run(ScriptedEngine(Script.model_validate(SCRIPT)))
    service = Transcription(lambda _: engine, decoders)
    request = TranscriptionRequest(session_id="Same", resume_window=60.0, owner="anna")

    async def broken() -> AsyncIterator[bytes]:
        async for chunk in chunks():
            yield chunk
        raise Disconnected("The client has closed the connection.")

    async with service.open_live(request) as live:
        with pytest.raises(Disconnected):
            await texts(live.events(broken()))
    async with service.open_live(request) as live:
        assert await texts(live.events(chunks())) == ["I owe 5 darn dollars."]
    await service.aclose()
    of_all = "of anna by the server: ok, engine scripted"
    assert caplog.messages == [
        f"session.opened 'same' {of_all}",
        f"session.ended 'same' {of_all}, seconds 1.0, error the client has gone",
        f"session.opened 'same' {of_all}",
        f"session.ended 'same' {of_all}, seconds 1.0",
    ]


async def test_a_recording_is_its_owners(scheduler: Scheduler, decoders: Decoders, tmp_path: Path) -> None:
    engine = scheduler.run(ScriptedEngine(Script.model_validate(SCRIPT)))
    library = Library(FolderMediaStore.at(str(tmp_path)), decoders, 1_000_000)
    service = Transcription(lambda _: engine, decoders, library=library)

    async def content() -> AsyncIterator[bytes]:
        yield wav()

    await library.add("anna", "a.wav", content())
    request = TranscriptionRequest(owner="anna")
    assert await texts(service.transcribe_recording("a.wav", request)) == ["I owe 5 darn dollars."]
    for owner in (NOBODY, "bert", "Anna"):
        with pytest.raises(NotFound):
            await anext(service.transcribe_recording("a.wav", TranscriptionRequest(owner=owner)))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"language": "xx"}, "The language 'xx' is not recognised here. Ask for en-US, or for none."),
    ({"speaker_labels": True}, "The engine scripted cannot do this: speaker labels."),
    ({"vocabulary_filter": VocabularyFilter(("kind",))}, "There is no vocabulary filter 'kind'."),
]


@pytest.mark.parametrize(("asked", "reason"), REFUSED)
async def test_what_is_not_possible_is_refused_before_anything_is_opened(
    service: Transcription, scheduler: Scheduler, asked: dict[str, Any], reason: str
) -> None:
    request = TranscriptionRequest(options=StreamOptions(**asked))
    with pytest.raises(BadRequest, match=reason):
        async with service.open_live(request):
            pytest.fail("It was opened.")
    with pytest.raises(BadRequest, match=reason):
        await anext(service.transcribe_upload(MemorySource(wav()), request))
    assert scheduler.streams == []


async def test_a_live_stream_for_which_there_is_no_room_is_refused_before_it_is_answered(
    scheduler: Scheduler, decoders: Decoders
) -> None:
    scheduled = scheduler.run(ScriptedEngine(Script.model_validate(SCRIPT)))
    engine = AdmittedEngine(scheduled, AdmissionLimit(1), lambda: 1)
    service = Transcription(lambda _: engine, decoders)
    async with service.open_live(ANY):
        with pytest.raises(LimitExceeded):
            await service.open_live(ANY).__aenter__()


async def test_the_channels_of_live_audio_are_told_apart_or_mixed(
    decoders: Decoders,
) -> None:
    async with Scheduler(1) as scheduler:
        engine = scheduler.run(ScriptedEngine(Script.model_validate(SCRIPT)))
        service = Transcription(lambda _: engine, decoders)
        for apart, expected in ((True, [0, 1]), (False, [None])):
            request = TranscriptionRequest(format=InputFormat(channels=2), split_channels=apart)
            async with service.open_live(request) as live, aclosing(live.events(chunks(2))) as events:
                finals = [event.channel async for event in events if isinstance(event, Segment)]
            assert sorted(finals, key=str) == expected


async def test_where_nothing_is_stored_there_are_no_recordings(decoders: Decoders) -> None:
    service = Transcription(lambda _: pytest.fail("No engine is needed."), decoders)
    with pytest.raises(NotFound):
        await anext(service.transcribe_recording("test.wav", ANY))


async def test_a_model_that_an_engine_has_not_is_refused(service: Transcription) -> None:
    with pytest.raises(BadRequest, match="There is no model 'large' here"):
        await service.check(replace(ANY, model="large"))
