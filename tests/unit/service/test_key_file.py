import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from transcribed.errors import BadRequest, ConfigurationError
from transcribed.principal import Role
from transcribed.service.key_file import (
    SHORTEST_SECRET,
    AccessKey,
    KeyFile,
    parsed_keys,
    valid_key_id,
    valid_secret,
)

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # noqa: S105 - Amazon's own example
OTHER = SECRET[::-1]


def key(key_id: str, secret: str = SECRET, owner: str = "", role: Role = Role.TRANSCRIBE) -> AccessKey:
    return AccessKey(key_id, SecretStr(secret), owner or key_id, role)


def test_a_line_is_an_id_and_its_secret() -> None:
    read = parsed_keys(f"# ours\n\nAKIDEXAMPLE {SECRET}\r\n  second\t{OTHER}  \n", "keys")
    assert read == (key("AKIDEXAMPLE"), key("second", OTHER))


@pytest.mark.parametrize("role", list(Role))
def test_a_role_and_an_owner_may_follow(role: Role) -> None:
    read = parsed_keys(f"one {SECRET} {role.value}\ntwo {OTHER} {role.value} some.body", "keys")
    assert read == (key("one", role=role), key("two", OTHER, "some.body", role))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"AKID {SECRET}\nAKID\n", "line 2"),
        (f"AKID {SECRET} more\n", "line 1"),
        (f"AKID {SECRET} admin some/body\n", "line 1"),
        (f"AKID {SECRET} admin somebody more\n", "line 1"),
        (f"AK/ID {SECRET}\n", "line 1"),
        (f"AK,ID {SECRET}\n", "line 1"),
        (f"AKIDÄ {SECRET}\n", "line 1"),
        ("AKID " + "s" * (SHORTEST_SECRET - 1), "line 1"),
        ("AKID " + "s" * 129, "line 1"),
        (f"AKID={SECRET}\n", "line 1"),
        (f"{SECRET} AKID\n", "line 1"),
        (f"AKID {SECRET}\n\nAKID {OTHER}\n", "line 3"),
        (f"AKID {SECRET}\n\nDIKA {SECRET}\n", "line 3"),
        ("# nothing\n", "no access key"),
        ("", "no access key"),
    ],
)
def test_a_line_that_is_none_is_told_without_its_secret(text: str, said: str) -> None:
    """Nor is the id: the two may have been confused."""
    with pytest.raises(ConfigurationError, match=said) as refused:
        parsed_keys(text, "keys")
    assert "keys" in refused.value.message
    for word in text.replace("=", " ").replace("# nothing", "").split():
        assert word in {"admin", "more"} or word not in refused.value.message


def test_the_secret_is_in_no_text() -> None:
    (read,) = parsed_keys(f"AKID {SECRET}", "keys")
    assert SECRET not in f"{read} {read!r} {read.principal()}"


@given(st.text(max_size=60))
def test_no_file_gives_keys_by_accident(text: str) -> None:
    """What is read has at least one key, or is refused: never does a broken file let everybody in."""
    with suppress(ConfigurationError):
        assert parsed_keys(text, "keys")


@pytest.mark.parametrize("name", ["", "a/b", "a b", "ä", "x" * 129, "a\n", "a\0"])
def test_what_can_be_no_id_is_told(name: str) -> None:
    with pytest.raises(BadRequest, match="cannot be the owner"):
        valid_key_id(name, "owner")


@pytest.mark.parametrize("secret", ["", "short", "with a space in it ", "x" * 129, "ä" * 20, SECRET + "\n"])
def test_what_can_be_no_secret_is_told_without_it(secret: str) -> None:
    with pytest.raises(BadRequest) as refused:
        valid_secret(secret)
    assert not secret or secret not in refused.value.message


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"one {SECRET}")
    file = KeyFile(path)
    assert file.read() == file.read() == (key("one"),)
    path.write_text(f"two {OTHER} read")
    assert file.read() == (key("two", OTHER, role=Role.READ),)
    path.write_text("two")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="line 1"):
            file.read()
    path.unlink()
    with pytest.raises(ConfigurationError, match="--access-keys"):
        file.read()
    path.write_bytes(os.fsencode("\udcff"))
    with pytest.raises(ConfigurationError, match="not text"):
        file.read()
