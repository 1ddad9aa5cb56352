"""Aligns tokens with audio by dynamic time warping over cross-attention weights.

For each token, a decoder attends to the audio frames that it recognises the token from. These weights are
noisy, but tokens follow one another in time. The best monotonic path through the weights assigns each token
a span of frames of its own, and no token to the silence between words.
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Frames = npt.NDArray[np.int64]

_SILENCE = 0.16
"""The score of silence in a frame without speech. The attention to frames of a spoken token is higher."""


def token_scores(attention: Array, speech: Array) -> Array:
    """How much better each token explains each frame than silence does, [tokens, frames].

    `attention` [heads, tokens, frames] are attention weights, `speech` [frames] probabilities of speech.
    """
    scores: Array = np.mean(attention, axis=0) - _SILENCE * (1 - speech)
    return scores


def token_spans(scores: Array, may_pause: npt.NDArray[np.bool_]) -> Frames:
    """The spans of frames [start, end) with the greatest total score, one for each token: [tokens, 2].

    `scores` [tokens, frames] are as `token_scores` returns them. The spans are in order, do not overlap and
    have at least one frame each; with fewer frames than tokens, several tokens share a frame. `may_pause`
    [tokens] says where silence is allowed before a token; it always is before the first and after the last.
    Raises ValueError for tokens without frames.
    """
    tokens, frames = scores.shape
    if not tokens:
        return np.zeros((0, 2), np.int64)
    if not frames:
        raise ValueError("there is no audio to align with")
    if frames < tokens:
        # Split each frame into equal pieces, and widen each token's span to whole frames.
        pieces = -(-tokens // frames)
        found = token_spans(np.repeat(scores, pieces, axis=1), may_pause)
        return np.stack([found[:, 0] // pieces, -(-found[:, 1] // pieces)], axis=1)
    # In column j of each array: `own` is the sum of a token's scores in the frames before j, `ended` the
    # best total of a path whose token ends at j, and `before` that of a path whose token may start at j.
    own = np.zeros((tokens, frames + 1), np.float64)
    np.cumsum(scores, axis=1, out=own[:, 1:])
    before = np.zeros((tokens, frames + 1))
    ended = np.zeros(frames + 1)
    for token in range(tokens):
        before[token] = np.maximum.accumulate(ended) if token == 0 or may_pause[token] else ended
        started = before[token] - own[token]
        ended = np.full(frames + 1, -np.inf)
        ended[1:] = own[token, 1:] + np.maximum.accumulate(started)[:-1]
    found = np.empty((tokens, 2), np.int64)
    end = int(np.argmax(ended))
    for token in reversed(range(tokens)):
        start = int(np.argmax(before[token, :end] - own[token, :end]))
        found[token] = start, end
        end = start
        if token and may_pause[token]:
            # With silence between, the previous token ended where the best total was first reached.
            end = int(np.searchsorted(before[token, : start + 1], before[token, start]))
    return found
