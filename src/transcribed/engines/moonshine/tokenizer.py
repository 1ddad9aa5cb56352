"""The conversion of Moonshine's tokens to text."""

import re
from collections.abc import Sequence

_BYTE = re.compile(rb"<0x([0-9A-Fa-f]{2})>")
_SPACE = "▁".encode()


class Tokenizer:
    """The vocabulary of a `tokenizer.bin`.

    The file is a list of tokens, each a length and as many bytes of UTF-8. A length up to 127 takes one
    byte; a longer one takes two, the first of which is 128 plus the low 7 bits. In a token, `▁` stands for
    a space and `<0x41>` for a single byte.
    """

    def __init__(self, data: bytes) -> None:
        self._pieces: list[bytes] = []
        position = 0
        while position < len(data):
            length = data[position]
            position += 1
            if length > 127:  # noqa: PLR2004 - see the format above
                length = length - 128 + 128 * data[position]
                position += 1
            self._pieces.append(_plain(data[position : position + length]))
            position += length

    def __len__(self) -> int:
        return len(self._pieces)

    def starts_word(self, token: int) -> bool:
        """Return whether the token starts with a space."""
        return self._pieces[token].startswith(b" ")

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of the tokens, without surrounding white space."""
        joined = b"".join(self._pieces[token] for token in tokens)
        return joined.decode("utf-8", errors="replace").strip()


def _plain(piece: bytes) -> bytes:
    byte = _BYTE.fullmatch(piece)
    return bytes.fromhex(byte[1].decode()) if byte else piece.replace(_SPACE, b" ")
