"""The body of a request, within bounds."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request

from transcribed.errors import BadRequest, Disconnected, TooLarge

BODY_TIMEOUT = 60.0
"""Seconds that a body may stand still."""
BODY_BYTES_A_SECOND = 2048
"""That a body brings at least, on the whole, once it has been coming for BODY_TIMEOUT."""
BODY_SECONDS = 6 * 3600.0
"""The most that a body takes in all."""
DISCARDED_BYTES = 16 * 1024 * 1024
"""Of a body that is refused: clients hear an answer only when they have sent everything."""


async def body_in_time(request: Request) -> AsyncIterator[bytes]:
    """A body as it comes. Raises BadRequest for one that comes too slowly, and ClientDisconnect."""
    loop = asyncio.get_running_loop()
    began, waited, size = loop.time(), 0.0, 0
    body = aiter(request.stream())
    while True:
        now = loop.time()
        # Only waiting counts: it is not the client's fault if a store is slow.
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


async def small_body(request: Request, most: int) -> bytes:
    """A body of at most so many bytes. Raises TooLarge, Disconnected, and BadRequest for a late one."""
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
