"""Reading of request bodies, with limits of size and time, and of JSON lists in them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

from starlette.requests import ClientDisconnect, Request

from transcribed.errors import BadRequest, Disconnected, TooLarge

BODY_TIMEOUT = 60.0
"""The longest wait for the next bytes of a body, in seconds."""
BODY_BYTES_A_SECOND = 2048
"""The lowest average rate of a body after BODY_TIMEOUT."""
BODY_SECONDS = 6 * 3600.0
"""The longest time for a whole body."""
DISCARDED_BYTES = 16 * 1024 * 1024
"""The most bytes read of a refused body: clients read a response only after sending everything."""


async def body_in_time(request: Request) -> AsyncIterator[bytes]:
    """A body as it arrives. Raises BadRequest for one that arrives too slowly, and ClientDisconnect."""
    loop = asyncio.get_running_loop()
    began, waited, size = loop.time(), 0.0, 0
    body = aiter(request.stream())
    while True:
        now = loop.time()
        # Only the wait for the client counts, not the time that a slow store takes.
        left = BODY_TIMEOUT + size / BODY_BYTES_A_SECOND - waited
        try:
            async with asyncio.timeout_at(min(now + min(BODY_TIMEOUT, left), began + BODY_SECONDS)):
                chunk = await anext(body)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise BadRequest(_late(loop.time() - now, loop.time() - began, size)) from error
        waited += loop.time() - now
        size += len(chunk)
        if chunk:
            yield chunk


def _late(still: float, whole: float, size: int) -> str:
    if still >= BODY_TIMEOUT - 1:
        return f"No more of the upload came for {BODY_TIMEOUT:.0f} seconds."
    return (
        f"The upload brought {size} bytes in {whole:.0f} seconds, which is too slow. Send at least "
        f"{BODY_BYTES_A_SECOND} bytes a second, and all of it within {BODY_SECONDS / 3600:.0f} hours."
    )


async def discard_body(request: Request) -> None:
    """Read the body of a refused request: at most DISCARDED_BYTES, for at most BODY_TIMEOUT.

    Clients read a response only after sending everything. Nobody who was refused may stay for longer.
    """
    size = 0
    with suppress(ClientDisconnect, TimeoutError):
        async with asyncio.timeout(BODY_TIMEOUT):
            async for chunk in request.stream():
                size += len(chunk)
                if size > DISCARDED_BYTES:
                    return


async def small_body(request: Request, most: int) -> bytes:
    """Read at most `most` bytes within BODY_TIMEOUT. Raises TooLarge, Disconnected and BadRequest."""
    body, size = bytearray(), 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            async for chunk in request.stream():
                size += len(chunk)
                if size <= most:
                    body += chunk
                elif size > DISCARDED_BYTES:
                    break
    except ClientDisconnect as error:
        raise Disconnected("The request broke off.") from error
    except TimeoutError as error:
        raise BadRequest(f"The body did not come within {BODY_TIMEOUT:.0f} seconds.") from error
    if size > most:
        raise TooLarge(f"The body is larger than {most} bytes, the most that is taken here.")
    return bytes(body)


def json_strings(text: str, items: str) -> list[str]:
    """Parse a body that begins like a JSON list. Raises BadRequest if it is not a list of strings.

    `items` are what the list should contain, for the message.
    """
    try:
        found: list[str] = json.loads(text)
    except (ValueError, RecursionError):
        raise BadRequest("The body begins like a JSON list, but is not valid JSON.") from None
    if not all(isinstance(item, str) for item in found):
        raise BadRequest(f"The JSON list contains something other than a string. Send {items}.")
    return found
