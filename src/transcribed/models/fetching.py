"""Fetches files over HTTP, resuming those that were cut off, and JSON.

The environment names proxies (HTTP_PROXY, HTTPS_PROXY, NO_PROXY) and certificates (SSL_CERT_FILE).
"""

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
import urllib3
from requests.exceptions import ConnectionError as NotConnected
from requests.exceptions import (
    InvalidProxyURL,
    InvalidSchema,
    ProxyError,
    RequestException,
    SSLError,
    Timeout,
    TooManyRedirects,
)

from transcribed import __version__
from transcribed.errors import PullFailed, shown
from transcribed.models.addresses import mirrored, shown_address

Progress = Callable[[int], None]
"""Called with the number of bytes of a file that have been stored."""

_BLOCK = 1 << 18
_LARGEST_JSON = 4 << 20
_MOST_REDIRECTS = 10
_LONGEST_PAUSE = 60.0
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_PARTIAL, _NOT_SATISFIABLE = 206, 416


class _Temporary(Exception):
    """A failure after which the same request may succeed, and the seconds that the server asks to wait."""

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.message = message
        self.pause = pause


class _Session(requests.Session):
    """A session that refuses redirects from HTTPS to HTTP, where a model could be replaced on its way."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target is not None and resp.url.startswith("https:") and target.lower().startswith("http:"):
            raise PullFailed(
                f"{shown_address(resp.url)} redirects to {shown_address(target)}, which is not encrypted."
            )
        return target


class Fetcher:
    """Fetches from the origins of models, or from a mirror that has the same paths.

    `timeout` is the seconds to wait for a connection, and for further data. A file of which fewer than
    `slowest` bytes arrive in that time counts as stalled. `pauses` are the seconds to wait before each
    further try after a failure that may be temporary. A try in which data arrives starts them anew.
    """

    def __init__(
        self,
        mirror: str = "",
        *,
        timeout: float = 30.0,
        slowest: int = 1024,
        pauses: Sequence[float] = (1.0, 3.0, 10.0),
    ) -> None:
        self._mirror = mirror
        self._timeout = timeout
        self._slowest = slowest
        self._pauses = pauses
        self._session = _Session()
        self._session.max_redirects = _MOST_REDIRECTS
        if not {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"} & os.environ.keys():
            self._session.verify = os.environ.get("SSL_CERT_FILE") or True
        # Models cannot be compressed further, and a compressed file could not be resumed.
        self._session.headers.update(
            {"User-Agent": f"transcribed/{__version__}", "Accept-Encoding": "identity"}
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._session.close()

    def address(self, url: str) -> str:
        """Where `url` is fetched from: on the mirror, if there is one. User and password are left out."""
        return shown_address(self._mirrored(url))

    def json(self, url: str) -> Any:
        """Fetch a JSON document. Raises PullFailed."""
        return self._trying(lambda _: self._json(self._mirrored(url)), lambda: 0)

    def file(self, url: str, path: Path, size: int, progress: Progress) -> None:
        """Fetch a file of `size` bytes, starting after those that are already in `path`.

        Raises PullFailed if the whole file cannot be fetched; the bytes that have arrived are kept. Raises
        OSError if the file cannot be written.
        """

        def done() -> int:
            return path.stat().st_size if path.exists() else 0

        self._trying(lambda resume: self._file(self._mirrored(url), path, size, progress, resume), done)

    def _trying(self, fetch: Callable[[bool], Any], done: Callable[[], int]) -> Any:
        """Call `fetch` until it succeeds, fails permanently, or has brought no data in all further tries.

        `done` returns the number of bytes that have been stored. `fetch` is told whether to resume.
        """
        pauses = iter(self._pauses)
        resume = True
        while True:
            before = done()
            try:
                return fetch(resume)
            except _Temporary as error:
                if (after := done()) > before:
                    pauses = iter(self._pauses)
                pause = next(pauses, None)
                if pause is None:
                    kept = " What has come is kept; pull again to go on." if after else ""
                    raise PullFailed(f"{error.message}{kept}") from error
                # A server that does not support ranges is asked for the whole file.
                resume = not isinstance(error, _NotResumed)
                time.sleep(min(max(pause, error.pause), _LONGEST_PAUSE))

    def _json(self, url: str) -> Any:
        with self._answer(url, {}) as response:
            content = b"".join(self._blocks(url, response, _LARGEST_JSON))
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            begin = shown(content[:60].decode(errors="replace"))
            raise PullFailed(
                f"{shown_address(url)} does not answer with JSON, but {begin}. Is it the hub, or a mirror "
                "of it?"
            ) from None

    def _file(self, url: str, path: Path, size: int, progress: Progress, resume: bool) -> None:
        have = path.stat().st_size if path.exists() and resume else 0
        if have > size:
            have = 0
        progress(have)
        if have == size and path.exists():
            return
        headers = {"Range": f"bytes={have}-"} if have else {}
        with self._answer(url, headers) as response:
            if have and response.status_code != _PARTIAL:
                have = 0
            self._check(url, response, have, size)
            with path.open("r+b" if have else "wb", buffering=0) as file:
                file.seek(have)
                for block in self._blocks(url, response, size - have):
                    file.write(block)
                    have += len(block)
                    progress(have)
        if have < size:
            raise _Temporary(f"{shown_address(url)} ended after {have} of {size} bytes.")

    def _check(self, url: str, response: requests.Response, have: int, size: int) -> None:
        """Raise PullFailed or _NotResumed if the response is not the rest of the file."""
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind in {"text/html", "application/xhtml+xml"}:
            raise PullFailed(
                f"{shown_address(url)} answers with a web page instead of the file. Is it a mirror of the "
                "models' origins, and does no proxy or network ask you to sign in first?"
            )
        sent = response.headers.get("Content-Range", "something else")
        encoded = response.headers.get("Content-Encoding", "identity") != "identity"
        if have and (encoded or not re.match(rf"bytes {have}-\d+/({size}|\*)$", sent)):
            raise _NotResumed(
                f"{shown_address(url)} does not send the rest of the file, but {shown(sent)}."
            )
        length = response.headers.get("Content-Length", "")
        if length.isdigit() and not encoded and have + int(length) != size:
            raise PullFailed(
                f"{shown_address(url)} has {have + int(length)} bytes instead of {size}: another file, or "
                "another version of it."
            )

    def _blocks(self, url: str, response: requests.Response, most: int) -> Iterator[bytes]:
        """The content as it arrives. Raises PullFailed if it is too long, _Temporary if it stalls or fails.

        `most` is the largest number of bytes.
        """
        came, since, began = 0, 0, time.monotonic()
        try:
            while block := response.raw.read1(_BLOCK, decode_content=True):
                came += len(block)
                if came > most:
                    raise PullFailed(
                        f"{shown_address(url)} sends more than the {most} bytes that are expected."
                    )
                yield block
                if (now := time.monotonic()) - began >= self._timeout:
                    if came - since < self._slowest:
                        raise _Temporary(
                            f"{shown_address(url)} stalls: {came - since} bytes in {now - began:.0f} s."
                        )
                    since, began = came, now
        except urllib3.exceptions.ReadTimeoutError:
            raise _Temporary(f"{shown_address(url)} sent nothing for {self._timeout:g} s.") from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _Temporary(f"{shown_address(url)} was cut off: {_reason(error)}.") from error

    @contextmanager
    def _answer(self, url: str, headers: dict[str, str]) -> Iterator[requests.Response]:
        try:
            response = self._session.get(url, headers=headers, stream=True, timeout=self._timeout)
        except RequestException as error:
            raise _failure(url, error, self._timeout) from error
        except (ValueError, urllib3.exceptions.HTTPError) as error:
            raise PullFailed(f"{shown_address(url)} cannot be fetched: {error}.") from error
        with response:
            _raise_for_status(url, response)
            yield response

    def _mirrored(self, url: str) -> str:
        return mirrored(url, self._mirror)


class _NotResumed(_Temporary):
    """The response to a range request is not the range."""


def _raise_for_status(url: str, response: requests.Response) -> None:
    status, reason = response.status_code, response.reason
    if response.ok and status in {200, _PARTIAL}:
        return
    what = f"{shown_address(url)} answers with {status} {reason}".rstrip()
    if status == _NOT_SATISFIABLE:
        raise _NotResumed(f"{what}.")
    if status in _TRANSIENT:
        after = response.headers.get("Retry-After", "")
        raise _Temporary(f"{what}.", float(after) if after.isdigit() else 0.0)
    if status in {404, 410}:
        raise PullFailed(
            f"{what}: the file is not there. If this is a mirror (--models-mirror), it lacks the file; "
            "otherwise a newer version of transcribed may know where the model is now."
        )
    if status in {401, 403}:
        raise PullFailed(
            f"{what}: does the mirror or a proxy need a password, as in https://USER:PASSWORD@…?"
        )
    raise PullFailed(f"{what}.")


def _failure(url: str, error: RequestException, timeout: float) -> Exception:
    where, reason = shown_address(url), _reason(error)
    kind: type[Exception] = PullFailed
    match error:
        case ProxyError() | InvalidProxyURL():
            kind = _Temporary
            message = (
                f"The proxy to {where} does not work: {reason}. HTTPS_PROXY and HTTP_PROXY name the proxy, "
                "NO_PROXY hosts that are reached without it."
            )
        case SSLError():
            message = (
                f"The certificate of {where} is not trusted: {reason}. If it is of an authority of your "
                "own, name its file in SSL_CERT_FILE."
            )
        case Timeout():
            kind, message = _Temporary, f"{where} does not answer within {timeout:g} s."
        case TooManyRedirects():
            message = f"{where} redirects more than {_MOST_REDIRECTS} times."
        case InvalidSchema() if "SOCKS" in str(error):
            message = "A SOCKS proxy needs another package: pip install pysocks"
        case NotConnected():
            kind = _Temporary
            message = f"{where} cannot be reached: {reason}. Without a network, give the files with --from."
        case _:
            message = f"{where} cannot be fetched: {reason}."
    return kind(message)


def _reason(error: BaseException) -> str:
    """The message of the innermost of nested errors, on one line."""
    while True:
        nested = (getattr(error, "reason", None), *error.args, error.__cause__)
        inner = next((each for each in nested if isinstance(each, BaseException)), None)
        if inner is None:
            break
        error = inner
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
