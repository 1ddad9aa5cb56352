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
        "🎙\ufe0f memo.m4a",
        "👨\u200d👩\u200d👧 familie.m4a",
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f England.m4a",
        "\U0001fae9 newer than this Python.m4a",
        "می\u200cخواهم.m4a",
        "क्\u200dष.wav",
        "שלום\u200f.wav",
        "\u200eWhatsApp Audio 2024-05-01.opus",
        "so\u00adge\u00adnannt.wav",
        "Screen Recording 2024-05-01 at 3.12.45\u202fPM.m4a",
        "Zoom｜Meeting.m4a",
        "テスト：会議？＊＜＞＂.wav",
        "AC\u29f8DC \u2571 \u27cb.wav",
        "e…etc.wav",
        "Talk… part‥2․.wav",
        "3′ 5″ ½ ﬁle.wav",
        "1∶2 Ցաւ։ סוף׃.wav",
        "private \uf8ff \uf022.wav",
        "call #5",
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
        ("a∖b.wav", "look like"),
        ("a﹨b.wav", "look like"),
        ("℅ Smith.wav", "look like"),
        ("\u200f.hidden.wav", "look like"),
        ("\u200f", "empty"),
        ("a\u202bb.wav", "invisible"),
        ("a\u2066b.wav", "invisible"),
        ("a\u2060b.wav", "invisible"),
        ("a\ufeffb.wav", "invisible"),
        ("a\ufff9b.wav", "invisible"),
        ("a\U000e0041b.wav", "invisible"),
        ("a\U000e0fffb.wav", "invisible"),
        ("a\ufdd0b.wav", "invisible"),
        ("a\U0001ffffb.wav", "invisible"),
        ("a\x85b.wav", "control"),
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
    st.one_of(
        st.sampled_from("./\\:* \0\n‥．/∕⁄…~%aé\u0301\u200b\u200d\u200f\u202e\ud800｜℅\ue000\U0001faff"),
        st.characters(),
    ),
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
    assert not {"Cc", "Cs", "Zl", "Zp"} & {unicodedata.category(c) for c in accepted}
    assert not set("\u200b\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff") & set(accepted)
    assert any(unicodedata.category(c) != "Cf" for c in accepted)


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
