"""Which recordings are transcribed to which files."""

import os
import stat
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

STANDARD_INPUT = "-"

Pair = tuple[str, Path]
"""A recording and its transcript file."""

_SUFFIXES = """
    3g2 3gp aac ac3 aif aiff amr ape asf au avi caf dts flac flv m2ts m4a m4b m4v mka mkv mov mp2 mp3 mp4
    mpeg mpg mts mxf oga ogg ogv opus spx vob wav weba webm wma wmv wv
"""
SUFFIXES = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())
"""The suffixes by which recordings in a folder are recognised."""


@dataclass(frozen=True, slots=True)
class FoundRecording:
    """A recording: its path or STANDARD_INPUT, and its path relative to the given folder."""

    path: str
    relative: Path


@dataclass(frozen=True, slots=True)
class Job:
    """A recording, its transcript file, and its size in bytes."""

    recording: str
    output: Path
    size: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """The jobs to do, those done before, and messages about what cannot be done."""

    jobs: list[Job] = field(default_factory=list)
    done: list[Job] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def plan(inputs: Sequence[str], output: str, suffix: str, *, force: bool) -> Plan:
    """Find the recordings and choose their transcript files, whose names end in `suffix`.

    `output` is a folder, or a file for a single recording unless it is an existing folder. With `force`,
    transcripts that exist are planned again.
    """
    result = Plan()
    target = Path(output)
    if not (len(inputs) > 1 or Path(inputs[0]).is_dir() or target.is_dir() or output.endswith(os.sep)):
        pairs: list[Pair] = [(inputs[0], target)]
    else:
        found = [one for path in inputs for one in _found(path, result.problems)]
        pairs = _distinct_outputs(found, target, suffix, result.problems)
    recordings = {os.path.realpath(recording) for recording, _ in pairs}
    for recording, file in pairs:
        if os.path.realpath(file) in recordings:
            result.problems.append(
                f"{recording}: {file} is a recording, and would be lost. Choose another name."
            )
        else:
            _plan_one(result, recording, file, force=force)
    return result


# --- Recordings


def _found(path: str, problems: list[str]) -> Iterator[FoundRecording]:
    if path == STANDARD_INPUT:
        problems.append(f"{path}: standard input has no name. Transcribe it alone, with -o FILE.")
    elif Path(path).is_dir():
        yield from _found_below(path, problems)
    else:
        yield FoundRecording(path, Path(Path(path).name))


def _found_below(folder: str, problems: list[str]) -> Iterator[FoundRecording]:
    """Find recordings in a folder and its subfolders. Links to folders may form cycles and are skipped."""

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
    """Return whether a file may never end, like a pipe or device. A broken link is left to fail later."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


# --- Transcript files


def _distinct_outputs(
    found: Iterable[FoundRecording], target: Path, suffix: str, problems: list[str]
) -> list[Pair]:
    """Choose talk.srt for talk.mp3, but talk.mp3.srt and talk.wav.srt if there is a talk.wav, too."""
    distinct = list({(os.path.realpath(one.path), one.relative): one for one in found}.values())
    wanted = Counter(_key(_short(one, suffix)) for one in distinct)
    same_output = defaultdict[str, list[Pair]](list)
    for one in distinct:
        place = _short(one, suffix)
        if wanted[_key(place)] > 1:
            place = one.relative.with_name(one.relative.name + suffix)
        same_output[_key(place)].append((one.path, target / place))
    for pairs in same_output.values():
        if len(pairs) > 1:
            names = " and ".join(path for path, _ in pairs)
            problems.append(f"{names}: both would go to {pairs[0][1]}. Transcribe them into two folders.")
    return [pairs[0] for pairs in same_output.values() if len(pairs) == 1]


def _short(one: FoundRecording, suffix: str) -> Path:
    known = one.relative.suffix.lower() in SUFFIXES
    return one.relative.with_suffix(suffix) if known else one.relative.with_name(one.relative.name + suffix)


def _key(place: Path) -> str:
    """Return a key that is equal for paths that some file systems do not distinguish."""
    return unicodedata.normalize("NFC", str(place)).casefold()


def _plan_one(result: Plan, recording: str, output: Path, *, force: bool) -> None:
    if recording == STANDARD_INPUT:
        result.jobs.append(Job(recording, output))
        return
    try:
        status = Path(recording).stat()
        job = Job(recording, output, status.st_size)
        if not force and output.is_file() and output.stat().st_mtime_ns > status.st_mtime_ns:
            result.done.append(job)
        else:
            result.jobs.append(job)
    except OSError as error:
        result.problems.append(f"{recording}: it cannot be opened ({error.strerror}).")
