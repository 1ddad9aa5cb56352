"""The pages in docs/protocols name every route, parameter, error and limit of the code."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from fastapi.routing import APIRoute
from starlette.routing import Route, WebSocketRoute

from transcribed import errors
from transcribed.app import Application
from transcribed.audio import wav
from transcribed.http import body, connections, form, inbox, relay, spool, timeouts
from transcribed.http import jobs as http_jobs
from transcribed.http import recordings as http_recordings
from transcribed.http import transcripts as http_transcripts
from transcribed.http.amazon import routes as amazon
from transcribed.http.errors import status_of
from transcribed.http.native.query import StreamQuery
from transcribed.http.openai import client_secrets
from transcribed.http.openai import transcriptions as openai_transcriptions
from transcribed.options import LONGEST_SILENCE, SHORTEST_SILENCE
from transcribed.scheduling import stream
from transcribed.service import broadcasts, job_runner, jobs, sessions, transcripts
from transcribed.settings import ServerSettings
from transcribed.storage import names, vocabulary_filters
from transcribed.wire import eventstream, openai_items, openai_realtime, prompt, sigv4
from transcribed.wire import native as wire
from transcribed.wire.amazon_parameters import PARAMETERS
from transcribed.wire.openai import REALTIME_PATH

FOLDER = Path(__file__).parents[2] / "docs" / "protocols"
PAGE = (FOLDER / "native.md").read_text()
AMAZON = (FOLDER / "amazon.md").read_text()
VOSK = (FOLDER / "vosk.md").read_text()
OPENAI = (FOLDER / "openai.md").read_text()
REALTIME = (FOLDER / "openai-realtime.md").read_text()
JOBS = (FOLDER.parent / "jobs.md").read_text()


def section(heading: str, page: str = PAGE) -> str:
    """What stands below a heading, up to the next of its level or above."""
    level = heading.index(" ")
    found = re.search(
        rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{level}}} |\Z)", page, re.MULTILINE | re.DOTALL
    )
    assert found, f"{heading!r} is missing in the page"
    return found[1]


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Application:
    return Application(ServerSettings(audio=str(tmp_path_factory.mktemp("audio"))))


def _routes(router: Any) -> Iterator[tuple[str, str]]:
    for route in router.routes:
        if isinstance(route, WebSocketRoute):
            yield "WebSocket", route.path
        elif isinstance(route, APIRoute) or getattr(route, "path", "") == amazon.HTTP_PATH:
            assert isinstance(route, Route)
            yield from ((method, route.path_format) for method in route.methods)
        # FastAPI keeps an included router as a route that holds it.
        elif (included := getattr(route, "original_router", None)) is not None:
            yield from _routes(included)


def test_the_routes_are_those_of_the_app(application: Application) -> None:
    routes = set(_routes(application.asgi))
    streams = {"/stream", "/live/{id}", "/vosk", "/", REALTIME_PATH}
    streams |= {amazon.HTTP_PATH, amazon.WEBSOCKET_PATH}
    assert {path for _, path in routes} == {*application.asgi.openapi()["paths"], *streams}
    pages = PAGE + AMAZON + VOSK + OPENAI + REALTIME + JOBS
    headings = [line for line in pages.splitlines() if line.startswith("#")]
    documented = {found for line in headings for found in re.findall(r"`(\w+) (/[^`]*)`", line)}
    assert documented == routes


def _choices(name: str) -> str:
    field = StreamQuery.model_fields[name]
    kind = field.annotation
    if kind is int:
        low, high = (getattr(bound, "ge", getattr(bound, "le", None)) for bound in field.metadata)
        return f"{low} to {high}"
    if kind is str:
        return "`false`, `true`, a token"
    if kind == int | None:
        return f"from {field.metadata[0].ge}"
    if kind == float | None:
        low, high = (getattr(bound, "ge", getattr(bound, "le", None)) for bound in field.metadata)
        return f"{low:g} to {high:g}"
    if kind == str | None:
        others = {"engine": "one that is loaded", "vocabulary": "names, separated by commas"}
        return others.get(name, "one of the engine's")
    if type(None) in get_args(kind):
        kind = next(each for each in get_args(kind) if each is not type(None))
    choices = [each.value for each in kind] if isinstance(kind, type) else get_args(kind)
    return ", ".join(f"`{choice}`" for choice in choices)


def test_the_parameters_of_stream_are_those_of_the_code() -> None:
    expected = {
        (name, _choices(name), str(default).lower())
        for name, field in StreamQuery.model_fields.items()
        for default in [getattr(field.default, "value", field.default)]
    }
    table = re.findall(
        r"^\| `(\w+)` \| (.*?) \| `(\w+)` \|", section("### `WebSocket /stream`"), re.MULTILINE
    )
    assert set(table) == expected


def test_the_parameters_of_transcripts_are_those_of_the_code() -> None:
    expected = [field.alias or name for name, field in http_transcripts.PageQuery.model_fields.items()]
    listed = re.findall(r"^\| `(\w+)` \|", section("### `GET /transcripts`"), re.MULTILINE)
    assert listed == expected


def test_the_members_of_a_job_are_those_of_the_code() -> None:
    asked = [field.alias for field in http_jobs.Submission.model_fields.values()]
    told = [field.alias for field in http_jobs.JobDescription.model_fields.values()]
    rows = [
        {
            member
            for row in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", page, re.MULTILINE)
            for member in re.findall(r"\w+", row)
        }
        - {str(number) for number in range(400, 504)}
        for page in (section("### `POST /jobs`", JOBS), section("### `GET /jobs/{name}`", JOBS))
    ]
    assert rows[0] == set(asked)
    assert rows[0] | rows[1] == {*asked, *told}


def test_the_parameters_and_limits_of_jobs_are_those_of_the_code() -> None:
    page = section("### `GET /jobs`", JOBS)
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(http_jobs.JobsQuery.model_fields)
    assert f"1 to {http_jobs.LONGEST_PAGE};" in page
    follow = section("### `GET /jobs/{name}/events`", JOBS)
    assert f"At most {jobs.MOST_WATCHERS} clients" in follow
    assert f"after {http_jobs.QUIET_SECONDS:.0f} s without" in follow
    assert f"up to {jobs.MOST_TAGS} names" in section("### `POST /jobs`", JOBS)
    queue = section("## The queue", JOBS)
    assert f"another one within {job_runner.POLL_SECONDS:.0f} s" in " ".join(queue.split())
    assert (job_runner.LEASE_PARTS, job_runner.MOST_ATTEMPTS) == (6, 3), "in words on the page"


def test_the_forms_of_a_transcript_are_those_of_the_code() -> None:
    page = section("### `GET /transcripts/{transcript}`, `GET /transcripts/{transcript}.{form}`")
    listed = re.findall(r"^\| `\.(\w+)` \| `([\w/-]+)` \|", page, re.MULTILINE)
    assert listed == [(suffix, form.media_type) for suffix, form in http_transcripts.FORMS.items()]


def test_the_parameters_of_amazons_streams_are_those_of_the_code() -> None:
    expected = [(each.name, each.values, each.effect, each.lacking or "") for each in PARAMETERS.values()]
    listed = re.findall(r"^\| `([\w-]+)` \| (.*?) \| (.*?) \| ?(.*?) \|$", AMAZON, re.MULTILINE)
    assert listed == expected


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("a message", f"{eventstream.MAX_MESSAGE_BYTES} bytes"),
        ("the size of a vocabulary filter", f"{vocabulary_filters.MAX_BYTES} bytes"),
        ("vocabulary filters", f"{vocabulary_filters.MAX_LISTS}"),
        ("resumable sessions", f"{sessions.MOST_RESUMABLE}"),
        (
            "the duration of a stream",
            f"`longest_stream`, {ServerSettings.model_fields['longest_stream'].default:.0f} s by default",
        ),
        ("the validity of a signed URL", f"{sigv4.MAX_EXPIRES} s"),
        ("the error of a client's clock", f"{sigv4.MAX_SKEW.seconds} s"),
        (
            "the last results of a stream whose session-id is used again",
            f"{sessions.MAKING_WAY_SECONDS:.0f} s",
        ),
    ],
)
def test_a_limit_of_amazons_streams_is_that_of_the_code(limit: str, value: str) -> None:
    rows = dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|$", AMAZON, re.MULTILINE))
    assert re.match(rf"{re.escape(value)}(?![\w.])", rows[limit]), rows[limit]


def _tree(kind: type[errors.TranscribedError]) -> Iterator[type[errors.TranscribedError]]:
    yield kind
    for branch in kind.__subclasses__():
        yield from _tree(branch)


def test_every_error_is_listed_with_its_status_and_its_code() -> None:
    # Of the first nobody hears, the second ends the start, and the last is Amazon's protocol's alone.
    unsent = {
        *_tree(errors.Disconnected),
        errors.ConfigurationError,
        errors.IncompleteSignature,
    }
    sent = (kind for kind in _tree(errors.TranscribedError) if kind not in unsent)
    expected = {(str(status_of(kind(""))), kind.code) for kind in sent}
    rows = re.findall(r"^\| (\d+) \| (`\w+`(?:, `\w+`)*) \|", section("## Errors"), re.MULTILINE)
    listed = {(status, code) for status, codes in rows for code in re.findall(r"\w+", codes)}
    assert listed == expected


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("an upload", "`max_upload_bytes`"),
        ("a pause within an upload", f"{body.BODY_TIMEOUT:.0f} s"),
        ("the average speed of an upload", f"{body.BODY_BYTES_A_SECOND} bytes a second"),
        ("the duration of an upload", f"{body.BODY_SECONDS / 3600:.0f} h"),
        (
            "an incomplete message to `/stream`",
            f"{connections.MESSAGE_BYTES} bytes, {connections.MESSAGE_SECONDS:.0f} s",
        ),
        ("a name", f"{names.MAX_BYTES} bytes"),
        ("a correction", f"{http_transcripts.CORRECTION_BYTES} bytes"),
        ("a renaming", f"{http_recordings.RENAMING_BYTES} bytes"),
        ("a search text", f"{http_transcripts.LONGEST_SEARCH} characters"),
        ("transcripts on a page", f"{http_transcripts.LONGEST_PAGE}"),
        ("the delay of a final by the transcript store", f"{transcripts.PATIENCE:.0f} s"),
        ("finals of one session in memory while the transcript store fails", f"{transcripts.UNSAVED}"),
        ("a message to `/stream`", f"{wire.MAX_MESSAGE_CHARACTERS} characters"),
        ("a binary message to `/stream`", f"{wire.MAX_AUDIO_BYTES} bytes"),
        ("names that wait on one connection", f"{inbox.REQUESTS_AHEAD}"),
        (
            "live audio that waits in memory, for each connection",
            f"{inbox.AUDIO_AHEAD_SECONDS:.0f} s, or of `auto` {inbox.CONTAINER_AHEAD_BYTES // 1024} KiB",
        ),
        ("live audio that waits in a file, for each connection", f"{spool.SPOOL_BYTES // 2**20} MiB"),
        ("live audio that waits in files, for all connections", f"{spool.SPOOLED_BYTES // 2**30} GiB"),
        ("the time that live audio waits for room", f"{inbox.AUDIO_WAIT:.0f} s"),
        (
            "the recognition of live audio after its client has disconnected",
            f"{relay.DRAIN_SECONDS / 60:.0f} minutes",
        ),
        (
            "a live stream without new audio",
            f"`audio_timeout`, {ServerSettings.model_fields['audio_timeout'].default:.0f} s by default",
        ),
        ("a WAV header in front of raw samples", f"{wav.LONGEST_HEADER} bytes"),
        (
            "audio that is decoded ahead of the recogniser, for each stream",
            f"{stream.BUFFERED_SECONDS:.0f} s",
        ),
        (
            "the last results when the server stops",
            f"`stop_grace`, {ServerSettings.model_fields['stop_grace'].default:.0f} s by default",
        ),
        (
            "viewers of shared sessions",
            f"`max_viewers`, {ServerSettings.model_fields['max_viewers'].default} by default",
        ),
        (
            "viewers of one shared session",
            f"`session_viewers`, {ServerSettings.model_fields['session_viewers'].default} by default",
        ),
        (
            "the wait of viewers for a session that continues another one",
            f"{broadcasts.HELD_SECONDS:.0f} s, of the last {broadcasts.MOST_HELD} sessions",
        ),
        ("the messages that are kept of a shared session", f"{broadcasts.KEPT_CHARACTERS} characters"),
        (
            "a shared session after its end",
            f"{broadcasts.KEPT_SECONDS / 60:.0f} minutes, for the last {broadcasts.MOST_ENDED} sessions",
        ),
        ("unread messages", f"{timeouts.SEND_TIMEOUT:.0f} s"),
    ],
)
def test_a_limit_is_that_of_the_code(limit: str, value: str) -> None:
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", section("## Limits"), re.MULTILINE))
    assert re.match(rf"{re.escape(value)}(?![\w.])", rows[limit]), rows[limit]


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("fields", f"{form.MOST_PARTS}"),
        ("the bytes of the fields together", f"{form.MOST_FIELD_BYTES}"),
        ("the bytes of the form beside the file", f"{form.MOST_BESIDE}"),
        ("phrases to favour, from `prompt` and `keywords[]`", f"{prompt.MOST_PHRASES}"),
    ],
)
def test_a_limit_of_openais_forms_is_that_of_the_code(limit: str, value: str) -> None:
    rows = dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|$", OPENAI, re.MULTILINE))
    assert re.match(rf"{re.escape(value)}(?![\w.])", rows[limit]), rows[limit]


def test_the_fields_of_openais_form_are_those_of_the_code() -> None:
    listed = {
        name.removesuffix("[]")
        for names in re.findall(r"^\| ((?:`[\w\[\]]+`(?:, )?)+) \| [A-Z`]", OPENAI, re.MULTILINE)
        for name in re.findall(r"`([\w\[\]]+)`", names)
    }
    assert {name.removesuffix("[]") for name in openai_transcriptions.FIELDS} <= listed


def test_the_configuration_of_a_realtime_session_is_that_of_the_code() -> None:
    shapes = {openai_realtime.AudioInput, openai_realtime.TranscriptionConfig, openai_realtime.ServerVad}
    fields = {name for shape in (*shapes, openai_realtime.SemanticVad) for name in shape.model_fields}
    table = REALTIME[REALTIME.index("### The configuration") : REALTIME.index("### From the server")]
    listed = {
        name
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"\w+", row)
    }
    assert fields - {"type", "transcription"} == listed - {"audio", "input", "transcription", "include"}


def test_the_limits_of_realtime_sessions_are_those_of_the_code() -> None:
    page = " ".join(REALTIME.split())
    assert f"A message may have {connections.REALTIME_MESSAGE_BYTES // 2**20} MiB" in page
    assert f"whole within {connections.MESSAGE_SECONDS:.0f} s" in page
    assert f"`seconds` is {client_secrets.SHORTEST_SECONDS} to {client_secrets.LONGEST_SECONDS}" in page
    assert f"{client_secrets.USUAL_SECONDS} by default" in page
    assert f"valid for {client_secrets.BETA_SECONDS} s" in page
    assert f"{client_secrets.CONFIG_BYTES} bytes of JSON" in page
    assert f"less than {openai_items.SHORTEST_COMMIT * 1000:.0f} ms of audio" in page
    assert f"from {SHORTEST_SILENCE * 1000:.0f} to {LONGEST_SILENCE * 1000:.0f} ms" in page
