"""Phrases that a decoder favours, as a trie of tokens.

The method is derived from shallow fusion with a list of phrases (Zhao et al., 2019, "Shallow-Fusion
End-to-End Contextual Biasing"): each token of a phrase gets a bonus, which is taken back if the phrase
breaks off. Here the bonus of all tokens so far is the *allowance* of a node. The *cost* of a phrase is the
sum of the negative logarithms of the probabilities of its tokens, in nats. A decoder follows a phrase only
if it costs no more than its allowance. Otherwise the text is as without the phrase, so that no bonus has
to be taken back.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_FIRST, _EACH, _MOST = 3.0, 2.0, 14.0
"""The bonus of a phrase in nats: a constant, an amount for each token, and the most in total.

Measured by bench/vocabulary.py.
"""
_FEW, _BY_COUNT = 100, 0.5
"""Above this number of phrases the constant is smaller, by so many nats for each factor of e."""


def spellings(phrase: str) -> tuple[str, ...]:
    """Return the spellings of a phrase: with a leading space, and without one for the start of a text.

    A phrase at the beginning of a sentence has a capital first letter. Words with a hyphen may also be
    written as separate words.
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
        """The most that the tokens up to here may cost, in nats."""


@dataclass(frozen=True, slots=True)
class Match:
    """A node that the end of a text has reached. `cost` is that of the tokens up to it, in nats."""

    node: Node
    cost: float = 0.0


class PhraseTrie:
    """A trie of phrases, each a sequence of tokens with a weight.

    `count` is the number of phrases, each of which may have several sequences. The more phrases there are,
    the smaller is the bonus of each, since some of many phrases more often sound like what was said.
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

        `costs` has the cost of the token for each match, and for the root; without it the token is free.
        """
        following = []
        for number, match in enumerate((*matches, Match(self.root))):
            child = match.node.children.get(token)
            if child is not None:
                following.append(Match(child, match.cost + (costs[number] if costs else 0.0)))
        return following

    def matches(self, tokens: Sequence[int]) -> list[Match]:
        """Return the matches at the end of tokens, which count as free."""
        found: list[Match] = []
        for token in tokens[-self.longest :] if self.longest else ():
            found = self.after(found, token)
        return found
