"""Which of a recording's audio tracks is read."""

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
"""FFmpeg's decoders of what people record, send and keep."""

CODECS = frozenset(_CODECS.split())
_UNKNOWN = "unknown"
_BESIDE = Disposition.comment | Disposition.visual_impaired | Disposition.descriptions
_MOST_NAMED = 20


def tracks(container: InputContainer, names: Sequence[str] = ()) -> tuple[Track, ...]:
    """The audio tracks of a container, in its order. `names` stand for codecs that FFmpeg has none for."""
    streams = container.streams.audio
    own = names if len(names) == len(streams) else [""] * len(streams)
    return tuple(_track(number, *track) for number, track in enumerate(zip(streams, own, strict=True), 1))


def candidates(
    container: InputContainer, asked: int | None, what: str, names: Sequence[str] = ()
) -> list[AudioStream]:
    """The tracks among which the first that sounds is the one to read: of one, it is that.

    `asked` is the number of a track. Else it is the one that the file marks as default; where it marks
    several or none, each of them that is not a comment or a description.
    Raises UnreadableAudio where there is none that can be decoded. `what` is it all: a file or a stream.
    """
    there = tracks(container, names)
    if not there:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise UnreadableAudio(
            f"The {what} has no audio track (it holds: {kinds}). Send a recording with sound."
        )
    if asked is not None:
        there = tuple(track for track in there if track.number == asked)
        if not there:
            raise UnreadableAudio(
                f"The {what} has no audio track {asked}. It has: {_listed(tracks(container, names))}."
            )
    decodable = [track for track in there if track.decodable]
    if not decodable:
        raise UnreadableAudio(
            f"The {what}'s audio is written in a way that cannot be read here: {_listed(there)}. "
            "Convert it first, for example to FLAC, MP3 or M4A with AAC."
        )
    streams = container.streams.audio
    marked = [track for track in decodable if track.default]
    if len(marked) == 1 or asked is not None:
        return [streams[(marked or decodable)[0].number - 1]]
    among = [streams[track.number - 1] for track in marked or decodable]
    return [stream for stream in among if not stream.disposition & _BESIDE] or among


def _track(number: int, stream: AudioStream, name: str) -> Track:
    # What PyAV says is never None: there is no context where FFmpeg has no decoder.
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


def _listed(there: tuple[Track, ...]) -> str:
    listed = [
        f"{track.number} ({', '.join(filter(None, (track.codec, track.language, track.title)))})"
        for track in there[:_MOST_NAMED]
    ]
    if len(there) > _MOST_NAMED:
        listed.append("and more")
    return ", ".join(listed)
