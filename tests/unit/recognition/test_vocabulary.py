"""The trie of phrases."""

from hypothesis import given
from hypothesis import strategies as st

from transcribed.recognition.vocabulary import Match, Node, PhraseTrie

TOKENS = st.integers(0, 4)
SEQUENCES = st.lists(TOKENS, min_size=1, max_size=5)
PHRASES = st.lists(st.tuples(SEQUENCES, st.sampled_from([0.5, 1.0, 2.0])), max_size=8)


def phrases_of(node: Node, before: tuple[int, ...] = ()) -> set[tuple[int, ...]]:
    """All phrases that end at a node or below it."""
    found = {before} if node.ends else set()
    for token, child in node.children.items():
        found |= phrases_of(child, (*before, token))
    return found


@given(PHRASES)
def test_a_trie_holds_its_phrases_and_no_others(phrases: list[tuple[list[int], float]]) -> None:
    trie = PhraseTrie(phrases)
    assert phrases_of(trie.root) == {tuple(tokens) for tokens, _ in phrases}
    assert trie.longest == max((len(tokens) for tokens, _ in phrases), default=0)


@given(PHRASES, st.lists(TOKENS, max_size=12))
def test_a_match_is_the_end_of_a_text_and_the_beginning_of_a_phrase(
    phrases: list[tuple[list[int], float]], text: list[int]
) -> None:
    trie = PhraseTrie(phrases)
    beginnings = {tuple(tokens[:length]) for tokens, _ in phrases for length in range(1, len(tokens) + 1)}
    ends = {tuple(text[len(text) - length :]) for length in range(1, len(text) + 1)}
    found = trie.matches(text)
    assert sorted(match.node.depth for match in found) == sorted(map(len, beginnings & ends))
    assert all(match.cost == 0 for match in found)
    step: list[Match] = []
    for token in text:
        step = trie.after(step, token)
    assert step == found, "all at once is the same as one by one"


@given(PHRASES, st.permutations(range(8)))
def test_the_order_of_phrases_does_not_matter(
    phrases: list[tuple[list[int], float]], order: list[int]
) -> None:
    shuffled = [phrases[place] for place in order if place < len(phrases)]
    assert allowances(PhraseTrie(shuffled).root) == allowances(PhraseTrie(phrases).root)


def allowances(node: Node, before: tuple[int, ...] = ()) -> dict[tuple[int, ...], float]:
    """The allowance of every node, by the tokens before it."""
    found = {before: node.allowance}
    for token, child in node.children.items():
        found |= allowances(child, (*before, token))
    return found


def test_the_bonus_grows_along_a_phrase_up_to_a_bound_and_with_its_weight() -> None:
    trie = PhraseTrie([(range(40), 1.0), ([100], 3.0), ([101], 0.5)])
    node, grown = trie.root, [0.0]
    while node.children and (child := next(iter(node.children.values()))):
        node = child
        grown.append(node.allowance)
    assert grown[1:] == sorted(grown[1:])
    assert grown[1] < grown[3] < grown[-1] == grown[-2]
    heavy, light = trie.root.children[100].allowance, trie.root.children[101].allowance
    assert heavy == 6 * light


def test_a_phrase_of_no_token_is_none() -> None:
    trie = PhraseTrie([([], 1.0)])
    assert not trie.root.ends
    assert trie.matches([1, 2]) == []


def test_a_cost_is_carried_along() -> None:
    trie = PhraseTrie([([1, 2, 3], 1.0), ([2], 1.0)])
    (match,) = trie.after([], 1, [0.5])
    assert match.cost == 0.5
    longer, new = trie.after([match], 2, [1.0, 0.25])
    assert (longer.cost, longer.node.depth, new.cost, new.node.depth) == (1.5, 2, 0.25, 1)
