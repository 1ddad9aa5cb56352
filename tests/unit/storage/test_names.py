# ruff: noqa: RUF001 - look-alikes are the subject
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transcribed.errors import InvalidName
from transcribed.storage.names import MAX_BYTES, valid_name


@pytest.mark.parametrize(
    "name",
    [
        "test.wav",
        "my talk (final) #2.mp3",
        "a",
        "a.b.c",
        "Größe – 你好.ogg",
        "עברית.wav",
        "100%.wav",
        "~.wav",
        "-rf.wav",
        "console.wav",
        "com10.wav",
        "null.wav",
        "🎙.m4a",
        "n" * MAX_BYTES,
    ],
)
def test_a_files_own_name_is_kept(name: str) -> None:
    assert valid_name(name) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("..", "dot"),
        (".", "dot"),
        (".hidden.wav", "dot"),
        (".incoming", "dot"),
        ("test.", "dot"),
        (" test.wav", "space"),
        ("test.wav ", "space"),
        ("/etc/passwd", "without folders"),
        ("../test.wav", "without folders"),
        ("a/b.wav", "without folders"),
        ("a\\b.wav", "without folders"),
        ("C:test.wav", "without folders"),
        ("what?.wav", "contains"),
        ("n" * 300, "longer than 255 bytes"),
        ("你" * 86, "longer than 255 bytes"),
        ("a\0b.wav", "control"),
        ("a\nb.wav", "control"),
        ("a\x7fb.wav", "control"),
        ("a\u200bb.wav", "invisible"),
        ("wav.\u202egnp", "invisible"),
        ("a\ud800b.wav", "invisible"),
        ("a\u2028b.wav", "invisible"),
        ("CON", "device"),
        ("con.wav", "device"),
        ("NUL.tar.gz", "device"),
        ("Com1.wav", "device"),
        ("lpt².wav", "device"),
        ("∕etc∕passwd", "look like"),
        ("a⁄b.wav", "look like"),
        ("a／b.wav", "look like"),
        ("a＼b.wav", "look like"),
        ("a：b.wav", "look like"),
        ("‥", "look like"),
        ("…wav", "look like"),
        ("．．", "look like"),
        ("．hidden.wav", "look like"),
        ("﹒﹒", "look like"),
    ],
)
def test_what_is_no_name_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(InvalidName, match=reason) as refused:
        valid_name(name)
    assert len(refused.value.message) < 250
    refused.value.message.encode()  # It can be sent.


def test_one_name_written_in_two_ways_is_one_name() -> None:
    assert valid_name(unicodedata.normalize("NFD", "Größe.wav")) == valid_name("Größe.wav")
    assert valid_name("\u212b.wav") == "\u00c5.wav"


_TRICKY = st.text(
    st.one_of(st.sampled_from("./\\:* \0\n‥．/∕⁄…~%aé\u0301\u200b\u202e\ud800"), st.characters()),
    max_size=30,
)


@given(st.one_of(st.text(), _TRICKY))
@example("．．")
@example("con")
def test_whatever_is_accepted_names_a_file_directly_inside_any_folder(name: str) -> None:
    try:
        accepted = valid_name(name)
    except InvalidName:
        return
    for spelling in (
        accepted,
        *(unicodedata.normalize(form, accepted) for form in ("NFD", "NFKC", "NFKD")),
    ):
        path = Path("/store") / spelling
        assert path.parent == Path("/store")
        assert path.resolve().parent == Path("/store")
        assert path.name == spelling
        assert not spelling.startswith(".")
    assert valid_name(accepted) == accepted
    assert len(accepted.encode()) <= 255
    assert accepted.isprintable() or any(unicodedata.category(c) == "Zs" for c in accepted)


@given(name=_TRICKY)
def test_accepted_names_can_be_written_and_found(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    try:
        accepted = valid_name(name)
    except InvalidName:
        return
    folder = tmp_path_factory.mktemp("names")
    (folder / accepted).write_bytes(b"x")
    assert [path.name for path in folder.iterdir()] == [accepted]
