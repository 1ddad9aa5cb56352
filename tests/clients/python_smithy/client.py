"""One stream of aws-sdk-transcribe-streaming with the awscrt transport.

    client.py '{"endpoint": "https://localhost:8443", "audio": "said.pcm", …}'

A line of JSON for each thing that happens: {"started": …}, {"result": …}, and at the end {"error": …} or
{"done": true}. Keys and certificates come from the environment, as for every program with this SDK.
"""

import asyncio
import datetime as dt
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aws_sdk_signers import signers
from aws_sdk_transcribe_streaming import models
from aws_sdk_transcribe_streaming.client import AsyncTranscribeStreamingClient
from aws_sdk_transcribe_streaming.config import AsyncTranscribeStreamingConfig
from aws_sdk_transcribe_streaming.models import (
    AudioEvent,
    AudioStreamAudioEvent,
    StartStreamTranscriptionInput,
    TranscriptResultStreamTranscriptEvent,
)
from smithy_core.exceptions import SmithyError
from smithy_http.aio.crt import AWSCRTHTTPClient

OLD = dt.timedelta(minutes=10)


def tell(**what: Any) -> None:
    print(json.dumps(what), flush=True)


async def write_chunks(stream: Any, audio: bytes, asked: dict[str, Any]) -> None:
    for start in range(0, len(audio), asked["chunk"]):
        chunk = audio[start : start + asked["chunk"]]
        await stream.input_stream.send(AudioStreamAudioEvent(value=AudioEvent(audio_chunk=chunk)))
        await asyncio.sleep(asked["pause"])
    if not asked["hold"]:
        await stream.input_stream.send(AudioStreamAudioEvent(value=AudioEvent(audio_chunk=b"")))
        await stream.input_stream.close()


async def handle_events(output: Any) -> None:
    async for event in output:
        assert isinstance(event, TranscriptResultStreamTranscriptEvent)
        assert event.value.transcript is not None
        for result in event.value.transcript.results or []:
            for alternative in result.alternatives or []:
                tell(
                    result={
                        "id": result.result_id,
                        "partial": result.is_partial,
                        "channel": result.channel_id,
                        "text": alternative.transcript,
                        "items": [item.content for item in alternative.items or []],
                    }
                )


class Past(dt.datetime):
    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> "Past":
        moment = dt.datetime.now(tz) - OLD  # noqa: TID251 - signatures are of dates
        return cls.fromtimestamp(moment.timestamp(), tz)


def tamper() -> None:
    """Every chunk is signed, and then another is sent."""
    sign: Callable[..., Awaitable[str]] = signers.AsyncEventSigner._event_string_to_sign

    async def of_another(self: signers.AsyncEventSigner, *, payload: bytes, **rest: Any) -> str:
        return await sign(self, payload=payload + b"\0", **rest)

    signers.AsyncEventSigner._event_string_to_sign = of_another


def sign_in_the_past() -> None:
    signers.datetime = SimpleNamespace(datetime=Past, UTC=dt.UTC)


async def main(asked: dict[str, Any], audio: bytes) -> None:
    if asked["fault"] == "tampered chunk":
        tamper()
    if asked["fault"] == "old signature":
        sign_in_the_past()
    config = await AsyncTranscribeStreamingConfig.resolve(
        region="us-east-1", endpoint_uri=asked["endpoint"], transport=AWSCRTHTTPClient(), max_attempts=1
    )
    client = AsyncTranscribeStreamingClient(config=config)
    wanted = StartStreamTranscriptionInput(
        language_code=asked["language"],
        media_sample_rate_hertz=asked["rate"],
        media_encoding="pcm",
        session_id=asked["session"],
        enable_channel_identification=asked["channels"] == 2,
        number_of_channels=2 if asked["channels"] == 2 else None,
        enable_partial_results_stabilization=True,
        transcript_format=asked["format"],
    )
    try:
        stream = await client.start_stream_transcription(input=wanted)
        answer, output = await stream.await_output()
        tell(started={"session": answer.session_id, "rate": answer.media_sample_rate_hertz})
        writing = asyncio.create_task(write_chunks(stream, audio, asked))
        try:
            await handle_events(output)
        finally:
            writing.cancel()
            await asyncio.wait([writing])
    except SmithyError as error:
        own = type(error).__module__ == models.__name__
        said = getattr(error, "message", str(error))
        tell(error={"type": type(error).__name__, "code": None if own else str(error), "text": said})
    else:
        tell(done=True)


ASKED = json.loads(sys.argv[1])
asyncio.run(main(ASKED, Path(ASKED["audio"]).read_bytes()))
