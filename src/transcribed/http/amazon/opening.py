"""Opens streams for Amazon's clients: checks access, parses parameters, opens the session."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from starlette.requests import HTTPConnection

from transcribed.http.access import authorize
from transcribed.http.amazon.handler import AmazonStreamHandler, Limits
from transcribed.http.authentication import Caller
from transcribed.options import Capabilities, TranscriptForm
from transcribed.principal import Role
from transcribed.request_context import request_id
from transcribed.service.transcription import Transcription, TranscriptionRequest
from transcribed.wire import amazon as wire
from transcribed.wire.amazon_parameters import StreamRequest, stream_request


@dataclass(frozen=True, slots=True)
class OpenedStream:
    """A stream, the response headers, and the event that its key was revoked."""

    handler: AmazonStreamHandler
    headers: list[tuple[str, str]]
    revoked: asyncio.Event


@dataclass(frozen=True, slots=True)
class AmazonFront:
    """Opens streams for clients."""

    transcription: Transcription
    limits: Limits

    async def open(
        self,
        connection: HTTPConnection,
        given: Callable[[], Mapping[str, str]],
        opened: AsyncExitStack,
        *,
        unsigned: bool,
    ) -> OpenedStream:
        """Open a stream, which closes together with `opened`. Raises TranscribedError.

        `given` returns the request's parameters. With `unsigned`, messages may be unsigned even if the
        request is signed.
        """
        access = authorize(connection, Role.TRANSCRIBE)
        caller: Caller = connection.user
        can = self.transcription.capabilities(None)
        request = stream_request(given(), can)
        neutral = _neutral(request, can, access.principal.owner)
        live = await opened.enter_async_context(self.transcription.open_live(neutral))
        chain = None if caller.signature is None else caller.signature.chain()
        reader = wire.AudioReader(request, chain, unsigned=unsigned or chain is None)
        headers = wire.response_headers(request, request_id(), live.session_id)
        return OpenedStream(
            AmazonStreamHandler(request, reader, self.limits, live), headers, access.revoked
        )


def _neutral(request: StreamRequest, can: Capabilities, owner: str) -> TranscriptionRequest:
    options = request.options
    if options.transcript_form is None and not can.transcript_form:
        # Amazon's default. An engine that has forms has a default of its own, which settings may change.
        options = replace(options, transcript_form=TranscriptForm.WRITTEN)
    return TranscriptionRequest(
        options=options,
        format=request.format,
        split_channels=request.split_channels,
        session_id=request.session_id,
        resume_window=request.resume_window,
        owner=owner,
    )
