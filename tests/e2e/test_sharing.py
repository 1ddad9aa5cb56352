"""Live sessions that are shared with viewers, on a real server."""

import json
import re
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from native_client import decoded, opened, stream
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

if TYPE_CHECKING:
    from tests.conftest import Server

WAIT = 20
JFK = Path(__file__).parents[1] / "data" / "jfk.mp3"
RATE = 16_000
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


def lose(ws: ClientConnection) -> None:
    """Break the connection as a network does, with no goodbye."""
    ws.socket.shutdown(socket.SHUT_RDWR)


def words(messages: list[dict[str, Any]]) -> list[str]:
    """The words of all finals, as they are spoken."""
    return re.findall(r"[a-z']+", " ".join(finals(messages)).lower())


def until(ws: ClientConnection, member: str, messages: list[dict[str, Any]]) -> None:
    """Add messages up to the first one with that member."""
    while not messages or member not in messages[-1]:
        messages.append(json.loads(ws.recv(WAIT)))


def seconds(audio: bytes, start: float, end: float | None = None) -> bytes:
    """The span of 16-bit samples."""
    return audio[2 * round(start * RATE) : None if end is None else 2 * round(end * RATE)]


@pytest.mark.parametrize("lost_at", [3.3, 8.6, 10.2])
def test_a_reconnected_speaker_goes_on_under_the_same_link_with_each_word_once(
    lost_at: float, server: "Server"
) -> None:
    audio = decoded(JFK.read_bytes()).tobytes()
    with opened(server, "&share=true") as speaker:
        stream(speaker, audio)
        unbroken: list[dict[str, Any]] = []
        until(speaker, "Done", unbroken)
    assert len(words(unbroken)) > 20

    throughout: list[dict[str, Any]] = []
    with ExitStack() as viewers:
        with opened(server, "&share=true") as speaker:
            speaker.send(seconds(audio, 0, 0.2))
            link = started(speaker)
            viewer = viewers.enter_context(viewer_of(server, link["Live"]))
            for at in range(2, round(10 * lost_at)):
                speaker.send(seconds(audio, at / 10, (at + 1) / 10))
            settled = 0.0
            until(viewer, "Transcript", throughout)
            while settled < 2:
                message = json.loads(speaker.recv(WAIT))
                (result,) = message["Transcript"]["Results"]
                settled = settled if result["IsPartial"] else result["EndTime"]
            lose(speaker)
        until(viewer, "Away", throughout)

        # What the speaker does not know to be settled is sent again.
        again = int(settled * 10) / 10
        query = f"&share={link['Continuation']}&share_from={again}"
        with opened(server, query) as speaker:
            speaker.send(seconds(audio, again, again + 0.2))
            more = started(speaker)
            late = viewers.enter_context(viewer_of(server, link["Live"]))
            stream(speaker, seconds(audio, again + 0.2))
            said: list[dict[str, Any]] = []
            until(speaker, "Done", said)
        watched = []
        for each, before in ((viewer, throughout), (late, [])):
            messages, code = rest(each)
            assert code == 1000
            watched.append(before + messages)
    assert {**more, "SessionId": ""} == {**link, "SessionId": "", "From": again}
    assert more["SessionId"] != link["SessionId"]
    length = len(audio) / 2 / RATE
    for messages in watched:
        assert words(messages) == words(unbroken)
        results = [message["Transcript"]["Results"][0] for message in messages if "Transcript" in message]
        ends = [each["EndTime"] for each in results if not each["IsPartial"]]
        assert ends == sorted(ends)
        assert messages[-1]["Done"]["SessionId"] == more["SessionId"]
        assert messages[-1]["Done"]["AudioSeconds"] == pytest.approx(length, abs=0.01)
    assert [name for each in watched[0] for name in each if name in ("Away", "Back")] == ["Away", "Back"]
    assert said[-1]["Done"]["AudioSeconds"] == pytest.approx(length - again, abs=0.01)


def test_a_speaker_whose_loss_is_not_noticed_yet_is_broken_off(scripted: "Callable[..., Server]") -> None:
    server = scripted()
    with opened(server, "&share=true") as lost:
        lost.send(bytes(16_000))
        link = started(lost)
        with viewer_of(server, link["Live"]) as viewer:
            seen: list[dict[str, Any]] = []
            until(viewer, "Transcript", seen)
            with opened(server, f"&share={link['Continuation']}&share_from=0.5") as speaker:
                speaker.send(bytes(32_000))
                assert started(speaker)["Live"] == link["Live"]
                speaker.send(b"")
                messages, code = rest(viewer)
                ended: list[dict[str, Any]] = []
                until(lost, "Error", ended)
    assert finals(seen + messages) == ["first", "first", "second"]
    assert "Done" in messages[-1]
    assert code == 1000
    assert ended[-1]["Error"]["Code"] == "ConflictException"


@pytest.mark.parametrize("end", [b"", ""])
def test_a_token_of_what_has_ended_or_never_was_begins_something_new(
    end: str | bytes, scripted: "Callable[..., Server]"
) -> None:
    server = scripted()
    token, links = "A" * 22, []
    for _ in range(2):
        with opened(server, f"&share={token}&share_from=3") as speaker:
            speaker.send(bytes(32_000))
            message = started(speaker)
            assert message["From"] == 0
            token = message["Continuation"]
            links.append(message["Live"])
            with viewer_of(server, links[-1]) as viewer:
                speaker.send(end)
                messages, _ = rest(viewer)
                assert finals(messages) == ["first", "second"]
                assert "Done" in messages[-1]
    assert links[0] != links[1]


@pytest.mark.parametrize(
    "query", ["share=yes", "share=true&share_from=1", "share_from=1", f"share={'A' * 22}&share_from=-1"]
)
def test_a_query_that_continues_nothing_is_refused(server: "Server", query: str) -> None:
    with opened(server, f"&{query}") as speaker:
        (message,), code = rest(speaker)
    assert "share" in message["Error"]["Message"]
    assert code == 1008


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


@pytest.mark.parametrize("while_speaking", [True, False])
def test_what_is_deleted_is_not_shown_any_more(
    while_speaking: bool, scripted: "Callable[..., Server]"
) -> None:
    server = scripted()
    with opened(server, "&share=true") as speaker:
        speaker.send(bytes(16_000))
        link = started(speaker)
        with viewer_of(server, link["Live"]) as viewer:
            seen: list[dict[str, Any]] = []
            until(viewer, "Transcript", seen)
            if not while_speaking:
                lose(speaker)
                until(viewer, "Away", seen)
            transcript = f"/transcripts/{link['SessionId']}"
            assert server.http.delete(transcript).status_code == 204
            (message,), code = rest(viewer)
            assert (message["Error"]["Code"], code) == ("NotFoundException", 1000)
    with viewer_of(server, link["Live"]) as viewer:
        (message,), code = rest(viewer)
        assert (message["Error"]["Code"], code) == ("NotFoundException", 1008)


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
            measured = server.http.get("/metrics").text.splitlines()
            for metric in ("shared_sessions", "viewers", "viewers_refused_total"):
                assert f"transcribed_{metric} 1.0" in measured
            server.stop()
            messages, code = rest(viewer)
    assert finals(messages)[-1:] == ["second"]
    assert "Error" in messages[-1]
    assert code == 1001
