"""Whole recordings: any container and codec that FFmpeg knows, to blocks of Samples.

The work is FFmpeg's, through PyAV. A block is decoded when it is asked for, so that the length of a
recording does not matter to memory.
"""

from collections.abc import Iterator
from dataclasses import replace
from types import TracebackType
from typing import Protocol, Self

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition

from transcribed.audio.formats import SAMPLE_RATE, AudioFormat, Samples
from transcribed.audio.resampler import Resampler
from transcribed.errors import UnreadableAudio
from transcribed.transcript import Track

BLOCK_SECONDS = 0.5
"""The least audio in a block of a recording, but for the last."""
LIVE_BLOCK_SECONDS = 0.05
"""The same of a live container."""

_PROBED_PACKETS = 64
# A file of a few bytes at 1 Hz would be hours long.
_LOWEST_RATE = 4000
# A playlist may name other files and addresses; with no protocol open to it, it reads none of them.
_OPTIONS = {"protocol_whitelist": "none"}
# FFmpeg would first look at some seconds of it, which is right for files and late for what is spoken now.
_LIVE_OPTIONS = _OPTIONS | {"formatprobesize": "65536", "probesize": "65536", "analyzeduration": "1"}


class ByteStream(Protocol):
    """Bytes that can be read once, as PyAV does it."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        ...


class ByteSource(ByteStream, Protocol):
    """A seekable file of bytes, as PyAV reads it."""

    def seek(self, offset: int, whence: int, /) -> int:
        """The new position."""
        ...

    def tell(self) -> int:
        """The position."""
        ...


class MediaReader:
    """The audio of one recording, read once from start to end.

    Damaged packets are passed over, as FFmpeg's own tools do. A recording of whose first packets none
    can be decoded raises UnreadableAudio. Blocking: use it in a thread.
    """

    def __init__(
        self,
        source: ByteStream,
        *,
        live: bool = False,
        channels: int | None = None,
        track: int | None = None,
    ) -> None:
        """`source` need not be able to seek if it is `live`: a container that is being written.

        `channels` keeps so many channels apart: see Resampler.
        `track` is the number of an audio track, counted from 1; None leaves the choice to the reader.
        Raises UnreadableAudio, also for a track that is not there.
        """
        self._channels = channels
        self._what = "stream" if live else "file"
        self._block = round(SAMPLE_RATE * (LIVE_BLOCK_SECONDS if live else BLOCK_SECONDS))
        self._container = _open(source, self._what, _LIVE_OPTIONS if live else _OPTIONS)
        try:
            self._tracks = _tracks(self._container)
            self._stream = _audio_stream(self._container, self._what, track)
        except BaseException:
            self._container.close()
            raise
        self._decoded = 0
        self._damaged = 0
        self._warnings: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def described(self) -> AudioFormat:
        """The format as the file declares it: the duration is None where it does not say it."""
        context = self._stream.codec_context
        return AudioFormat(
            container=self._container.format.name.split(",")[0],
            codec=context.name,
            sample_rate=context.sample_rate,
            channels=context.channels,
            duration=_declared_duration(self._container, self._stream),
            track=1 + self._container.streams.audio.index(self._stream),
            tracks=self._tracks,
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of the file was not heard, each in a sentence; complete when `blocks` has ended."""
        return tuple(self._warnings)

    def close(self) -> None:
        """Give FFmpeg's memory back. The source stays the caller's."""
        self._container.close()

    def blocks(self) -> Iterator[Samples]:
        """All the audio, in order, BLOCK_SECONDS (live: LIVE_BLOCK_SECONDS) or a little more at a time."""
        resampler = Resampler(self._channels)
        held: list[Samples] = []
        for packet in self._packets():
            for frame in self._decode(packet):
                held += _converted(resampler, frame)
            if sum(samples.shape[-1] for samples in held) >= self._block:
                yield np.concatenate(held, axis=-1)
                held = []
        held += resampler.flush()
        if held:
            yield np.concatenate(held, axis=-1)
        if self._decoded == 0:
            raise _no_audio(self._what)

    def probe(self) -> AudioFormat:
        """The format, its duration counted where the file does not declare it.

        The first packets are decoded: what only looks like audio, as random bytes may look like MP3,
        raises UnreadableAudio.
        """
        duration = _declared_duration(self._container, self._stream)
        end = 0.0
        resampler = Resampler()
        for number, packet in enumerate(self._packets()):
            if number < _PROBED_PACKETS:
                for frame in self._decode(packet):
                    _converted(resampler, frame)
            elif duration is not None:
                break
            if packet.pts is not None and packet.time_base is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if self._decoded <= self._damaged:
            raise _no_audio(self._what)
        return replace(self.described, duration=end if duration is None else duration)

    def _packets(self) -> "Iterator[av.Packet[AudioStream]]":
        try:
            yield from self._container.demux(self._stream)
        except av.error.FFmpegError:
            self._damaged += 1  # The container breaks off here: what came before it stands.

    def _decode(self, packet: "av.Packet[AudioStream]") -> list[av.AudioFrame]:
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            self._damaged += 1
            if self._decoded == 0 and self._damaged >= _PROBED_PACKETS:
                raise _no_audio(self._what) from None
            return []
        self._decoded += len(frames)
        return frames


def _open(source: ByteStream, what: str, options: dict[str, str]) -> InputContainer:
    try:
        return av.open(source, mode="r", options=options, metadata_errors="replace")
    except av.error.FFmpegError as error:
        raise UnreadableAudio(
            f"The {what} is not in a format that can be read as audio ({error.strerror}). Send a "
            "recording, for example WAV, MP3, M4A, FLAC, Ogg or WebM."
        ) from error


def _tracks(container: InputContainer) -> tuple[Track, ...]:
    return tuple(
        Track(
            number=number,
            codec=stream.codec_context.name,
            sample_rate=stream.codec_context.sample_rate,
            channels=stream.codec_context.channels,
            language=stream.metadata.get("language"),
            title=stream.metadata.get("title"),
            default=bool(stream.disposition & Disposition.default),
            decodable=True,
        )
        for number, stream in enumerate(container.streams.audio, 1)
    )


def _audio_stream(container: InputContainer, what: str, track: int | None) -> AudioStream:
    if not container.streams.audio:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise UnreadableAudio(
            f"The {what} has no audio track (it holds: {kinds}). Send a recording with sound."
        )
    if track is not None and not 1 <= track <= len(container.streams.audio):
        raise UnreadableAudio(
            f"The {what} has no audio track {track}: it has {len(container.streams.audio)}, counted from 1."
        )
    stream = container.streams.audio[(track or 1) - 1]
    if stream.codec_context.sample_rate and stream.codec_context.sample_rate < _LOWEST_RATE:
        raise UnreadableAudio(
            f"The {what} says that it holds {stream.codec_context.sample_rate} samples a second, which is "
            f"no speech. Send a recording of at least {_LOWEST_RATE} Hz."
        )
    return stream


def _converted(resampler: Resampler, frame: av.AudioFrame) -> list[Samples]:
    try:
        return resampler.push(frame)
    except av.error.FFmpegError as error:
        raise UnreadableAudio(
            f"The audio cannot be converted: {frame.layout.nb_channels} channels at "
            f"{frame.sample_rate} Hz. Send a recording of at most 64 channels, at a usual rate."
        ) from error


def _no_audio(what: str) -> UnreadableAudio:
    return UnreadableAudio(
        f"The {what} holds no audio that can be decoded: it is damaged, or not what it seems to be. "
        "Send a recording that other players can play."
    )


def _declared_duration(container: InputContainer, stream: AudioStream) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None:
        return container.duration / 1_000_000
    return None
