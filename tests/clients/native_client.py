"""The native front end, as a client sees it, and recordings as it sends them."""

import io
import json
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import numpy.typing as npt
from websockets.sync.client import ClientConnection, connect

if TYPE_CHECKING:
    from tests.conftest import Server

WAIT = 20


def opened(server: "Server", query: str = "") -> ClientConnection:
    return connect(f"{server.stream_url}?format=json{query}", open_timeout=WAIT, close_timeout=WAIT)


def stream(ws: ClientConnection, data: bytes, chunk: int = 4_000) -> None:
    """Send live audio to its end."""
    for start in range(0, len(data), chunk):
        ws.send(data[start : start + chunk])
    ws.send(b"")


def answer(ws: ClientConnection, wait: float = WAIT) -> tuple[list[str], dict[str, Any]]:
    """The final texts, and what came behind them: Done's members, or Error's. Warnings are passed over."""
    finals: list[str] = []
    while True:
        message = json.loads(ws.recv(wait))
        if "Warning" in message:
            continue
        if "Transcript" not in message:
            (last,) = message.values()
            return finals, last
        (result,) = message["Transcript"]["Results"]
        if not result["IsPartial"]:
            finals.append(result["Alternatives"][0]["Transcript"])


def heard(
    server: "Server", query: str, data: bytes, chunk: int = 4_000
) -> tuple[list[str], dict[str, Any]]:
    with opened(server, query) as ws:
        stream(ws, data, chunk)
        return answer(ws)


def decoded(content: bytes, rate: int = 16_000, channels: int = 1) -> npt.NDArray[np.int16]:
    """A recording as 16-bit samples [n, channels]."""
    resampler = av.AudioResampler("s16", "mono" if channels == 1 else "stereo", rate)
    with av.open(io.BytesIO(content)) as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    frames += resampler.resample(None)
    samples: npt.NDArray[np.int16] = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    return samples.reshape(-1, channels)


def native(server: "Server", audio: bytes, query: str = "") -> list[str]:
    """The final texts that it makes of 16-bit samples of 16 kHz."""
    texts, done = heard(server, query, audio, 3_200)
    assert "AudioSeconds" in done, done
    return texts
