"""A keyed blind index: finds what is sealed without opening it.

What is looked for stands in the index as its HMAC-SHA-256 under a key of the index's own, so that
a copy of the table without the key tells nothing, and a sealing key opens no index. Keys have ids,
and every entry names the key it was made with: a new key takes over entry by entry.
"""

import base64
import hmac
from collections.abc import Mapping

from pydantic import SecretStr

_KEY_BYTES = 32


class BlindIndex:
    """The index keys this service holds.

    Args:
        keys: key id → 32 bytes in base64.
        current: id of the key that new entries are made with; None where there is no index.

    Raises:
        ValueError: a key of another length, or an unknown ``current``.
    """

    def __init__(self, keys: Mapping[str, SecretStr], current: str | None) -> None:
        self._keys: dict[str, bytes] = {}
        for key_id, secret in keys.items():
            try:
                key = base64.b64decode(secret.get_secret_value(), validate=True)
            except ValueError:
                key = b""
            if len(key) != _KEY_BYTES:
                raise ValueError(f"index key {key_id!r} must be 32 bytes in base64")
            self._keys[key_id] = key
        if current is not None and current not in self._keys:
            raise ValueError(f"index key {current!r} is not among the index keys")
        self.current = current

    def digest(self, kind: str, value: str) -> bytes:
        """The entry of a value under the current key; 32 bytes.

        Args:
            kind: what the value is; the same digits as another kind make another entry.
            value: in its normal form.
        """
        if self.current is None:
            raise ValueError("this service holds no index key")
        return _digest(self._keys[self.current], kind, value)

    def digests(self, kind: str, value: str) -> dict[str, bytes]:
        """The entries of a value under every key, by key id: what to look for while a new key
        takes over."""
        return {key_id: _digest(key, kind, value) for key_id, key in self._keys.items()}


def _digest(key: bytes, kind: str, value: str) -> bytes:
    return hmac.digest(key, f"{kind}\0{value}".encode(), "sha256")
