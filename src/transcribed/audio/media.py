"""Decodes recordings and live containers to blocks of Samples, with FFmpeg through PyAV.

Blocks are decoded on demand, so memory does not depend on the length of a recording.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from typing import Self, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer

from transcribed.audio.formats import SAMPLE_RATE, AudioFormat, Samples
from transcribed.audio.frames import FrameConverter, check_limits, has_sound
from transcribed.audio.parts import ByteSource, ByteStream, LiveParts, Part, StoredPart, StoredParts
from transcribed.audio.timeline import GapLimits, Timeline
from transcribed.audio.tracks import CODECS, candidates, tracks
from transcribed.errors import TranscribedError, UnreadableAudio

BLOCK_SECONDS = 0.5
"""Blocks of a recording are at least this long, and hardly longer; only the last is shorter."""
LIVE_BLOCK_SECONDS = 0.05
"""The same for a live container."""

_DEMUXERS = """
    aac ac3 aiff amr amrnb amrwb ape asf au avi caf dsf dss dts dtshd eac3 flac flv gsm ilbc ircam loas
    matroska,webm mlp mov,mp4,m4a,3gp,3g2,mj2 mp3 mpc mpc8 mpeg mpegts nistsphere ogg oma qcp shn sox
    tak truehd tta voc w64 wav wv
"""
"""The FFmpeg demuxers that are allowed: containers that people record, send and archive."""

_PROBED_PACKETS = 64
_LIMITS = {
    # Without protocols, a playlist cannot make FFmpeg open the files and addresses in it.
    "protocol_whitelist": "none",
    "format_whitelist": ",".join(_DEMUXERS.split()),
    # Only audio codecs, so that the pictures of a video are not decoded while it is probed.
    "codec_whitelist": ",".join(sorted(CODECS)),
    "max_streams": "256",
}
# By default FFmpeg first reads some seconds, which would delay live audio.
_LIVE_LIMITS = _LIMITS | {"formatprobesize": "65536", "probesize": "65536", "analyzeduration": "1"}
# No codec has larger frames; this limits their memory.
_CODEC_LIMITS = {"max_samples": str(8 * 1024 * 1024)}

_GAPS = GapLimits(longest=3_600.0, total=6 * 3_600.0)
_LIVE_GAPS = GapLimits(longest=300.0, total=6 * 3_600.0)
_TIMED_FROM_ZERO = {"mov", "matroska"}
"""Containers whose timeline starts at 0, so that players show a delay if all tracks start later."""
_EXCERPT_SECONDS = 60.0
"""If they start later than this, the file is an excerpt, and its timeline starts with the first track."""

_AUDIBLE_SECONDS = 10.0
_AUDIBLE_PACKETS = 5_000
_MICROSECONDS = 1_000_000
_MOST_PARTS = 10_000
_MOST_WARNINGS = 10


class MediaReader:
    """Decodes the audio of one recording once, from start to end, on the timeline that a player shows.

    Gaps in the timestamps become silence: before a track that starts late, or where packets are lost.
    Damaged packets are skipped, as FFmpeg's own tools do, unless all of the first ones are. Concatenated
    containers are read as one. Methods block: use it in a thread or process of its own.
    """

    def __init__(
        self,
        source: ByteStream,
        *,
        live: bool = False,
        channels: int | None = None,
        track: int | None = None,
    ) -> None:
        """Open a source, which must be a ByteSource unless it is `live`, a container that is still written.

        `channels` is how many channels to keep separate; None mixes them. `track` is the number of an audio
        track, from 1; None takes the default track, or of several the first that is not silent.
        Raises UnreadableAudio, also if there is no such track, and what the source raises.
        """
        self._channels = channels
        self._requested = track
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
        assert part is not None  # noqa: S101 - the first part always exists
        self._open(part)
        self._described = self._format()
        self._read_track = self._described.track

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def described(self) -> AudioFormat:
        """The format that the file declares; its duration is None if the file does not declare it."""
        return self._described

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about audio that could not be decoded; complete once `blocks` has ended."""
        return tuple(self._warnings)

    def close(self) -> None:
        """Release FFmpeg's memory. Does not close the source."""
        self._container.close()

    def blocks(self) -> Iterator[Samples]:
        """All audio in order, in blocks of BLOCK_SECONDS (live: LIVE_BLOCK_SECONDS) or a little more.

        Shapes are [n], or [channels, n] if channels are kept separate. Raises UnreadableAudio, and what the
        source raises.
        """
        held: list[Samples] = []
        length = 0
        for piece in self._decoded_pieces():
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
        self._add_final_warnings()

    def probe(self) -> AudioFormat:
        """The format, with the duration measured if the file does not declare it.

        The first packets are decoded. Raises UnreadableAudio if that fails, as for random bytes that
        resemble MP3, and what the source raises.
        """
        self._probe_packets(measure=self._described.duration is None)
        if self._described.duration is not None:
            self._timeline.end = self._described.duration
        for _ in range(_MOST_PARTS):
            if not self._open_next():
                break
            end = self._timeline.end
            declared = self._declared_end()
            if declared is None:
                self._probe_packets(measure=True)
            else:
                self._timeline.end = end + declared
        return replace(self._described, duration=self._timeline.end)

    # --- Containers

    def _open_next(self) -> bool:
        """Open the next container with audio; returns whether there is one."""
        part = self._parts.next()
        if part is None:
            if self._parts.has_trailing_data:
                self._warn(
                    f"The bytes after the end of the audio, at {_hms(self._timeline.end)}, are no audio."
                )
            return False
        self.close()
        try:
            self._open(part)
        except UnreadableAudio as error:
            self._warn_not_decoded(error)
            return False
        return True

    def _open(self, part: Part) -> None:
        options = (_LIVE_LIMITS if self._live else _LIMITS) | part.options
        self._sized, self._codecs = part.sized, part.codecs
        with self._translated_errors():
            self._container = _open_container(part, options)
        try:
            with self._translated_errors():
                streams = candidates(self._container, self._track_to_read(), self._what, part.codecs)
                audible = 0 if len(streams) == 1 else _first_audible(part, options, streams)
                self._stream = streams[audible]
                context = self._stream.codec_context
                # FFmpeg would start a thread for each core.
                context.thread_count = 1
                context.options = dict(_CODEC_LIMITS)
                self._timeline.begin(None if self._live else _origin(self._container))
        except BaseException:
            self._container.close()
            raise

    def _track_to_read(self) -> int | None:
        """The number of the track to read, as requested or as in earlier containers; None for any."""
        if self._read_track is None:
            return self._requested
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
            tracks=tracks(self._container, self._codecs),
        )

    def _declared_end(self) -> float | None:
        """Declared seconds from the container's start to the end of the track; None if unknown."""
        stream = self._stream
        if not self._sized:
            return None
        if stream.duration is not None and stream.time_base is not None:
            start = 0.0 if stream.start_time is None else float(stream.start_time * stream.time_base)
            delay = max(start - (_origin(self._container) or start), 0.0)
            return delay + float(stream.duration * stream.time_base)
        if self._container.duration is not None:
            return self._container.duration / _MICROSECONDS
        return None

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Raise the source's own errors unchanged, and those of FFmpeg and PyAV as UnreadableAudio."""
        try:
            yield
        except TranscribedError:
            raise
        except Exception as error:
            if self._parts.error is not None:
                raise self._parts.error from None
            raise _unreadable(error, self._what) from error

    # --- Audio

    def _decoded_pieces(self) -> Iterator[Samples]:
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
            if not self._open_next():
                break
        yield from converter.flush()

    def _frames(self) -> Iterator[av.AudioFrame]:
        """The frames of the open container, up to one whose format is not accepted."""
        for packet in self._packets():
            for frame in self._decode(packet):
                try:
                    check_limits(frame.sample_rate, frame.layout.nb_channels)
                except UnreadableAudio as error:
                    if self._timeline.end == 0:
                        raise
                    self._warn_not_decoded(error)
                    return
                yield frame

    def _probe_packets(self, *, measure: bool) -> None:
        """Decode the first packets; with `measure`, find the end of the audio by the timestamps of all."""
        packets = self._packets()
        for number, packet in enumerate(packets if measure else islice(packets, _PROBED_PACKETS)):
            if number < _PROBED_PACKETS:
                for frame in self._decode(packet):
                    check_limits(frame.sample_rate, frame.layout.nb_channels)
            start = _seconds(packet.pts, packet.time_base)
            if measure and start is not None:
                self._timeline.extend(start, _seconds(packet.duration, packet.time_base) or 0.0)
        if self._decoded <= self._damaged:
            raise _no_audio(self._what)

    def _packets(self) -> "Iterator[av.Packet[AudioStream]]":
        with self._translated_errors():
            # In a live stream that is joined midway, the first packet of any track has its start time.
            packets = self._container.demux(*() if self._live else (self._stream,))
        while True:
            try:
                packet = next(packets, None)
            except Exception as error:  # noqa: BLE001 - FFmpeg and PyAV may raise anything for bad bytes
                self._raise_unless_damage(error)
                self._damaged += 1  # The container ends here; audio before it remains valid.
                if self._timeline.end > 0:
                    self._warn(f"The {self._what} is damaged at {_hms(self._timeline.end)} and ends there.")
                return
            if packet is None:
                return
            if self._live and (time := _seconds(packet.pts, packet.time_base)) is not None:
                self._timeline.note(time)
            if packet.stream is self._stream:
                yield cast("av.Packet[AudioStream]", packet)

    def _decode(self, packet: "av.Packet[AudioStream]") -> list[av.AudioFrame]:
        try:
            frames = packet.decode()
        except Exception as error:  # noqa: BLE001 - FFmpeg and PyAV may raise anything for bad bytes
            self._raise_unless_damage(error)
            self._damaged += 1
            if self._decoded == 0 and self._damaged >= _PROBED_PACKETS:
                raise _no_audio(self._what) from None
            return []
        self._decoded += len(frames)
        return frames

    def _raise_unless_damage(self, error: Exception) -> None:
        """Raise errors that are not about damaged content, which may not be skipped."""
        if isinstance(error, TranscribedError | MemoryError):
            raise error
        if self._parts.error is not None:
            raise self._parts.error from None

    # --- Warnings

    def _add_final_warnings(self) -> None:
        if self._damaged:
            pieces = "1 piece" if self._damaged == 1 else f"{self._damaged} pieces"
            self._warn(f"{pieces} of the {self._what} could not be decoded because of damage.")
        if self._timeline.ignored:
            self._warn(
                f"The {self._what}'s timestamps have implausible gaps of {_hms(self._timeline.ignored)}. "
                "They were not filled with silence, so that what follows is earlier than a player shows it."
            )

    def _warn_not_decoded(self, error: UnreadableAudio) -> None:
        self._warn(f"The audio after {_hms(self._timeline.end)} was not decoded: {error.message}")

    def _warn(self, sentence: str) -> None:
        if len(self._warnings) < _MOST_WARNINGS:
            self._warnings.append(sentence)


def _open_container(part: Part, options: dict[str, str]) -> InputContainer:
    # With `options`, PyAV would also free options of each stream, and crash if streams are discovered
    # late, as in FLV and MPEG.
    opened: InputContainer = av.open(part, mode="r", container_options=options, metadata_errors="replace")
    return opened


def _origin(container: InputContainer) -> float | None:
    """The timestamp at which a player's timeline starts, in seconds; None for that of the first audio."""
    if container.start_time is None:
        return None
    start = container.start_time / _MICROSECONDS
    timed = container.format.name.split(",")[0] in _TIMED_FROM_ZERO
    return 0.0 if timed and start <= _EXCERPT_SECONDS else start


def _first_audible(part: Part, options: dict[str, str], among: list[AudioStream]) -> int:
    """The index of the first track that is not silent at its start; 0 if all are, or for a stream."""
    if not isinstance(part, StoredPart):
        return 0
    audible: set[int] = set()
    part.seek(0)
    try:
        with _open_container(part, options) as container:
            streams = [container.streams[stream.index] for stream in among]
            for packet in islice(container.demux(streams), _AUDIBLE_PACKETS):
                number = streams.index(packet.stream)
                if (_seconds(packet.pts, packet.time_base) or 0.0) > _AUDIBLE_SECONDS:
                    break
                with suppress(av.error.FFmpegError):
                    if any(has_sound(cast("av.AudioFrame", frame)) for frame in packet.decode()):
                        audible.add(number)
                if 0 in audible:
                    break
    finally:
        part.seek(0)
    return min(audible, default=0)


def _seconds(time: int | None, base: Fraction | None) -> float | None:
    return None if time is None or base is None else float(time * base)


def _lengths(total: int, longest: int) -> Iterator[int]:
    for start in range(0, total, longest):
        yield min(longest, total - start)


def _hms(seconds: float) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{seconds:04.1f}"


def _unreadable(error: Exception, what: str) -> UnreadableAudio:
    if isinstance(error, MemoryError):
        return UnreadableAudio(
            f"The {what} needs more memory than a recording may take: it is damaged or malicious. Send a "
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
