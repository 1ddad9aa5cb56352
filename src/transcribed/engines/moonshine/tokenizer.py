"""The conversion of Moonshine's tokens to text, and back."""

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import pairwise

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

    def encode(self, text: str, usable: Callable[[int], bool] = lambda _: True) -> list[int]:
        """Return the tokens of a text as in the model's training; a leading space is part of the first.

        Repeatedly, the two neighbours are joined that form the piece with the lowest number: in a byte pair
        encoding, pieces are numbered in the order in which they were found (Sennrich, Haddow and Birch,
        2016, "Neural Machine Translation of Rare Words with Subword Units"). Characters without a piece of
        their own are encoded byte by byte. Tokens that are not `usable` are split again; the result is
        empty if some part has no usable token.
        """
        numbers = self._numbers
        parts: list[bytes] = []
        for character in text:
            piece = character.encode("utf-8", errors="replace")
            parts += [piece] if piece in numbers else [piece[i : i + 1] for i in range(len(piece))]
        halves: dict[bytes, tuple[bytes, bytes]] = {}
        none = len(self._pieces)
        ranks = [numbers.get(a + b, none) for a, b in pairwise(parts)]
        while ranks and (least := min(ranks)) < none:
            best = ranks.index(least)
            joined = parts[best] + parts[best + 1]
            halves.setdefault(joined, (parts[best], parts[best + 1]))
            parts[best : best + 2] = [joined]
            del ranks[best]
            for place in range(max(0, best - 1), min(best + 1, len(ranks))):
                ranks[place] = numbers.get(parts[place] + parts[place + 1], none)
        tokens: list[int] = []
        pending = parts[::-1]
        while pending:
            part = pending.pop()
            number = numbers.get(part)
            if number is not None and usable(number):
                tokens.append(number)
            elif part in halves:
                pending += halves[part][::-1]
            else:
                return []
        return tokens

    @cached_property
    def _numbers(self) -> dict[bytes, int]:
        numbers: dict[bytes, int] = {}
        for number, piece in enumerate(self._pieces):
            # A letter's own piece comes after the one of its byte, and is the one in use.
            if len(piece) == 1 or piece not in numbers:
                numbers[piece] = number
        return numbers

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
