"""What programs without a framework need of ASGI."""

from typing import Any


async def body_of(receive: Any) -> bytes:
    """The body of a request."""
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def answered(send: Any, status: int, content: bytes) -> None:
    """Answer with JSON."""
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
