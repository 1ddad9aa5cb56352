"""The normal form of words for scoring: without case, punctuation and spelling variants.

Times are known for each written word, so words are normalised one by one, and numbers in digits are kept.
The word error rate is computed on whole texts after Whisper's normaliser.
"""

import re

_APART = re.compile(r"[-\u2013\u2014/\u2026]|\.\.+")  # dashes and ellipses
_KEPT = re.compile(r"[^a-z0-9']")
_LONG = {"mr": "mister", "mrs": "missus", "dr": "doctor", "st": "saint"}


def keys(text: str) -> list[str]:
    """Return the normalised words of a text. A compound is several words."""
    found = (_key(word) for word in _APART.sub(" ", text).split())
    return [key for key in found if key]


def _key(word: str) -> str:
    key = _KEPT.sub("", word.lower().replace("\u2019", "'")).strip("'")
    return _LONG.get(key, key)
