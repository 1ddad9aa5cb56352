"""The body of a request, within bounds."""

import asyncio

from starlette.requests import ClientDisconnect, Request

from transcribed.errors import BadRequest, Disconnected, TooLarge

BODY_TIMEOUT = 60.0
"""Seconds that a body may stand still."""
DISCARDED_BYTES = 16 * 1024 * 1024
"""Of a body that is refused: clients hear an answer only when they have sent everything."""


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
