"""The session of the README, with the client that it names: wscat from npm, in a terminal."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.conftest import Server


def answered(times: int) -> Callable[[list[str]], bool]:
    return lambda lines: lines.count("< This is a test.") == 2 * times and lines[-1] == ">"


def test_the_session_appears_to_the_letter_twice(
    server: "Server", sentence: bytes, wscat: list[str], terminal: Callable[..., Any]
) -> None:
    server.upload("test.wav", sentence)
    with terminal([*wscat, "--no-color", "-c", server.stream_url]) as shown:
        shown.wait_for(lambda lines: lines == ["Connected (press CTRL+C to quit)", ">"])
        shown.type("test.wav")
        shown.wait_for(answered(1))
        shown.type("test.wav")
        session = shown.wait_for(answered(2))[1:-1]
        shown.type(" ")
        end = shown.wait_for(lambda lines: any(line.startswith("Disconnected") for line in lines))

    first, second = session[: len(session) // 2], session[len(session) // 2 :]
    assert first == second
    assert first[0] == "> test.wav"
    partials = [line.removeprefix("< ") for line in first[1:-2]]
    assert partials[0] == "This is a"
    assert all(line.startswith("This is a") and len(line) < len("This is a test.") for line in partials)
    assert first[-2:] == ["< This is a test.", "< This is a test."]
    assert 'Disconnected (code: 1000, reason: "")' in end


def test_errors_appear_and_the_session_goes_on(
    server: "Server", sentence: bytes, wscat: list[str], terminal: Callable[..., Any]
) -> None:
    server.upload("test.wav", sentence)
    with terminal([*wscat, "--no-color", "-c", server.stream_url]) as shown:
        shown.wait_for(lambda lines: lines[-1] == ">")
        shown.type("tets.wav")
        shown.wait_for(lambda lines: len(lines) > 3 and lines[-1] == ">")
        shown.type("test.wav")
        lines = shown.wait_for(answered(1))
        shown.type("")
        shown.wait_for(lambda lines: any(line.startswith("Disconnected (code: 1000") for line in lines))

    assert lines[1] == "> tets.wav"
    assert lines[2].startswith("< error: There is no recording 'tets.wav'. Upload it first")
    assert lines[3] == "> test.wav"
