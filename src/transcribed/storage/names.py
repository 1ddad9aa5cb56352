"""Which names a recording may have: one rule for every store, so that recordings can move between them.

A name is a file's own, as other systems write it: full-width marks in place of those that a file system
keeps to itself, joiners of scripts and emoji, ellipses, private characters. Refused is what a store cannot
hold, what a program that makes names plainer would take for a way into another folder, and what hides.
"""

import re
import unicodedata

from transcribed.errors import InvalidName, shown

MAX_BYTES = 255
_FORBIDDEN = set('/\\:*?"<>|')
_SLASHES = set("/\\")
# What Windows makes a slash of where a program asks for plain letters ("best fit"). Nothing makes one of
# big and drawn slashes (U+29F8, U+2571, U+27CB), and much software writes them in a slash's place.
_NEARLY_SLASHES = set("⁄∕∖")
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
# Control characters, surrogates, separators of lines and paragraphs.
_UNSEEN = {"Cc", "Cs", "Zl", "Zp"}
# Format characters that belong to what is written: joiners, marks of direction that turn nothing but spaces
# and points, hyphens of words, signs of numbers and verses. Others hide text or turn it around.
_WRITTEN = set("\u00ad\u061c\u200c\u200d\u200e\u200f\u06dd\u08e2") | set(map(chr, range(0x0600, 0x0606)))
_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f")
"""The flag of a region: its letters are invisible characters."""
# Unassigned here and invisible for ever, whatever Unicode makes of them.
_IGNORABLE = re.compile("[\u2065\ufff0-\ufff8\U000e0000-\U000e0fff]")
_NONCHARACTER = re.compile("[\ufdd0-\ufdef\ufffe\uffff]")
_PLANE = 0x10000


def valid_name(name: str) -> str:
    """The name in Unicode's composed form (NFC), or InvalidName with what is wrong with it."""
    name = unicodedata.normalize("NFC", name)
    problem = _problem(name)
    if problem is not None:
        raise InvalidName(f"{shown(name)} is not a valid name: {problem}.")
    return name


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
    # What a program makes of it that leaves out what is not seen, and makes the rest plain (NFKC).
    plain = unicodedata.normalize("NFKC", _seen(name))
    if _NEARLY_SLASHES.intersection(name) or _SLASHES.intersection(plain) or plain.startswith("."):
        return "it contains characters that look like slashes, or starts with what looks like a dot"
    if name != name.strip() or name.endswith("."):
        return "it starts or ends with a space, or ends with a dot"
    if _DEVICES.fullmatch(name):
        return "it is the name of a device on some systems"
    return None


def _hides(character: str) -> bool:
    """Whether it cannot be seen, and is no part of what can."""
    category = unicodedata.category(character)
    if category == "Cf":
        return character not in _WRITTEN
    if category == "Cn":
        # Letters and emoji newer than this Python are unassigned too.
        return bool(
            _IGNORABLE.match(character)
            or _NONCHARACTER.match(character)
            or ord(character) % _PLANE in {0xFFFE, 0xFFFF}
        )
    return category in _UNSEEN


def _seen(name: str) -> str:
    return "".join(character for character in name if unicodedata.category(character) != "Cf")
