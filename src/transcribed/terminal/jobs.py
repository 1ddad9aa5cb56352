"""`transcribed jobs`: submits, lists, follows and cancels the jobs of a running server, over HTTP.

Unlike `transcribed keys` it does not open the database: only a server can tell whether a job can be served,
and whose jobs a key may see.
"""

import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Self
from urllib.parse import quote

import click
import requests
from requests.exceptions import RequestException, SSLError, Timeout

from transcribed import __version__
from transcribed.errors import BadRequest, TranscribedError, Unavailable
from transcribed.settings import JobsSettings
from transcribed.terminal.table import aligned

_CONNECT_SECONDS = 10.0
_READ_SECONDS = 60.0
_AWAY_SECONDS, _PAUSE_SECONDS = 60.0, 1.0
_PAGE = 200
_COLUMNS = ("JOB", "STATUS", "RECORDING", "SUBMITTED", "PROGRESS")
_ENDED = {"COMPLETED", "FAILED"}
_UNAVAILABLE = 503
_MOST_READ = 4096
"""The bytes that are read of a file with a secret."""

Job = dict[str, Any]
"""A job as the server describes it (docs/jobs.md)."""


class JobsClient:
    """A client of the server's jobs. A context manager. Methods raise TranscribedError."""

    def __init__(self, settings: JobsSettings) -> None:
        """Raises BadRequest if the secret cannot be read."""
        self._address = settings.server
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"transcribed/{__version__}"
        if not {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"} & os.environ.keys():
            self._session.verify = os.environ.get("SSL_CERT_FILE") or True
        secret = _secret(settings)
        if secret:
            self._session.auth = _Bearer(secret)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def submit(self, job: Mapping[str, object]) -> Job:
        """Submit a job."""
        submitted: Job = self._json("POST", "/jobs", json=dict(job))
        return submitted

    def get(self, name: str) -> Job:
        """A job."""
        found: Job = self._json("GET", f"/jobs/{_quoted(name)}")
        return found

    def all(self, status: str | None) -> Iterator[Job]:
        """All jobs, page by page."""
        before = None
        while True:
            query = {"status": status, "limit": _PAGE, "before": before}
            page = self._json("GET", "/jobs", params=query)
            yield from page["Jobs"]
            before = page["Next"]
            if before is None:
                return

    def recordings(self, prefix: str) -> list[str]:
        """The names of the stored recordings that begin with a prefix."""
        found: list[Job] = self._json("GET", "/audio")
        return [each["name"] for each in found if each["name"].startswith(prefix)]

    def delete(self, name: str) -> None:
        """Delete a job."""
        self._answer("DELETE", f"/jobs/{_quoted(name)}").close()

    def follow(self, name: str) -> Iterator[Job]:
        """The job, now and whenever it changes, up to its end.

        Goes on if the server is away for less than _AWAY_SECONDS meanwhile.
        """
        last_heard = -math.inf
        while True:
            try:
                with self._answer("GET", f"/jobs/{_quoted(name)}/events", stream=True) as answer:
                    for event, data in _events(answer):
                        last_heard = time.monotonic()
                        told: Job = json.loads(data)
                        if event == "error":
                            raise TranscribedError(str(told["detail"]))
                        yield told
                        if told["Status"] in _ENDED:
                            return
            except Unavailable:
                if time.monotonic() - last_heard > _AWAY_SECONDS:
                    raise
            time.sleep(_PAUSE_SECONDS)

    def _json(self, method: str, path: str, **how: Any) -> Any:
        with self._answer(method, path, **how) as answer:
            return answer.json()

    def _answer(self, method: str, path: str, **how: Any) -> requests.Response:
        timeout = (_CONNECT_SECONDS, _READ_SECONDS)
        try:
            answer = self._session.request(method, self._address + path, timeout=timeout, **how)
        except SSLError as error:
            raise Unavailable(
                f"The certificate of {self._address} is not trusted. Name the file of its authority in "
                "SSL_CERT_FILE; `transcribed env` prints it."
            ) from error
        except Timeout as error:
            raise Unavailable(f"{self._address} does not answer within {_READ_SECONDS:.0f} s.") from error
        except RequestException as error:
            raise Unavailable(
                f"No server answers at {self._address}. Start one with `transcribed serve`, or name its "
                "address with --server."
            ) from error
        if answer.ok:
            return answer
        with answer:
            kind = Unavailable if answer.status_code == _UNAVAILABLE else TranscribedError
            raise kind(_detail(answer))


class _Bearer(requests.auth.AuthBase):
    """Sends a secret; given so, requests does not take another one from ~/.netrc."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._secret}"
        return request


def submit(
    client: JobsClient,
    recordings: Sequence[str],
    prefix: str | None,
    wishes: Mapping[str, object],
    *,
    follow: bool,
) -> int:
    """Submit a job for each recording and print its name. Returns how many failed."""
    names = [*recordings, *([] if prefix is None else client.recordings(prefix))]
    if not names:
        raise BadRequest(f"There is no recording whose name begins with {prefix!r}.")
    asked = {name: value for name, value in wishes.items() if value not in (None, [])}
    failed, submitted = 0, []
    for recording in names:
        try:
            job = client.submit(asked | {"Recording": recording})
        except Unavailable:
            raise
        except TranscribedError as error:
            failed += 1
            _tell(f"{recording}: {error.message}")
        else:
            submitted.append(job["Name"])
            click.echo(job["Name"])
    return failed + sum(_followed(client, name) for name in submitted if follow)


def list_jobs(client: JobsClient, status: str | None, *, as_json: bool) -> None:
    """Print all jobs."""
    found = list(client.all(status))
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif found:
        for line in aligned([_COLUMNS, *map(_row, found)]):
            click.echo(line)
    else:
        _tell("There are no such jobs." if status else "There are no jobs.")


def show_job(client: JobsClient, name: str, *, follow: bool, as_json: bool) -> bool:
    """Print a job. Returns whether it has failed."""
    if follow:
        _followed(client, name)
    job = client.get(name)
    if as_json:
        click.echo(json.dumps(job, indent=2, ensure_ascii=False))
    else:
        shown = {key: value for key, value in job.items() if value not in (None, [], {})}
        for line in aligned([(key, _cell(value)) for key, value in shown.items()]):
            click.echo(line)
    return bool(job["Status"] == "FAILED")


def cancel_jobs(client: JobsClient, names: Sequence[str]) -> int:
    """Delete jobs. Returns how many could not be deleted."""
    failed = 0
    for name in names:
        try:
            client.delete(name)
            _tell(f"{name}: deleted")
        except Unavailable:
            raise
        except TranscribedError as error:
            failed += 1
            _tell(f"{name}: {error.message}")
    return failed


def _followed(client: JobsClient, name: str) -> bool:
    """Show the progress of a job on standard error up to its end. Returns whether it failed."""
    job: Job = {}
    growing = sys.stderr.isatty()
    for job in client.follow(name):
        line = f"{name}: {job['Status']} {_progress(job)}".rstrip()
        if growing:
            click.echo(f"\r\x1b[K{line}", err=True, nl=job["Status"] in _ENDED)
        elif job["Status"] in _ENDED:
            _tell(line)
    if job["Status"] == "FAILED":
        _tell(f"{name}: {job['Failure']}")
    return bool(job["Status"] == "FAILED")


def _events(answer: requests.Response) -> Iterator[tuple[str, str]]:
    """The kind and the data of server-sent events. Ends when the connection is lost."""
    kind, data = "message", ""
    try:
        for line in answer.iter_lines():
            name, _, value = line.decode().partition(":")
            value = value.removeprefix(" ")
            if line and name == "event":
                kind = value
            elif line and name == "data":
                data += value
            elif not line and data:
                yield kind, data
                kind, data = "message", ""
    except RequestException:
        return


def _row(job: Job) -> tuple[str, ...]:
    submitted = datetime.fromisoformat(job["Created"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    recording = job["Recording"] or job["Media"]
    return job["Name"], job["Status"], recording, submitted, job["Failure"] or _progress(job)


def _progress(job: Job) -> str:
    if job["Status"] == "QUEUED":
        return ""
    heard, whole = job["AudioSeconds"], job["Duration"]
    if not whole or job["Status"] == "COMPLETED":
        return f"{heard:.0f} s"
    return f"{heard:.0f} s of {whole:.0f} s"


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name}={each}" for name, each in value.items())
    return str(value)


def _detail(answer: requests.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"The server answers {answer.status_code} {answer.reason}. Is --server its address?"


def _secret(settings: JobsSettings) -> str:
    if settings.secret_file is None:
        return settings.secret.get_secret_value()
    try:
        with settings.secret_file.open("rb") as opened:
            return opened.read(_MOST_READ).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text file"
        raise BadRequest(f"The secret cannot be read from {settings.secret_file}: {reason}.") from error


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _tell(line: str) -> None:
    """Print a line for people. Standard output is for programs."""
    click.echo(line, err=True)
