"""Vocabularies, on a real server with the real model."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from amazon_client import PCM, Refused, Ws, finals, results
from websockets.sync.client import connect

from transcribed.audio.media import MediaReader

if TYPE_CHECKING:
    from tests.conftest import Server

WAIT = 60
STEAMERS = Path(__file__).parents[1] / "data" / "steamers.ogg"
TABLE = "Phrase\tSoundsLike\tIPA\tDisplayAs\nInverashiel\t\t\tINVERASHIEL\nCrianan\t\t\t\n"


@pytest.fixture(scope="module")
def names(server: "Server") -> Iterator[str]:
    """The name of a vocabulary of Amazon's form."""
    stored = server.http.put("/vocabularies/steamers", content=TABLE)
    assert stored.json()["phrases"][0] == {
        "phrase": "Inverashiel",
        "display": "INVERASHIEL",
        "weight": 1.0,
    }
    yield "steamers"
    assert server.http.delete("/vocabularies/steamers").status_code == 204
    assert server.http.get("/vocabularies/steamers").status_code == 404


def on_stream(server: "Server", query: str) -> str:
    """The text of the recording."""
    with connect(f"{server.stream_url}?format=json{query}", open_timeout=WAIT) as ws:
        ws.send("vocabulary.ogg")
        texts = []
        while "Done" not in (message := json.loads(ws.recv(WAIT))):
            (result,) = message["Transcript"]["Results"]
            texts += [] if result["IsPartial"] else [result["Alternatives"][0]["Transcript"]]
    return " ".join(texts)


def test_a_stream_favours_the_names_of_a_vocabulary(server: "Server", names: str) -> None:
    sent = {"file": ("vocabulary.ogg", STEAMERS.read_bytes(), "audio/ogg")}
    assert server.http.post("/audio", files=sent).is_success
    text = on_stream(server, f"&vocabulary={names}")
    assert (text.count("INVERASHIEL"), text.count("Crianan")) == (2, 1)
    assert "inverashiel" not in on_stream(server, "").lower()


def test_amazons_parameter_does_the_same(server: "Server", names: str) -> None:
    with STEAMERS.open("rb") as file, MediaReader(file) as media:
        samples = np.concatenate(list(media.blocks()))
    audio = (samples[: 6 * 16_000] * 32767).astype("<i2").tobytes()
    with Ws(server.address, PCM | {"vocabulary-name": names}) as ws:
        for start in range(0, len(audio), 32_000):
            ws.send(audio[start : start + 32_000])
        ws.end()
        assert "INVERASHIEL" in " ".join(finals(ws.events()))


def test_an_unknown_vocabulary_is_refused_before_there_is_audio(server: "Server") -> None:
    with connect(f"{server.stream_url}?format=json&vocabulary=nowhere", open_timeout=WAIT) as ws:
        assert "There is no vocabulary 'nowhere'" in json.loads(ws.recv(WAIT))["Error"]["Message"]
    with (
        Ws(server.address, PCM | {"vocabulary-names": "nowhere"}) as ws,
        pytest.raises(Refused, match="There is no vocabulary 'nowhere'"),
    ):
        list(results(ws.events()))
