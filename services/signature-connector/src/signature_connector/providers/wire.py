"""What the adapters of all dialects share: calls with bounds, strict reading, replies that name
nobody.

Providers answer for people, and anything may come back: every function here takes whatever was
decoded and either understands it or says that it does not. None of them raises for an answer.
"""

import asyncio
import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any
from uuid import UUID

import httpx
import orjson
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from common.http import never_sent, retry_after
from signature_connector.domain.provider import (
    Abilities,
    Declined,
    NeverSent,
    Order,
    Outcome,
    Reply,
    Unclear,
)

SMALL_ANSWER = 1024 * 1024
"""Bytes that any answer but a signed document may have."""
MOST_CERTIFICATES = 20
CONNECT_SECONDS = 5.0
_LONGEST_TEXT = 1000
_LONGEST_MESSAGE = 200
_LONGEST_CODE = 40
_LEAST_HIDDEN = 4
_LEAST_HEX = 64
"""Characters from which on a text of hexadecimal digits alone is taken for hexadecimal: by chance
no base64 text of this length has none but those."""
_COORDINATES = frozenset({64, 96, 132})
"""Bytes of r and s side by side, for P-256, P-384 and P-521 (IEEE P1363)."""
_NUMBER = re.compile(r"\d{6,}")
_OPAQUE = re.compile(r"[^\s]{40,}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_LINES = re.compile(r"[\r\n\t ]+")
_HEX = re.compile(r"(?:[0-9a-f]{2})+|(?:[0-9A-F]{2})+")


class TooLong(Exception):
    """An answer above the limit."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: of HTTP.
        told: decoded JSON; None where it was none.
        pause: seconds for which the provider asked to be left alone (Retry-After).
    """

    status: int
    told: Any
    pause: float | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """The JSON object; empty where it is none."""
        return self.told if isinstance(self.told, dict) else {}

    @property
    def broken(self) -> bool:
        """The provider failed over it (5xx): nothing that it says can be relied upon."""
        return self.status >= httpx.codes.INTERNAL_SERVER_ERROR


class Line:
    """Calls to one provider.

    Args:
        http: a client with the provider's base URL, for calls whose fate matters: each gets a
            connection of its own, since one that the other side is about to close would turn a
            request for a signature into one whose fate nobody knows.
        kept: a client for questions that may be asked again at will; its connections are kept.
    """

    def __init__(self, http: httpx.AsyncClient, kept: httpx.AsyncClient | None = None) -> None:
        self._http = http
        self._kept = kept

    async def post(
        self,
        path: str,
        wanted: Mapping[str, Any],
        *,
        seconds: float,
        longest: int = SMALL_ANSWER,
        headers: Mapping[str, str] | None = None,
        form: bool = False,
        again: bool = False,
    ) -> Answer:
        """POST JSON, or a form, and read the whole answer.

        Args:
            seconds: for the whole call: httpx counts from the last byte, and bytes may drip.
            longest: bytes of the answer.
            again: a question that may be asked again at will.

        Raises:
            Exception: whatever the network, or bytes that are no HTTP, raise; ``TooLong``.
        """
        http = self._kept if again and self._kept is not None else self._http
        told = {"Accept-Encoding": "identity", "Accept": "application/json", **(headers or {})}
        if http is self._http:
            told["Connection"] = "close"
        body: dict[str, Any] = {"data": dict(wanted)} if form else {"content": orjson.dumps(wanted)}
        if not form:
            told["Content-Type"] = "application/json"
        content = bytearray()
        async with (
            asyncio.timeout(seconds),
            http.stream(
                "POST",
                path,
                headers=told,
                timeout=httpx.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds)),
                **body,
            ) as answer,
        ):
            async for chunk in answer.aiter_bytes():
                content += chunk
                if len(content) > longest:
                    raise TooLong
        return Answer(answer.status_code, decoded_json(bytes(content)), retry_after(answer))


def decoded_json(body: bytes) -> Any:
    """What a body says; None where it is no JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def kind(error: Exception) -> str:
    """An error's kind, without anything of what was sent."""
    return type(error.__cause__ or error).__name__


def fate(error: Exception) -> NeverSent | Unclear:
    """What a signing call that failed may have done to the person."""
    if never_sent(error):
        return NeverSent(kind(error))
    timed_out = isinstance(error, TimeoutError | httpx.ReadTimeout)
    return Unclear(kind(error), timed_out=timed_out)


# Texts.


def text(value: Any, longest: int = _LONGEST_TEXT) -> str:
    """A short text without control characters; empty for anything else."""
    if not isinstance(value, str | int) or isinstance(value, bool):
        return ""
    return _CONTROL.sub(" ", str(value))[:longest]


def identifier(value: Any, longest: int = 200) -> str:
    """A provider's identifier exactly as it is; empty where it cannot be one."""
    if not isinstance(value, str) or not 0 < len(value) <= longest or _CONTROL.search(value):
        return ""
    return value


def reply(
    code: Any, message: Any = None, transaction_id: Any = None, *, hidden: Iterable[str]
) -> Reply:
    """What was said, without what may name a person or open a door.

    Args:
        hidden: numbers of the person and secrets of the account, wherever they are quoted.
    """
    # What is shorter names nobody, and would tear words apart.
    known = sorted((one for one in hidden if len(one) >= _LEAST_HIDDEN), key=len, reverse=True)

    def without(told: str) -> str:
        for one in known:
            told = told.replace(one, "…")
        return told

    sentence = _NUMBER.sub("…", _OPAQUE.sub("…", without(text(message))))
    return Reply(
        code=without(text(code))[:_LONGEST_CODE] or None,
        message=sentence[:_LONGEST_MESSAGE] or None,
        transaction_id=without(text(transaction_id)) or None,
    )


# What codes mean.


@cache
def clear_answers(dialect: str, call: str) -> Mapping[str, str]:
    """Codes and messages of a call whose meaning is known, with it.

    A meaning is an outcome (``rejected-by-user``, ``expired``, ``failed``), ``waiting``, or
    ``not-known``. Messages are in lower case.
    """
    source = resources.files("signature_connector") / f"data/{dialect}_codes.json"
    rows = orjson.loads(source.read_bytes())[call]
    return {
        (row["message"].lower() if "message" in row else row["code"]): row["outcome"]
        for row in rows
    }


def meaning(table: Mapping[str, str], code: Any, message: Any = None) -> str | None:
    """What an answer means, if that is known; a known message says more than its code."""
    return table.get(text(message).strip().lower()) or table.get(text(code))


def declined(meant: str | None, told: Reply) -> Declined | None:
    """A clear no, where it is one."""
    outcomes: tuple[Outcome, ...] = ("rejected-by-user", "expired", "failed")
    return next((Declined(one, told) for one in outcomes if one == meant), None)


# Bytes.


def decoded(value: Any) -> bytes | None:
    """The bytes of a text in base64 or hexadecimal, whose lines may be broken; None for others."""
    if not isinstance(value, str):
        return None
    written = _LINES.sub("", value)
    if len(written) >= _LEAST_HEX and _HEX.fullmatch(written):
        return bytes.fromhex(written)
    try:
        return base64.b64decode(written, validate=True) or None
    except (binascii.Error, ValueError):
        return None


def certificate(value: Any) -> bytes | None:
    """The DER of a certificate in base64, with or without PEM's lines around it."""
    if not isinstance(value, str):
        return None
    inner = value.replace("-----BEGIN CERTIFICATE-----", "").replace(
        "-----END CERTIFICATE-----", ""
    )
    return decoded(inner)


def certificates(values: Any) -> tuple[bytes, ...] | None:
    """The DER of several certificates; None where one is none."""
    if not isinstance(values, list):
        return None
    found = [certificate(one) for one in values[:MOST_CERTIFICATES]]
    whole = tuple(one for one in found if one is not None)
    return whole if len(whole) == len(found) else None


def serial_number(der: bytes) -> str:
    """A certificate's serial number, hexadecimal; empty where the bytes are no certificate."""
    try:
        return format(x509.load_der_x509_certificate(der).serial_number, "x")
    except Exception:  # whatever hostile bytes make the parser raise
        return ""


def signature(value: Any, order: Order) -> bytes | None:
    """A raw signature value; that of ECDSA as the DER sequence, also where it came as r and s side
    by side. None where there is no such thing."""
    raw = decoded(value)
    if raw is None or order.mechanism != "ecdsa":
        return raw
    try:
        if encode_dss_signature(*decode_dss_signature(raw)) == raw:
            return raw
    except ValueError:
        pass
    if len(raw) not in _COORDINATES:
        return None
    half = len(raw) // 2
    return encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))


def signatures_by_id(
    rows: Any, order: Order, *, name: str, value: str
) -> dict[UUID, bytes | Declined] | None:
    """Raw signatures of the papers that were asked about, by the ids in the rows.

    A row for a document that nobody asked about is left aside, and so is one without a value.

    Returns:
        None where the rows contradict themselves: not a list, or a document named twice.
    """
    if not isinstance(rows, list):
        return None
    asked = {str(paper.request_id): paper.request_id for paper in order.papers}
    seen: set[str] = set()
    found: dict[UUID, bytes | Declined] = {}
    for row in rows:
        if not isinstance(row, dict):
            continue
        told = text(row.get(name))
        if told not in asked:
            continue
        if told in seen:
            return None
        seen.add(told)
        signed = signature(row.get(value), order)
        if signed is not None:
            found[asked[told]] = signed
    return found


def signatures_in_order(values: Any, order: Order) -> dict[UUID, bytes | Declined] | None:
    """Raw signatures that stand in the order of the papers; None where they are not as many, since
    nobody could say which is whose."""
    if not isinstance(values, list) or len(values) != len(order.papers):
        return None
    pairs = zip(order.papers, values, strict=True)
    told = {paper.request_id: signature(one, order) for paper, one in pairs}
    return {request_id: one for request_id, one in told.items() if one is not None}


def unfit(order: Order, abilities: Abilities) -> NeverSent | None:
    """Why an order cannot be given to a provider of these abilities: nothing was sent, then."""
    if not 0 < len(order.papers) <= abilities.most:
        return NeverSent(f"{len(order.papers)} documents, at most {abilities.most} an order")
    if len({paper.request_id for paper in order.papers}) != len(order.papers):
        return NeverSent("a document twice")
    for paper in order.papers:
        if (paper.content if abilities.signs == "files" else paper.digest) is None:
            return NeverSent(f"a document without what is to be signed ({abilities.signs})")
    return None


def digests(order: Order) -> Sequence[bytes]:
    """What is to be signed, of an order that is fit for a provider of hashes."""
    return [paper.digest for paper in order.papers if paper.digest is not None]


def base64_text(content: bytes) -> str:
    """Bytes as base64."""
    return base64.b64encode(content).decode()
