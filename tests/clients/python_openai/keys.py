"""What the package openai makes of keys and client secrets, as one JSON object.

keys.py http://localhost:3000/v1 SECRET
"""

import asyncio
import json
import sys
from typing import Any

from openai import APIStatusError, AsyncOpenAI

URL, SECRET = sys.argv[1:]
SESSION: Any = {
    "type": "transcription",
    "audio": {
        "input": {
            "transcription": {"model": "whisper-1", "language": "en"},
            "turn_detection": {"type": "server_vad", "silence_duration_ms": 700},
        }
    },
}


def client(key: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=URL, api_key=key, max_retries=0)


async def models(key: str) -> str:
    """How many there are, or the error."""
    try:
        return str(len((await client(key).models.list()).data))
    except APIStatusError as error:
        return f"{type(error).__name__} {error.code}"


async def first_event(key: str) -> Any:
    """The first of a realtime session."""
    async with client(key).realtime.connect(extra_query={"intent": "transcription"}) as connection:
        return json.loads((await connection.recv()).to_json())


async def main() -> None:
    made = await client(SECRET).realtime.client_secrets.create(
        session=SESSION, expires_after={"anchor": "created_at", "seconds": 60}
    )
    keys = {"key": SECRET, "secret": made.value, "unknown": "unknown"}
    answers = {
        "made": json.loads(made.to_json()),
        "models": {name: await models(key) for name, key in keys.items()},
        "events": {name: await first_event(key) for name, key in keys.items()},
    }
    print(json.dumps(answers))


asyncio.run(main())
