"""From speech probabilities to speech."""

WINDOW = 512
"""Samples that one speech probability covers (32 ms)."""


class SpeechGate:
    """Hysteresis: opens at a high probability, closes below a lower one.

    The two thresholds are Silero's own defaults (0.5, and 0.15 less), which keep a voice that wavers
    around one of them from being cut to pieces.
    """

    OPENS_AT = 0.5
    CLOSES_BELOW = 0.35

    def __init__(self) -> None:
        self._speech = False

    def push(self, probability: float) -> bool:
        """Whether the window with this probability is speech."""
        threshold = self.CLOSES_BELOW if self._speech else self.OPENS_AT
        self._speech = probability >= threshold
        return self._speech
