"""Live sessions that are shared with viewers, on a real server."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from native_client import decoded, opened, stream
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

if TYPE_CHECKING:
    from tests.conftest import Server

WAIT = 20
SENTENCE = "This is a test."


def started(ws: ClientConnection) -> dict[str, str]:
    """The members of the message that comes first."""
    message: dict[str, dict[str, str]] = json.loads(ws.recv(WAIT))
    return message["Started"]


def viewer_of(server: "Server", link: str) -> ClientConnection:
    return connect(server.url.replace("http", "ws", 1) + link, open_timeout=WAIT, close_timeout=WAIT)


def rest(ws: ClientConnection) -> tuple[list[dict[str, Any]], int | None]:
    """All further messages, and the code with which the connection is closed."""
    messages = []
    with suppress(ConnectionClosed):
        while True:
            messages.append(json.loads(ws.recv(WAIT)))
    return messages, ws.close_code


def finals(messages: list[dict[str, Any]]) -> list[str]:
    results = [message["Transcript"]["Results"][0] for message in messages if "Transcript" in message]
    return [each["Alternatives"][0]["Transcript"] for each in results if not each["IsPartial"]]


def test_viewers_see_what_the_speaker_sees_also_those_who_join_late(
    server: "Server", repeated: Callable[[int], bytes]
) -> None:
    audio = decoded(repeated(2), 16_000).tobytes()
    with opened(server, "&share=true") as speaker:
        speaker.send(audio[:3_200])
        link = started(speaker)
        assert server.http.get(link["Live"]).headers["content-type"].startswith("text/html")
        with viewer_of(server, link["Live"]) as early:
            stream(speaker, audio[3_200:])
            seen = [json.loads(speaker.recv(WAIT))]
            while finals(seen) == []:
                seen.append(json.loads(speaker.recv(WAIT)))
            with viewer_of(server, link["Live"]) as late:
                while "Done" not in seen[-1]:
                    seen.append(json.loads(speaker.recv(WAIT)))
                watched, code = rest(early)
                watched_late, code_late = rest(late)
    assert (code, code_late) == (1000, 1000)
    assert finals(seen) == finals(watched) == finals(watched_late) == [SENTENCE] * 2
    assert seen[-1] == watched[-1] == watched_late[-1]
    assert seen[-1]["Done"]["SessionId"] == link["SessionId"]
    assert [message for message in watched if message not in seen] == []

    with viewer_of(server, link["Live"]) as afterwards:
        messages, code = rest(afterwards)
    assert (finals(messages), messages[-1], code) == ([SENTENCE] * 2, seen[-1], 1000)


def test_a_recording_is_shared_once_it_can_be_read(server: "Server", sentence: bytes) -> None:
    server.upload("shared.wav", sentence)
    with opened(server, "&share=true") as speaker:
        speaker.send("no such recording")
        assert "Error" in json.loads(speaker.recv(WAIT))
        speaker.send("shared.wav")
        speaker.send("shared.wav")
        links = []
        for _ in range(2):
            links.append(started(speaker))
            while "Done" not in (message := json.loads(speaker.recv(WAIT))):
                pass
            assert message["Done"]["SessionId"] == links[-1]["SessionId"]
    assert links[0]["Live"] != links[1]["Live"]
    with viewer_of(server, links[0]["Live"]) as viewer:
        assert finals(rest(viewer)[0]) == [SENTENCE]
    found = server.http.get("/transcripts", params={"recording": "shared.wav"}).json()["Transcripts"]
    assert {each["SessionId"] for each in found} == {link["SessionId"] for link in links}


def test_viewers_are_told_when_the_speakers_audio_is_not_valid(server: "Server") -> None:
    with opened(server, "&share=true&encoding=auto") as speaker:
        speaker.send(b"This is no audio. " * 1000)
        with viewer_of(server, started(speaker)["Live"]) as viewer:
            speaker.send(b"")
            (message,), code = rest(viewer)
    assert "broken off" in message["Error"]["Message"]
    assert code == 1000


def test_an_unknown_link_is_told(server: "Server") -> None:
    with viewer_of(server, "/live/unknown") as viewer:
        (message,), code = rest(viewer)
    assert message["Error"]["Code"] == "NotFoundException"
    assert (code, viewer.close_reason) == (1008, "not found")


def test_sharing_needs_json(server: "Server") -> None:
    with connect(f"{server.stream_url}?share=true", open_timeout=WAIT) as speaker:
        assert "requires format=json" in str(speaker.recv(WAIT))


def test_viewers_send_nothing_and_leave_when_they_want(server: "Server") -> None:
    with opened(server, "&share=true") as speaker:
        speaker.send(bytes(3_200))
        link = started(speaker)["Live"]
        for sent, expected in (("", 1000), (b"", 1000), ("test.wav", 1008), (bytes(100), 1008)):
            with viewer_of(server, link) as viewer:
                viewer.send(sent)
                messages, code = rest(viewer)
                assert code == expected
                assert [each["Error"]["Code"] for each in messages] == ["BadRequestException"] * (
                    expected != 1000
                )
        speaker.send(b"")
        assert "Done" in json.loads(speaker.recv(WAIT))


def test_viewers_are_limited_and_told_when_the_server_stops(scripted: "Callable[..., Server]") -> None:
    server = scripted("--max-viewers", "1")
    with opened(server, "&share=true") as speaker:
        speaker.send(bytes(32_000))
        link = started(speaker)["Live"]
        with viewer_of(server, link) as viewer:
            assert "first" in str(viewer.recv(WAIT))
            with viewer_of(server, link) as other:
                (message,), code = rest(other)
                assert (message["Error"]["Code"], code) == ("LimitExceededException", 1013)
            server.stop()
            messages, code = rest(viewer)
    assert finals(messages)[-1:] == ["second"]
    assert "Error" in messages[-1]
    assert code == 1001
