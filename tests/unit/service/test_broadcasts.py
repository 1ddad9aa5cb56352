"""Shared sessions and their viewers, without sockets."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any

import pytest

from transcribed.errors import (
    Conflict,
    EngineFailure,
    LimitExceeded,
    NotFound,
    Stopping,
    Unavailable,
    Unread,
    UnreadableAudio,
)
from transcribed.logs import TRAIL
from transcribed.principal import Principal, Role
from transcribed.request_context import REQUEST, RequestContext
from transcribed.service import broadcasts
from transcribed.service.broadcasts import Broadcast, Broadcasts, Part, ViewerLimits
from transcribed.transcript import Done, LiveEvent, Notice, Segment, SpeechStarted, Word

InVirtualTime = Callable[[Coroutine[Any, Any, Any]], Any]
DONE = Done("a", 1.0, 1.0)


def _said(number: int, text: str, *, final: bool = False, session: str = "a") -> Segment:
    return Segment(session, number, 0, 1, text, final, "en-US")


def _encode(event: LiveEvent) -> str:
    return event.text if isinstance(event, Segment) else type(event).__name__


def _begun() -> Part:
    return Broadcast("", _encode).begin("a")


def _publish(part: Part, *events: LiveEvent) -> None:
    for event in events:
        part.publish(event)


async def _watched(broadcast: Broadcast) -> list[str]:
    return [message async for message in broadcast.watch()]


def test_all_who_watch_get_the_same_and_who_joins_late_gets_what_was_said() -> None:
    async def run() -> None:
        part = _begun()
        broadcast = part.broadcast
        early = asyncio.create_task(_watched(broadcast))
        for events in (
            [_said(0, "On")],
            [_said(0, "One"), _said(0, "One.", final=True)],
            [SpeechStarted(1.0), Notice("c", "m"), _said(1, "Tw")],
        ):
            _publish(part, *events)
            await asyncio.sleep(0)
        late = asyncio.create_task(_watched(broadcast))
        await asyncio.sleep(0)
        _publish(part, _said(1, "Two."))
        await asyncio.sleep(0)
        _publish(part, _said(1, "Two.", final=True), DONE)
        assert await early == ["On", "One.", "Notice", "Tw", "Two.", "Two.", "Done"]
        assert await late == ["One.", "Notice", "Tw", "Two.", "Two.", "Done"]
        assert await _watched(broadcast) == ["One.", "Notice", "Two.", "Done"]

    asyncio.run(run())


def test_who_reads_slowly_gets_the_newest_partial_and_all_finals() -> None:
    async def run() -> None:
        part = _begun()
        broadcast = part.broadcast
        _publish(part, _said(0, "0"))
        slow = broadcast.watch()
        assert await anext(slow) == "0"
        for number in range(3):
            _publish(part, _said(number, f"{number}…"), _said(number, f"{number}.", final=True))
        _publish(part, _said(3, "a"), _said(3, "ab"), _said(3, "abc"))
        assert [await anext(slow) for _ in range(4)] == ["0.", "1.", "2.", "abc"]
        _publish(part, DONE)
        assert [message async for message in slow] == ["abc", "Done"]

    asyncio.run(run())


def test_what_does_not_fit_is_dropped_and_who_missed_it_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcasts, "KEPT_CHARACTERS", 25)

    async def run() -> None:
        part = _begun()
        broadcast = part.broadcast
        slow = broadcast.watch()
        _publish(part, _said(0, "0" * 10, final=True))
        assert await anext(slow) == "0" * 10
        assert not broadcast.incomplete
        _publish(part, *(_said(number, str(number) * 10, final=True) for number in range(1, 4)))
        assert broadcast.incomplete
        with pytest.raises(Unread):
            await anext(slow)
        late = broadcast.watch()
        assert [await anext(late) for _ in range(2)] == ["2" * 10, "3" * 10]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("failure", "told", "away"),
    [
        (Stopping(), Stopping, False),
        (UnreadableAudio("no"), Unavailable, False),
        (EngineFailure("no"), Unavailable, True),
        (None, Unavailable, True),
    ],
)
def test_viewers_are_told_of_a_session_that_breaks_off(
    failure: Exception | None, told: type[Exception], away: bool, in_virtual_time: InVirtualTime
) -> None:
    async def run() -> None:
        shared = Broadcasts()
        broken: list[BaseException] = []
        with ExitStack() as held:
            held.push(lambda _, error, __: broken.append(error) or True if error else False)
            part = held.enter_context(shared.share("", "a", _encode))
            _publish(part, _said(0, "One.", final=True), _said(1, "Tw"))
            watching = part.broadcast.watch()
            assert [await anext(watching) for _ in range(2)] == ["One.", "Tw"]
            if failure is not None:
                raise failure
        assert broken == ([failure] if failure else [])
        since = asyncio.get_running_loop().time()
        if away:
            assert await anext(watching) == "Away"
        assert await anext(watching) == "Tw"
        with pytest.raises(told):
            await anext(watching)
        assert asyncio.get_running_loop().time() - since == away * broadcasts.HELD_SECONDS

    in_virtual_time(run())


def test_a_session_is_watched_for_some_minutes_after_its_end(in_virtual_time: InVirtualTime) -> None:
    async def run() -> None:
        shared = Broadcasts()
        with shared.share("anna", "a", _encode) as part:
            _publish(part, _said(0, "One.", final=True), DONE)
        await asyncio.sleep(broadcasts.KEPT_SECONDS - 1)
        with shared.view(part.broadcast.link, None) as found:
            assert await _watched(found) == ["One.", "Done"]
        await asyncio.sleep(2)
        with pytest.raises(NotFound), shared.view(part.broadcast.link, None):
            pass

    in_virtual_time(run())


def test_not_too_many_sessions_that_have_ended_are_kept(
    in_virtual_time: InVirtualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcasts, "MOST_ENDED", 2)

    async def run() -> None:
        shared = Broadcasts()
        links = []
        with shared.share("", "running", _encode) as running:
            for name in "abc":
                with shared.share("", name, _encode) as part:
                    part.publish(DONE)
                    links.append(part.broadcast.link)
            for link in (running.broadcast.link, *links[1:]):
                with shared.view(link, None):
                    pass
            with pytest.raises(NotFound), shared.view(links[0], None):
                pass

    in_virtual_time(run())


@pytest.mark.parametrize(
    ("limits", "address", "most"),
    [
        (ViewerLimits(total=3, session=10), None, 3),
        (ViewerLimits(total=10, session=2), None, 2),
        (ViewerLimits(total=10, session=10, share=0.5), "192.0.2.1", 5),
        (ViewerLimits(total=10, session=10, share=0.5), None, 10),
        (ViewerLimits(total=0), None, 0),
    ],
)
def test_viewers_are_limited(limits: ViewerLimits, address: str | None, most: int) -> None:
    async def run() -> None:
        shared = Broadcasts(limits)
        with shared.share("", "a", _encode) as part:
            link = part.broadcast.link
            with ExitStack() as viewers:
                for _ in range(most):
                    viewers.enter_context(shared.view(link, address))
                assert shared.refused == 0
                with pytest.raises(LimitExceeded), shared.view(link, address):
                    pass
                assert shared.refused == 1
                assert shared.viewers == most
            assert shared.viewers == 0
            if most:
                with shared.view(link, address):
                    pass

    asyncio.run(run())


def test_the_trail_has_each_viewer_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcasts, "MOST_RECORDED", 2)

    async def run() -> None:
        shared = Broadcasts()
        with shared.share("anna", "a", _encode) as part:
            for visitor in "bbcbddb":
                principal = Principal(visitor, Role.READ, visitor)
                REQUEST.set(RequestContext(address="192.0.2.1", principal=principal))
                with shared.view(part.broadcast.link, None):
                    pass

    with caplog.at_level(logging.INFO, TRAIL):
        asyncio.run(run())
    viewed = [record for record in caplog.records if vars(record)["action"] == "session.viewed"]
    # Those that are too many to be remembered are recorded each time.
    assert [vars(record)["key"] for record in viewed] == ["b", "c", "d", "d"]
    assert {vars(record)["subject"] for record in viewed} == {"a"}


def test_links_and_tokens_cannot_be_guessed() -> None:
    made = [Broadcast("", _encode) for _ in range(100)]
    secrets = {each.link for each in made} | {each.continuation for each in made}
    assert len(secrets) == 200
    assert all(len(secret) == 22 for secret in secrets)


# --- Sessions that continue others


def _spoken(session: str, number: int, words: str, start: float, *, final: bool = False) -> Segment:
    """A segment of words of one second each."""
    timed = tuple(Word(text, start + at, start + at + 1) for at, text in enumerate(words.split()))
    return Segment(session, number, start, start + len(timed), words, final, "en-US", timed)


def _shown(event: LiveEvent) -> str:
    """An event with its times, and an ellipsis for what is not final."""
    match event:
        case Segment():
            return f"{event.start:g}-{event.end:g} {event.text}{'' if event.final else '…'}"
        case Done():
            return f"Done {event.audio_seconds:g}"
    return type(event).__name__


def test_a_session_goes_on_where_another_one_broke_off(in_virtual_time: InVirtualTime) -> None:
    async def run() -> None:
        shared = Broadcasts()
        with shared.share("", "a", _shown) as part:
            early = asyncio.create_task(_watched(part.broadcast))
            _publish(part, _spoken("a", 0, "one two", 0, final=True), _spoken("a", 1, "three", 2))
            await asyncio.sleep(4)
            # The audio ended within the word "five".
            part.publish(_spoken("a", 1, "three four fi", 2, final=True), broken=True)
        await asyncio.sleep(broadcasts.HELD_SECONDS - 1)
        late = asyncio.create_task(_watched(part.broadcast))
        await asyncio.sleep(0)
        # What was said from 1.5 s on, within "two", is heard again.
        again = shared.share("", "b", _shown, shared.claim("", part.broadcast.continuation), 1.5)
        with again as other:
            assert (other.broadcast, other.start) == (part.broadcast, 1.5)
            assert other.broadcast.sessions == {"a", "b"}
            _publish(
                other,
                _spoken("b", 0, "o three", -0.5),
                _spoken("b", 0, "o three four", -0.5, final=True),
                _spoken("b", 1, "five", 2.5),
            )
            await asyncio.sleep(0)
            _publish(other, _spoken("b", 1, "five six", 2.5, final=True), Done("b", 4.5, 1.0))
        told = ["2-4 three four", "4-5 five…", "4-6 five six", "Done 6"]
        first = ["0-2 one two", "2-3 three…", "Away", "2-5 three four fi…"]
        assert await early == [*first, told[0], "Back", *told[1:]]
        assert await late == [first[0], *first[2:], told[0], "Back", *told[1:]]
        assert await _watched(part.broadcast) == ["0-2 one two", told[0], *told[2:]]

    in_virtual_time(run())


def test_what_was_shown_is_said_to_its_end_if_no_session_follows(in_virtual_time: InVirtualTime) -> None:
    async def run() -> None:
        shared = Broadcasts()
        with shared.share("", "a", _shown) as part:
            part.publish(_spoken("a", 0, "one tw", 0, final=True), broken=True)
            part.publish(_spoken("a", 1, "three fo", 2, final=True), broken=True)
        watching = part.broadcast.watch()
        assert [await anext(watching) for _ in range(4)] == [
            "0-2 one tw",
            "Away",
            "2-4 three fo…",
            "2-4 three fo",
        ]
        with pytest.raises(Unavailable, match="broken off"):
            await anext(watching)
        assert asyncio.get_running_loop().time() == broadcasts.HELD_SECONDS
        with shared.view(part.broadcast.link, None):
            pass

    in_virtual_time(run())


def test_words_of_which_only_a_partial_came_are_heard_again_or_kept(in_virtual_time: InVirtualTime) -> None:
    async def joined(start: float | None) -> list[str]:
        shared = Broadcasts()
        with shared.share("", "a", _shown) as part:
            part.publish(_spoken("a", 0, "one two", 0))
        await asyncio.sleep(10)
        with shared.share("", "b", _shown, shared.claim("", part.broadcast.continuation), start) as other:
            _publish(other, _spoken("b", 0, "two three", 0, final=True), DONE)
        return await _watched(part.broadcast)

    async def run() -> None:
        # Only the last word, which may have been cut, is taken from what is heard again.
        assert await joined(1) == ["0-1 one", "1-3 two three", "Done 2"]
        # Nothing is heard again: what the session says first comes later.
        assert await joined(None) == ["0-2 one two", "10-12 two three", "Done 11"]

    in_virtual_time(run())


def test_a_final_tells_that_nothing_remains_of_words_that_were_shown(
    in_virtual_time: InVirtualTime,
) -> None:
    async def run() -> None:
        shared = Broadcasts()
        with shared.share("", "a", _shown) as part:
            part.publish(_spoken("a", 0, "one", 0, final=True))
        with shared.share("", "b", _shown, shared.claim("", part.broadcast.continuation), 0) as other:
            _publish(other, _spoken("b", 0, "one", 0), _spoken("b", 0, "one", 0, final=True))
            _publish(other, _spoken("b", 1, "two", 1), _spoken("b", 1, "two", -0.5, final=True), DONE)
        assert await _watched(part.broadcast) == ["0-1 one", "1-1 ", "Done 1"]

    in_virtual_time(run())


def test_the_session_before_is_silent_once_another_one_goes_on(in_virtual_time: InVirtualTime) -> None:
    async def run() -> None:
        shared = Broadcasts()
        with shared.share("", "a", _encode) as part:
            part.publish(_said(0, "one", final=True))
            with shared.share("", "b", _encode, shared.claim("", part.broadcast.continuation), 1) as other:
                _publish(part, _said(1, "two", final=True), DONE)
                with (
                    pytest.raises(Stopping),
                    shared.share("", "c", _encode, shared.claim("", part.broadcast.continuation)),
                ):
                    raise Stopping
                assert other.broadcast.ended
        assert not part.broadcast.away

    in_virtual_time(run())


@pytest.mark.parametrize("how", ["unknown", "foreign", "ended", "expired", "erased"])
def test_a_token_that_is_good_no_more_begins_something_new(
    how: str, in_virtual_time: InVirtualTime
) -> None:
    async def run() -> None:
        shared = Broadcasts()
        with shared.share("anna", "a", _encode) as part:
            part.publish(_said(0, "one", final=True))
            if how == "ended":
                part.publish(DONE)
        token = "A" * 22 if how == "unknown" else part.broadcast.continuation
        if how == "expired":
            await asyncio.sleep(broadcasts.HELD_SECONDS)
        if how == "erased":
            shared.erase("anna", "a")
        owner = "ben" if how == "foreign" else "anna"
        with shared.share(owner, "b", _encode, shared.claim(owner, token), 9.0) as other:
            assert other.broadcast is not part.broadcast
            assert other.start == 0
            other.publish(DONE)
        assert await _watched(other.broadcast) == ["Done"]

    in_virtual_time(run())


def test_the_last_who_claims_a_broadcast_continues_it(in_virtual_time: InVirtualTime) -> None:
    async def run() -> None:
        shared = Broadcasts()
        with shared.share("", "a", _encode) as part:
            part.publish(_said(0, "one", final=True))
        token = part.broadcast.continuation
        first, last = shared.claim("", token), shared.claim("", token)
        with shared.share("", "c", _encode, last, 1) as other:
            with pytest.raises(Conflict, match="Another connection"), shared.share("", "b", _encode, first):
                pass
            _publish(other, _said(0, "two", final=True, session="c"), DONE)
        assert await _watched(part.broadcast) == ["one", "two", "Done"]
        # What has ended meanwhile is not continued.
        with shared.share("", "d", _encode, last) as another:
            assert another.broadcast is not part.broadcast

    in_virtual_time(run())


def test_not_too_many_wait_for_a_session_that_goes_on(
    in_virtual_time: InVirtualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcasts, "MOST_HELD", 2)

    async def run() -> None:
        shared = Broadcasts()
        parts = []
        for name in "abc":
            with shared.share("", name, _encode) as part:
                parts.append(part)
        assert [each.broadcast.ended for each in parts] == [True, False, False]
        token = parts[1].broadcast.continuation
        with (
            shared.share("", "d", _encode, shared.claim("", token)) as other,
            shared.share("", "e", _encode),
        ):
            assert other.broadcast is parts[1].broadcast
        await asyncio.sleep(broadcasts.HELD_SECONDS + 1)
        assert all(each.broadcast.ended for each in parts)

    in_virtual_time(run())


@pytest.mark.parametrize("while_running", [False, True])
def test_nothing_is_shown_of_what_is_erased(while_running: bool, in_virtual_time: InVirtualTime) -> None:
    async def run() -> None:
        shared = Broadcasts()
        with ExitStack() as running:
            part = running.enter_context(shared.share("anna", "a", _encode))
            _publish(part, _said(0, "one", final=True), _said(1, "two", final=True), _said(2, "three"))
            watching = part.broadcast.watch()
            assert await anext(watching) == "one"
            if not while_running:
                running.close()
            shared.erase("ben", "a")
            shared.erase("anna", "b")
            with shared.view(part.broadcast.link, None):
                pass
            shared.erase("anna", "a")
            part.publish(_said(2, "three", final=True))
            with pytest.raises(NotFound, match="deleted"):
                await anext(watching)
            with pytest.raises(NotFound), shared.view(part.broadcast.link, None):
                pass
        await asyncio.sleep(broadcasts.HELD_SECONDS + broadcasts.KEPT_SECONDS)

    in_virtual_time(run())
