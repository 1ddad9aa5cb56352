"""A web server with models on it, which can misbehave in every way that mirrors do."""

import gzip
import hashlib
import json
import random
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import google_crc32c

COMMIT = "0123456789abcdef0123456789abcdef01234567"

CONTENTS = {
    "encoder.ort": random.Random(1).randbytes(300_000),
    "decoder.ort": random.Random(2).randbytes(5000),
    "config.json": b'{"layers": 2}',
}


class Told:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.totals: list[int] = []
        self.dones: list[int] = []

    def total(self, size: int, source: str) -> None:
        self.totals.append(size)

    def done(self, size: int) -> None:
        self.dones.append(size)


class Handler(BaseHTTPRequestHandler):
    """Answers with the server's files, ranges of them too, or as a fault says."""

    protocol_version = "HTTP/1.1"
    server: "ModelServer"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.requests.append((path, self.headers.get("Range")))
        faults = self.server.faults.get(path, [])
        if faults:
            faults.pop(0)(self, path)
        else:
            self.send_file(path)

    def send_file(self, path: str, *, ranges: bool = True) -> None:
        content = self.server.files.get(path)
        if content is None:
            self.send_whole(b"nothing here", 404)
            return
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")) if ranges else None
        if wanted is None:
            self.send_whole(content)
            return
        start = int(wanted[1])
        sent = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        self.send_whole(content[start:], 206, sent)

    def send_whole(
        self, content: bytes, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing: tests look at `requests`."""


class ModelServer(ThreadingHTTPServer):
    """Files by path. Each of a path's faults answers one request for it, in their order."""

    daemon_threads = True

    def __init__(self, certificate: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.scheme = "http"
        if certificate is not None:
            self.scheme = "https"
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[Fault]] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.stopped = threading.Event()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}"

    def add_repository(self, repository: str, files: Mapping[str, bytes]) -> None:
        """Serve a repository as the hub does: files of more than 99 bytes are large ones."""
        siblings: list[dict[str, object]] = [{"rfilename": "README.md", "size": 1, "blobId": "0" * 40}]
        for name, content in files.items():
            self.files[f"/{repository}/resolve/{COMMIT}/{name}"] = content
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
            found: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": blob}
            if len(content) > 99:
                digest = hashlib.sha256(content).hexdigest()
                found["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 134}
            siblings.append(found)
        told = {"id": repository, "sha": COMMIT, "siblings": siblings}
        self.files[f"/api/models/{repository}"] = json.dumps(told).encode()


Fault = Callable[[Handler, str], None]


def cut_after(size: int, *, hang: bool = False) -> Fault:
    """Declare the whole file, send only the beginning of what is asked for, and close, or hang before."""

    def fault(handler: Handler, path: str) -> None:
        whole = handler.server.files[path]
        wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        handler.send_response(206 if wanted else 200)
        handler.send_header("Content-Length", str(len(whole) - start))
        if wanted:
            handler.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        handler.end_headers()
        handler.wfile.write(whole[start : start + size])
        if hang:
            handler.server.stopped.wait(30)
        handler.close_connection = True

    return fault


def answers(content: bytes, status: int = 200, **headers: str) -> Fault:
    """Answer with this instead."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, _: handler.send_whole(content, status, named)


def chunked(content: bytes) -> Fault:
    """Answer with this in chunks, so that its length is not declared."""

    def fault(handler: Handler, _: str) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        half = len(content) // 2
        for part in (content[:half], content[half:]):
            if part:
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        handler.wfile.write(b"0\r\n\r\n")

    return fault


def gzipped(handler: Handler, path: str) -> None:
    """Compress the file although nobody asked for it."""
    content = gzip.compress(handler.server.files[path])
    handler.send_whole(content, headers={"Content-Encoding": "gzip"})


def no_ranges(handler: Handler, path: str) -> None:
    """Send all of the file, whatever part of it is asked for."""
    handler.send_file(path, ranges=False)


def hangs(handler: Handler, _: str) -> None:
    """Send nothing."""
    handler.server.stopped.wait(30)
    handler.close_connection = True


def drips(handler: Handler, path: str) -> None:
    """Send a byte now and then."""
    content = handler.server.files[path]
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    for position in range(len(content)):
        try:
            handler.wfile.write(content[position : position + 1])
        except OSError:
            break
        time.sleep(0.05)
    handler.close_connection = True


@contextmanager
def serving(certificate: Path | None = None) -> Iterator[ModelServer]:
    """Run a server in a thread; with a certificate and its key (PEM), over TLS."""
    with ModelServer(certificate) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.stopped.set()
            server.shutdown()
            thread.join()


def crc32c(content: bytes) -> str:
    return f"{google_crc32c.value(content):08x}"
