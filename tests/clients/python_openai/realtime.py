"""A realtime session of the package openai, told as JSON: a line for each event of the server.

    realtime.py http://localhost:3000/v1 said.pcm '{"turn_detection": null}'

The recording is of 16 bit, mono, 24 kHz; without turn detection it is committed at its end.
"""

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

URL, AUDIO, ASKED = sys.argv[1], Path(sys.argv[2]).read_bytes(), json.loads(sys.argv[3])
CHUNK = 2400  # 50 ms
COMPLETED = "conversation.item.input_audio_transcription.completed"
turns = ASKED.get("turns", 1)


async def speak(connection: Any) -> None:
    for start in range(0, len(AUDIO), CHUNK):
        chunk = base64.b64encode(AUDIO[start : start + CHUNK]).decode()
        await connection.input_audio_buffer.append(audio=chunk)
        await asyncio.sleep(ASKED.get("pause", 0))
    if ASKED["turn_detection"] is None:
        await connection.input_audio_buffer.commit()


async def main() -> None:
    client = AsyncOpenAI(base_url=URL, api_key="any")
    connecting = client.realtime.connect(extra_query={"intent": "transcription"})
    async with connecting as connection:
        await connection.session.update(
            session={
                "type": "transcription",
                "audio": {
                    "input": {
                        "format": {"type": "audio/pcm", "rate": 24000},
                        "transcription": {"model": "gpt-4o-transcribe", "language": "en"},
                        "turn_detection": ASKED["turn_detection"],
                    }
                },
                "include": ["item.input_audio_transcription.logprobs"],
            }
        )
        speaking = asyncio.create_task(speak(connection))
        left = {COMPLETED: turns, "conversation.item.done": turns}
        async for event in connection:
            print(event.to_json(indent=None), flush=True)
            left[event.type] = left.get(event.type, 0) - 1
            if all(left[kind] <= 0 for kind in (COMPLETED, "conversation.item.done")):
                break
        await speaking


asyncio.run(main())
