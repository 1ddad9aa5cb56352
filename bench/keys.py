"""The cost of checking who asks, by the way in which a key is shown.

    python bench/keys.py [--keys 1000] [--checks 20000]

The database is SQLite's, in a temporary folder, and is read again every 3 s, as in a server, while the
checks run. A check is all that `Authentication` does for a request, from its headers to its principal.
"""

import argparse
import asyncio
import base64
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from starlette.requests import HTTPConnection
from starlette.types import Scope

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "clients"))
import signing

from running import machine
from transcribed.http.authentication import Authentication
from transcribed.http.sign_ins import SignIns
from transcribed.principal import Role
from transcribed.service.access_keys import AccessKeys
from transcribed.service.stored_keys import StoredKeys, generated_secret
from transcribed.storage.opening import open_stores
from transcribed.wire import sigv4

SIGNED = "/stream-transcription"
Make = Callable[[], Scope]


def scope(path: str = "/transcripts", query: bytes = b"", *headers: tuple[str, str]) -> Scope:
    """Return a GET, or a POST of Amazon's."""
    raw = [(name.lower().encode(), value.encode()) for name, value in (("host", "localhost"), *headers)]
    return {
        "type": "http",
        "method": "POST" if path == SIGNED else "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": raw,
    }


def signed(key_id: str, secret: str) -> Scope:
    """Return a signed request, as Amazon's SDKs send it."""
    request = sigv4.Request(
        "POST",
        SIGNED,
        headers=(
            ("host", "localhost"),
            ("content-type", "application/vnd.amazon.eventstream"),
            ("x-amz-content-sha256", sigv4.EVENTS_PAYLOAD),
            ("x-amzn-transcribe-language-code", "en-US"),
            ("x-amzn-transcribe-sample-rate", "16000"),
            ("x-amzn-transcribe-media-encoding", "pcm"),
        ),
    )
    now = datetime.now(UTC)  # noqa: TID251 - a signature is of a date
    made = signing.sign(request, sigv4.Credentials(key_id, secret), "us-east-1", now)
    return scope(SIGNED, b"", *made.headers[1:])


async def main(key_count: int, checks: int) -> None:
    """Measure and print."""
    logging.disable()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        stores = await open_stores(str(Path(folder, "keys.db")))
        stored = StoredKeys(stores.keys, Path(folder, "keys-key"))
        secrets = {f"key-{number}": generated_secret() for number in range(key_count)}
        for key_id, secret in secrets.items():
            await stored.add(key_id, key_id, Role.TRANSCRIBE, secret, streams=None, seconds=None)
        keys = AccessKeys(sealing_file=Path(folder, "keys-key"))
        began = time.perf_counter()
        async with keys.watched(stores.keys):
            print(f"{key_count} keys read in {time.perf_counter() - began:.2f} s")
            key_id, secret = next(iter(secrets.items()))
            token, _ = keys.token(await keys.by_secret(secret), 3600, None)
            basic = base64.b64encode(f"{key_id}:{secret}".encode()).decode()
            request = signed(key_id, secret)
            made: dict[str, Make] = {
                "Bearer": lambda: scope("/transcripts", b"", ("Authorization", f"Bearer {secret}")),
                "Basic": lambda: scope("/transcripts", b"", ("Authorization", f"Basic {basic}")),
                "access_token": lambda: scope("/transcripts", f"access_token={secret}".encode()),
                "Bearer, a token": lambda: scope("/transcripts", b"", ("Authorization", f"Bearer {token}")),
                "Signature Version 4": lambda: dict(request),
            }
            backend = Authentication(keys, SignIns(10), [SIGNED])
            print(f"{'microseconds':20} {'median':>8} {'p99':>8} {'largest':>8} {'p99, CPU':>8}")
            for way, make in made.items():
                await measure(backend, way, make, checks)
        await stores.aclose()


async def measure(backend: Authentication, way: str, make: Make, checks: int) -> None:
    """Print what one way costs."""
    took, computed = [], []
    for number in range(checks):
        connection = HTTPConnection(make())
        began, cpu = time.perf_counter(), time.thread_time()
        _, caller = await backend.authenticate(connection)
        computed.append((time.thread_time() - cpu) * 1e6)
        took.append((time.perf_counter() - began) * 1e6)
        assert caller.is_authenticated  # noqa: S101 - else it would be another thing that is measured
        if number % 100 == 0:
            await asyncio.sleep(0.001)  # The keys are looked at meanwhile.
    p99, p99_computed = (statistics.quantiles(each, n=100)[98] for each in (took, computed))
    print(f"{way:20} {statistics.median(took):8.0f} {p99:8.0f} {max(took):8.0f} {p99_computed:8.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--keys", type=int, default=1000)
    parser.add_argument("--checks", type=int, default=20_000)
    given = parser.parse_args()
    asyncio.run(main(given.keys, given.checks))
