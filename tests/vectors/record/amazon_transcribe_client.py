"""Stream two pieces of audio with amazon-transcribe to https://localhost:8443."""

import asyncio

from amazon_transcribe.auth import StaticCredentialResolver
from amazon_transcribe.client import TranscribeStreamingClient
from amazon_transcribe.endpoints import StaticEndpointResolver


async def main() -> None:
    client = TranscribeStreamingClient(
        region="eu-west-1",
        endpoint_resolver=StaticEndpointResolver("https://localhost:8443"),
        credential_resolver=StaticCredentialResolver(
            "AKIDEXAMPLE", "secret/of+the=vectors", "a session token"
        ),
    )
    stream = await client.start_stream_transcription(
        language_code="en-US", media_sample_rate_hz=16000, media_encoding="pcm"
    )
    for _ in range(2):
        await stream.input_stream.send_audio_event(audio_chunk=bytes(range(64)))
    await stream.input_stream.end_stream()
    async for event in stream.output_stream:
        print(event)


asyncio.run(main())
