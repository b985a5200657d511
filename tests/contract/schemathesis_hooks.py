"""What Schemathesis has to be told of the gateway: bodies that are no JSON, and patience."""

from typing import Any

import schemathesis


@schemathesis.serializer(
    *("application/pdf", "application/x-ndjson", "application/partial-upload"),
    *("application/cms", "application/pkcs7-mime", "application/pkcs7-signature"),
    *("application/xml", "text/xml", "application/jose", "application/jose+json"),
)
def as_it_is(_: Any, value: Any) -> bytes:
    """Content, generated as bytes or as text."""
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Nobody decides here on what is taken in, so nobody waits for it."""
    if str((case.headers or {}).get("Prefer", "")).startswith("wait="):
        case.headers["Prefer"] = "wait=0"
