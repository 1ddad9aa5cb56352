"""What a form may be made of, and what it may cost."""

import asyncio
import time

import pytest
from starlette.requests import Request
from starlette.types import Message

from transcribed.errors import BadRequest
from transcribed.http import multipart
from transcribed.http.upload import MOST_BESIDE, MOST_PARTS, uploaded_file

pytestmark = pytest.mark.anyio

HEAD = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: %b\r\n\r\n'
FIELD = b'--B\r\nContent-Disposition: form-data; name="other"\r\n\r\nvalue\r\n'
END = b"\r\n--B--\r\n"
CHUNK = 64 * 1024


def form(
    *, before: bytes = b"", file: bytes = b"bytes", kind: bytes = b"audio/wav", behind: bytes = b""
) -> bytes:
    return before + HEAD % kind + file + END + behind


class Sent:
    """A request whose body comes in chunks; what of it has been taken is counted."""

    def __init__(self, body: bytes, chunk: int = CHUNK) -> None:
        self._left = [body[start : start + chunk] for start in range(0, len(body), chunk)][::-1]
        self.taken = 0
        scope = {
            "type": "http",
            "method": "POST",
            "headers": [(b"content-type", b"multipart/form-data; boundary=B")],
        }
        self.request = Request(scope, self._receive)

    async def _receive(self) -> Message:
        await asyncio.sleep(0)
        body = self._left.pop() if self._left else b""
        self.taken += len(body)
        return {"type": "http.request", "body": body, "more_body": bool(self._left)}


async def content(sent: Sent) -> bytes:
    file = await uploaded_file(sent.request, "file")
    return b"".join([chunk async for chunk in file.chunks])


@pytest.mark.parametrize("chunk", [1, 7, 1000, 10**6])
async def test_the_files_bytes_come_whole(chunk: int) -> None:
    file = bytes(range(256)) * 20 + b"\r\n--" + b"\r\n-" * 50
    sent = Sent(form(before=FIELD * 3, file=file, behind=FIELD), chunk)
    assert await content(sent) == file
    assert sent.taken == len(form(before=FIELD * 3, file=file, behind=FIELD))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (b"audio/wav", "audio/wav"),
        (b"Audio/X-WAV; rate=16000", "audio/x-wav"),
        (b'  video/MP4 ;codecs="avc1, mp4a"', "video/mp4"),
        (b"", ""),
        (b";", ""),
        (b"\xff/\xfe", "ÿ/þ"),
    ],
)
async def test_a_media_type_is_told_without_its_parameters(kind: bytes, expected: str) -> None:
    assert (await uploaded_file(Sent(form(kind=kind)).request, "file")).media_type == expected


async def test_a_part_may_have_no_type() -> None:
    body = form().replace(b"Content-Type: audio/wav\r\n", b"")
    assert (await uploaded_file(Sent(body).request, "file")).media_type == ""


HOSTILE = {
    "parts": b"--B\r\n\r\n\r\n" * 400_000,
    "headers": b"--B\r\n" + b"a:b\r\n" * 800_000,
    "one header": b"--B\r\na:" + b"b" * 4_000_000,
    "spaces before a value": b"--B\r\na:" + b" " * 4_000_000,
    "fields with much in them": FIELD.replace(b"value", bytes(4_000_000)),
    "spaces behind a boundary": FIELD + b"--B" + b" " * 4_000_000,
    "what comes before": b"\r\n" + b"x" * 4_000_000,
    "line ends before": b"\r\n" * 2_000_000,
    "almost boundaries": FIELD[:-7] + b"\r\n--Bx" * 600_000,
    "almost boundaries in the file": HEAD % b"audio/wav" + b"\r\n--Bx" * 600_000 + END,
    "spaces behind the file": HEAD % b"audio/wav" + b"x\r\n--B" + b" " * 4_000_000,
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
async def test_a_form_that_costs_too_much_is_refused_soon(body: bytes) -> None:
    sent = Sent(body)
    turns: list[float] = []

    async def others() -> None:
        while True:
            began = time.process_time()
            await asyncio.sleep(0)
            turns.append(time.process_time() - began)

    waiting = asyncio.create_task(others())
    began = time.process_time()
    with pytest.raises(BadRequest):
        await content(sent)
    waiting.cancel()
    assert time.process_time() - began < 4
    assert max(turns) < 0.15


@pytest.mark.parametrize("chunk", [3, CHUNK])
async def test_no_more_fields_are_taken_than_are_allowed(chunk: int) -> None:
    assert await content(Sent(form(before=FIELD * (MOST_PARTS - 2)), chunk)) == b"bytes"
    with pytest.raises(BadRequest, match=f"more than {MOST_PARTS} fields"):
        await content(Sent(form(before=FIELD * (MOST_PARTS + 2), file=bytes(2 * CHUNK)), chunk))


async def test_other_fields_may_hold_so_much_and_no_more() -> None:
    large = FIELD.replace(b"value", bytes(MOST_BESIDE - 1000))
    assert await content(Sent(form(before=large, file=bytes(3 * MOST_BESIDE)))) == bytes(3 * MOST_BESIDE)
    with pytest.raises(BadRequest, match="Send the file first"):
        await content(Sent(form(before=FIELD.replace(b"value", bytes(MOST_BESIDE + CHUNK)))))


@pytest.mark.parametrize("behind", [FIELD * 50_000, b"no form at all" * 100_000, b"\r\n--B\r\n:" * 300_000])
async def test_what_is_behind_the_file_is_taken_and_not_looked_at(behind: bytes) -> None:
    sent = Sent(form(behind=behind))
    assert await content(sent) == b"bytes"
    assert sent.taken == len(form(behind=behind))


async def test_what_is_behind_the_file_is_not_taken_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "DISCARDED_BYTES", 1_000_000)
    sent = Sent(form(behind=bytes(3_000_000)))
    assert await content(sent) == b"bytes"
    assert sent.taken < 1_200_000


async def test_what_is_refused_is_taken_so_that_the_answer_is_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for body in [b"no form at all" * 100, FIELD * (MOST_PARTS + 9), form()[:-9]]:
        sent = Sent(body, 500)
        with pytest.raises(BadRequest):
            await content(sent)
        assert sent.taken == len(body)
    sent = Sent(form(file=bytes(500_000)))
    await (await uploaded_file(sent.request, "file")).discard()
    assert sent.taken == len(form(file=bytes(500_000)))
