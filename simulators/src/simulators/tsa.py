"""A time-stamping authority over HTTP (RFC 3161 section 3.4).

Known: the media types, one request and one response in DER a call, and HTTP 200 also for a
request that is rejected. Own choice: any path is served, and the faults beyond those of the wire:
``skewed`` (its clock is wrong), ``other_content`` (a token over something else), ``other_nonce``
(the token of another request), ``stranger`` (an authority that nobody trusts), ``rejection``.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from asn1crypto import cms, core, tsp
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from starlette.requests import Request
from starlette.responses import Response as HttpResponse
from starlette.routing import Route

from simulators.books import Counted, Entry, Tally
from simulators.faults import Answer, Call, Kind, Proceed, Reply, Rule
from simulators.timestamps import Authority, authority
from simulators.wire import Simulator, View

SERVICE = "timestamp"


class Response(core.Sequence):  # type: ignore[misc]  # untyped base
    """A response whose token may be missing, as in a rejection (the library's has to have one)."""

    _fields: ClassVar[Any] = [
        ("status", tsp.PKIStatusInfo),
        ("time_stamp_token", cms.ContentInfo, {"optional": True}),
    ]


_REPLY = b"application/timestamp-reply"
_NO_REQUEST = b"no timestamp request"


class TimestampAuthority(Simulator):
    """The authority's program; what was stamped is in its books by digest.

    Its root certificate, which those who check its tokens trust, is at ``/root.pem``, and beside
    its keys in the state directory; the list of revocations, with nobody on it, at
    ``/crls/root.crl``.
    """

    name = "tsa"

    def __init__(
        self,
        seed: int = 0,
        state: Path | None = None,
        delay_ms: float = 0,
        *,
        title: str = "TSA thử nghiệm",
        days: float | None = None,
        crls: str | None = None,
    ) -> None:
        """See ``authority`` for its name, ``days`` and ``crls``; they count where keys are made."""
        made = partial(authority, title, days=days, crls=crls)
        self.authority = _kept(state, made) if state else made()
        self.stamped = Tally()
        self._stranger = authority("TSA lạ")
        super().__init__(seed, state, delay_ms)

    def service_of(self, path: str, payload: Mapping[str, Any]) -> str | None:
        return SERVICE

    def payload_of(self, body: bytes) -> dict[str, Any] | None:
        return {"request": body}

    async def work(self, service: str, call: Call, entry: Entry) -> Answer:
        request: bytes = (call.payload or {})["request"]
        flaw, now = call.switches.get("flaw"), datetime.now(UTC)
        if flaw == "skewed":
            now += timedelta(seconds=call.switches["seconds"])
        if flaw == "rejection":
            request = _NO_REQUEST
        elif flaw in {"other_content", "other_nonce"}:
            request = _changed(request, flaw)
        issuer = self._stranger if flaw == "stranger" else self.authority
        answer = issuer.answer(request, now)
        granted = Response.load(answer)["status"]["status"].native == "granted"
        entry.items = 1
        self.books.keep(
            entry,
            "accepted" if granted else "refused rejection",
            {"digest": _digest(request)} if granted else None,
        )
        return Answer(answer, content_type=_REPLY)

    def odd(self, code: str, message: str) -> Answer:
        return Answer(self.authority.answer(_NO_REQUEST), content_type=_REPLY)

    def kinds(self) -> dict[str, Kind]:
        plain = ("rejection", "other_content", "other_nonce", "stranger")
        return {
            **super().kinds(),
            **{flaw: Kind(_flawed) for flaw in plain},
            "skewed": Kind(_flawed, {"seconds": 3600, "back": False}),
        }

    def fold(self, kept: Mapping[str, Any]) -> None:
        self.stamped.count(kept["digest"], b"")

    def forget_all(self) -> None:
        self.stamped.clear()

    def totals(self) -> dict[str, Any]:
        return {"stamped": len(self.stamped.rows), "repeated": self.stamped.repeated()}

    def views(self) -> dict[str, View]:
        return {"stamped": View(lambda: self.stamped.rows, _row)}

    def extra_routes(self) -> list[Route]:
        return [Route("/root.pem", self._root), Route("/crls/root.crl", self._revocations)]

    async def _root(self, request: Request) -> HttpResponse:
        return HttpResponse(self.authority.root_pem, media_type="application/x-pem-file")

    async def _revocations(self, request: Request) -> HttpResponse:
        found = self.authority.revocations()
        if found is None:
            return HttpResponse(status_code=404)
        return HttpResponse(found, media_type="application/pkix-crl")


async def _flawed(rule: Rule, call: Call, proceed: Proceed) -> Reply:
    call.switches["flaw"] = rule.kind
    if rule.kind == "skewed":
        call.switches["seconds"] = -rule["seconds"] if rule["back"] else rule["seconds"]
    return await proceed()


def _row(row: Counted, brief: bool) -> dict[str, Any]:
    return {"digest": row.key, "times": row.times}


def _digest(request: bytes) -> str:
    return bytes(tsp.TimeStampReq.load(request)["message_imprint"]["hashed_message"].native).hex()


def _changed(request: bytes, flaw: str) -> bytes:
    asked = tsp.TimeStampReq.load(request)
    if flaw == "other_nonce":
        asked["nonce"] = (asked["nonce"].native or 0) + 1
    else:
        imprint = asked["message_imprint"]["hashed_message"]
        asked["message_imprint"]["hashed_message"] = hashlib.sha256(imprint.native).digest()
    return bytes(asked.dump(force=True))


def _kept(directory: Path, make: Callable[[], Authority]) -> Authority:
    """The authority whose keys lie in a directory; a new one where there are none."""
    key, own, root = (directory / name for name in ("tsa.key", "tsa.pem", "root.pem"))
    root_key = directory / "root.key"
    if key.exists():
        mine, issuer = (x509.load_pem_x509_certificate(one.read_bytes()) for one in (own, root))
        above = _loaded(root_key) if root_key.exists() else None
        return Authority(_loaded(key), mine, issuer, root_key=above)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = make()
    root.write_bytes(made.root_pem)
    own.write_bytes(made.certificate.public_bytes(Encoding.PEM))
    if made.root_key is not None:
        root_key.write_bytes(_written(made.root_key))
    key.write_bytes(_written(made.key))
    return made


def _loaded(file: Path) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{file} holds no EC key")
    return key


def _written(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
