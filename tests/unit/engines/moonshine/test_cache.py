import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from transcribed.engines.moonshine.cache import cached_files

NAMES = ["first", "second"]


def _twice(contents: Sequence[bytes]) -> Sequence[bytes]:
    return [b"".join(contents), b"".join(contents) * 2]


def _unexpected(_: Sequence[bytes]) -> Sequence[bytes]:
    raise AssertionError("nothing was to be made")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"source")
    return path


def _read(files: Sequence[bytes | str]) -> list[bytes]:
    return [Path(file).read_bytes() if isinstance(file, str) else file for file in files]


def _kept(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_makes_the_files_once(tmp_path: Path, source: Path) -> None:
    folder = tmp_path / "a" / "b"
    made = cached_files(folder, NAMES, [source], "recipe", _twice)
    assert _read(made) == [b"source", b"sourcesource"]
    assert _kept(folder) == NAMES
    assert cached_files(folder, NAMES, [source], "recipe", _unexpected) == made


def test_another_source_or_recipe_makes_others(tmp_path: Path, source: Path) -> None:
    one = cached_files(tmp_path / "c", NAMES, [source], "recipe", _twice)
    assert set(cached_files(tmp_path / "c", NAMES, [source], "better recipe", _twice)).isdisjoint(one)
    source.write_bytes(b"changed")
    changed = cached_files(tmp_path / "c", NAMES, [source], "recipe", _twice)
    assert set(changed).isdisjoint(one)
    assert _read(changed)[0] == b"changed"
    assert _read(one)[0] == b"source"


def test_what_a_crash_left_incomplete_is_made_anew(tmp_path: Path, source: Path) -> None:
    made = cached_files(tmp_path / "c", NAMES, [source], "recipe", _twice)
    Path(str(made[1])).unlink()
    assert _read(cached_files(tmp_path / "c", NAMES, [source], "recipe", _twice)) == [
        b"source",
        b"sourcesource",
    ]


def test_a_failure_to_make_them_leaves_nothing(tmp_path: Path, source: Path) -> None:
    def fail(_: Sequence[bytes]) -> Sequence[bytes]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cached_files(tmp_path / "c", NAMES, [source], "recipe", fail)
    assert _kept(tmp_path) == ["source"]


def test_where_nothing_can_be_written_the_bytes_serve(
    tmp_path: Path, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # A file in the folder's place refuses even the superuser.
    (tmp_path / "c").write_bytes(b"")
    made = cached_files(tmp_path / "c" / "d", NAMES, [source], "recipe", _twice)
    assert made == [b"source", b"sourcesource"]
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert str(tmp_path / "c" / "d") in warning.getMessage()
    assert "the next start will be slow too" in warning.getMessage()


def test_a_disk_that_fills_up_leaves_no_part_of_a_file(
    tmp_path: Path, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # A folder in the second file's place makes its write fail at the last moment.
    home = Path(str(cached_files(tmp_path / "c", NAMES, [source], "recipe", _twice)[0])).parent
    for name in NAMES:
        (home / name).unlink()
    (home / "second").mkdir()
    assert cached_files(tmp_path / "c", NAMES[::-1], [source], "recipe", _twice) == [
        b"source",
        b"sourcesource",
    ]
    assert _kept(tmp_path / "c") == []
    assert len(caplog.records) == 1


_MAKE_TOGETHER = """
import sys, time
from pathlib import Path
from transcribed.engines.moonshine.cache import cached_files

folder, me, other = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

def make(contents):
    # Both are at this point at once, or the test fails by its time-out.
    (folder / f"{me} is making").touch()
    while not (folder / f"{other} is making").exists():
        time.sleep(0.001)
    return [contents[0] * 1_000_000, contents[0] * 2_000_000]

files = cached_files(folder / "c", ["first", "second"], [folder / "source"], "recipe", make)
print(*(len(Path(file).read_bytes()) for file in files))
"""


def test_two_processes_at_once_do_not_hurt_each_other(tmp_path: Path, source: Path) -> None:
    command = [sys.executable, "-c", _MAKE_TOGETHER, str(tmp_path)]
    processes = [
        subprocess.Popen([*command, *names], stdout=subprocess.PIPE, text=True)
        for names in (("one", "two"), ("two", "one"))
    ]
    try:
        for process in processes:
            answer, _ = process.communicate(timeout=60)
            assert (process.returncode, answer.split()) == (0, ["6000000", "12000000"])
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert _kept(tmp_path / "c") == NAMES
    assert (
        _read(cached_files(tmp_path / "c", NAMES, [source], "recipe", _unexpected))[0]
        == b"source" * 1_000_000
    )
