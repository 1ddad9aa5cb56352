"""Words as the score compares them: without case, punctuation and other matters of taste.

Where words stand in time is known for each written word alone, so a word is compared for itself: numbers in
digits stay what they are. The word error rate is counted on whole texts, by Whisper's normaliser.
"""

import re

_APART = re.compile(r"[-\u2013\u2014/\u2026]|\.\.+")  # dashes and ellipses
_KEPT = re.compile(r"[^a-z0-9']")
_LONG = {"mr": "mister", "mrs": "missus", "dr": "doctor", "st": "saint"}


def keys(text: str) -> list[str]:
    """The words of a text, ready to be compared. A compound is several words."""
    found = (_key(word) for word in _APART.sub(" ", text).split())
    return [key for key in found if key]


def _key(word: str) -> str:
    key = _KEPT.sub("", word.lower().replace("\u2019", "'")).strip("'")
    return _LONG.get(key, key)
