"""Receipts that clients hold: each promises a record, so that one that was cut off is missed."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backbone.log_verification.archive import Refused
from gateway.domain.log_export import Malformed, record_of

LARGEST_RECEIPT = 64 * 1024
_TYPE = "exchange-receipt+jwt"


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt (compact JWS, RFC 7515) that was read, but not believed yet.

    Attributes:
        name: of its file.
        content: what was signed.
    """

    name: str
    partition: int
    record_hash: bytes
    key_id: str
    content: bytes
    signature: bytes


def receipt_of(path: Path) -> Receipt:
    """The receipt of a file, which has the answer's header ``Exchange-Receipt`` in it.

    Raises:
        Refused: it is none.
    """
    try:
        with path.open("rb") as opened:
            text = opened.read(LARGEST_RECEIPT + 1)
        if len(text) > LARGEST_RECEIPT:
            raise Malformed("too long")
        head, _, given = text.strip().rpartition(b".")
        first, _, second = head.partition(b".")
        header, payload = _object(first), _object(second)
        if (header.get("alg"), header.get("typ")) != ("ES256", _TYPE):
            raise Malformed("another kind of token")
        record_hash = record_of(payload["record"]).hash()
        if payload["hash"] != record_hash.hex() or type(payload["partition"]) is not int:
            raise Malformed("it says another hash than its record has")
        return Receipt(
            path.name, payload["partition"], record_hash, str(header["kid"]), head, _bytes(given)
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refused(f"{path.name}: không phải biên nhận", f"{path.name}: no receipt") from error


def _object(part: bytes) -> dict[str, Any]:
    found = json.loads(_bytes(part))
    if not isinstance(found, dict):
        raise Malformed("no JSON object")
    return found


def _bytes(part: bytes) -> bytes:
    return base64.b64decode(part + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
