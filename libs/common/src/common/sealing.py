"""Personal fields travel and rest sealed: AES-256-GCM, a ring of keys, bound to their owner.

A sealed text is ``v1.<key id>.<base64url of nonce and ciphertext>``. The owner (the dossier code)
is the additional data, so that a sealed text moved to another dossier does not open.
"""

import base64
import os
from collections.abc import Mapping
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

_VERSION = "v1"
_NONCE_BYTES = 12
_KEY_BYTES = 32


class SealError(Exception):
    """A sealed text does not open: unknown key, another owner, or changed."""


class KeyRing:
    """The keys this service holds.

    Args:
        keys: key id → 32 bytes in base64.
        current: id of the key that seals; None for a ring that only opens.

    Raises:
        ValueError: a key of another length, a key id with a dot, or an unknown ``current``.
    """

    def __init__(self, keys: Mapping[str, SecretStr], current: str | None) -> None:
        self._ciphers: dict[str, AESGCM] = {}
        for key_id, secret in keys.items():
            try:
                key = base64.b64decode(secret.get_secret_value(), validate=True)
            except ValueError:
                key = b""
            if len(key) != _KEY_BYTES or "." in key_id:
                raise ValueError(
                    f"sealing key {key_id!r} must be 32 bytes in base64, its id without dots"
                )
            self._ciphers[key_id] = AESGCM(key)
        if current is not None and current not in self._ciphers:
            raise ValueError(f"sealing key {current!r} is not in the ring")
        self._current = current

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys."""
        return tuple(self._ciphers)

    @property
    def current(self) -> str | None:
        """The id of the key that seals from now on."""
        return self._current

    def seal(self, value: Mapping[str, Any] | str, owner: str) -> str:
        """Seal a JSON value for its owner."""
        if self._current is None:
            raise SealError("this service holds no key to seal with")
        nonce = os.urandom(_NONCE_BYTES)
        cipher = self._ciphers[self._current]
        sealed = cipher.encrypt(nonce, orjson.dumps(value), owner.encode())
        text = base64.urlsafe_b64encode(nonce + sealed).decode()
        return f"{_VERSION}.{self._current}.{text}"

    def open(self, sealed: str, owner: str) -> Any:
        """The JSON value that was sealed for this owner.

        Raises:
            SealError: unknown version or key, another owner, or a changed text.
        """
        try:
            version, key_id, text = sealed.split(".")
            if version != _VERSION:
                raise SealError(f"unknown seal version {version!r}")
            data = base64.b64decode(text, altchars=b"-_", validate=True)
            cipher = self._ciphers[key_id]
            plain = cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], owner.encode())
        except KeyError as error:
            raise SealError("sealed with a key that is not in the ring") from error
        except (ValueError, InvalidTag) as error:
            raise SealError("the sealed text was changed or belongs to another owner") from error
        return orjson.loads(plain)


def key_of(sealed: str) -> str:
    """The id of the key that a text was sealed with; empty where it is none of ours."""
    parts = sealed.split(".")
    return parts[1] if len(parts) == 3 and parts[0] == _VERSION else ""
