"""Every setting is documented with the facts that the code has."""

import re
from pathlib import Path

import pytest

from transcribed.settings import RecognitionSettings, ServerSettings

ROOT = Path(__file__).parents[2]
PAGE = "docs/operations.md"
SETTINGS = ServerSettings.model_fields


def rows() -> dict[str, list[str]]:
    """The cells behind each `TRANSCRIBED_…` in the table of settings."""
    lines = (ROOT / PAGE).read_text().splitlines()
    cells = ([cell.strip(" `") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines)
    return {row[1]: row for row in cells if len(row) > 1 and row[1].startswith("TRANSCRIBED_")}


def test_the_settings_are_those_of_the_code_in_its_order() -> None:
    documented = list(rows())
    assert documented == [f"TRANSCRIBED_{name.upper()}" for name in SETTINGS]


def told(value: object) -> str:
    if value in {None, ""}:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_has_its_option_and_its_default(name: str) -> None:
    option, _, default, *_ = rows()[f"TRANSCRIBED_{name.upper()}"]
    assert option == f"--{name.replace('_', '-')}"
    of_a_linux_user = {
        "cache": "~/.cache/transcribed",
        "certificates": "~/.local/share/transcribed/certificates",
        "models": "~/.local/share/transcribed/models",
        "keys_key": "~/.local/share/transcribed/keys-key",
    }
    if name in of_a_linux_user:
        assert of_a_linux_user[name] in default
    else:
        assert default == told(SETTINGS[name].default)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_allowed_range_of_a_setting_is_documented(name: str) -> None:
    allowed = rows()[f"TRANSCRIBED_{name.upper()}"][3]
    for bound in SETTINGS[name].metadata:
        value = getattr(bound, "ge", getattr(bound, "le", None))
        assert re.search(rf"\b{re.escape(str(value))}\b", allowed), f"{allowed!r} does not say {bound}"


def test_the_page_says_which_settings_transcribe_takes() -> None:
    taken = list(RecognitionSettings.model_fields)
    assert taken == list(SETTINGS)[: len(taken)]
    assert list(SETTINGS)[len(taken)] == "also", (
        "operations.md says that transcribe takes those above --also"
    )
