"""A whole form, whose fields may stand before and after its file."""

import asyncio
import errno
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from transcribed.errors import (
    BadRequest,
    Disconnected,
    InvalidField,
    MissingField,
    StorageFull,
    TooLarge,
    TranscribedError,
    UnreadableAudio,
)
from transcribed.http.form import MOST_FIELD_BYTES, MOST_PARTS, uploaded_form

pytestmark = pytest.mark.anyio

FILE = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n%b\r\n'
FIELD = b'--B\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
END = b"--B--\r\n"


def request(body: bytes, chunk: int = 65_536, kind: bytes = b"multipart/form-data; boundary=B") -> Request:
    chunks = [body[start : start + chunk] for start in range(0, len(body), chunk)][::-1]

    async def receive() -> Message:
        await asyncio.sleep(0)
        part = chunks.pop() if chunks else b""
        return {"type": "http.request", "body": part, "more_body": bool(chunks)}

    return Request({"type": "http", "method": "POST", "headers": [(b"content-type", kind)]}, receive)


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def read(sent: Request, most: int = 10**9, **how: Any) -> tuple[bytes, list[tuple[str, str]]]:
    async with uploaded_form(sent, "file", most, **how) as form:
        content = await form.file.read(0, form.file.size)
        descriptor = form.file.descriptor
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(descriptor)
    return content, list(form.fields)


@pytest.mark.parametrize("chunk", [1, 13, 65_536])
async def test_fields_stand_on_both_sides_of_the_file(chunk: int) -> None:
    file = bytes(range(256)) * 20 + b"\r\n--\r\n--C"
    body = (
        FIELD % (b"a[]", b"1")
        + FIELD % (b"a[]", b"")
        + FILE % file
        + FIELD % (b"b", "ü\r\n".encode())
        + END
    )
    assert await read(request(body, chunk)) == (file, [("a[]", "1"), ("a[]", ""), ("b", "ü\r\n")])


@pytest.mark.parametrize(
    "header",
    [
        b'Content-Disposition: form-data; name="file"',
        b'Content-Disposition: form-data; name=file; filename=""',
        b"content-disposition: form-data; filename*=UTF-8''na%C3%AFve%20n%2Fame; name=\"file\"",
        b'Content-Disposition: form-data; name="file"; filename="x"\r\nContent-Type: image/png',
    ],
)
async def test_a_file_may_have_any_name_and_any_type(header: bytes) -> None:
    assert await read(request(b"--B\r\n%b\r\n\r\nsound\r\n%b" % (header, END))) == (b"sound", [])


async def test_large_files_come_whole() -> None:
    file = os.urandom(3_000_000)
    assert (await read(request(FILE % file + END)))[0] == file


@pytest.mark.parametrize(
    ("body", "kind", "param", "says"),
    [
        (FIELD % (b"model", b"x") + END, MissingField, "file", "no file in the field `file`"),
        (
            FILE.replace(b'"file"', b'"audio"') % b"x" + END,
            MissingField,
            "file",
            "It is in the field 'audio'",
        ),
        (b"", MissingField, "file", "no file"),
        (FILE % b"x" + FILE % b"y" + END, InvalidField, "file", "more than one"),
        (FILE % b"x" + FIELD % (b"b", bytes(MOST_FIELD_BYTES + 1)) + END, InvalidField, "b", "together"),
        (FILE % b"" + END, UnreadableAudio, None, "empty"),
        (FILE % b"x", BadRequest, None, "ended before"),
        (FILE % b"x" + (FIELD % (b"b", b"1"))[:-2], BadRequest, None, "ended before"),
        (FILE % b"x" + FIELD % (b"b", b"") * MOST_PARTS + END, BadRequest, None, "fields"),
        (b"nonsense", BadRequest, None, "not valid"),
        (FILE % bytes(1001) + END, TooLarge, None, "1000 bytes"),
        (FILE % bytes(900_000) + END, TooLarge, None, "1000 bytes"),
    ],
)
async def test_what_is_no_such_form_is_refused(
    body: bytes, kind: type[TranscribedError], param: str | None, says: str
) -> None:
    before = open_files()
    with pytest.raises(kind, match=says) as raised:
        await read(request(body), 1000)
    assert getattr(raised.value, "field", None) == param
    assert open_files() == before


@pytest.mark.parametrize("kind", [b"application/json", b"multipart/form-data", b""])
async def test_what_is_no_form_at_all_is_told_how_to_send_one(kind: bytes) -> None:
    with pytest.raises(MissingField, match="curl"):
        await read(request(b'{"file": "x"}', kind=kind))


async def test_samples_of_voices_take_no_room() -> None:
    voice = FIELD % (b"known_speaker_references[]", b"data:" + bytes(2 * MOST_FIELD_BYTES))
    assert await read(request(voice * 3 + FILE % b"x" + END), unused=("known_speaker_",)) == (b"x", [])


async def test_a_client_that_goes_leaves_no_file() -> None:
    async def receive() -> Message:
        return sent.pop() if sent else {"type": "http.disconnect"}

    sent = [{"type": "http.request", "body": FILE % bytes(900_000), "more_body": True}]
    before = open_files()
    with pytest.raises(Disconnected):
        await read(Request(request(b"").scope, receive))
    assert open_files() == before


async def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def write(self, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device", "/var/tmp")  # noqa: S108 - as the kernel says

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    with pytest.raises(StorageFull) as raised:
        await read(request(FILE % b"x" + END))
    assert "/var" not in raised.value.client_message
    assert "no room" in raised.value.client_message


@pytest.mark.parametrize(
    "body",
    [
        b"--B\r\n\r\n\r\n" * 400_000,
        b"--B\r\n" + b"a:b\r\n" * 800_000,
        FILE % (b"\r\n--Bx" * 600_000) + END,
        FILE % b"x" + FIELD[:-2] + b"\r\n--Bx" * 600_000,
        FILE % b"x" + END + FIELD * 400_000,
    ],
)
async def test_a_form_that_costs_too_much_is_refused_soon(body: bytes) -> None:
    began = time.process_time()
    with pytest.raises(BadRequest):
        await read(request(body))
    assert time.process_time() - began < 1
