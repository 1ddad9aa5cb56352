"""Tokens of Moonshine to text."""

import re
from collections.abc import Sequence

_BYTE = re.compile(rb"<0x([0-9A-Fa-f]{2})>")
_SPACE = "▁".encode()


class Tokenizer:
    """The vocabulary of a `tokenizer.bin`.

    The file is a list of entries: a length of one byte, or of two when the first is above 127 (its low 7
    bits, then the high ones), and so many bytes of UTF-8. `▁` is a space, `<0x41>` a single byte.
    """

    def __init__(self, data: bytes) -> None:
        self._pieces: list[bytes] = []
        position = 0
        while position < len(data):
            length = data[position]
            position += 1
            if length > 127:  # noqa: PLR2004 - the format's own mark
                length = length - 128 + 128 * data[position]
                position += 1
            self._pieces.append(_plain(data[position : position + length]))
            position += length

    def __len__(self) -> int:
        return len(self._pieces)

    def starts_word(self, token: int) -> bool:
        """Whether a space stands before the token's text."""
        return self._pieces[token].startswith(b" ")

    def text(self, tokens: Sequence[int]) -> str:
        """The text of the tokens, without the space before the first word."""
        joined = b"".join(self._pieces[token] for token in tokens)
        return joined.decode("utf-8", errors="replace").strip()


def _plain(piece: bytes) -> bytes:
    byte = _BYTE.fullmatch(piece)
    return bytes.fromhex(byte[1].decode()) if byte else piece.replace(_SPACE, b" ")
