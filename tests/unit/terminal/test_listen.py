import asyncio
import signal

import pytest

from transcribed.terminal.listen import _stopped_by_signal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_audio_and_then_everything_is_as_before(number: signal.Signals) -> None:
    before = signal.getsignal(number)

    async def main() -> None:
        ended = asyncio.Event()
        with _stopped_by_signal(ended.set):
            signal.raise_signal(number)
            await ended.wait()

    asyncio.run(main())
    assert signal.getsignal(number) == before


def test_a_second_ctrl_c_ends_everything() -> None:
    async def main() -> None:
        ended = asyncio.Event()
        with _stopped_by_signal(ended.set):
            signal.raise_signal(signal.SIGINT)
            await ended.wait()
            signal.raise_signal(signal.SIGINT)
            await asyncio.Event().wait()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
