import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.errors import BadRequest
from transcribed.principal import NOBODY
from transcribed.storage.owners import LONGEST_OWNER, OWNERS, owner_at, place_of

_NAMES = st.text(st.sampled_from("aAbB01._-=/\\ \0\u0301é") | st.characters(), min_size=1, max_size=60)


@pytest.mark.parametrize("owner", ["anna", "a", "0", "_", "team-2", "anna.smith", "a" * 128])
def test_plain_names_are_their_own_places(owner: str) -> None:
    assert place_of(owner) == f"{OWNERS}/{owner}"


def test_what_belongs_to_nobody_is_in_no_place_of_its_own() -> None:
    assert place_of(NOBODY) == ""
    assert owner_at("") is None


@given(owner=_NAMES)
def test_a_place_is_one_folder_for_every_file_system_and_tells_its_owner(owner: str) -> None:
    try:
        above, name = place_of(owner).split("/")
    except BadRequest:
        assert len(owner.encode("utf-8", "surrogatepass")) > LONGEST_OWNER or any(
            unicodedata.category(character) == "Cs" for character in owner
        )
        return
    assert above == OWNERS
    assert len(name.encode()) <= 255
    assert name == name.casefold() == unicodedata.normalize("NFKD", name)
    assert not name.startswith(".")
    assert not name.endswith((".", " "))
    assert owner_at(name) == owner


@given(name=_NAMES | st.from_regex(r"=[a-z2-7]{1,30}", fullmatch=True))
def test_no_two_names_are_places_of_one_owner(name: str) -> None:
    owner = owner_at(name)
    assert owner is None or place_of(owner) == f"{OWNERS}/{name}"
