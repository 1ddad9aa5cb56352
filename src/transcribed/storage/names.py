"""Which names a recording may have: one rule for every store, so that recordings can move between them."""

import re
import unicodedata

from transcribed.errors import InvalidName

MAX_BYTES = 255
_SHOWN = 40
_FORBIDDEN = set('/\\:*?"<>|')
# What looks like a separator or a dot, and is neither.
_LOOK_ALIKES = set("⁄∕⧸╱⧵﹨⟋⟍․‥…∖։׃∶ꓸ")
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
# obstore calls a local file so while it writes it.
_UNFINISHED = re.compile(r"#[0-9]+$")
# Control characters, invisible format characters, surrogates, private use, unassigned, separators.
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def valid_name(name: str) -> str:
    """The name in Unicode's composed form (NFC), or InvalidName with what is wrong with it."""
    name = unicodedata.normalize("NFC", name)
    problem = _problem(name)
    if problem is not None:
        raise InvalidName(f"{_shown(name)} is not a valid name: {problem}.")
    return name


def _problem(name: str) -> str | None:  # noqa: PLR0911 - one line a rule
    if not name.strip():
        return "it is empty; give the file a name such as speech.wav"
    if len(name.encode("utf-8", errors="replace")) > MAX_BYTES:
        return f"it is longer than {MAX_BYTES} bytes"
    if found := _FORBIDDEN.intersection(name):
        return f"it contains {' '.join(sorted(found))}; use the file's own name, without folders"
    if any(unicodedata.category(character) in _UNSEEN for character in name):
        return "it contains control or invisible characters"
    if name.startswith("."):
        return "it starts with a dot"
    plain = unicodedata.normalize("NFKC", name)
    if _LOOK_ALIKES.intersection(name) or _FORBIDDEN.intersection(plain) or plain.startswith("."):
        return "it contains characters that look like slashes or dots"
    if name != name.strip() or name.endswith("."):
        return "it starts or ends with a space, or ends with a dot"
    if _UNFINISHED.search(name):
        return "it ends like the name of an unfinished file; leave out the # and the number"
    if _DEVICES.fullmatch(name):
        return "it is the name of a device on some systems"
    return None


def _shown(name: str) -> str:
    text = name if len(name) <= _SHOWN else name[:_SHOWN] + "…"
    return repr(text)
