"""Mutated containers to a real server: uploaded, listed, streamed from the library, and sent live.

Each must be answered within WAIT seconds and never with a failure of the server's own, while somebody else
speaks and hears the words in time. Afterwards the same server serves as before, and has nothing of them
left: no process, descriptor, task or file, and no error in its log.
"""

import json
import re
import resource
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import httpx
import psutil
from containers import mutated
from native_client import answer, opened
from served import SETTLE_SECONDS, Traces, settled
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

if TYPE_CHECKING:
    from tests.conftest import Server

WAIT = 60.0
THREADS = 6
MOST_GROWTH = 64 * 2**20
"""Bytes by which the server may be larger afterwards, of the allocator's making."""
MOST_MEMORY = 350 * 2**20
"""Bytes that a decoding process may have resident: what one is when it begins, and what it may allocate."""
LATE = 2.0
"""Seconds after which words are late, on a machine that has much else to do."""
PROCESSES = 3
"""That a server has which decodes nothing: that of which others are forked, and two that wait."""

_WORDS = 120
_BETWEEN = 0.5
_PIECE = 0.1
_SPARED = {200, 400, 415, 429, 503}
_FAILURES = {"InternalFailureException"}
_ENDED = re.compile(r"A decoder was killed by (\w+)")
_KILLS = "crashes the decoder"


def options(folder: Path) -> list[str]:
    """Of the server that is attacked."""
    script = folder / "script.json"
    events = [{"at": _BETWEEN * n, "text": f"word {n}", "final": True} for n in range(1, _WORDS)]
    script.write_text(json.dumps({"events": events}))
    return ["--engine", "scripted", "--script", str(script)]


@dataclass
class Figures:
    """What came of it: how each ended, and what the worst of them took."""

    ends: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, int] = (0.0, 0)
    """Seconds of one answer, and the number of the file."""
    killed: set[int] = field(default_factory=set)
    """The files that ended their decoder."""
    signals: Counter[str] = field(default_factory=Counter)
    lateness: list[float] = field(default_factory=list)
    """Seconds from when a word's last sample was sent to when it came, of the honest stream."""
    most_memory: int = 0
    """Resident bytes of the largest decoding process."""
    most_resident: int = 0
    """Of the server at its largest."""

    def note(self, end: str, began: float, number: int) -> None:
        """One answer has come."""
        self.ends[end] += 1
        self.slowest = max(self.slowest, (time.perf_counter() - began, number))


def attack(
    server: "Server", kept: Mapping[str, bytes], numbers: range, seed: int
) -> tuple[Figures, Traces, Traces]:
    """What came of so many files, and what the server had before and after. Raises what must not be."""
    figures = Figures()
    client = threading.local()

    def try_it(number: int, figures: Figures = figures) -> None:
        if not hasattr(client, "http"):
            client.http = opening.enter_context(httpx.Client(base_url=server.url, timeout=WAIT))
        try:
            one(server, client.http, kept, number, seed, figures)
        except BaseException as error:
            error.add_note(f"file {number} of seed {seed}")
            raise

    with ExitStack() as opening, ThreadPoolExecutor(THREADS) as threads:
        # What is made once, at its first use, is there before anything is counted.
        for _ in threads.map(lambda number: try_it(number, Figures()), range(-4 * THREADS, 0)):
            pass
        before = settled(server)
        with _honest(server, figures), _watched(server, figures):
            for _ in threads.map(try_it, numbers):
                pass
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        after = settled(server)
        if not after.left_behind(before) and len(processes(server)) == PROCESSES:
            break
        time.sleep(0.2)
    assert len(processes(server)) == PROCESSES, processes(server)
    assert server.stored == [], "nothing of a recording that was deleted is left"
    figures.signals.update(_ENDED.findall(server.log.read_text()))
    server.assert_no_errors()
    return figures, before, after


def one(
    server: "Server",
    http: httpx.Client,
    kept: Mapping[str, bytes],
    number: int,
    seed: int,
    figures: Figures,
) -> None:
    """Try one file."""
    rng = Random(f"{seed}-{number}")
    form, data = mutated(rng, kept)
    name = f"{number}.{form}"
    began = time.perf_counter()
    answered = http.post("/audio", files={"file": (name, data, "audio/x-any")})
    figures.note(f"uploaded: {answered.status_code}", began, number)
    _note_death(figures, number, answered.text)
    assert answered.status_code in _SPARED, answered.text
    if answered.is_success:
        _stored(server, http, name, number, figures)
    began = time.perf_counter()
    with opened(server, "&encoding=auto") as ws:
        size = rng.choice((100, 4_000, 60_000))
        with suppress(ConnectionClosed):
            for start in range(0, len(data), max(size, len(data) // 50)):
                ws.send(data[start : start + max(size, len(data) // 50)])
            ws.send(b"")
        _, last = answer(ws, WAIT)
    figures.note(f"live: {_kind(last)}", began, number)
    _note_death(figures, number, json.dumps(last))


def _stored(server: "Server", http: httpx.Client, name: str, number: int, figures: Figures) -> None:
    try:
        began = time.perf_counter()
        listed = http.get("/audio")
        figures.note(f"listed: {listed.status_code}", began, number)
        assert listed.is_success, listed.text
        assert name in listed.text
        began = time.perf_counter()
        with opened(server) as ws:
            ws.send(name)
            _, last = answer(ws, WAIT)
        figures.note(f"streamed: {_kind(last)}", began, number)
        _note_death(figures, number, json.dumps(last))
    finally:
        deleted = http.delete(f"/audio/{name}")
        assert deleted.is_success, deleted.text


def _kind(last: Mapping[str, object]) -> str:
    if "Code" not in last:
        return "in good order"
    assert last["Code"] not in _FAILURES, last
    return str(last["Code"])


def _note_death(figures: Figures, number: int, said: str) -> None:
    if _KILLS in said:
        figures.killed.add(number)


def processes(server: "Server") -> list[psutil.Process]:
    """All that were started by the server, and by these."""
    return psutil.Process(server.process.pid).children(recursive=True)


# --- Who else is there


@contextmanager
def _beside(
    work: threading.Thread, stopped: threading.Event, failures: list[BaseException]
) -> Iterator[None]:
    work.start()
    try:
        yield
    finally:
        stopped.set()
        work.join(WAIT)
    assert not work.is_alive()
    for failure in failures:
        raise failure


@contextmanager
def _honest(server: "Server", figures: Figures) -> Iterator[None]:
    """Somebody speaks, as fast as people do, and hears every word, meanwhile."""
    stopped, failures = threading.Event(), list[BaseException]()

    def speak() -> None:
        try:
            while not stopped.is_set():
                _speech(server, figures, stopped)
        except BaseException as failure:  # noqa: BLE001 - it is raised where it is waited for
            failures.append(failure)

    with _beside(threading.Thread(target=speak), stopped, failures):
        yield


def _speech(server: "Server", figures: Figures, stopped: threading.Event) -> None:
    sent: dict[int, float] = {}
    heard: list[str] = []

    def listen() -> None:
        while True:
            message = json.loads(ws.recv(WAIT))
            if "Transcript" not in message:
                last.append(message)
                return
            (result,) = message["Transcript"]["Results"]
            if not result["IsPartial"]:
                heard.append(result["Alternatives"][0]["Transcript"])
                if len(heard) in sent:
                    figures.lateness.append(time.perf_counter() - sent[len(heard)])

    last: list[dict[str, dict[str, object]]] = []
    with connect(f"{server.stream_url}?format=json", open_timeout=WAIT, close_timeout=WAIT) as ws:
        listener = threading.Thread(target=listen)
        listener.start()
        began, pieces = time.perf_counter(), 0
        for piece in count(1):
            time.sleep(max(0.0, began + piece * _PIECE - time.perf_counter()))
            every = round(_BETWEEN / _PIECE)
            if piece % every == 0:
                sent[piece // every] = time.perf_counter()
            ws.send(bytes(round(_PIECE * 16_000) * 2))
            pieces = piece
            if piece % every == 0 and (stopped.is_set() or piece // every == _WORDS - 1):
                break
        ws.send(b"")
        listener.join(WAIT)
    assert [list(message) for message in last] == [["Done"]], last
    assert last[0]["Done"]["AudioSeconds"] == round(pieces * _PIECE, 3), last
    words = pieces // every
    assert heard == [f"word {n}" for n in range(1, words + 1)], heard


@contextmanager
def _watched(server: "Server", figures: Figures) -> Iterator[None]:
    """How large the processes become."""
    stopped, failures = threading.Event(), list[BaseException]()
    parent = psutil.Process(server.process.pid)
    (forking,) = parent.children()
    # To ask psutil would be to look at all processes of the machine.
    forks = Path(f"/proc/{forking.pid}/task/{forking.pid}/children")

    def look() -> None:
        while not stopped.wait(0.02):
            figures.most_resident = max(figures.most_resident, parent.memory_info().rss)
            for number in forks.read_text().split():
                with suppress(OSError):
                    pages = int(Path(f"/proc/{number}/statm").read_text().split()[1])
                    figures.most_memory = max(figures.most_memory, pages * resource.getpagesize())

    with _beside(threading.Thread(target=look), stopped, failures):
        yield
