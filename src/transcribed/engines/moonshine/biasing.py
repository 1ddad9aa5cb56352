"""Decoding that favours phrases (`recognition.vocabulary`), on top of greedy decoding.

After greedy decoding, a *trial* is made at places where a word is doubtful and where the first token of a
phrase that differs from the text is cheap. In a trial the decoder reads the phrase, which tells its whole
cost. If the cost is within the allowance of the phrase, the text continues from the end of the phrase,
otherwise it stays as it was. A phrase in a draft is verified in the pass that verifies the draft. So a
segment without a likely phrase costs only a few products of vectors, and a wrong beginning of a phrase is
never kept. Beam search would read every token several times, although most segments contain no phrase.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from threading import Lock
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from transcribed.engines.moonshine.model import (
    Array,
    DecoderState,
    MoonshineModel,
    Outcomes,
    Text,
    continue_greedily,
    resumed,
)
from transcribed.engines.moonshine.outputs import END, OutputRows
from transcribed.engines.moonshine.tokenizer import Tokenizer
from transcribed.options import Phrase
from transcribed.recognition.display_forms import DisplayForms
from transcribed.recognition.vocabulary import Match, Node, PhraseTrie, spellings

_SURE = 0.85
"""A word all of whose tokens have at least this probability is never replaced by a phrase.

None of 45 names that a vocabulary of 54 corrected replaced a more probable word.
"""
_MOST_FIRST = 5.0
"""The most that the first differing token may cost, in nats. None of those names cost more than 4.1."""
_NEAR = 4
"""The same letters may take so many more tokens in the text than in a phrase."""
_TRIALS, _TRIALS_PER_TOKEN = 2, 0.1
"""The most trials in one decoding, and how many more for each token of the text."""


_KEPT_PHRASES = 10_000
"""Vocabularies that no stream uses are kept for further streams up to this number of phrases in total."""


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Vocabulary:
    """Phrases as tokens of a model, with the model's output rows of their first tokens."""

    trie: PhraseTrie
    output: OutputRows
    tokenizer: Tokenizer
    first: npt.NDArray[np.int64]
    first_rows: Array
    display: DisplayForms

    @classmethod
    def of(cls, phrases: Sequence[Phrase], model: MoonshineModel) -> "Vocabulary":
        """Compile phrases in all their spellings; those that the model cannot write are left out."""
        output, tokenizer = model.output_rows, model.tokenizer
        spelled = (
            (tokenizer.encode(text, output.is_trained), phrase.weight)
            for phrase in phrases
            for text in spellings(phrase.text)
        )
        trie = PhraseTrie(((tokens, weight) for tokens, weight in spelled if tokens), len(phrases))
        first = np.array(list(trie.root.children), np.int64)
        return cls(trie, output, tokenizer, first, output.rows(first), DisplayForms.of(phrases))

    def costs(self, outcomes: Outcomes, number: int, tokens: Sequence[int]) -> list[float]:
        """Return the negative logarithm of each token's probability as the outcome of this number."""
        logits = self.output.rows([int(outcomes.tokens[number]), *tokens]) @ outcomes.states[number]
        least = surprisal(outcomes, number)
        return [least + max(0.0, float(logits[0] - logit)) for logit in logits[1:]]

    def ends_word(self, following: int) -> bool:
        """Return whether a word ends before this token. Parts joined by hyphens are one word."""
        if following == END or self.tokenizer.starts_word(following):
            return True
        text = self.tokenizer.text([following])
        return not (text[:1].isalnum() or text[:1] == "-")

    def letters(self, tokens: Sequence[int]) -> str:
        """Return the letters and digits of a text, without regard to case."""
        return "".join(filter(str.isalnum, self.tokenizer.text(tokens))).casefold()


class Vocabularies:
    """The compiled vocabularies of a model, for use by several threads.

    Those of open streams are shared, and the latest ones are kept for further streams.
    """

    def __init__(self, model: MoonshineModel, most_kept: int = _KEPT_PHRASES) -> None:
        self._model = model
        self._most_kept = most_kept
        self._used: WeakValueDictionary[tuple[Phrase, ...], Vocabulary] = WeakValueDictionary()
        self._kept: list[tuple[int, Vocabulary]] = []
        self._lock = Lock()

    def of(self, phrases: tuple[Phrase, ...]) -> Vocabulary:
        """Return the phrases compiled for the model.

        Blocks: the first time 0.1 s for 1,000 names. One vocabulary is compiled at a time.
        """
        found = self._used.get(phrases)
        if found is None:
            with self._lock:
                found = self._used.get(phrases)
                if found is None:
                    found = self._used[phrases] = Vocabulary.of(phrases, self._model)
                    self._keep(len(phrases), found)
        return found

    def _keep(self, count: int, vocabulary: Vocabulary) -> None:
        kept, room = [(count, vocabulary)], self._most_kept - count
        for each in self._kept:
            room -= each[0]
            if room >= 0:
                kept.append(each)
        self._kept = kept


def surprisal(outcomes: Outcomes, number: int) -> float:
    """Return the negative logarithm of the probability of the most probable token."""
    return -math.log(max(float(outcomes.probabilities[number]), 1e-9))


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A token that begins or continues a phrase at a position of the text, where the text has another.

    It leads from the node `before` to `node`. `cost`, in nats, is that of the phrase up to and including
    the token, and `last` that of the token.
    """

    position: int
    token: int
    before: Node
    node: Node
    cost: float
    last: float


@dataclass(frozen=True, slots=True)
class _Tried:
    """A phrase that was read in place of a part of the text, and the most probable token after it."""

    reading: DecoderState
    tokens: list[int]
    probabilities: list[float]
    following: int


class Bias:
    """Favours the phrases of a vocabulary while one growing segment is decoded repeatedly.

    A phrase that did not fit is not tried again at the same place until `forget` is called.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._trie = vocabulary.trie
        self._failed: set[tuple[int, int, int]] = set()

    def forget(self) -> None:
        """Allow trials of phrases that did not fit, since there is more audio."""
        self._failed.clear()

    def kept(
        self, reading: DecoderState, tokens: Sequence[int], draft: Sequence[int]
    ) -> tuple[int, list[float]]:
        """Return how many tokens of a draft that was just read to keep, and their probabilities.

        A token is kept if it is the most probable one, or part of a phrase that does not cost too much.
        `tokens` precede the draft.
        """
        outcomes = reading.outcomes(len(tokens))
        probabilities = [float(each) for each in outcomes.probabilities[: len(draft)]]
        matches = self._trie.matches(tokens)
        position = 0
        while position < len(draft):
            if draft[position] == outcomes.tokens[position]:
                matches = self._trie.after(matches, draft[position])
                position += 1
                continue
            found = self._phrase(matches, draft, position, outcomes)
            if found is None:
                break
            probabilities[position : position + len(found)] = found
            position += len(found)
            matches = self._trie.matches([*tokens, *draft[:position]])
        return position, probabilities[:position]

    def _phrase(
        self, matches: Sequence[Match], draft: Sequence[int], position: int, outcomes: Outcomes
    ) -> list[float] | None:
        """Return the probabilities of the longest phrase that a draft contains at a position, if any."""
        longest: list[float] = []
        for match in (*matches, Match(self._trie.root)):
            node, total, found = match.node, match.cost, list[float]()
            for number in range(position, len(draft)):
                child = node.children.get(draft[number])
                if child is None:
                    break
                cost = self._cost(outcomes, number, draft[number])
                found.append(_favoured(cost, node, child))
                node, total = child, total + cost
                if total > node.allowance:
                    break
                last = number + 1 == len(draft)
                following = int(outcomes.tokens[number + 1]) if last else draft[number + 1]
                if (
                    node.ends
                    and self._vocabulary.ends_word(following)
                    and total + surprisal(outcomes, number + 1) <= node.allowance
                    and len(found) > len(longest)
                ):
                    longest = list(found)
        return longest or None

    def _cost(self, outcomes: Outcomes, number: int, token: int) -> float:
        if token == outcomes.tokens[number]:
            return surprisal(outcomes, number)
        return self._vocabulary.costs(outcomes, number, [token])[0]

    def improve(self, reading: DecoderState, text: Text) -> DecoderState:
        """Replace doubtful words of the text by phrases. Return the decoder's state for the new text."""
        start = text.settled
        trials = _TRIALS + int(_TRIALS_PER_TOKEN * (len(text.tokens) - start))
        while trials > 0:
            likely = sorted(self._candidates(reading, text, start), key=attrgetter("last"))[:trials]
            for candidate in sorted(likely, key=attrgetter("position")):
                trials -= 1
                tried = self._try(reading, candidate)
                if tried is None or self._says_the_same(text, candidate.position, tried):
                    self._failed.add(_place(text, candidate))
                    continue
                reading = tried.reading
                start = candidate.position + len(tried.tokens)
                replaced = text.tokens[candidate.position :]
                text.tokens[candidate.position :] = tried.tokens
                text.probabilities[candidate.position :] = tried.probabilities
                skipped = resumed(replaced, tried.following)
                draft = replaced[skipped - 1 :] if skipped else []
                # The last token is read again, together with the draft.
                reading.truncate(start)
                continue_greedily(reading, text, [tried.tokens[-1]], draft, self)
                break
            else:
                break
        return reading

    def _says_the_same(self, text: Text, position: int, tried: _Tried) -> bool:
        """Return whether a phrase that was read differs from the text only in case or punctuation."""
        present = self._vocabulary.letters(text.tokens[position : position + len(tried.tokens) + _NEAR])
        return present.startswith(self._vocabulary.letters(tried.tokens))

    def _candidates(self, reading: DecoderState, text: Text, start: int) -> Iterator[_Candidate]:
        """Yield the tokens that might begin or continue a phrase from a position of the text on."""
        outcomes = reading.outcomes(start)
        count = min(len(outcomes.tokens), len(text.tokens) + 1 - start)
        best = self._vocabulary.output.rows(outcomes.tokens[:count])
        logits = np.einsum("ij,ij->i", best, outcomes.states[:count])
        costs = logits[:, None] - outcomes.states[:count] @ self._vocabulary.first_rows.T
        costs -= np.log(np.maximum(outcomes.probabilities[:count, None], 1e-9))
        unsure = self._unsure(text, start)
        matches = self._trie.matches(text.tokens[:start])
        for number in range(count):
            position = start + number
            own = text.tokens[position] if position < len(text.tokens) else END
            if unsure[number]:
                found = [*self._beginnings(costs[number], position)]
                for match in matches:
                    found += self._continuations(match, outcomes, number, position)
                for each in found:
                    if each.token != own and _place(text, each) not in self._failed:
                        yield each
            matches = self._trie.after(matches, own)

    def _unsure(self, text: Text, start: int) -> list[bool]:
        """Return for each position, and for the end, whether the rest of its word is doubtful."""
        unsure, least = [True], 1.0
        for position in range(min(len(text.tokens), len(text.probabilities)) - 1, start - 1, -1):
            least = min(least, text.probabilities[position])
            unsure.append(least < _SURE)
            if self._vocabulary.tokenizer.starts_word(text.tokens[position]):
                least = 1.0
        return unsure[::-1] + [True] * (len(text.tokens) - len(text.probabilities))

    def _beginnings(self, costs: Array, position: int) -> Iterator[_Candidate]:
        for number in np.flatnonzero(costs <= _MOST_FIRST):
            token = int(self._vocabulary.first[number])
            node = self._trie.root.children[token]
            cost = max(0.0, float(costs[number]))
            within_word = position > 0 and not self._vocabulary.tokenizer.starts_word(token)
            if cost <= node.allowance and not within_word:
                yield _Candidate(position, token, self._trie.root, node, cost, cost)

    def _continuations(
        self, match: Match, outcomes: Outcomes, number: int, position: int
    ) -> Iterator[_Candidate]:
        tokens = list(match.node.children)
        if not tokens:
            return
        for token, cost in zip(tokens, self._vocabulary.costs(outcomes, number, tokens), strict=True):
            node = match.node.children[token]
            if match.cost + cost <= node.allowance:
                yield _Candidate(position, token, match.node, node, match.cost + cost, cost)

    def _try(self, reading: DecoderState, candidate: _Candidate) -> _Tried | None:
        """Read on from a candidate along the trie; return None if no phrase there fits."""
        fork = reading.fork(1 + candidate.position)
        node, total = candidate.node, candidate.cost
        path = [candidate.token]
        probabilities = [_favoured(candidate.last, candidate.before, node)]
        unread = [candidate.token]
        while True:
            chain = _only_way(node)
            fork.read([*unread, *(token for token, _ in chain)])
            outcomes = fork.outcomes(candidate.position + len(path))
            for number, (token, child) in enumerate(chain):
                cost = self._cost(outcomes, number, token)
                probabilities.append(_favoured(cost, node, child))
                path.append(token)
                node, total = child, total + cost
            following = int(outcomes.tokens[len(chain)])
            if total > node.allowance:
                return None
            if node.ends and following not in node.children:
                total += surprisal(outcomes, len(chain))
                fits = self._vocabulary.ends_word(following) and total <= node.allowance
                return _Tried(fork, path, probabilities, following) if fits else None
            options = self._continuations(
                Match(node, total), outcomes, len(chain), candidate.position + len(path)
            )
            chosen = min(options, key=attrgetter("last"), default=None)
            if chosen is None:
                return None
            probabilities.append(_favoured(chosen.last, node, chosen.node))
            node, total = chosen.node, chosen.cost
            path.append(chosen.token)
            unread = [chosen.token]


def _only_way(node: Node) -> list[tuple[int, Node]]:
    """Return the tokens that must follow, up to the next end or branch of the trie."""
    chain: list[tuple[int, Node]] = []
    while len(node.children) == 1 and not node.ends:
        ((token, node),) = node.children.items()
        chain.append((token, node))
    return chain


def _place(text: Text, candidate: _Candidate) -> tuple[int, int, int]:
    before = tuple(text.tokens[max(0, candidate.position - 2) : candidate.position])
    return candidate.position, candidate.token, hash(before)


def _favoured(cost: float, before: Node, node: Node) -> float:
    """Return the probability of a token with its bonus, which multiplies its odds.

    The bonus is the growth of the allowance. So if the text has the first tokens of a phrase without a
    bonus, their part of the allowance does not make the rest of the phrase look surer.
    """
    bonus = node.allowance - before.allowance
    probability = math.exp(-cost)
    odds = probability * math.exp(bonus)
    return odds / (1 - probability + odds)
