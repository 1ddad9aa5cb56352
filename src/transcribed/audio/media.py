"""Whole recordings: any container and codec that people use, to blocks of Samples.

The work is FFmpeg's, through PyAV. A block is decoded when it is asked for, so that the length of a
recording does not matter to memory.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from types import TracebackType
from typing import Self, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer

from transcribed.audio.formats import SAMPLE_RATE, AudioFormat, Samples
from transcribed.audio.frames import FrameConverter, check_form, is_sound
from transcribed.audio.parts import ByteSource as ByteSource  # noqa: PLC0414 - part of what this module offers
from transcribed.audio.parts import ByteStream as ByteStream  # noqa: PLC0414
from transcribed.audio.parts import LiveParts, Part, StoredPart, StoredParts
from transcribed.audio.timeline import GapLimits, Timeline
from transcribed.audio.tracks import CODECS, candidates, tracks
from transcribed.errors import TranscribedError, UnreadableAudio

BLOCK_SECONDS = 0.5
"""The least audio in a block of a recording, but for the last; a little more is the most."""
LIVE_BLOCK_SECONDS = 0.05
"""The same of a live container."""

_DEMUXERS = """
    aac ac3 aiff amr amrnb amrwb ape asf au avi caf dsf dss dts dtshd eac3 flac flv gsm ilbc ircam loas
    matroska,webm mlp mov,mp4,m4a,3gp,3g2,mj2 mp3 mpc mpc8 mpeg mpegts nistsphere ogg oma qcp shn sox
    tak truehd tta voc w64 wav wv
"""
"""FFmpeg's demuxers of what people record, send and keep: no playlists, pictures and games."""

_PROBED_PACKETS = 64
_LIMITS = {
    # A playlist may name other files and addresses; with no protocol open to it, it reads none of them.
    "protocol_whitelist": "none",
    "format_whitelist": ",".join(_DEMUXERS.split()),
    # Of a video, the pictures are not decoded even to look at them.
    "codec_whitelist": ",".join(sorted(CODECS)),
    "max_streams": "256",
}
# FFmpeg would first look at some seconds of it, which is right for files and late for what is spoken now.
_LIVE_LIMITS = _LIMITS | {"formatprobesize": "65536", "probesize": "65536", "analyzeduration": "1"}
# A frame of so many samples is no codec's, and as much memory as one may take.
_CODEC_LIMITS = {"max_samples": str(8 * 1024 * 1024)}

_GAPS = GapLimits(longest=3_600.0, total=6 * 3_600.0)
_LIVE_GAPS = GapLimits(longest=300.0, total=6 * 3_600.0)
_TIMED_FROM_ZERO = {"mov", "matroska"}
"""Containers whose tracks a player shows late if all of them begin late..."""
_JOINED_SECONDS = 60.0
"""...but for those that begin later than this: they were cut out of something longer."""

_SOUNDING_SECONDS = 10.0
_SOUNDING_PACKETS = 5_000
_MICROSECONDS = 1_000_000
_MOST_PARTS = 10_000
_MOST_WARNINGS = 10


class MediaReader:
    """The audio of one recording, read once from start to end, on the timeline that a player shows.

    Silence stands where the file's times leave a gap: before a track that begins late, for what is lost.
    Damaged packets are passed over, as FFmpeg's own tools do. A recording of whose first packets none
    can be decoded raises UnreadableAudio. Containers behind one another are read as one. Blocking: use it
    in a thread or a process of its own.
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

        `channels` keeps so many channels apart: see FrameConverter.
        `track` is the number of an audio track, counted from 1; None leaves the choice to the reader.
        Raises UnreadableAudio, also for a track that is not there, and what the source raises.
        """
        self._channels = channels
        self._asked = track
        self._live = live
        self._what = "stream" if live else "file"
        self._block = round(SAMPLE_RATE * (LIVE_BLOCK_SECONDS if live else BLOCK_SECONDS))
        self._parts = LiveParts(source) if live else StoredParts(cast("ByteSource", source))
        self._timeline = Timeline(_LIVE_GAPS if live else _GAPS)
        self._decoded = 0
        self._damaged = 0
        self._warnings: list[str] = []
        self._read_track: int | None = None
        part = self._parts.next()
        assert part is not None  # noqa: S101 - the first is the file as it is
        self._open(part)
        self._described = self._format()
        self._read_track = self._described.track

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
        return self._described

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of the file was not heard, each in a sentence; complete when `blocks` has ended."""
        return tuple(self._warnings)

    def close(self) -> None:
        """Give FFmpeg's memory back. The source stays the caller's."""
        self._container.close()

    def blocks(self) -> Iterator[Samples]:
        """All the audio, in order, BLOCK_SECONDS (live: LIVE_BLOCK_SECONDS) or a little more at a time."""
        held: list[Samples] = []
        length = 0
        for piece in self._sound():
            for start in range(0, piece.shape[-1], self._block):
                cut = piece[..., start : start + self._block]
                held.append(cut)
                length += cut.shape[-1]
                if length >= self._block:
                    yield np.concatenate(held, axis=-1)
                    held, length = [], 0
        if length:
            yield np.concatenate(held, axis=-1)
        if self._decoded == 0:
            raise _no_audio(self._what)
        self._say_what_is_missing()

    def probe(self) -> AudioFormat:
        """The format, its duration counted where the file does not declare it.

        The first packets are decoded: what only looks like audio, as random bytes may look like MP3,
        raises UnreadableAudio.
        """
        if self._described.duration is None:
            self._count()
        else:
            self._look()
            self._timeline.end = self._described.duration
        for _ in range(_MOST_PARTS):
            if not self._opened_next():
                break
            end = self._timeline.end
            declared = self._declared_end()
            if declared is None:
                self._count()
            else:
                self._timeline.end = end + declared
        return replace(self._described, duration=self._timeline.end)

    # --- Containers

    def _opened_next(self) -> bool:
        """Whether another container follows in which the audio goes on; it is open then."""
        part = self._parts.next()
        if part is None:
            if self._parts.left_behind:
                self._warn(
                    f"What stands behind the end of the audio, at {_clock(self._timeline.end)}, is none."
                )
            return False
        self.close()
        try:
            self._open(part)
        except UnreadableAudio as error:
            self._warn(f"What follows {_clock(self._timeline.end)} was not heard: {error.message}")
            return False
        return True

    def _open(self, part: Part) -> None:
        options = (_LIVE_LIMITS if self._live else _LIMITS) | part.options
        self._sized, self._names = part.sized, part.codecs
        with self._own_errors():
            self._container = _opened(part, options)
        try:
            with self._own_errors():
                streams = candidates(self._container, self._wanted(), self._what, part.codecs)
                sounding = 0 if len(streams) == 1 else _first_sounding(part, options, streams)
                self._stream = streams[sounding]
                context = self._stream.codec_context
                # FFmpeg would start a thread for each core.
                context.thread_count = 1
                context.options = dict(_CODEC_LIMITS)
                self._timeline.begin(None if self._live else _origin(self._container))
        except BaseException:
            self._container.close()
            raise

    def _wanted(self) -> int | None:
        """The track that is asked for, or that was read in the containers before."""
        if self._read_track is None:
            return self._asked
        there = tracks(self._container)
        same = self._read_track <= len(there) and there[self._read_track - 1].decodable
        return self._read_track if same else None

    def _format(self) -> AudioFormat:
        context = self._stream.codec_context
        return AudioFormat(
            container=self._container.format.name.split(",")[0],
            codec=context.name,
            sample_rate=context.sample_rate,
            channels=context.channels,
            duration=self._declared_end(),
            track=1 + self._container.streams.audio.index(self._stream),
            tracks=tracks(self._container, self._names),
        )

    def _declared_end(self) -> float | None:
        """Seconds from the container's start to the end of what is read."""
        stream = self._stream
        if not self._sized:
            return None
        if stream.duration is not None and stream.time_base is not None:
            start = 0.0 if stream.start_time is None else float(stream.start_time * stream.time_base)
            late = max(start - (_origin(self._container) or start), 0.0)
            return late + float(stream.duration * stream.time_base)
        if self._container.duration is not None:
            return self._container.duration / _MICROSECONDS
        return None

    @contextmanager
    def _own_errors(self) -> Iterator[None]:
        """What the source raises comes through; all that FFmpeg and PyAV may raise is UnreadableAudio."""
        try:
            yield
        except TranscribedError:
            raise
        except Exception as error:
            if self._parts.error is not None:
                raise self._parts.error from None
            raise _unreadable(error, self._what) from error

    # --- Sound

    def _sound(self) -> Iterator[Samples]:
        converter = FrameConverter(self._channels, live=self._live)
        emitted = 0
        for _ in range(_MOST_PARTS):
            for frame in self._frames():
                start = _seconds(frame.pts, frame.time_base)
                if self._timeline.gap(start):
                    for samples in converter.flush():
                        emitted += samples.shape[-1]
                        yield samples
                    missing = round(SAMPLE_RATE * (self._timeline.end)) - emitted
                    for length in _lengths(missing, self._block):
                        emitted += length
                        yield np.zeros(
                            length if self._channels is None else (self._channels, length), np.float32
                        )
                self._timeline.add(frame.samples / frame.sample_rate)
                for samples in converter.push(frame):
                    emitted += samples.shape[-1]
                    yield samples
            if not self._opened_next():
                break
        yield from converter.flush()

    def _frames(self) -> Iterator[av.AudioFrame]:
        """The frames of the open container, up to one that no speech has."""
        for packet in self._packets():
            for frame in self._decode(packet):
                try:
                    check_form(frame.sample_rate, frame.layout.nb_channels)
                except UnreadableAudio as error:
                    if self._timeline.end == 0:
                        raise
                    self._warn(f"What follows {_clock(self._timeline.end)} was not heard: {error.message}")
                    return
                yield frame

    def _look(self) -> None:
        """Decode the first packets."""
        for packet in islice(self._packets(), _PROBED_PACKETS):
            for frame in self._decode(packet):
                check_form(frame.sample_rate, frame.layout.nb_channels)
        if self._decoded <= self._damaged:
            raise _no_audio(self._what)

    def _count(self) -> None:
        """Decode the first packets, and go through the times of all."""
        for number, packet in enumerate(self._packets()):
            if number < _PROBED_PACKETS:
                for frame in self._decode(packet):
                    check_form(frame.sample_rate, frame.layout.nb_channels)
            start = _seconds(packet.pts, packet.time_base)
            if start is not None:
                self._timeline.reach(start, _seconds(packet.duration, packet.time_base) or 0.0)
        if self._decoded <= self._damaged:
            raise _no_audio(self._what)

    def _packets(self) -> "Iterator[av.Packet[AudioStream]]":
        with self._own_errors():
            # Of a stream that was joined in the middle, the first packet tells when, whatever is in it.
            packets = self._container.demux(*() if self._live else (self._stream,))
        while True:
            try:
                packet = next(packets, None)
            except Exception as error:  # noqa: BLE001 - whatever FFmpeg and PyAV raise of bad bytes
                self._raise_own(error)
                self._damaged += 1  # The container breaks off here: what came before it stands.
                if self._timeline.end > 0:
                    self._warn(
                        f"The {self._what} is damaged at {_clock(self._timeline.end)} and breaks off there."
                    )
                return
            if packet is None:
                return
            if self._live and (time := _seconds(packet.pts, packet.time_base)) is not None:
                self._timeline.see(time)
            if packet.stream is self._stream:
                yield cast("av.Packet[AudioStream]", packet)

    def _decode(self, packet: "av.Packet[AudioStream]") -> list[av.AudioFrame]:
        try:
            frames = packet.decode()
        except Exception as error:  # noqa: BLE001 - whatever FFmpeg and PyAV raise of bad bytes
            self._raise_own(error)
            self._damaged += 1
            if self._decoded == 0 and self._damaged >= _PROBED_PACKETS:
                raise _no_audio(self._what) from None
            return []
        self._decoded += len(frames)
        return frames

    def _raise_own(self, error: Exception) -> None:
        """Raise what is no matter of the content at this place: to pass over it would hide what is lost."""
        if isinstance(error, TranscribedError | MemoryError):
            raise error
        if self._parts.error is not None:
            raise self._parts.error from None

    # --- What was not heard

    def _say_what_is_missing(self) -> None:
        if self._damaged:
            pieces = "1 piece" if self._damaged == 1 else f"{self._damaged} pieces"
            self._warn(f"{pieces} of the {self._what} could not be decoded, being damaged.")
        if self._timeline.left_out:
            self._warn(
                f"The {self._what}'s times leave out {_clock(self._timeline.left_out)}, which is not "
                "believed. No silence stands for it, and what follows is earlier than a player shows it."
            )

    def _warn(self, sentence: str) -> None:
        if len(self._warnings) < _MOST_WARNINGS:
            self._warnings.append(sentence)


def _opened(part: Part, options: dict[str, str]) -> InputContainer:
    # As `options` they would be the streams' too: of those PyAV frees more than there are where streams
    # show up late, as FLV's and MPEG's do.
    opened: InputContainer = av.open(part, mode="r", container_options=options, metadata_errors="replace")
    return opened


def _origin(container: InputContainer) -> float | None:
    """Where the file's timeline begins, in its own seconds; None: with its first sound."""
    if container.start_time is None:
        return None
    start = container.start_time / _MICROSECONDS
    timed = container.format.name.split(",")[0] in _TIMED_FROM_ZERO
    return 0.0 if timed and start <= _JOINED_SECONDS else start


def _first_sounding(part: Part, options: dict[str, str], among: list[AudioStream]) -> int:
    """Which of the tracks is the first that is not silent at its start. A stream cannot wait for it."""
    if not isinstance(part, StoredPart):
        return 0
    sounding: set[int] = set()
    part.seek(0)
    try:
        with _opened(part, options) as container:
            streams = [container.streams[stream.index] for stream in among]
            for packet in islice(container.demux(streams), _SOUNDING_PACKETS):
                number = streams.index(packet.stream)
                if (_seconds(packet.pts, packet.time_base) or 0.0) > _SOUNDING_SECONDS:
                    break
                with suppress(av.error.FFmpegError):
                    if any(is_sound(cast("av.AudioFrame", frame)) for frame in packet.decode()):
                        sounding.add(number)
                if 0 in sounding:
                    break
    finally:
        part.seek(0)
    return min(sounding, default=0)


def _seconds(time: int | None, base: Fraction | None) -> float | None:
    return None if time is None or base is None else float(time * base)


def _lengths(total: int, longest: int) -> Iterator[int]:
    for start in range(0, total, longest):
        yield min(longest, total - start)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{seconds:04.1f}"


def _unreadable(error: Exception, what: str) -> UnreadableAudio:
    if isinstance(error, MemoryError):
        return UnreadableAudio(
            f"The {what} asks for more memory than a recording may take: it is damaged, or made to. Send a "
            "recording that other players can play."
        )
    reason = error.strerror if isinstance(error, av.error.FFmpegError) else type(error).__name__
    return UnreadableAudio(
        f"The {what} is not in a format that can be read as audio ({reason}). Send a recording, for "
        "example WAV, MP3, M4A, FLAC, Ogg or WebM."
    )


def _no_audio(what: str) -> UnreadableAudio:
    return UnreadableAudio(
        f"The {what} holds no audio that can be decoded: it is damaged, or not what it seems to be. "
        "Send a recording that other players can play."
    )
