"""One stream of amazon-transcribe, as its examples have it: a task that writes, a handler of events.

    client.py '{"endpoint": "https://localhost:8443", "audio": "said.pcm", …}'

A line of JSON for each thing that happens: {"started": …}, {"result": …}, and at the end {"error": …} or
{"done": true}. Keys and certificates come from the environment, as for every program with this SDK.
"""

import asyncio
import datetime as dt
import json
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

from amazon_transcribe import signer
from amazon_transcribe.client import TranscribeStreamingClient
from amazon_transcribe.endpoints import StaticEndpointResolver
from amazon_transcribe.exceptions import SDKError
from amazon_transcribe.handlers import TranscriptResultStreamHandler
from amazon_transcribe.model import StartStreamTranscriptionEventStream, TranscriptEvent

OLD = dt.timedelta(minutes=10)


def tell(**what: Any) -> None:
    print(json.dumps(what), flush=True)


class Handler(TranscriptResultStreamHandler):
    async def handle_transcript_event(self, transcript_event: TranscriptEvent) -> None:
        for result in transcript_event.transcript.results:
            for alternative in result.alternatives:
                tell(
                    result={
                        "id": result.result_id,
                        "partial": result.is_partial,
                        "channel": result.channel_id,
                        "text": alternative.transcript,
                        "items": [item.content for item in alternative.items],
                    }
                )


async def chunks(audio: bytes, asked: dict[str, Any]) -> AsyncIterator[bytes]:
    for start in range(0, len(audio), asked["chunk"]):
        yield audio[start : start + asked["chunk"]]
        await asyncio.sleep(asked["pause"])


async def write_chunks(
    stream: StartStreamTranscriptionEventStream, audio: bytes, asked: dict[str, Any]
) -> None:
    async for chunk in chunks(audio, asked):
        await stream.input_stream.send_audio_event(audio_chunk=chunk)
    if not asked["hold"]:
        await stream.input_stream.end_stream()


def sign_in_the_past() -> None:
    past = dt.datetime.now(dt.UTC) - OLD  # noqa: TID251 - signatures are of dates
    signer.AwsSigningConfig = partial(signer.AwsSigningConfig, date=past)


def tamper(client: TranscribeStreamingClient) -> None:
    """Every chunk is signed, and then another is sent."""
    sign = client._event_signer.sign
    client._event_signer.sign = lambda payload, *rest: sign(payload + b"\0", *rest)


async def main(asked: dict[str, Any], audio: bytes) -> None:
    if asked["fault"] == "old signature":
        sign_in_the_past()
    client = TranscribeStreamingClient(
        region="us-east-1", endpoint_resolver=StaticEndpointResolver(asked["endpoint"])
    )
    if asked["fault"] == "tampered chunk":
        tamper(client)
    try:
        stream = await client.start_stream_transcription(
            language_code=asked["language"],
            media_sample_rate_hz=asked["rate"],
            media_encoding="pcm",
            session_id=asked["session"],
            enable_channel_identification=asked["channels"] == 2 or None,
            number_of_channels=2 if asked["channels"] == 2 else None,
            enable_partial_results_stabilization=True,
        )
        tell(started={"session": stream.response.session_id, "rate": stream.response.media_sample_rate_hz})
        handler = Handler(stream.output_stream)
        await asyncio.gather(write_chunks(stream, audio, asked), handler.handle_events())
    except SDKError as error:
        said = getattr(error, "message", str(error))
        tell(error={"type": type(error).__name__, "code": getattr(error, "error_code", None), "text": said})
    else:
        tell(done=True)


ASKED = json.loads(sys.argv[1])
asyncio.run(main(ASKED, Path(ASKED["audio"]).read_bytes()))
