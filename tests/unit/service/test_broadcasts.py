"""Shared sessions and their viewers, without sockets."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any

import pytest

from transcribed.errors import EngineFailure, LimitExceeded, NotFound, Stopping, Unavailable, Unread
from transcribed.service import broadcasts
from transcribed.service.broadcasts import Broadcast, Broadcasts, ViewerLimits
from transcribed.transcript import Done, LiveEvent, Notice, Segment, SpeechStarted

InVirtualTime = Callable[[Coroutine[Any, Any, Any]], Any]
DONE = Done("a", 1.0, 1.0)


def _said(number: int, text: str, *, final: bool = False) -> Segment:
    return Segment("a", number, 0, 1, text, final, "en-US")


def _publish(broadcast: Broadcast, *events: LiveEvent) -> None:
    for event in events:
        message = event.text if isinstance(event, Segment) else type(event).__name__
        broadcast.publish(event, message)


async def _watched(broadcast: Broadcast) -> list[str]:
    return [message async for message in broadcast.watch()]


def test_all_who_watch_get_the_same_and_who_joins_late_gets_what_was_said() -> None:
    async def run() -> None:
        broadcast = Broadcast("", "a")
        early = asyncio.create_task(_watched(broadcast))
        for events in (
            [_said(0, "On")],
            [_said(0, "One"), _said(0, "One.", final=True)],
            [SpeechStarted(1.0), Notice("c", "m"), _said(1, "Tw")],
        ):
            _publish(broadcast, *events)
            await asyncio.sleep(0)
        late = asyncio.create_task(_watched(broadcast))
        await asyncio.sleep(0)
        _publish(broadcast, _said(1, "Two."))
        await asyncio.sleep(0)
        _publish(broadcast, _said(1, "Two.", final=True), DONE)
        assert await early == ["On", "One.", "Notice", "Tw", "Two.", "Two.", "Done"]
        assert await late == ["One.", "Notice", "Tw", "Two.", "Two.", "Done"]
        assert await _watched(broadcast) == ["One.", "Notice", "Two.", "Done"]

    asyncio.run(run())


def test_who_reads_slowly_gets_the_newest_partial_and_all_finals() -> None:
    async def run() -> None:
        broadcast = Broadcast("", "a")
        _publish(broadcast, _said(0, "0"))
        slow = broadcast.watch()
        assert await anext(slow) == "0"
        for number in range(3):
            _publish(broadcast, _said(number, f"{number}…"), _said(number, f"{number}.", final=True))
        _publish(broadcast, _said(3, "a"), _said(3, "ab"), _said(3, "abc"))
        assert [await anext(slow) for _ in range(4)] == ["0.", "1.", "2.", "abc"]
        _publish(broadcast, DONE)
        assert [message async for message in slow] == ["Done"]

    asyncio.run(run())


def test_what_does_not_fit_is_dropped_and_who_missed_it_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcasts, "KEPT_CHARACTERS", 25)

    async def run() -> None:
        broadcast = Broadcast("", "a")
        slow = broadcast.watch()
        _publish(broadcast, _said(0, "0" * 10, final=True))
        assert await anext(slow) == "0" * 10
        assert not broadcast.incomplete
        _publish(broadcast, *(_said(number, str(number) * 10, final=True) for number in range(1, 4)))
        assert broadcast.incomplete
        with pytest.raises(Unread):
            await anext(slow)
        late = broadcast.watch()
        assert [await anext(late) for _ in range(2)] == ["2" * 10, "3" * 10]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("failure", "told"), [(Stopping(), Stopping), (EngineFailure("no"), Unavailable), (None, Unavailable)]
)
def test_viewers_are_told_of_a_session_that_breaks_off(
    failure: Exception | None, told: type[Exception]
) -> None:
    async def run() -> None:
        shared = Broadcasts()
        broken: list[BaseException] = []
        with ExitStack() as held:
            held.push(lambda _, error, __: broken.append(error) or True if error else False)
            broadcast = held.enter_context(shared.share("", "a"))
            _publish(broadcast, _said(0, "One.", final=True), _said(1, "Tw"))
            watching = broadcast.watch()
            assert [await anext(watching) for _ in range(2)] == ["One.", "Tw"]
            if failure is not None:
                raise failure
        assert broken == ([failure] if failure else [])
        with pytest.raises(told):
            await anext(watching)

    asyncio.run(run())


def test_a_session_is_watched_for_some_minutes_after_its_end(in_virtual_time: InVirtualTime) -> None:
    async def run() -> None:
        shared = Broadcasts()
        with shared.share("anna", "a") as broadcast:
            _publish(broadcast, _said(0, "One.", final=True), DONE)
        await asyncio.sleep(broadcasts.KEPT_SECONDS - 1)
        with shared.view(broadcast.link, None) as found:
            assert await _watched(found) == ["One.", "Done"]
        await asyncio.sleep(2)
        with pytest.raises(NotFound), shared.view(broadcast.link, None):
            pass

    in_virtual_time(run())


def test_not_too_many_sessions_that_have_ended_are_kept(
    in_virtual_time: InVirtualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcasts, "MOST_ENDED", 2)

    async def run() -> None:
        shared = Broadcasts()
        links = []
        with shared.share("", "running") as running:
            for name in "abc":
                with shared.share("", name) as broadcast:
                    links.append(broadcast.link)
            for link in (running.link, *links[1:]):
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
        with shared.share("", "a") as broadcast:
            with ExitStack() as viewers:
                for _ in range(most):
                    viewers.enter_context(shared.view(broadcast.link, address))
                with pytest.raises(LimitExceeded), shared.view(broadcast.link, address):
                    pass
                assert shared.viewers == most
            assert shared.viewers == 0
            if most:
                with shared.view(broadcast.link, address):
                    pass

    asyncio.run(run())


def test_links_cannot_be_guessed() -> None:
    links = {Broadcast("", "a").link for _ in range(100)}
    assert len(links) == 100
    assert all(len(link) >= 22 for link in links)
