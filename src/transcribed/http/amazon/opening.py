"""Opens the streams that Amazon's clients ask for: signature, parameters, engine, session."""

import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from transcribed.decoding.decoders import Decoders
from transcribed.engines.base import Engine, Pace, StreamOptions
from transcribed.errors import (
    BadRequest,
    NotFound,
)
from transcribed.http.amazon.handler import AmazonStreamHandler, Limits, OpenSession, utc_now
from transcribed.http.relay import Relays
from transcribed.recognition.spoken_form import spoken_form
from transcribed.recognition.stabilizer import Stability
from transcribed.recognition.word_filter import FilterMethod, WordFilter
from transcribed.service.access_keys import AccessKeys
from transcribed.service.channels import ChannelSession
from transcribed.service.live import (
    LiveSession,
    Session,
    SessionTimeline,
    session_events,
    transform_segments,
)
from transcribed.service.sessions import ResumableSession, Sessions
from transcribed.service.threads import in_thread
from transcribed.service.transcripts import Transcripts
from transcribed.storage.transcripts import TranscriptSource
from transcribed.storage.vocabulary_filters import VocabularyFilters
from transcribed.transcript import LiveEvent
from transcribed.wire import amazon as wire
from transcribed.wire import sigv4
from transcribed.wire.amazon_parameters import (
    StreamRequest,
    stream_request,
)


@dataclass(frozen=True, slots=True)
class AmazonDependencies:
    """What is needed to serve a stream."""

    engine: Callable[[], Engine]
    decoders: Decoders
    transcripts: Callable[[], Transcripts]
    filters: VocabularyFilters
    sessions: Sessions
    relays: Relays
    keys: AccessKeys
    limits: Limits


class AmazonFront:
    """Opens the streams that clients ask for."""

    def __init__(self, dependencies: AmazonDependencies) -> None:
        self._dependencies = dependencies

    async def open(
        self,
        signed: sigv4.Request,
        given: Callable[[], Mapping[str, str]],
        opened: AsyncExitStack,
        *,
        unsigned: bool,
    ) -> tuple[AmazonStreamHandler, list[tuple[str, str]]]:
        """A stream, to be closed with `opened`, and the headers of the answer. Raises TranscribedError.

        `unsigned` messages may come, though the request is signed.
        """
        dependencies = self._dependencies
        signature = self._signature(signed)
        engine = dependencies.engine()
        can = engine.capabilities
        request = stream_request(given(), can.languages, can.features)
        words = await self._filter(request)
        session_id = request.session_id or str(uuid.uuid4())
        owner = None if signature is None else signature.credentials.access_key
        open_session = await self._open_session(request, engine, words, (owner, session_id.lower()), opened)
        chain = None if signature is None else signature.chain()
        reader = wire.AudioReader(request, chain, unsigned=unsigned or chain is None)
        headers = wire.answer_headers(request, str(uuid.uuid4()), session_id)
        return AmazonStreamHandler(
            request, reader, dependencies.decoders, dependencies.limits, open_session
        ), headers

    def _signature(self, request: sigv4.Request) -> sigv4.Signed | None:
        """None where anybody may come in."""
        keys = self._dependencies.keys
        return None if keys.open else sigv4.verify(request, keys.secret, utc_now())

    async def _filter(self, request: StreamRequest) -> WordFilter | None:
        wanted = request.vocabulary_filter
        if wanted is None:
            return None
        words: list[str] = []
        for name in wanted.names:
            try:
                words += await in_thread(self._dependencies.filters.get, name)
            except NotFound as error:
                raise BadRequest(error.message) from error
        return WordFilter(words, FilterMethod(wanted.method))

    async def _open_session(
        self,
        request: StreamRequest,
        engine: Engine,
        words: WordFilter | None,
        key: tuple[str | None, str],
        opened: AsyncExitStack,
    ) -> OpenSession:
        dependencies = self._dependencies
        transcripts = dependencies.transcripts()
        options = StreamOptions(
            Pace.LIVE,
            Stability[(request.stability or "off").upper()],
            language=request.language,
            asked=request.asked,
        )
        lease = await opened.enter_async_context(dependencies.sessions.hold(key))
        # A session's id is its client's, and may come again when its transcript is long in the store.
        known = lease.took_over or await transcripts.has(key[1])
        timeline = SessionTimeline(None if known else key[1])

        def start(timeline: SessionTimeline) -> Session:
            if request.split_channels:
                return ChannelSession(engine, options, request.format.channels, timeline)
            return LiveSession(engine, options, timeline)

        def decorate(events: AsyncGenerator[LiveEvent, None]) -> AsyncGenerator[LiveEvent, None]:
            changes = [spoken_form] if request.spoken else []
            # A filter sees the words as they are shown.
            changes += [] if words is None else [words.apply]
            return transcripts.persist_finals(
                transform_segments(events, changes), TranscriptSource.LIVE, engine.capabilities.name
            )

        if request.resume_window is not None:
            terms = (request.split_channels, request.vocabulary_filter, request.spoken, options)
            session = dependencies.sessions.resumable(
                key,
                request.resume_window * 60,
                lambda: ResumableSession(
                    timeline, start, decorate, dependencies.limits.audio_timeout, terms
                ),
            )
            if session.terms != terms:
                raise BadRequest(
                    "The session began with other parameters. Go on with the same, or take another "
                    "session-id."
                )
            attachment = await session.open()
            opened.callback(attachment.leave)
            return OpenSession(lease, attachment.hear, attachment.confirm)
        session_of_its_own = await opened.enter_async_context(start(timeline))
        return OpenSession(lease, lambda feed: decorate(session_events(session_of_its_own, feed)), _nothing)


def _nothing() -> None:
    pass
