"""Files that are sent to OpenAI's API, on a real server with the real model, as raw requests."""

import json
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from websockets.sync.client import connect

if TYPE_CHECKING:
    from tests.conftest import Server

WAIT = 30
DATA = Path(__file__).parents[1] / "data"
PATH = "/v1/audio/transcriptions"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
Parts = list[tuple[str, tuple[str | None, bytes, str | None]]]


def field(name: str, value: str) -> tuple[str, tuple[None, bytes, None]]:
    return name, (None, value.encode(), None)


def file(content: bytes, name: str = "speech.wav", kind: str | None = None) -> Any:
    return "file", (name, content, kind)


MODEL = field("model", "whisper-1")


def ask(server: "Server", *parts: Any, path: str = PATH, **how: Any) -> httpx.Response:
    """The answer to a form, whose parts are sent in this order."""
    boundary = "a-boundary"
    body = b""
    for name, (filename, content, kind) in parts:
        named = "" if filename is None else f'; filename="{filename}"'
        typed = "" if kind is None else f"\r\nContent-Type: {kind}"
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{named}{typed}\r\n\r\n'
        body += head.encode() + content + b"\r\n"
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"} | how.pop("headers", {})
    return server.http.post(
        path, content=body + f"--{boundary}--\r\n".encode(), headers=headers, timeout=WAIT, **how
    )


def events(answer: httpx.Response) -> list[Any]:
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    *said, done, nothing = answer.text.split("\n\n")
    assert (done, nothing) == ("data: [DONE]", "")
    return [json.loads(each.removeprefix("data: ")) for each in said]


def streamed(server: "Server", name: str) -> str:
    """The text of a stored recording on /stream."""
    with connect(f"{server.stream_url}?format=json", open_timeout=WAIT) as ws:
        ws.send(name)
        finals = list[str]()
        while "Done" not in (message := json.loads(ws.recv(WAIT))):
            results = message["Transcript"]["Results"]
            finals += [each["Alternatives"][0]["Transcript"] for each in results if not each["IsPartial"]]
    return " ".join(filter(None, finals))


@pytest.mark.parametrize("name", ["jfk.mp3", "bible.flac", "steamers.ogg", "telephone.wav", "trumpet.ogg"])
def test_the_words_are_those_of_stream(server: "Server", name: str) -> None:
    content = (DATA / name).read_bytes()
    server.upload(f"openai-{name}", content)
    expected = streamed(server, f"openai-{name}")
    answer = ask(server, MODEL, file(content, name))
    assert answer.status_code == 200, answer.text
    assert answer.json()["text"] == expected
    *deltas, done = events(ask(server, MODEL, field("stream", "true"), file(content, name)))
    assert "".join(each["delta"] for each in deltas) == done["text"] == expected
    assert {each["type"] for each in deltas} <= {"transcript.text.delta"}
    assert done["usage"] == answer.json()["usage"]


def test_every_format_tells_the_same(server: "Server", sentence: bytes) -> None:
    def told(form: str) -> httpx.Response:
        answer = ask(server, MODEL, field("response_format", form), file(sentence))
        assert answer.status_code == 200, answer.text
        return answer

    assert told("json").json() == {
        "text": "This is a test.",
        "usage": {"type": "duration", "seconds": 2},
    }
    assert told("text").text == "This is a test.\n"
    assert told("srt").text.splitlines()[0::2] == ["1", "This is a test."]
    assert told("vtt").text.splitlines()[0::3] == ["WEBVTT", "This is a test."]
    verbose = told("verbose_json").json()
    assert verbose["duration"] == pytest.approx(1.15, abs=0.01)
    assert verbose["segments"][0]["text"] == "This is a test."
    assert -1 < verbose["segments"][0]["avg_logprob"] < 0


def test_the_form_is_as_clients_write_it(server: "Server", sentence: bytes) -> None:
    words = field("timestamp_granularities[]", "word")
    verbose = field("response_format", "verbose_json")
    for parts in (
        [file(sentence), MODEL, verbose, words],
        [verbose, file(sentence, "naïve 名.bin", "image/png"), words, MODEL, field("vad_filter", "x")],
        [MODEL, verbose, field("timestamp_granularities", "word"), file(sentence, "", "video/webm")],
        [field("language", ""), field("temperature", "0.2"), MODEL, verbose, words, file(sentence)],
        [
            field("language", "en_us"),
            field("chunking_strategy", "auto"),
            MODEL,
            verbose,
            words,
            file(sentence),
        ],
        [field("model", "moonshine"), verbose, words, file(sentence)],
        [field("model", "tiny-en"), verbose, words, file(sentence)],
    ):
        answer = ask(server, *parts)
        assert answer.status_code == 200, answer.text
        assert [word["word"] for word in answer.json()["words"]] == ["This", "is", "a", "test."]
        assert "segments" not in answer.json()


def test_english_is_translated_to_itself(server: "Server", sentence: bytes) -> None:
    path = "/v1/audio/translations"
    verbose = field("response_format", "verbose_json")
    answer = ask(server, MODEL, verbose, file(sentence), path=path)
    assert (answer.json()["text"], answer.json()["language"]) == ("This is a test.", "english")
    refused = ask(server, MODEL, field("language", "de"), file(sentence), path=path)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "language"


def test_the_recording_is_not_kept_and_its_transcript_is(server: "Server", sentence: bytes) -> None:
    before = server.stored
    assert ask(server, MODEL, file(sentence)).status_code == 200
    assert server.stored == before
    newest = server.http.get("/transcripts", params={"source": "openai"}).json()["Transcripts"][0]
    assert (newest["Source"], newest["Recording"]) == ("openai", None)
    assert server.http.get(f"/transcripts/{newest['SessionId']}.txt").text == "This is a test.\n"


BAD: dict[str, tuple[list[Any], str | None, str]] = {
    "no file": ([MODEL], "file", "no file in the field `file`"),
    "two files": ([MODEL, file(b"a"), file(b"b")], "file", "more than one"),
    "no bytes": ([MODEL, file(b"")], "file", "empty"),
    "a picture": ([MODEL, file(PNG, "a.png", "image/png")], "file", "audio"),
    "a text": ([MODEL, file(b"speech " * 100)], "file", "audio"),
    "no model": ([file(b"a")], "model", "missing"),
    "a format": ([MODEL, field("response_format", "xml"), file(b"a")], "response_format", "json"),
    "stream": ([MODEL, field("stream", "maybe"), file(b"a")], "stream", "true or false"),
    "a language": ([MODEL, field("language", "xx"), file(b"a")], "language", "en-US"),
    "speakers": (
        [MODEL, field("response_format", "diarized_json"), file(b"a")],
        "response_format",
        "speakers",
    ),
}


@pytest.mark.parametrize(("parts", "param", "says"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("stream", [[], [field("stream", "true")]], ids=["whole", "streamed"])
def test_what_is_wrong_is_told_in_openais_shape(
    server: "Server", parts: list[Any], param: str | None, says: str, stream: list[Any]
) -> None:
    answer = ask(server, *stream, *parts)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert says in error["message"]
    assert error.keys() == {"message", "type", "param", "code"}


def test_what_is_no_form_is_told_how_to_send_one(server: "Server") -> None:
    for answer in (
        server.http.post(PATH, json={"file": "x", "model": "y"}),
        server.http.post(PATH, content=b"RIFF", headers={"Content-Type": "audio/wav"}),
        server.http.post(PATH),
    ):
        assert answer.status_code == 400
        assert "multipart/form-data" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "path",
    ["/v1/v1/audio/transcriptions", "/audio/transcriptions", "/v1/audio/speech"],
)
def test_a_path_that_is_almost_right_is_told_the_right_one(
    server: "Server", repeated: Callable[[int], bytes], path: str
) -> None:
    with httpx.Client(base_url=server.url, timeout=WAIT) as client:
        for _ in range(3):
            answer = client.post(path, files={"file": ("a.wav", repeated(30))}, data={"model": "x"})
            assert answer.status_code == 404
            assert "/v1/audio/transcriptions: let" in answer.json()["error"]["message"]


def test_forms_of_other_programs_are_read(server: "Server", sentence: bytes) -> None:
    dot_net = (
        b"--b 1\r\nContent-Type: text/plain\r\nContent-Disposition: form-data; name=model\r\n"
        b"\r\nwhisper-1\r\n--b 1\r\nContent-Disposition: form-data; name=file; filename=a.wav; "
        b"filename*=utf-8''a.wav\r\n\r\n%b\r\n--b 1--\r\n"
    ) % sentence
    quoted = {"Content-Type": 'multipart/form-data; boundary="b 1"'}

    def in_pieces() -> Iterator[bytes]:
        yield from (dot_net[at : at + 1000] for at in range(0, len(dot_net), 1000))

    for path, body in ((PATH, dot_net), (f"{PATH}/", dot_net), (PATH, in_pieces())):
        answer = server.http.post(path, content=body, headers=quoted)
        assert answer.json()["text"] == "This is a test.", answer.text


def test_a_key_is_needed_and_a_wrong_one_told(guarded: "Server", sentence: bytes) -> None:
    assert ask(guarded, MODEL, file(sentence)).status_code == 200
    for header in ("", "Bearer sk-nothing"):
        answer = ask(guarded, MODEL, file(sentence), headers={"Authorization": header})
        assert answer.status_code == 401
        error = answer.json()["error"]
        assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")


# --- Limits, failures and clients that go


def test_a_file_may_be_too_large(
    scripted: "Callable[..., Server]", repeated: Callable[[int], bytes], eventually: Callable[..., None]
) -> None:
    server = scripted("--max-upload-bytes", "100000")
    answer = ask(server, MODEL, file(repeated(3)))
    assert answer.status_code == 413
    assert "100000 bytes" in answer.json()["error"]["message"]
    assert ask(server, MODEL, file(repeated(1)[:90_000])).status_code == 200
    eventually(lambda: temporary_files(server) == 0, 5, "the file is gone")


@pytest.fixture
def failing(start_server: "Callable[..., Server]", tmp_path: Path) -> "Server":
    """A server whose engine fails after three seconds of audio."""
    script = tmp_path / "script.json"
    said = [{"at": 1, "text": "first", "final": True}, {"at": 3, "error": "the recogniser fell over"}]
    script.write_text(json.dumps({"events": said}))
    return start_server("--engine", "scripted", "--script", str(script))


def test_a_failure_has_a_status_before_the_first_event_and_an_event_after(
    failing: "Server", repeated: Callable[[int], bytes], eventually: Callable[..., None]
) -> None:
    answer = ask(failing, MODEL, file(repeated(4)))
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "server_error"
    answer = ask(failing, MODEL, field("stream", "true"), file(repeated(4)))
    assert answer.status_code == 200
    first, error, nothing = answer.text.split("\n\n")
    assert json.loads(first.removeprefix("data: "))["delta"] == "first"
    assert json.loads(error.removeprefix("data: "))["error"]["type"] == "server_error"
    assert nothing == ""
    eventually(lambda: temporary_files(failing) == 0, 5, "the file is gone")
    assert failing.log.read_text().count(" ERROR ") == 2
    failing.pass_over_errors()


def temporary_files(server: "Server") -> int:
    """The open files of the server that have no name."""
    folder = Path(f"/proc/{server.process.pid}/fd")
    count = 0
    for each in folder.iterdir():
        try:
            link = str(each.readlink())
        except FileNotFoundError:
            continue
        count += link.endswith(" (deleted)") and not link.startswith("/memfd:")
    return count


@pytest.mark.parametrize("stream", ["true", "false"])
@pytest.mark.parametrize("reset", [True, False])
def test_a_client_that_goes_leaves_nothing_behind(
    server: "Server",
    repeated: Callable[[int], bytes],
    eventually: Callable[..., None],
    stream: str,
    reset: bool,
) -> None:
    running, files = server.streams, temporary_files(server)
    content = repeated(300)
    head = (
        '--B\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
        f'--B\r\nContent-Disposition: form-data; name="stream"\r\n\r\n{stream}\r\n'
        '--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    ).encode()
    body = head + content + b"\r\n--B--\r\n"
    request = (
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=B\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    with socket.create_connection(server.address) as client:
        client.sendall(request + body)
        eventually(lambda: server.streams > running, WAIT, "the file is recognised")
        assert temporary_files(server) > files
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    eventually(lambda: server.streams <= running, 5, "recognition has stopped")
    eventually(lambda: temporary_files(server) <= files, 5, "the file is gone")


def test_a_client_that_goes_while_it_sends_leaves_nothing_behind(
    server: "Server", repeated: Callable[[int], bytes], eventually: Callable[..., None]
) -> None:
    files = temporary_files(server)
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=B\r\n"
        "Content-Length: 100000000\r\n\r\n"
        '--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    ).encode()
    with socket.create_connection(server.address) as client:
        client.sendall(head + repeated(40))
        eventually(lambda: temporary_files(server) > files, WAIT, "the file is on the disk")
    eventually(lambda: temporary_files(server) <= files, 5, "the file is gone")
