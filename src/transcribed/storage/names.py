"""The rule for names of recordings, the same for every store, so that recordings can move between stores.

File names of other systems are accepted, with full-width punctuation, joiners in scripts and emoji,
ellipses and private-use characters. Refused are names that some store cannot hold, names that become a path
to another folder when a program simplifies their characters, and names with invisible characters.
"""

import re
import unicodedata

from transcribed.errors import InvalidName, shown

MAX_BYTES = 255
_FORBIDDEN = set('/\\:*?"<>|')
_SLASHES = set("/\\")
# Windows maps these to "/" or "\" when a program asks for an ANSI code page ("best fit"). Large and drawn
# slashes (U+29F8, U+2571, U+27CB) are not mapped, and programs often write them in place of a slash.
_NEARLY_SLASHES = set("⁄∕∖")
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
# Control characters, surrogates, line separators and paragraph separators.
_UNSEEN = {"Cc", "Cs", "Zl", "Zp"}
# Format characters of ordinary text: joiners, soft hyphens, direction marks that affect only spaces and
# punctuation, and Arabic number and verse signs. All others hide text or reverse it.
_WRITTEN = set("\u00ad\u061c\u200c\u200d\u200e\u200f\u06dd\u08e2") | set(map(chr, range(0x0600, 0x0606)))
_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f")
"""The emoji flag of a region, which is spelled with invisible tag characters."""
# Unassigned code points that Unicode reserves for invisible characters (Default_Ignorable_Code_Point).
_IGNORABLE = re.compile("[\u2065\ufff0-\ufff8\U000e0000-\U000e0fff]")
_NONCHARACTER = re.compile("[\ufdd0-\ufdef\ufffe\uffff]")
_PLANE = 0x10000


def valid_name(name: str) -> str:
    """The name in Unicode's composed form (NFC). Raises InvalidName, which says what is wrong."""
    name = unicodedata.normalize("NFC", name)
    problem = _problem(name)
    if problem is not None:
        raise InvalidName(f"{shown(name)} is not a valid name: {problem}.")
    return name


def is_device(name: str) -> bool:
    """Whether some systems take the name for a device's, in any case and whatever its suffix."""
    return _DEVICES.fullmatch(name) is not None


def _problem(name: str) -> str | None:  # noqa: PLR0911 - one line a rule
    if not _seen(name).strip():
        return "it is empty; give the file a name such as speech.wav"
    if len(name.encode("utf-8", errors="replace")) > MAX_BYTES:
        return f"it is longer than {MAX_BYTES} bytes"
    if found := _FORBIDDEN.intersection(name):
        return f"it contains {' '.join(sorted(found))}; use the file's own name, without folders"
    if any(map(_hides, _FLAG.sub("", name))):
        return "it contains control or invisible characters"
    if name.startswith("."):
        return "it starts with a dot"
    # The name as a program sees it that drops invisible characters and normalises the rest (NFKC).
    plain = unicodedata.normalize("NFKC", _seen(name))
    if _NEARLY_SLASHES.intersection(name) or _SLASHES.intersection(plain) or plain.startswith("."):
        return "it contains characters that look like slashes, or starts with what looks like a dot"
    if name != name.strip() or name.endswith("."):
        return "it starts or ends with a space, or ends with a dot"
    if is_device(name):
        return "it is the name of a device on some systems"
    return None


def _hides(character: str) -> bool:
    """Whether a character is invisible and not part of ordinary text."""
    category = unicodedata.category(character)
    if category == "Cf":
        return character not in _WRITTEN
    if category == "Cn":
        # Other unassigned code points are accepted: they may be letters or emoji newer than this Python.
        return bool(
            _IGNORABLE.match(character)
            or _NONCHARACTER.match(character)
            or ord(character) % _PLANE in {0xFFFE, 0xFFFF}
        )
    return category in _UNSEEN


def _seen(name: str) -> str:
    return "".join(character for character in name if unicodedata.category(character) != "Cf")
