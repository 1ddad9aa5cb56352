"""What programs send that have no client of OpenAI's: each of them reads the text, or why not."""

import io
import json
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import requests

if TYPE_CHECKING:
    from tests.conftest import Server

DATA = Path(__file__).parents[1] / "data"
SAID = "This is a test."
WAIT = 30
BEARER = {"Authorization": "Bearer any"}


def _form(boundary: str, *parts: tuple[Sequence[str], bytes]) -> bytes:
    """Parts of some header lines and a content each, as a form."""
    lines = (
        f"--{boundary}\r\n".encode()
        + "".join(f"{header}\r\n" for header in headers).encode()
        + b"\r\n"
        + content
        + b"\r\n"
        for headers, content in parts
    )
    return b"".join(lines) + f"--{boundary}--\r\n".encode()


def _field(name: str, value: str) -> tuple[Sequence[str], bytes]:
    return [f'Content-Disposition: form-data; name="{name}"'], value.encode()


def _posted(
    server: "Server", path: str, headers: dict[str, str], body: bytes | Iterator[bytes]
) -> tuple[int, Any]:
    connection = HTTPConnection(*server.address, timeout=WAIT)
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def _of_open_webui(server: "Server", file: io.BufferedReader, **data: str) -> requests.Response:
    """Its part of the file has no content type, and follows the fields."""
    return requests.post(
        f"{server.url}/v1/audio/transcriptions",
        headers=BEARER,
        files={"file": ("0f3e.wav", file)},
        data={"model": "whisper-1"} | data,
        timeout=WAIT,
    )


def test_open_webui(server: "Server") -> None:
    with (DATA / "test.wav").open("rb") as file:
        answer = _of_open_webui(server, file, language="en")
    assert answer.json()["text"] == SAID
    with (DATA / "test.wav").open("rb") as file:
        answer = _of_open_webui(server, file, language="de")
    # It shows the message, and asks again without the language.
    assert answer.status_code == 400
    assert "language" in answer.json()["error"]["message"]


@pytest.mark.parametrize("language", [(), ("en",)])
def test_librechat(server: "Server", sentence: bytes, language: tuple[str, ...]) -> None:
    """axios sends the file first, as video by its name, in chunks without a length."""
    boundary = "--------------------------515890814546601021194782"
    file = [
        'Content-Disposition: form-data; name="file"; filename="audio.webm"',
        "Content-Type: video/webm",
    ]
    body = _form(
        boundary,
        (file, sentence),
        _field("model", "whisper-1"),
        *(_field("language", each) for each in language),
    )
    headers = BEARER | {
        "Accept": "application/json, text/plain, */*",
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "User-Agent": "axios/1.8.2",
    }
    chunks = (body[start : start + 5000] for start in range(0, len(body), 5000))
    status, told = _posted(server, "/v1/audio/transcriptions", headers, chunks)
    assert (status, told["text"]) == (200, SAID)


@pytest.mark.parametrize("name", ["recording.mp3", "Anhörung (2).mp3"])
def test_n8n(server: "Server", name: str) -> None:
    """form-data of Node.js, whose names of files are as they are; always whisper-1."""
    boundary = "--------------------------104255302519346822130021"
    file = [
        f'Content-Disposition: form-data; name="file"; filename="{name}"',
        "Content-Type: audio/mpeg",
    ]
    body = _form(
        boundary,
        _field("model", "whisper-1"),
        _field("language", "en"),
        _field("temperature", "0.3"),
        (file, (DATA / "jfk.mp3").read_bytes()),
    )
    headers = BEARER | {
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Accept": "application/json,text/html,application/xml,text/*;q=0.9, image/*;q=0.8",
        "User-Agent": "n8n",
    }
    status, told = _posted(server, "/v1/audio/transcriptions", headers, body)
    assert status == 200, told
    assert "what you can do for your country" in told["text"]


def test_n8n_tries_its_credentials(server: "Server") -> None:
    answer = server.http.get("/v1/models", headers=BEARER)
    assert answer.json()["object"] == "list"


@pytest.mark.parametrize("name", ["openai/whisper-large-v3", "openai%2Fwhisper-large-v3"])
def test_models_with_a_slash_in_their_names_are_looked_up(server: "Server", name: str) -> None:
    answer = server.http.get(f"/v1/models/{name}", headers=BEARER)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("language", ["en", "en-US", ""])
def test_home_assistant_posts(server: "Server", sentence: bytes, language: str) -> None:
    """The integration openai_stt: its fields follow the file."""
    files: dict[str, Any] = {
        "file": ("whisper_audio.wav", sentence, "audio/wav"),
        "model": (None, "gpt-4o-mini-transcribe"),
        "language": (None, language),
        "prompt": (None, ""),
        "temperature": (None, "0"),
        "response_format": (None, "json"),
    }
    answer = httpx.post(f"{server.url}/v1/audio/transcriptions", headers=BEARER, files=files, timeout=10)
    assert answer.json()["text"] == SAID


def test_home_assistant_is_told_why_not(server: "Server") -> None:
    files: dict[str, Any] = {"file": ("whisper_audio.wav", b"", "audio/wav"), "model": (None, "whisper-1")}
    answer = httpx.post(f"{server.url}/v1/audio/transcriptions", headers=BEARER, files=files, timeout=10)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]
