"""Stream two pieces of audio with aws-sdk-transcribe-streaming to https://localhost:8443."""

import asyncio

from aws_sdk_transcribe_streaming.client import AsyncTranscribeStreamingClient
from aws_sdk_transcribe_streaming.config import AsyncTranscribeStreamingConfig
from aws_sdk_transcribe_streaming.models import (
    AudioEvent,
    AudioStreamAudioEvent,
    StartStreamTranscriptionInput,
)
from smithy_http.aio.crt import AWSCRTHTTPClient


async def main() -> None:
    config = await AsyncTranscribeStreamingConfig.resolve(
        endpoint_uri="https://localhost:8443",
        region="eu-west-1",
        transport=AWSCRTHTTPClient(),
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret/of+the=vectors",  # noqa: S106 - made up
        aws_session_token="a session token",  # noqa: S106 - made up
    )
    stream = await AsyncTranscribeStreamingClient(config).start_stream_transcription(
        input=StartStreamTranscriptionInput(
            language_code="en-US", media_sample_rate_hertz=16000, media_encoding="pcm"
        )
    )
    for _ in range(2):
        event = AudioStreamAudioEvent(value=AudioEvent(audio_chunk=bytes(range(64))))
        await stream.input_stream.send(event)
    await stream.input_stream.close()
    _, output = await stream.await_output()
    async for event in output:
        print(event)


asyncio.run(main())
