"""Mutated streams to a real server, over HTTP/2 without TLS and over WebSockets.

Each must have an end within WAIT seconds, in an orderly way; afterwards the server serves as before, has
nothing of them left, and has logged no error.
"""

import io
import json
import signal
import socket
import struct
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import av
import numpy as np
import psutil
from amazon_client import KEY, PCM, SECRET, Http2, Refused, Ws, finals, now, results
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from mutations import pieces, stream
from watched import MARK
from websockets.exceptions import ConnectionClosed

if TYPE_CHECKING:
    from tests.conftest import Server

SETTLE_SECONDS = 30.0
AUDIO_TIMEOUT = 2.0
THREADS = 12
SCRIPT = {
    "events": [
        {"at": 0.1, "text": "first"},
        {"at": 0.2, "text": "first", "final": True},
        {"at": "end", "text": "second", "final": True},
    ]
}
WATCHED = Path(__file__).with_name("watched.py")
# What the one session that may be gone on with has, for as long as it may be.
_STAYS = {
    "transcribed.service.sessions.ResumableSession": 1,
    "transcribed.service.live.SessionTimeline": 1,
    "transcribed.transcript.Segment": 64,
    "transcribed.transcript.Word": 64,
    # asyncio keeps up to a hundred cancelled timers, each with the context that it was set in.
    "transcribed.request_context.RequestContext": 100,
}


def options(folder: Path) -> list[str]:
    """Of the server that is attacked."""
    script, keys = folder / "script.json", folder / "keys"
    script.write_text(json.dumps(SCRIPT))
    keys.write_text(f"{KEY} {SECRET}\n")
    keys.chmod(0o600)
    timeout = f"{AUDIO_TIMEOUT:g}"
    return [
        "--engine",
        "scripted",
        "--script",
        str(script),
        "--access-keys",
        str(keys),
        "--audio-timeout",
        timeout,
    ]


@dataclass(frozen=True)
class Traces:
    """What a server has at one moment."""

    descriptors: int
    threads: int
    resident: int
    objects: dict[str, int]

    def left_behind(self, before: "Traces") -> dict[str, int]:
        """What it has more of than it had before."""
        counts = before.objects
        more = {name: count - counts.get(name, 0) for name, count in self.objects.items()}
        more["descriptors"] = self.descriptors - before.descriptors
        return {name: count for name, count in more.items() if count > _STAYS.get(name, 0)}


def attack(server: "Server", count: int, seed: int) -> tuple[Counter[str], Traces, Traces]:
    """How so many streams ended, and what the server had before and after. Raises what must not be."""
    sounds = {name: _encoded(name) for name in ("flac", "ogg-opus")}

    def try_it(number: int) -> str:
        rng = Random(f"{seed}-{number}")
        try:
            return _one(server.address, rng, sounds)
        except BaseException as error:
            error.add_note(f"stream {number} of seed {seed}")
            raise

    with ThreadPoolExecutor(THREADS) as threads:
        # What is made once, at its first use, is there before anything is counted.
        for _ in threads.map(try_it, range(-100, 0)):
            pass
        before = settled(server)
        ends = Counter(threads.map(try_it, range(count)))
    deadline = time.monotonic() + SETTLE_SECONDS
    while (after := settled(server)).left_behind(before) and time.monotonic() < deadline:
        time.sleep(0.5)
    with Http2(server.address, PCM) as client:
        client.wait_for_headers()
        client.send(bytes(16_000))
        client.end()
        assert finals(client.events()) == ["first", "second"], "it serves as before"
    server.assert_no_errors()
    return ends, before, after


def settled(server: "Server") -> Traces:
    """What it has once no stream runs."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while (streams := server.streams) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not streams, f"{streams} streams have not ended"
    process = psutil.Process(server.process.pid)
    seen = server.log.read_text().count(MARK)
    process.send_signal(signal.SIGUSR1)
    while (log := server.log.read_text()).count(MARK) == seen and time.monotonic() < deadline:
        time.sleep(0.05)
    shown = log.rpartition(MARK)[2].partition("\n")[0]
    # The store of transcripts opens its files when it needs them.
    descriptors = process.num_fds() - len(process.open_files())
    return Traces(descriptors, process.num_threads(), process.memory_info().rss, json.loads(shown))


def _one(address: tuple[str, int], rng: Random, sounds: dict[str, bytes]) -> str:
    kind = rng.choice((Http2, Ws))
    media = rng.choices(("pcm", "flac", "ogg-opus"), (6, 1, 1))[0]
    parameters = PCM | {"media-encoding": media} | rng.choice(_EXTRAS)
    if rng.random() < 0.03:
        parameters |= {rng.choice([*PCM, "session-id", "x"]): "".join(rng.choices("a1-é,/ %;=", k=9))}
    signed = kind is Http2 or rng.random() < 0.5
    how = {} if kind is Http2 else {"signed": signed}
    with kind(address, parameters, **how) as client:  # type: ignore[arg-type]
        chunks = _chunks(rng, sounds.get(media))
        made = stream(rng, chunks, client.signer if signed else None, now())
        sent = pieces(rng, b"".join(made.messages)) if kind is Http2 else made.messages
        with suppress(ProtocolError, OSError, ConnectionClosed):  # The answer may be over already.
            for data in sent:
                client.raw(data)
        return f"{kind.__name__}: {_ended(client, rng)}"


def _chunks(rng: Random, sound: bytes | None) -> Sequence[bytes]:
    if sound is None:
        return [rng.randbytes(2 * rng.randint(1, 3000)) for _ in range(rng.randint(1, 6))]
    size = rng.randint(500, 5000)
    return [sound[at : at + size] for at in range(0, len(sound), size)][:10]


def _ended(client: Http2 | Ws, rng: Random) -> str:
    """How it ends, by the client's doing or by the server's."""
    way = rng.choices(("wait", "end", "abort", "reset"), (1, 6, 1, 1))[0]
    if way == "abort":
        _abort(client)
        return "aborted by the client"
    if isinstance(client, Http2):
        with suppress(ProtocolError, OSError):
            if way == "reset":
                client.reset(
                    rng.choice((ErrorCodes.CANCEL, ErrorCodes.NO_ERROR, ErrorCodes.PROTOCOL_ERROR))
                )
                return "reset by the client"
            if way == "end":
                client.raw(b"", end=True)
    elif way in ("end", "reset"):
        if rng.random() < 0.3:
            client.socket.close()
            return "closed by the client"
        client.raw(b"")
    try:
        for _ in results(client.events()):
            pass
    except Refused as refused:
        return refused.name
    return "in good order"


def _abort(client: Http2 | Ws) -> None:
    wire = client.socket if isinstance(client, Http2) else client.socket.socket
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with suppress(OSError):
        if isinstance(client, Ws):
            wire.shutdown(socket.SHUT_RD)
        wire.close()


_EXTRAS: tuple[dict[str, str], ...] = (
    {},
    {},
    {"enable-partial-results-stabilization": "true"},
    {"enable-channel-identification": "true", "number-of-channels": "2"},
    {"session-id": "00000000-0000-4000-8000-000000000000"},
    {"session-id": "00000000-0000-4000-8000-000000000001", "session-resume-window": "1"},
)


def _encoded(media: str) -> bytes:
    """Half a second of noise."""
    target = io.BytesIO()
    codec, container, rate = ("flac", "flac", 16_000) if media == "flac" else ("libopus", "ogg", 48_000)
    noise = np.random.default_rng(1).integers(-3000, 3000, (1, rate // 2), "int16")
    with av.open(target, "w", format=container) as output:
        track = output.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(noise, format="s16", layout="mono")
        frame.sample_rate = rate
        output.mux(track.encode(frame))
        output.mux(track.encode(None))
    return target.getvalue()
