"""Responses to HEAD, which have no content (RFC 9110, section 9.3.2)."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


def without_content_for_head(app: ASGIApp) -> ASGIApp:
    """Return the application with the content of its responses to HEAD removed, and their headers kept.

    Over HTTP/2 Granian sends the content, and clients then fail.
    """

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        is_head = scope["type"] == "http" and scope["method"] == "HEAD"
        await app(scope, receive, sending if is_head else send)

    return served
