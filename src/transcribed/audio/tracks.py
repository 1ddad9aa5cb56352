"""The audio tracks of a container, and the choice of the one to read."""

from collections.abc import Sequence

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition

from transcribed.errors import UnreadableAudio
from transcribed.transcript import Track

_CODECS = """
    aac aac_latm ac3 adpcm_g722 adpcm_g726 adpcm_g726le adpcm_ima_apm adpcm_ima_qt adpcm_ima_wav
    adpcm_ms adpcm_swf adpcm_yamaha alac als amrnb amrwb ape atrac1 atrac3 atrac3plus dca dsd_lsbf
    dsd_lsbf_planar dsd_msbf dsd_msbf_planar dss_sp dst dvaudio eac3 evrc flac g722 g723_1 g726 g726le
    g728 g729 gsm gsm_ms ilbc libopus libspeex libvorbis mace3 mace6 mlp mp1 mp1float mp2 mp2float mp3
    mp3adu mp3adufloat mp3float mp3on4 mp3on4float mpc7 mpc8 nellymoser opus pcm_alaw pcm_bluray pcm_dvd
    pcm_f16le pcm_f24le pcm_f32be pcm_f32le pcm_f64be pcm_f64le pcm_mulaw pcm_s16be pcm_s16be_planar
    pcm_s16le pcm_s16le_planar pcm_s24be pcm_s24le pcm_s24le_planar pcm_s32be pcm_s32le pcm_s32le_planar
    pcm_s64be pcm_s64le pcm_s8 pcm_s8_planar pcm_u16be pcm_u16le pcm_u24be pcm_u24le pcm_u32be pcm_u32le
    pcm_u8 pcm_vidc qcelp qdm2 s302m sbc shorten sipr siren speex tak truehd truespeech tta vorbis
    wavpack wmalossless wmapro wmav1 wmav2 wmavoice
"""
"""The FFmpeg decoders that are allowed: those of formats that people record, send and archive."""

CODECS = frozenset(_CODECS.split())
_UNKNOWN = "unknown"
_SECONDARY = Disposition.comment | Disposition.visual_impaired | Disposition.descriptions
_MOST_NAMED = 20


def tracks(container: InputContainer, names: Sequence[str] = ()) -> tuple[Track, ...]:
    """The audio tracks of a container, in its order. `names` name codecs that FFmpeg does not know."""
    streams = container.streams.audio
    own = names if len(names) == len(streams) else [""] * len(streams)
    return tuple(_track(number, *track) for number, track in enumerate(zip(streams, own, strict=True), 1))


def candidates(
    container: InputContainer, requested: int | None, what: str, names: Sequence[str] = ()
) -> list[AudioStream]:
    """The tracks that may be read; of several, the caller should read the first that is not silent.

    This is track number `requested` if given, else the track marked as default. If the container marks
    several or none, these are all (marked) tracks except comments and descriptions for the visually
    impaired. Raises UnreadableAudio if no such track can be decoded. `what` is "file" or "stream", for its
    message.
    """
    found = tracks(container, names)
    if not found:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise UnreadableAudio(
            f"The {what} has no audio track (it holds: {kinds}). Send a recording with sound."
        )
    if requested is not None:
        found = tuple(track for track in found if track.number == requested)
        if not found:
            raise UnreadableAudio(
                f"The {what} has no audio track {requested}. It has: {_listing(tracks(container, names))}."
            )
    decodable = [track for track in found if track.decodable]
    if not decodable:
        raise UnreadableAudio(
            f"The {what}'s audio is written in a way that cannot be read here: {_listing(found)}. "
            "Convert it first, for example to FLAC, MP3 or M4A with AAC."
        )
    streams = container.streams.audio
    marked = [track for track in decodable if track.default]
    if len(marked) == 1 or requested is not None:
        return [streams[(marked or decodable)[0].number - 1]]
    eligible = [streams[track.number - 1] for track in marked or decodable]
    return [stream for stream in eligible if not stream.disposition & _SECONDARY] or eligible


def _track(number: int, stream: AudioStream, name: str) -> Track:
    # Contrary to PyAV's type, the context is None if FFmpeg has no decoder.
    context = stream.codec_context if _has_context(stream) else None
    language = stream.metadata.get("language")
    return Track(
        number=number,
        codec=name or _UNKNOWN if context is None else context.name,
        sample_rate=0 if context is None else context.sample_rate,
        channels=0 if context is None else context.channels,
        language=None if language in {None, "", "und"} else language,
        title=stream.metadata.get("title") or None,
        default=bool(stream.disposition & Disposition.default),
        decodable=context is not None and context.name in CODECS,
    )


def _has_context(stream: AudioStream) -> bool:
    context: object = stream.codec_context
    return context is not None


def _listing(found: tuple[Track, ...]) -> str:
    listed = [
        f"{track.number} ({', '.join(filter(None, (track.codec, track.language, track.title)))})"
        for track in found[:_MOST_NAMED]
    ]
    if len(found) > _MOST_NAMED:
        listed.append("and more")
    return ", ".join(listed)
