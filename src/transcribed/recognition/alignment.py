"""Which stretch of the audio each token of a text belongs to: dynamic time warping.

The decoder of a recogniser attends, for each token, to the frames of audio that it reads the token from.
Those weights are noisy; that tokens follow one another in time is not. The best monotone path through them
gives each token a stretch of frames of its own, and leaves the silence between words to nobody.
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Frames = npt.NDArray[np.int64]

_SILENCE = 0.16
"""What a frame is worth to silence where nobody speaks: less than to the token that is spoken in it."""


def token_scores(attention: Array, speech: Array) -> Array:
    """How much better each token explains each frame than silence does [tokens, frames].

    `attention` [heads, tokens, frames] is each head's, `speech` [frames] the probability of speech.
    """
    scores: Array = np.mean(attention, axis=0) - _SILENCE * (1 - speech)
    return scores


def spans(scores: Array, may_pause: npt.NDArray[np.bool_]) -> Frames:
    """Scores [tokens, frames] → the first frame of each token, and the one behind its last [tokens, 2].

    A score says how much better the frame is explained by the token than by silence. The spans are in
    order, do not overlap, hold a frame each at least, and have the greatest sum of scores of all such.
    Frames between two tokens are left out only where `may_pause` [tokens] says that the second of the two
    may have silence before it; those before the first and behind the last always may.

    Where there are fewer frames than tokens, several tokens share one.
    """
    tokens, frames = scores.shape
    if not tokens:
        return np.zeros((0, 2), np.int64)
    if not frames:
        raise ValueError("there is no audio to align with")
    if frames < tokens:
        # Each frame is cut into equal pieces; a token's span is that of all frames that it touches.
        pieces = -(-tokens // frames)
        found = spans(np.repeat(scores, pieces, axis=1), may_pause)
        return np.stack([found[:, 0] // pieces, -(-found[:, 1] // pieces)], axis=1)
    # Column j of these is about the frames before j: a token's own sum up to there, and the best sum of a
    # path whose token ends, or whose next one may begin, at exactly that place.
    own = np.zeros((tokens, frames + 1), np.float64)
    np.cumsum(scores, axis=1, out=own[:, 1:])
    before = np.zeros((tokens, frames + 1))
    ended = np.zeros(frames + 1)
    for token in range(tokens):
        before[token] = np.maximum.accumulate(ended) if token == 0 or may_pause[token] else ended
        begun = before[token] - own[token]
        ended = np.full(frames + 1, -np.inf)
        ended[1:] = own[token, 1:] + np.maximum.accumulate(begun)[:-1]
    found = np.empty((tokens, 2), np.int64)
    end = int(np.argmax(ended))
    for token in reversed(range(tokens)):
        start = int(np.argmax(before[token, :end] - own[token, :end]))
        found[token] = start, end
        end = start
        if token and may_pause[token]:
            # Silence before it: the token ahead ended where the best sum up to here was first reached.
            end = int(np.searchsorted(before[token, : start + 1], before[token, start]))
    return found
