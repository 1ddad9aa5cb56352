"""The words of recordings and live streams whose sound is not one plain channel from the start on."""

import io
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from native_client import answer, decoded, heard, opened

if TYPE_CHECKING:
    from tests.conftest import Server

Sound = npt.NDArray[np.float32]

DATA = Path(__file__).parents[1] / "data"
RATE = 16_000
SENTENCE = "This is a test."


def sound_of(name: str) -> Sound:
    return decoded((DATA / name).read_bytes(), RATE)[:, 0].astype(np.float32) / 32_768


SPEECH = sound_of("test.wav")
MUSIC = 0.5 * sound_of("trumpet.ogg")[: len(SPEECH)]
NONE = np.zeros_like(SPEECH)


def recording(
    container: str, codec: str, layout: str, *tracks: Sequence[Sound], late: float = 0.0
) -> bytes:
    """Each track is a sequence of channels; all begin `late` seconds after a picture, if late at all."""
    target = io.BytesIO()
    with av.open(target, "w", format=container) as output:
        packets: list[Any] = []
        if late:
            pictures = output.add_stream("mpeg4", rate=1)
            pictures.width = pictures.height = 16
            pictures.pix_fmt = "yuv420p"
            picture = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
            picture.pts, picture.time_base = 0, Fraction(1)
            packets += [*pictures.encode(picture), *pictures.encode(None)]
        for number, channels in enumerate(tracks):
            stream: Any = output.add_stream(codec, rate=RATE, layout=layout)
            stream.codec_context.open()
            stream.disposition = int(number == 1)
            packed = np.stack(channels).T.reshape(1, -1).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
            frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), round(late * RATE)
            context = stream.codec_context
            fit = av.AudioResampler(
                context.format.name, layout, RATE, frame_size=context.frame_size or 1_024
            )
            parts = [*fit.resample(frame), *fit.resample(None)]
            packets += [packet for part in parts for packet in stream.encode(part)] + stream.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            output.mux(packet)
    return target.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        lambda: recording("ipod", "aac", "stereo", [SPEECH, -SPEECH]),
        lambda: recording("flac", "flac", "stereo", [NONE, SPEECH]),
        lambda: recording("wav", "pcm_s16le", "stereo", [0.1 * SPEECH, NONE]),
        lambda: recording("flac", "flac", "mono", [SPEECH / 2 + np.float32(0.3)]),
        lambda: recording("ipod", "aac", "5.1", [MUSIC, MUSIC, SPEECH, NONE, MUSIC, MUSIC]),
        lambda: recording("mov", "pcm_s16le", "7.1", [NONE, NONE, SPEECH, *[NONE] * 5]),
        lambda: recording("wav", "pcm_s16le", "4.0", [NONE, NONE, NONE, SPEECH]),
        lambda: recording("matroska", "aac", "mono", [MUSIC], [SPEECH]),
        lambda: recording("wav", "pcm_s16le", "mono", [SPEECH]) + b"id3 \0\0\1\0" + np.random.bytes(65_536),
    ],
    ids=[
        "opposite",
        "one side",
        "quiet",
        "constant",
        "film",
        "7.1",
        "rear",
        "second track",
        "picture behind",
    ],
)
def test_speech_is_heard_where_it_is(
    request: pytest.FixtureRequest, server: "Server", content: Callable[[], bytes]
) -> None:
    name = f"{request.node.callspec.id}.bin"
    assert server.http.post("/audio", files={"file": (name, content(), "audio/wav")}).status_code == 200
    with opened(server) as ws:
        ws.send(name)
        finals, done = answer(ws)
    assert finals == [SENTENCE]
    assert done["AudioSeconds"] == pytest.approx(1.149, abs=0.15)


def test_the_words_of_a_late_track_are_where_a_player_plays_them(server: "Server") -> None:
    content = recording("matroska", "aac", "mono", [SPEECH], late=5.0)
    assert (
        server.http.post("/audio", files={"file": ("late.mkv", content, "video/x-matroska")}).status_code
        == 200
    )
    with opened(server) as ws:
        ws.send("late.mkv")
        start = None
        while True:
            message = ws.recv(20)
            if '"Done"' in str(message):
                break
            start = str(message)
    assert start is not None
    assert '"StartTime":5.' in start


def test_two_channels_live_are_heard_whatever_their_phase(server: "Server") -> None:
    both = np.stack([SPEECH, -SPEECH]).T
    finals, _ = heard(server, "&channels=2", (32_767 * both).astype("<i2").tobytes())
    assert finals == [SENTENCE]


def test_a_picture_behind_a_live_wav_is_not_heard(server: "Server") -> None:
    wav = recording("wav", "pcm_s16le", "mono", [SPEECH])
    size = 44 + 2 * len(SPEECH)
    header = wav[: wav.index(b"data") + 4] + struct.pack("<I", 2 * len(SPEECH))
    content = header + wav[len(header) : len(header) + size - 44]
    picture = b"id3 " + struct.pack("<I", 65_536) + np.random.default_rng(1).bytes(65_536)
    for query in ("", "&encoding=auto"):
        finals, done = heard(server, query, content + picture)
        assert finals == [SENTENCE]
        assert done["AudioSeconds"] == pytest.approx(len(SPEECH) / RATE, abs=0.002)


def test_recordings_behind_one_another_are_heard_live(server: "Server") -> None:
    one = recording("flac", "flac", "mono", [np.concatenate([SPEECH, np.zeros(RATE, np.float32)])])
    finals, _ = heard(server, "&encoding=auto", one * 2)
    assert finals == [SENTENCE] * 2
