from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.errors import ConfigurationError
from transcribed.service.access_keys import SHORTEST_SECRET, AccessKeys

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # noqa: S105 - Amazon's own example


def test_without_any_all_are_good() -> None:
    assert AccessKeys().open
    assert AccessKeys().secret("AKIDEXAMPLE") is None


def test_a_line_is_an_id_and_its_secret() -> None:
    keys = AccessKeys.parsed(f"# ours\n\nAKIDEXAMPLE {SECRET}\r\n  second\t{SECRET[::-1]}  \n", "keys")
    assert not keys.open
    assert keys.secret("AKIDEXAMPLE") == SECRET
    assert keys.secret("second") == SECRET[::-1]
    assert keys.secret("third") is None
    assert keys.secret("") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"AKID {SECRET}\nAKID\n", "line 2"),
        (f"AKID {SECRET} more\n", "line 1"),
        (f"AK/ID {SECRET}\n", "line 1"),
        (f"AK,ID {SECRET}\n", "line 1"),
        (f"AKIDÄ {SECRET}\n", "line 1"),
        ("AKID " + "s" * (SHORTEST_SECRET - 1), "line 1"),
        ("AKID " + "s" * 129, "line 1"),
        (f"AKID={SECRET}\n", "line 1"),
        (f"{SECRET} AKID\n", "line 1"),
        (f"AKID {SECRET}\n\nAKID {SECRET[::-1]}\n", "line 3"),
        ("# nothing\n", "no access key"),
        ("", "no access key"),
    ],
)
def test_a_line_that_is_none_is_told_without_its_secret(text: str, said: str) -> None:
    """Nor is the id: the two may have been confused."""
    with pytest.raises(ConfigurationError, match=said) as refused:
        AccessKeys.parsed(text, "keys")
    assert "keys" in refused.value.message
    for word in text.replace("=", " ").replace("# nothing", "").split():
        assert word not in refused.value.message


def test_the_secret_is_in_no_text() -> None:
    keys = AccessKeys.parsed(f"AKID {SECRET}", "keys")
    assert SECRET not in f"{keys} {keys!r} {vars(keys)}"


@given(st.text(max_size=60))
def test_no_file_gives_keys_by_accident(text: str) -> None:
    """What is read has at least one key, or is refused: never does a broken file let everybody in."""
    with suppress(ConfigurationError):
        assert not AccessKeys.parsed(text, "keys").open
