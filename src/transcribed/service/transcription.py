"""The transcription service, which every front end uses.

A front end maps its client's request to a TranscriptionRequest, and events to its protocol's messages. The
service checks the request against the engine's capabilities, and is responsible for vocabulary filters, the
written and the spoken form, channels, sessions, and storing transcripts.
"""

import asyncio
import math
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from transcribed.audio.formats import InputFormat
from transcribed.audio.source import Source
from transcribed.decoding.decoders import Decoders
from transcribed.engines.base import Engine
from transcribed.errors import BadRequest, NoAudio, NotFound, shown
from transcribed.options import (
    Capabilities,
    Pace,
    Phrase,
    StreamOptions,
    TranscriptForm,
    has_number_forms,
    ignoring_case,
    one_of,
    unsupported,
)
from transcribed.principal import NOBODY
from transcribed.recognition.spoken_form import spoken_form
from transcribed.recognition.written_form import written_form
from transcribed.service.channels import ChannelSession
from transcribed.service.files import FilePace, send_recording
from transcribed.service.library import Library
from transcribed.service.live import (
    ContainerReport,
    Feed,
    LiveSession,
    Opened,
    Session,
    SessionTimeline,
    session_events,
)
from transcribed.service.live_audio import Chunks, IdleTimeout, send_live
from transcribed.service.session_record import SessionRecord, Tracing
from transcribed.service.sessions import ResumableSession, Sessions
from transcribed.service.transcripts import Transcripts
from transcribed.service.vocabularies import Vocabularies, joined
from transcribed.service.vocabulary_filters import VocabularyFilters
from transcribed.storage.names import valid_name
from transcribed.storage.transcripts import TranscriptSource
from transcribed.transcript import LiveEvent, Segment

_SERVED_HERE = ("transcript_form", "vocabulary_filter", "vocabularies")
"""The options that the service applies itself when the engine cannot."""


Opening = Callable[[Session], None]
"""Called with a session once its engine stream is open."""


@dataclass(frozen=True, slots=True)
class TranscriptionRequest:
    """A request for one transcription, independent of protocols.

    `engine` and `model` are names; None selects the server's default. `options` are for the engine.
    `format` is the format of live audio, and `track` the number of a container's audio track (None: the
    default track). With `split_channels` each channel is recognised separately.

    The recording, the vocabulary filters, the session and the transcript belong to `owner`. `session_id` is
    the id of the session (None: the server generates one). For `resume_window` seconds from its start
    (None: never), a client that lost its connection can resume the session. `source` is that of the
    transcript (None: a file or live audio).
    """

    engine: str | None = None
    model: str | None = None
    options: StreamOptions = field(default_factory=StreamOptions)
    format: InputFormat = field(default_factory=InputFormat)
    track: int | None = None
    split_channels: bool = False
    session_id: str | None = None
    resume_window: float | None = None
    owner: str = NOBODY
    source: TranscriptSource | None = None


@dataclass(frozen=True, slots=True)
class LiveTranscription:
    """A live session whose engine stream is open.

    `events(chunks)` yields the events of the audio while it arrives; to be called once. `confirm()` tells
    that the client is alive, so that earlier events have reached it.
    """

    session_id: str
    events: Callable[[Chunks], AsyncGenerator[LiveEvent, None]]
    confirm: Callable[[], None]


class Transcription:
    """The transcription service. To be closed.

    `engine` maps a name to an engine, and None to the default engine. A live stream ends when no audio
    arrives for `audio_timeout` seconds. When `stopping` is set, reading of recordings stops. All streams
    of engines that can do so favour the `phrases`.
    """

    def __init__(
        self,
        engine: Callable[[str | None], Engine],
        decoders: Decoders,
        *,
        library: Library | None = None,
        transcripts: Callable[[], Transcripts] = lambda: Transcripts(None),
        filters: VocabularyFilters | None = None,
        vocabularies: Vocabularies | None = None,
        phrases: tuple[Phrase, ...] = (),
        audio_timeout: float = math.inf,
        stopping: asyncio.Event | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._engine = engine
        self._decoders = decoders
        self._library = library
        self._transcripts = transcripts
        self._filters = filters
        self._vocabularies = vocabularies
        self._phrases = phrases
        self._audio_timeout = audio_timeout
        self._stopping = stopping or asyncio.Event()
        self._tracing = tracing
        self._sessions = Sessions()

    async def aclose(self) -> None:
        """Finish the sessions that wait for their clients to reconnect."""
        await self._sessions.aclose()

    def capabilities(self, engine: str | None) -> Capabilities:
        """The capabilities of an engine. Raises BadRequest, and Unavailable until engines are loaded."""
        return self._engine(engine).capabilities

    async def check(self, request: TranscriptionRequest) -> None:
        """Raise BadRequest if the request cannot be served, Unavailable until engines are loaded."""
        await self._plan(request)

    # --- Live audio

    @asynccontextmanager
    async def open_live(
        self, request: TranscriptionRequest, timeline: SessionTimeline | None = None
    ) -> AsyncIterator[LiveTranscription]:
        """Open a live session and its engine stream. Raises TranscribedError if that is not possible.

        Sessions with the same `timeline`, one after the other, are one transcript, with continuous times
        and numbers. One of these ends without an error when no audio arrives for the time-out.
        """
        engine, options, changes = await self._plan(request)
        transcripts = self._transcripts()
        goes_on = timeline is not None
        session_id = request.session_id or str(uuid.uuid4())
        key = request.owner, session_id.lower()
        async with self._sessions.hold(key) as lease:
            # A client may reuse a session id; a new session must not extend an earlier stored transcript.
            known = request.session_id is not None and (lease.took_over or await transcripts.has(*key))
            timeline = timeline or SessionTimeline(None if known else key[1])

            def start(timeline: SessionTimeline) -> Session:
                if request.split_channels:
                    return ChannelSession(engine, options, request.format.channels, timeline)
                return LiveSession(engine, options, timeline)

            record = SessionRecord(
                tracing=self._tracing, owner=request.owner, engine=engine.capabilities.name, id=timeline.id
            )

            def events(session: Session, feed: Feed | None = None) -> AsyncGenerator[LiveEvent, None]:
                source = request.source or TranscriptSource.LIVE
                growing = transcripts.growing(request.owner, source, engine.capabilities.name)
                return session_events(nullcontext(Opened(session, feed, changes, growing)))

            async def feed(chunks: Chunks, session: Session) -> ContainerReport | None:
                before = session.audio_seconds
                try:
                    with closing(IdleTimeout(chunks, self._audio_timeout)) as timed:
                        lease.watch(timed)
                        return await send_live(
                            self._decoders, request.format, timed, session, request.track
                        )
                except NoAudio:
                    if not goes_on:
                        raise
                    return None
                finally:
                    record.seconds += session.audio_seconds - before
                    record.first_audio = session.first_audio

            if request.resume_window is None:
                async with start(timeline) as session:
                    try:
                        with record.recorded():
                            yield LiveTranscription(
                                session_id,
                                lambda chunks: record.heard(events(session, partial(feed, chunks))),
                                _nothing,
                            )
                    finally:
                        timeline.seconds += session.audio_seconds
                return
            terms = replace(request, format=InputFormat(), session_id=None, resume_window=None)
            resumable = self._sessions.resumable(
                key,
                request.resume_window,
                lambda: ResumableSession(timeline, start, events, self._audio_timeout, terms),
            )
            if resumable.terms != terms:
                raise BadRequest(
                    "The session began with other parameters. Go on with the same, or take another "
                    "session-id."
                )
            attachment = await resumable.open()
            record.id = resumable.timeline.id
            try:
                with record.recorded():
                    yield LiveTranscription(
                        session_id,
                        lambda chunks: record.heard(attachment.hear(partial(feed, chunks))),
                        attachment.confirm,
                    )
            finally:
                attachment.leave()

    async def break_off(self, owner: str, session_id: str, reason: str) -> None:
        """End a live session if it runs: its client gets Conflict, and some seconds for its last events."""
        await self._sessions.break_off((owner, session_id.lower()), reason)

    # --- Recordings

    def transcribe_recording(
        self, name: str, request: TranscriptionRequest, pace: FilePace = FilePace.FAST
    ) -> AsyncGenerator[LiveEvent, None]:
        """The events of a stored recording, while it is read.

        Raises InvalidName and NotFound, and what transcribe_upload raises.
        """
        record = SessionRecord(tracing=self._tracing, owner=request.owner, is_live=False)
        return record.heard(session_events(self._opened_recording(name, request, pace, record)))

    def transcribe_upload(
        self, source: Source, request: TranscriptionRequest, pace: FilePace = FilePace.FAST
    ) -> AsyncGenerator[LiveEvent, None]:
        """The events of a recording outside the library, while it is read. The caller closes the source.

        Raises UnreadableAudio, LimitExceeded, and what the source and the engine raise. When the server
        stops, the events of the audio so far follow, then Stopping is raised.
        """
        record = SessionRecord(tracing=self._tracing, owner=request.owner, is_live=False)
        return record.heard(session_events(self._opened_source(source, request, pace, record)))

    def transcribe_unkept(
        self, source: Source, request: TranscriptionRequest, recording: str | None, opened: Opening
    ) -> AsyncGenerator[LiveEvent, None]:
        """The events of a recording at fast pace, whose transcript this service does not store.

        `opened` is called once the engine's stream is open. Raises as transcribe_upload.
        """
        record = SessionRecord(tracing=self._tracing, owner=request.owner, is_live=False)
        opening = self._opened_source(
            source, request, FilePace.FAST, record, recording, kept=False, opened=opened
        )
        return record.heard(session_events(opening))

    @asynccontextmanager
    async def _opened_recording(
        self, name: str, request: TranscriptionRequest, pace: FilePace, record: SessionRecord
    ) -> AsyncIterator[Opened]:
        if self._library is None:
            raise NotFound("There are no stored recordings here.")
        name = valid_name(name)
        with closing(await self._library.open(request.owner, name)) as source:
            async with self._opened_source(source, request, pace, record, name) as opened:
                yield opened

    @asynccontextmanager
    async def _opened_source(
        self,
        source: Source,
        request: TranscriptionRequest,
        pace: FilePace,
        record: SessionRecord,
        name: str | None = None,
        *,
        kept: bool = True,
        opened: Opening = lambda _: None,
    ) -> AsyncIterator[Opened]:
        engine, options, changes = await self._plan(request)
        options = replace(options, pace=Pace.LIVE if pace is FilePace.REALTIME else Pace.FAST)
        feed = partial(
            send_recording,
            self._decoders,
            source,
            track=request.track,
            pace=pace,
            stopping=self._stopping,
        )
        growing = None
        if kept:
            growing = self._transcripts().growing(
                request.owner, request.source or TranscriptSource.FILE, engine.capabilities.name, name
            )
        async with LiveSession(engine, options, SessionTimeline(request.session_id)) as session:
            record.engine, record.id, record.recording = engine.capabilities.name, session.id, name
            opened(session)
            with record.recorded():
                try:
                    yield Opened(session, feed, changes, growing)
                finally:
                    record.seconds, record.first_audio = session.audio_seconds, session.first_audio

    # --- What an engine can do

    def _served(self, request: TranscriptionRequest) -> tuple[Engine, StreamOptions]:
        """The engine of a request, and the options with the language in the engine's spelling."""
        engine = self._engine(request.engine)
        can = engine.capabilities
        asked = request.options.language
        language = None if asked is None else ignoring_case(asked, can.languages)
        if asked is not None and language is None:
            raise BadRequest(
                f"The language {shown(asked)} is not recognised here. Ask for {one_of(can.languages)}, "
                "or for none."
            )
        if request.model is not None and request.model not in can.models:
            there_are = f"Ask for {one_of(can.models)}, or for none." if can.models else "Ask for none."
            raise BadRequest(f"There is no model {shown(request.model)} here. {there_are}")
        options = replace(request.options, language=language)
        served_here = _SERVED_HERE if can.phrases else _SERVED_HERE[:2]
        lacked = [name.replace("_", " ") for name in unsupported(options, can) if name not in served_here]
        if lacked:
            raise BadRequest(f"The engine {can.name} cannot do this: {', '.join(lacked)}. Ask without it.")
        spoken_here = options.transcript_form is TranscriptForm.SPOKEN and not can.transcript_form
        if spoken_here and not has_number_forms(meant := language or can.languages[0]):
            raise BadRequest(f"The spoken form is for English alone, and not for {meant}.")
        return engine, options

    async def _plan(
        self, request: TranscriptionRequest
    ) -> tuple[Engine, StreamOptions, list[Callable[[Segment], Segment]]]:
        """The engine, its options, and the changes that the service makes in each segment."""
        engine, options = self._served(request)
        here = unsupported(options, engine.capabilities)
        changes: list[Callable[[Segment], Segment]] = []
        if "transcript_form" in here:
            changes.append(spoken_form if options.transcript_form is TranscriptForm.SPOKEN else _written)
        if "vocabulary_filter" in here and options.vocabulary_filter is not None:
            if self._filters is None:
                raise BadRequest("There are no vocabulary filters here.")
            # After the form, because a filter applies to the words as they are shown.
            changes.append((await self._filters.applied(request.owner, options.vocabulary_filter)).apply)
        for_engine: dict[str, Any] = dict.fromkeys(here)
        if "vocabularies" in here:
            for_engine["vocabularies"] = ()
        if engine.capabilities.phrases:
            for_engine["phrases"] = await self._favoured(request)
        return engine, replace(options, **for_engine), changes

    async def _favoured(self, request: TranscriptionRequest) -> tuple[Phrase, ...]:
        """The phrases that a request names itself, those of its vocabularies, and those of all streams."""
        names = request.options.vocabularies
        if not names:
            return joined(request.options.phrases, self._phrases)
        if self._vocabularies is None:
            raise BadRequest("There are no stored vocabularies here. Leave the names of vocabularies out.")
        found = await self._vocabularies.phrases(request.owner, names)
        return joined(request.options.phrases, found, self._phrases)


def _written(segment: Segment) -> Segment:
    """The segment in its written form; unchanged in a language of which this server knows none."""
    return written_form(segment) if has_number_forms(segment.language) else segment


def _nothing() -> None:
    pass
