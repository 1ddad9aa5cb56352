"""Phrases that a decoder favours, as a trie of tokens.

This is shallow fusion with a list of phrases, as Zhao et al., 2019, "Shallow-Fusion End-to-End Contextual
Biasing" describe it: each token of a phrase gets a bonus, which grows along the phrase and is taken back if
the phrase breaks off. The trie says how much log-probability a text may give up to follow a phrase:
its *cost* is the sum, over the tokens of the phrase so far, of how much more probable the best token was.
So a broken phrase leaves nothing behind: the text goes on from where the phrase began, as without it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_FIRST, _EACH, _MOST = 3.0, 2.0, 14.0
"""The bonus of a phrase, in nats: of any, for each token, and at most. Measured by bench/vocabulary.py."""
_FEW, _BY_COUNT = 100, 0.5
"""Above how many phrases the bonus of any is smaller, and by how much for each factor of e."""


def spellings(phrase: str) -> tuple[str, ...]:
    """Return a phrase as decoders write it, with its leading space, and without at the start of a text.

    A phrase may begin a sentence, with a capital letter. Words with a hyphen may be written apart.
    """
    capital = phrase[:1].upper() + phrase[1:]
    texts = [phrase, capital]
    if "-" in phrase.strip("-"):
        texts += [text.replace("-", " ") for text in texts]
    return tuple(dict.fromkeys(before + text for text in texts for before in (" ", "")))


class Node:
    """A place in the trie: the tokens of one or more phrases up to here."""

    __slots__ = ("allowance", "children", "depth", "ends")

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.children: dict[int, Node] = {}
        self.ends = False
        self.allowance = 0.0
        """The most that a text may give up to get here, in nats."""


@dataclass(frozen=True, slots=True)
class Match:
    """The end of a text as the beginning of a phrase. `cost` is what the text gave up for it, in nats."""

    node: Node
    cost: float = 0.0


class PhraseTrie:
    """A trie of phrases, each a sequence of tokens with a weight.

    `count` is the number of phrases, each of which may have several sequences: one of many phrases gets a
    smaller bonus, since one of many is more often similar to what was said.
    """

    def __init__(self, phrases: Iterable[tuple[Sequence[int], float]], count: int = 0) -> None:
        first = _FIRST - _BY_COUNT * math.log(max(count, _FEW) / _FEW)
        self.root = Node(0)
        self.longest = 0
        for tokens, weight in phrases:
            node = self.root
            for token in tokens:
                child = node.children.get(token)
                if child is None:
                    child = node.children[token] = Node(node.depth + 1)
                allowance = weight * min(first + _EACH * child.depth, _MOST)
                child.allowance = max(child.allowance, allowance)
                node = child
            node.ends = node is not self.root
            self.longest = max(self.longest, len(tokens))

    def after(self, matches: Sequence[Match], token: int, costs: Sequence[float] = ()) -> list[Match]:
        """Return the matches after one more token, which may also begin a phrase.

        `costs` are what the token costs each match; none if the token was the most probable one.
        """
        following = []
        for number, match in enumerate((*matches, Match(self.root))):
            child = match.node.children.get(token)
            if child is not None:
                following.append(Match(child, match.cost + (costs[number] if costs else 0.0)))
        return following

    def matches(self, tokens: Sequence[int]) -> list[Match]:
        """Return the matches at the end of tokens, which cost nothing."""
        found: list[Match] = []
        for token in tokens[-self.longest :] if self.longest else ():
            found = self.after(found, token)
        return found
