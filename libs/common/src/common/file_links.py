"""Links that let whoever holds them download one file for some time, without a token.

A link is ``<base url>/v1/files/<sha256>?n=<name>&e=<expiry>&k=<key id>&s=<signature>``. The
signature is HMAC-SHA-256 (RFC 2104) over digest, expiry, key id and name, so that none of them can
be changed. Keys rotate as a ring: one signs, every one in the ring is still good for checking.
"""

import base64
import hashlib
import hmac
import re
import time
import unicodedata
from collections.abc import Callable, Mapping
from urllib.parse import urlencode, urlsplit

from pydantic import SecretStr

from common.settings import LinkSettings

_DIGEST = re.compile(r"[0-9a-f]{64}")
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
_EXPIRY = re.compile(r"[1-9][0-9]{0,11}")
_KEY_BYTES = 32
_LONGEST_NAME = 150
"""Characters; percent-encoded and with all the rest a link stays below 2,000."""
_STEPS = 8


class LinkInvalid(Exception):
    """The link was not made by a holder of a known key, or was changed since."""


class LinkExpired(Exception):
    """The link is genuine, and its time is over."""


class FileLinks:
    """Makes and checks links.

    Args:
        base_url: the gateway as others reach it, ``https://host[/path]``.
        keys: key id → 32 bytes in base64.
        current: id of the key that signs.
        seconds: how long a link is good at the least; at most an eighth longer, since expiries
            stand on a grid: the same file asked for again soon has the same link.
        clock: seconds since 1970.

    Raises:
        ValueError: an address that is none, a key of another length, or an unknown ``current``.
    """

    def __init__(
        self,
        base_url: str,
        keys: Mapping[str, SecretStr],
        current: str,
        seconds: int,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query:
            raise ValueError("the base of links must be an http(s) address without a query")
        if seconds < 1:
            raise ValueError("links must be good for at least a second")
        self._base = base_url.rstrip("/")
        self._keys = {key_id: _key(key_id, secret) for key_id, secret in keys.items()}
        if current not in self._keys:
            raise ValueError(f"link key {current!r} is not in the ring")
        self._current = current
        self._seconds = seconds
        self._clock = clock

    def url(self, digest: str, name: str) -> str:
        """A link to a file.

        Args:
            digest: SHA-256 of the content in hex.
            name: what the file is called when it is saved; see ``safe_name``.

        Raises:
            ValueError: ``digest`` is none.
        """
        if not _DIGEST.fullmatch(digest):
            raise ValueError("not a digest")
        step = max(self._seconds // _STEPS, 1)
        expiry = str(-(-int(self._clock() + self._seconds) // step) * step)
        name = safe_name(name) or digest
        signature = _signature(self._keys[self._current], digest, expiry, self._current, name)
        query = urlencode({"n": name, "e": expiry, "k": self._current, "s": signature})
        return f"{self._base}/v1/files/{digest}?{query}"

    def check(self, digest: str, query: Mapping[str, str]) -> str:
        """The file's name, of a link that is good.

        Args:
            digest: from the path.
            query: the parameters, decoded.

        Raises:
            LinkInvalid: not made here, or changed.
            LinkExpired: its time is over.
        """
        name, expiry, key_id, given = (query.get(part, "") for part in "neks")
        key = self._keys.get(key_id)
        if (
            key is None
            or not _DIGEST.fullmatch(digest)
            or not _EXPIRY.fullmatch(expiry)
            or len(name) > _LONGEST_NAME
            or not given.isascii()
        ):
            raise LinkInvalid
        if not hmac.compare_digest(_signature(key, digest, expiry, key_id, name), given):
            raise LinkInvalid
        if self._clock() >= int(expiry):
            raise LinkExpired
        return name


def links_of(settings: LinkSettings) -> FileLinks | None:
    """Links as the settings have them; None where no public address is known."""
    if settings.public_url is None or settings.link_key is None:
        return None
    return FileLinks(
        settings.public_url, settings.link_keys, settings.link_key, settings.link_seconds
    )


def safe_name(name: str) -> str:
    """A name that any file system and header can bear, empty where nothing is left of it.

    Without control, format and private characters, path separators and what Windows forbids; no
    leading dots; composed (NFC), bounded, with its extension kept.
    """
    composed = unicodedata.normalize("NFC", name)
    kept = "".join(
        " "
        if character in '\\/:*?"<>|' or unicodedata.category(character)[0] in "CZ"
        else character
        for character in composed
    )
    words = " ".join(kept.split()).lstrip(". ").rstrip(". ")
    if len(words) <= _LONGEST_NAME:
        return words
    stem, dot, extension = words.rpartition(".")
    if dot and stem and len(extension) <= 10:
        return f"{stem[: _LONGEST_NAME - len(extension) - 1].rstrip('. ')}.{extension}"
    return words[:_LONGEST_NAME].rstrip(". ")


def _signature(key: bytes, digest: str, expiry: str, key_id: str, name: str) -> str:
    # Unambiguous: only the name, which stands last, can hold a line break.
    signed = f"lienthong file link v1\n{digest}\n{expiry}\n{key_id}\n{name}"
    mac = hmac.digest(key, signed.encode("utf-8", "surrogatepass"), hashlib.sha256)
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def _key(key_id: str, secret: SecretStr) -> bytes:
    try:
        key = base64.b64decode(secret.get_secret_value(), validate=True)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES or not _KEY_ID.fullmatch(key_id):
        raise ValueError(
            f"link key {key_id!r} must be 32 bytes in base64, its id letters, digits, - or _"
        )
    return key
