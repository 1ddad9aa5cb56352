"""An Engine made of a primary engine and an optional fallback; its streams are in `stream.py`."""

from dataclasses import dataclass, field

from transcribed.engines.base import Engine
from transcribed.engines.failover.opening import StreamOpener
from transcribed.engines.failover.rules import CircuitBreaker, FailoverRules
from transcribed.engines.failover.stream import Counters, FailoverStream
from transcribed.options import Capabilities, StreamOptions


@dataclass(frozen=True, slots=True)
class FailoverEngine:
    """An Engine whose streams survive failures of the primary engine, with the fallback meanwhile.

    `general` are the options that the primary engine applies to every stream by its own settings. A
    fallback that cannot redact or filter what they request is not used.
    """

    primary: Engine
    fallback: Engine | None = None
    rules: FailoverRules = field(default_factory=FailoverRules)
    counters: Counters = field(default_factory=Counters)
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    general: StreamOptions = field(default_factory=StreamOptions)

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities of the primary engine."""
        return self.primary.capabilities

    async def open(self, options: StreamOptions) -> FailoverStream:
        """Open a new stream. Raises the last error if neither engine opens one."""
        opener = StreamOpener(
            self.primary,
            self.fallback,
            options,
            rules=self.rules,
            breaker=self.breaker,
            general=self.general,
        )
        stream = FailoverStream(opener, options, rules=self.rules, counters=self.counters)
        await stream.open()
        return stream
