"""Opens the streams that Amazon's clients ask for: signature, parameters, session."""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from transcribed.http.amazon.handler import AmazonStreamHandler, Limits, utc_now
from transcribed.principal import NOBODY
from transcribed.request_context import request_id
from transcribed.service.access_keys import AccessKeys
from transcribed.service.transcription import Transcription, TranscriptionRequest
from transcribed.wire import amazon as wire
from transcribed.wire import sigv4
from transcribed.wire.amazon_parameters import StreamRequest, stream_request


@dataclass(frozen=True, slots=True)
class AmazonFront:
    """Opens the streams that clients ask for."""

    transcription: Transcription
    keys: AccessKeys
    limits: Limits

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
        signature = self._signature(signed)
        request = stream_request(given(), self.transcription.capabilities(None))
        owner = NOBODY if signature is None else signature.credentials.access_key
        live = await opened.enter_async_context(self.transcription.open_live(_neutral(request, owner)))
        chain = None if signature is None else signature.chain()
        reader = wire.AudioReader(request, chain, unsigned=unsigned or chain is None)
        headers = wire.response_headers(request, request_id(), live.session_id)
        return AmazonStreamHandler(request, reader, self.limits, live), headers

    def _signature(self, request: sigv4.Request) -> sigv4.VerifiedSignature | None:
        """None where anybody may come in."""
        return None if self.keys.open else sigv4.verify(request, self.keys.secret, utc_now())


def _neutral(request: StreamRequest, owner: str) -> TranscriptionRequest:
    return TranscriptionRequest(
        options=request.options,
        format=request.format,
        split_channels=request.split_channels,
        session_id=request.session_id,
        resume_window=request.resume_window,
        owner=owner,
    )
