"""What clients are told of a failure, where its message is for whoever runs the server."""

import pytest
from starlette.requests import Request

from transcribed import errors
from transcribed.errors import (
    BadRequest,
    ConfigurationError,
    StorageFailure,
    StorageFull,
    StorageUnavailable,
    TranscribedError,
)
from transcribed.http import errors as http_errors
from transcribed.wire import amazon, native

PLACE = "/srv/place/audio: .incoming/1b2c at https://minio.internal:9000/bucket"


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [StorageFailure, StorageFull, StorageUnavailable, ConfigurationError])
async def test_no_door_tells_paths_and_addresses_and_the_log_has_them(
    kind: type[TranscribedError], caplog: pytest.LogCaptureFixture
) -> None:
    error = kind(PLACE)
    request = Request({"type": "http", "method": "GET", "path": "/audio", "headers": []})
    answers = [
        (await http_errors._answer(request, error)).body,
        native.encode_error(error, "text").encode(),
        native.encode_error(error, "json").encode(),
        amazon.exception_message(error),
        amazon.error_response(error)[2],
    ]
    for answer in answers:
        assert error.client_message.encode() in answer
        assert b"/srv" not in answer
        assert b"minio" not in answer
        assert b".incoming" not in answer
    assert PLACE in caplog.text or PLACE in str(caplog.records[0].exc_info)


def test_a_message_for_clients_is_what_they_are_told() -> None:
    assert BadRequest("Send less.").client_message == "Send less."
    assert StorageFull(PLACE, "No room for x.").client_message == "No room for x."


def test_every_kind_that_may_name_a_place_says_what_clients_are_told() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, StorageFailure)
    ]
    assert len(kinds) >= 3
    assert all(kind("x").client_message != "x" for kind in kinds)
