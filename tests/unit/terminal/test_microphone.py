import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from transcribed.errors import TranscribedError
from transcribed.terminal.microphone import Microphone, devices

FAKES = Path(__file__).parents[2] / "fakes"
BLOCK = bytes(2 * 1102)
TIMEOUT = 30


@pytest.fixture
def sound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    """Two microphones that hear nothing before a test says so; the second is in use."""
    monkeypatch.setenv("FAKE_SOUND", str(tmp_path))
    monkeypatch.syspath_prepend(FAKES)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    import sounddevice  # noqa: PLC0415

    assert Path(sounddevice.__file__).parent == FAKES

    def silent(stream: Any) -> None:
        pass

    monkeypatch.setattr(sounddevice.RawInputStream, "_run", silent)
    yield sounddevice
    del sys.modules["sounddevice"]


def _in_thread(function: Callable[[], None]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join(TIMEOUT)
    assert not thread.is_alive(), "the audio thread was held up"


def test_microphones_are_listed_and_chosen_by_number_or_name(sound: ModuleType) -> None:
    assert devices() == ["1  Desk Mic (Fake)", "2  Head Mic (Fake)"]
    for device, name in [(None, "Desk Mic"), ("2", "Head Mic"), ("Head", "Head Mic")]:
        microphone = Microphone(device)
        assert (microphone.name, microphone.format.sample_rate) == (name, 22_050)


@pytest.mark.parametrize("device", ["0", "9", "Nose", "Mic"])
def test_a_device_that_is_not_there_is_told(sound: ModuleType, device: str) -> None:
    with pytest.raises(TranscribedError) as error:
        Microphone(device)
    assert f"No one microphone is {device!r}" in error.value.message
    assert "`transcribed listen --devices`" in error.value.message
    assert "\n" not in error.value.message


@pytest.mark.anyio
async def test_a_device_in_use_is_told(sound: ModuleType) -> None:
    with pytest.raises(TranscribedError, match="Does another program use it"):
        Microphone("Head").__enter__()


@pytest.mark.anyio
async def test_blocks_come_in_order_and_those_that_are_here_after_the_stop_too(sound: ModuleType) -> None:
    with Microphone(None) as microphone:
        _in_thread(lambda: [sound.opened[0].take(bytes([n, 0])) for n in (1, 2, 3)])
        assert await anext(microphone) == b"\1\0"
        microphone.stop()
        _in_thread(lambda: sound.opened[0].take(b"\4\0"))
        assert [block async for block in microphone] == [b"\2\0", b"\3\0"]
    assert microphone.lost == 0


@pytest.mark.anyio
async def test_a_block_wakes_who_waits_for_it(sound: ModuleType) -> None:
    with Microphone(None) as microphone:
        waiting = asyncio.ensure_future(anext(microphone))
        await asyncio.sleep(0)
        _in_thread(lambda: sound.opened[0].take(BLOCK))
        async with asyncio.timeout(TIMEOUT):
            assert await waiting == BLOCK


@pytest.mark.anyio
async def test_what_has_no_room_is_counted_and_holds_nobody_up(sound: ModuleType) -> None:
    with Microphone(None) as microphone:
        _in_thread(lambda: [sound.opened[0].take(BLOCK) for _ in range(140)])
        assert microphone.lost == pytest.approx(40 * 1102 / 22_050)
        sound.opened[0].take(BLOCK, overflow=True)
        assert microphone.lost == pytest.approx(42 * 1102 / 22_050)
        microphone.stop()
        assert len([block async for block in microphone]) == 100


@pytest.mark.anyio
async def test_a_microphone_that_ends_by_itself_is_told_behind_its_sound(sound: ModuleType) -> None:
    with Microphone(None) as microphone:
        sound.opened[0].take(BLOCK)
        _in_thread(sound.opened[0].finished)
        assert await anext(microphone) == BLOCK
        with pytest.raises(TranscribedError, match="plugged in"):
            await anext(microphone)


def test_a_microphone_that_falls_silent_is_told(
    sound: ModuleType, in_virtual_time: Callable[..., float]
) -> None:
    async def wait() -> float:
        with Microphone(None) as microphone, pytest.raises(TranscribedError, match="plugged in"):
            await anext(microphone)
        return asyncio.get_running_loop().time()

    assert in_virtual_time(wait()) == pytest.approx(10)
