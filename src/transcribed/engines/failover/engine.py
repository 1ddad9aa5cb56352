"""An Engine made of one or two: what its streams do is in `stream.py`."""

from dataclasses import dataclass, field

from transcribed.engines.base import Engine
from transcribed.engines.failover.rules import CircuitBreaker, FailoverRules
from transcribed.engines.failover.stream import Counters, FailoverStream
from transcribed.options import Capabilities, StreamOptions


@dataclass(frozen=True, slots=True)
class FailoverEngine:
    """The first engine's streams, made to last; where it fails, the fallback's.

    `general` is what the first engine does for every stream without being asked: what is to be taken out of
    a text must not be shown by a fallback that cannot.
    """

    first: Engine
    fallback: Engine | None = None
    rules: FailoverRules = field(default_factory=FailoverRules)
    counters: Counters = field(default_factory=Counters)
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    general: StreamOptions = field(default_factory=StreamOptions)

    @property
    def capabilities(self) -> Capabilities:
        """The first engine's."""
        return self.first.capabilities

    async def open(self, options: StreamOptions) -> FailoverStream:
        """A new stream. Raises what an engine raises, where nothing helps."""
        stream = FailoverStream(
            self.first,
            self.fallback,
            options,
            rules=self.rules,
            counters=self.counters,
            breaker=self.breaker,
            general=self.general,
        )
        await stream.open()
        return stream
