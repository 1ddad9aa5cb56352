"""Recordings through the package openai: each way to ask for one, all answers as one JSON object.

files.py http://localhost:3000/v1 recording.wav
"""

import asyncio
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from openai import APIStatusError, AsyncOpenAI, OpenAI

URL, PATH = sys.argv[1], Path(sys.argv[2])
client = OpenAI(base_url=URL, api_key="any", max_retries=0)
transcribe: Callable[..., Any] = client.audio.transcriptions.create
translate: Callable[..., Any] = client.audio.translations.create


def plain(answer: Any) -> Any:
    return answer if isinstance(answer, str) else answer.model_dump(mode="json")


def in_each_format(create: Callable[..., Any], *formats: str) -> dict[str, Any]:
    return {name: plain(create(file=PATH, model="whisper-1", response_format=name)) for name in formats}


def refused(ask: Callable[..., Any], *values: Any, **options: Any) -> dict[str, Any] | None:
    try:
        ask(*values, **options)
    except APIStatusError as error:
        return {
            "class": type(error).__name__,
            "status": error.status_code,
            "type": error.type,
            "code": error.code,
            "param": error.param,
            "message": error.message,
        }
    return None


def events(stream: Iterable[Any]) -> list[Any]:
    return [plain(event) for event in stream]


async def asynchronously() -> dict[str, Any]:
    async with AsyncOpenAI(base_url=URL, api_key="any", max_retries=0) as aio:
        create: Callable[..., Any] = aio.audio.transcriptions.create
        whole, *several = await asyncio.gather(
            create(file=PATH, model="gpt-4o-transcribe"),
            *(create(file=PATH, model="gpt-4o-mini-transcribe", response_format="text") for _ in range(3)),
        )
        stream = await create(file=PATH, model="gpt-4o-transcribe", stream=True)
        return {
            "json": plain(whole),
            "text": several,
            "stream": [plain(event) async for event in stream],
        }


answers = {
    "transcriptions": in_each_format(transcribe, "json", "text", "srt", "vtt", "verbose_json"),
    "translations": in_each_format(translate, "json", "text", "srt", "vtt", "verbose_json"),
    "words": plain(
        transcribe(
            file=PATH,
            model="whisper-1",
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
            language="en",
            temperature=0.2,
            prompt="A conversation about computers, in English.",
        )
    ),
    "logprobs": plain(transcribe(file=PATH, model="gpt-4o-transcribe", include=["logprobs"])),
    "hinted": plain(
        transcribe(
            file=PATH,
            model="gpt-transcribe",
            languages=["en"],
            keywords=["test"],
            chunking_strategy={"type": "server_vad", "silence_duration_ms": 500, "threshold": 0.5},
            extra_body={"vad_filter": True, "hotwords": "test"},
        )
    ),
    "bytes": plain(transcribe(file=PATH.read_bytes(), model="x")),
    "unnamed": plain(transcribe(file=("blob", PATH.read_bytes(), "application/octet-stream"), model="x")),
    "stream": events(transcribe(file=PATH, model="gpt-4o-transcribe", stream=True, include=["logprobs"])),
    "async": asyncio.run(asynchronously()),
    "models": [plain(model) for model in client.models.list()],
    "model": plain(client.models.retrieve(client.models.list().data[0].id)),
    "refused": {
        "model": refused(client.models.retrieve, "no-such-model"),
        "language": refused(transcribe, file=PATH, model="whisper-1", language="tlh"),
        "translated language": refused(
            translate, file=PATH, model="whisper-1", extra_body={"language": "de"}
        ),
        "format": refused(transcribe, file=PATH, model="whisper-1", response_format="xml"),
        "empty": refused(transcribe, file=("empty.wav", b""), model="whisper-1"),
        "picture": refused(transcribe, file=("a.png", b"\x89PNG\r\n\x1a\n" + bytes(99)), model="whisper-1"),
        "diarized": refused(
            transcribe,
            file=PATH,
            model="gpt-4o-transcribe-diarize",
            response_format="diarized_json",
            chunking_strategy="auto",
        ),
        "path": refused(client.post, "/chat/completions", cast_to=object, body={}),
    },
}
print(json.dumps(answers))
