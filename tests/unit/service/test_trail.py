"""What a line of the trail says, of whom and of what."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from transcribed.errors import BadRequest, Disconnected, NotFound, TranscribedError, UnknownClient
from transcribed.logs import TRAIL
from transcribed.principal import Principal, Role
from transcribed.request_context import REQUEST, RequestContext
from transcribed.service import trail
from transcribed.service.session_record import SessionRecord
from transcribed.service.trail import Action, Outcome
from transcribed.transcript import LiveEvent, SpeechStarted


@pytest.fixture(autouse=True)
def _told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, TRAIL)


@pytest.fixture
def context() -> Iterator[RequestContext]:
    found = RequestContext("id-1", "192.0.2.7", Principal("clinic", Role.READ, "front-desk"))
    token = REQUEST.set(found)
    yield found
    REQUEST.reset(token)


def fields(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records]


def test_who_asks_is_named(context: RequestContext, caplog: pytest.LogCaptureFixture) -> None:
    trail.record(Action.TRANSCRIPT_CORRECTED, "talk", segment=3)
    (found,) = fields(caplog)
    assert (
        found.items()
        >= {
            "action": "transcript.corrected",
            "subject": "talk",
            "outcome": "ok",
            "owner": "clinic",
            "key": "front-desk",
            "by": "front-desk",
            "address": "192.0.2.7",
            "segment": 3,
        }.items()
    )
    assert caplog.messages == [
        "transcript.corrected 'talk' of clinic by front-desk at 192.0.2.7: ok, segment 3"
    ]


def test_an_admin_does_something_to_what_is_anothers(
    context: RequestContext, caplog: pytest.LogCaptureFixture
) -> None:
    trail.record(Action.RECORDING_DELETED, "talk.wav", owner="anna")
    assert fields(caplog)[0].items() >= {"owner": "anna", "key": "front-desk"}.items()


def test_the_server_does_something_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    trail.record(Action.TRANSCRIPT_DELETED, "talk\nline", owner="")
    assert caplog.messages == [r"transcript.deleted 'talk\nline' by the server: ok"]


def test_a_refusal_is_told_once_in_a_request(
    context: RequestContext, caplog: pytest.LogCaptureFixture
) -> None:
    trail.record_refusal(NotFound("It is not there."), "GET /audio/a")
    assert not caplog.records
    for _ in range(2):
        trail.record_refusal(UnknownClient("Nobody knows the key."), "GET /audio/a")
    (found,) = fields(caplog)
    assert (found["outcome"], found["error"]) == ("refused", "UnrecognizedClientException")
    assert found["subject"] == "GET /audio/a"


async def _events(error: BaseException | None) -> AsyncGenerator[LiveEvent, None]:
    yield SpeechStarted(0.0)
    if error is not None:
        raise error


@pytest.mark.parametrize(
    ("error", "outcome", "why"),
    [
        (None, Outcome.OK, None),
        (Disconnected("It is gone."), Outcome.OK, "the client has gone"),
        (asyncio.CancelledError(), Outcome.OK, "broken off"),
        (BadRequest("It is silent."), Outcome.FAILED, BadRequest.code),
        (ValueError("a fault"), Outcome.FAILED, TranscribedError.code),
    ],
)
@pytest.mark.parametrize("front_end_raises", [True, False])
def test_how_a_session_ended(
    error: BaseException | None,
    outcome: Outcome,
    why: str | None,
    front_end_raises: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def session() -> None:
        with record.recorded():
            try:
                async with aclosing(record.heard(_events(error))) as events:
                    record.seconds = 1.5
                    async for _ in events:
                        pass
            except BaseException:
                if front_end_raises:
                    raise

    record = SessionRecord(engine="scripted", id="talk")
    if error is not None and front_end_raises:
        with pytest.raises(type(error)):
            asyncio.run(session())
    else:
        asyncio.run(session())
    opened, ended = fields(caplog)
    assert (opened["action"], opened["outcome"]) == ("session.opened", "ok")
    assert (ended["action"], ended["outcome"], ended["error"]) == ("session.ended", outcome.value, why)
    assert (ended["engine"], ended["seconds"]) == ("scripted", 1.5)


def test_a_listener_who_leaves_breaks_a_session_off(caplog: pytest.LogCaptureFixture) -> None:
    async def session() -> None:
        record = SessionRecord(engine="scripted", id="talk")
        with record.recorded():
            async with aclosing(record.heard(_events(None))) as events:
                await anext(events)

    asyncio.run(session())
    assert fields(caplog)[1]["error"] == "broken off"
