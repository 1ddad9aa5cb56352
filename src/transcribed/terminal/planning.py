"""Which recordings are transcribed into files, and into which."""

import os
import stat
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

STANDARD_INPUT = "-"

Pair = tuple[str, Path]
"""A recording, and the file for its transcript."""

_SUFFIXES = """
    3g2 3gp aac ac3 aif aiff amr ape asf au avi caf dts flac flv m2ts m4a m4b m4v mka mkv mov mp2 mp3 mp4
    mpeg mpg mts mxf oga ogg ogv opus spx vob wav weba webm wma wmv wv
"""
SUFFIXES = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())
"""Names of audio and video end so: which files of a folder are recordings."""


@dataclass(frozen=True, slots=True)
class FoundRecording:
    """A recording: its path (or STANDARD_INPUT), and its path below the folder that was named."""

    path: str
    below: Path


@dataclass(frozen=True, slots=True)
class Job:
    """A recording, its length in bytes, and the file for its transcript."""

    recording: str
    output: Path
    size: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, what was done before, and, in sentences, what cannot be done."""

    jobs: list[Job] = field(default_factory=list)
    done: list[Job] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def plan(inputs: Sequence[str], output: str, suffix: str, *, force: bool) -> Plan:
    """Find the recordings and say where their transcripts go, which end in `suffix`.

    `output` is a folder; for one file, or standard input, it is a file unless it is a folder already.
    """
    made = Plan()
    target = Path(output)
    if not (len(inputs) > 1 or Path(inputs[0]).is_dir() or target.is_dir() or output.endswith(os.sep)):
        pairs: list[Pair] = [(inputs[0], target)]
    else:
        found = [one for path in inputs for one in _found(path, made.problems)]
        pairs = _told_apart(found, target, suffix, made.problems)
    recordings = {os.path.realpath(recording) for recording, _ in pairs}
    for recording, file in pairs:
        if os.path.realpath(file) in recordings:
            made.problems.append(
                f"{recording}: {file} is a recording, and would be lost. Choose another name."
            )
        else:
            _plan_one(made, recording, file, force=force)
    return made


# --- What is there


def _found(path: str, problems: list[str]) -> Iterator[FoundRecording]:
    if path == STANDARD_INPUT:
        problems.append(f"{path}: standard input has no name. Transcribe it alone, with -o FILE.")
    elif Path(path).is_dir():
        yield from _found_below(path, problems)
    else:
        yield FoundRecording(path, Path(Path(path).name))


def _found_below(folder: str, problems: list[str]) -> Iterator[FoundRecording]:
    """Links to files are followed, those to folders are not: they may lead in a circle."""

    def note(error: OSError) -> None:
        problems.append(f"{error.filename}: it cannot be opened ({error.strerror}).")

    any_found = False
    for parent, folders, files in os.walk(folder, onerror=note):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(parent, name)
            if path.suffix.lower() in SUFFIXES and not name.startswith(".") and not _is_special(path):
                any_found = True
                yield FoundRecording(str(path), path.relative_to(folder))
    if not any_found:
        problems.append(f"{folder}: it holds no recordings.")


def _is_special(path: Path) -> bool:
    """Whether reading it might never end. A link to nowhere is none: reading it is an error."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


# --- Where it goes


def _told_apart(
    found: Iterable[FoundRecording], target: Path, suffix: str, problems: list[str]
) -> list[Pair]:
    """talk.mp3 goes to talk.srt; if there is a talk.wav too, they go to talk.mp3.srt and talk.wav.srt."""
    distinct = list({(os.path.realpath(one.path), one.below): one for one in found}.values())
    wanted = Counter(_key(_short(one, suffix)) for one in distinct)
    alike = defaultdict[str, list[Pair]](list)
    for one in distinct:
        place = _short(one, suffix)
        if wanted[_key(place)] > 1:
            place = one.below.with_name(one.below.name + suffix)
        alike[_key(place)].append((one.path, target / place))
    for pairs in alike.values():
        if len(pairs) > 1:
            names = " and ".join(path for path, _ in pairs)
            problems.append(f"{names}: both would go to {pairs[0][1]}. Transcribe them into two folders.")
    return [pairs[0] for pairs in alike.values() if len(pairs) == 1]


def _short(one: FoundRecording, suffix: str) -> Path:
    known = one.below.suffix.lower() in SUFFIXES
    return one.below.with_suffix(suffix) if known else one.below.with_name(one.below.name + suffix)


def _key(place: Path) -> str:
    """The same for names that some file systems take for one."""
    return unicodedata.normalize("NFC", str(place)).casefold()


def _plan_one(made: Plan, recording: str, output: Path, *, force: bool) -> None:
    if recording == STANDARD_INPUT:
        made.jobs.append(Job(recording, output))
        return
    try:
        heard = Path(recording).stat()
        job = Job(recording, output, heard.st_size)
        if not force and output.is_file() and output.stat().st_mtime_ns > heard.st_mtime_ns:
            made.done.append(job)
        else:
            made.jobs.append(job)
    except OSError as error:
        made.problems.append(f"{recording}: it cannot be opened ({error.strerror}).")
