"""A recording through the STT of livekit-plugins-openai, told as JSON: a line for each event of its own.

    client.py http://localhost:3000/v1 recording.wav '{"realtime": true, "models": ["gpt-4o-transcribe"]}'

Each model is asked in turn. A realtime stream hears a second of silence after the recording, as where
somebody has stopped to speak.
"""

import asyncio
import json
import sys
import wave

from livekit import rtc
from livekit.agents import stt, utils
from livekit.plugins import openai

URL, PATH, ASKED = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
FRAME = 0.02


def frames() -> list[rtc.AudioFrame]:
    with wave.open(PATH) as recording:
        rate = recording.getframerate()
        audio = recording.readframes(recording.getnframes()) + bytes(2 * rate)
    size = 2 * int(rate * FRAME)
    chunks = [audio[start : start + size] for start in range(0, len(audio) - size + 1, size)]
    return [rtc.AudioFrame(chunk, rate, 1, size // 2) for chunk in chunks]


def tell(event: stt.SpeechEvent) -> None:
    texts = [{"text": one.text, "language": str(one.language)} for one in event.alternatives]
    print(json.dumps({"type": event.type.value, "alternatives": texts}), flush=True)


async def main() -> None:
    async with utils.http_context.open():
        for model in ASKED["models"]:
            recognizer = openai.STT(
                base_url=URL, api_key="any", model=model, use_realtime=ASKED["realtime"]
            )
            if ASKED["realtime"]:
                await live(recognizer)
            else:
                tell(await recognizer.recognize(frames()))
            await recognizer.aclose()


async def live(recognizer: openai.STT) -> None:
    async with recognizer.stream() as stream:
        for frame in frames():
            stream.push_frame(frame)
            await asyncio.sleep(FRAME)
        async for event in stream:
            tell(event)
            if event.type is stt.SpeechEventType.RECOGNITION_USAGE:
                break


asyncio.run(main())
