"""What the signing services share: people with keys, whom they were asked for what, how a person
may behave.

Own choice: all of it. The books tell how often a person was asked for a document, so that a test
can prove that nobody was asked twice.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from simulators.faults import Call, Kind, Proceed, Reply, Rule, Strike
from simulators.pki import Pki
from simulators.wire import Simulator, View


@dataclass(slots=True)
class Asked:
    """What one person was asked about one document.

    Parameters:
        asked: 0 where the person was turned away before, for example since a quota is used up.
        flaw: what is wrong with the signature that was given out.
    """

    user_id: str
    doc_id: str
    sha256: str
    serial_number: str = ""
    asked: int = 0
    signed: int = 0
    outcome: str = "waiting"
    signed_sha256: str = ""
    flaw: str = ""

    def as_json(self, brief: bool) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


class SigningService(Simulator):
    """A service that asks people to sign.

    Parameters:
        person_ms: how long a person takes to approve, milliseconds.
        keys, crls: algorithms of the persons' keys, and where certificates say that lists of
            revocations are, as in `Pki`.
    """

    def __init__(
        self,
        seed: int = 0,
        state: Path | None = None,
        delay_ms: float = 0,
        *,
        person_ms: float = 20,
        keys: str = "rsa",
        crls: str | None = None,
    ) -> None:
        self.pki = Pki(state, keys, crls)
        self.requests: dict[tuple[str, str, str], Asked] = {}
        self.in_order: list[Asked] = []
        self.person_ms = person_ms
        super().__init__(seed, state, delay_ms)

    @abstractmethod
    def refusals(self) -> dict[str, tuple[int | str, str]]:
        """Code and sentence of `refuse`, `expire` and other ways in which nobody signs."""

    def flaws(self) -> tuple[str, ...]:
        """Ways to sign wrongly."""
        return ("wrong_certificate", "bad_signature")

    def kinds(self) -> dict[str, Kind]:
        waits = {"refuse": 0, "expire": 1000}
        return {
            **super().kinds(),
            "slow": Kind(_slow, {"ms": 5000}),
            **{
                kind: Kind(
                    unwilling(kind), {"ms": waits.get(kind, 0), "code": code, "message": message}
                )
                for kind, (code, message) in self.refusals().items()
            },
            **{flaw: Kind(flawed(flaw)) for flaw in self.flaws()},
        }

    # Books.

    def fold(self, kept: Mapping[str, Any]) -> None:
        for request in _several(kept.get("asked")):
            row = self._asked(request)
            row.asked += 1
            row.outcome = "waiting"
            row.serial_number = request["serial_number"]
        for ended in _several(kept.get("ended")):
            row = self._asked(ended)
            row.outcome = ended["outcome"]
            row.signed += ended["outcome"] == "signed"
            row.signed_sha256 = ended.get("signed_sha256", row.signed_sha256)
            row.flaw = ended.get("flaw") or row.flaw

    def _asked(self, request: Mapping[str, str]) -> Asked:
        key = (request["user_id"], request["doc_id"], request["sha256"])
        row = self.requests.get(key)
        if row is None:
            row = self.requests[key] = Asked(*key)
            self.in_order.append(row)
        return row

    def forget_all(self) -> None:
        self.requests.clear()
        self.in_order.clear()

    def totals(self) -> dict[str, Any]:
        return {
            "requests": len(self.in_order),
            "asked": sum(row.asked for row in self.in_order),
            "asked_twice": sum(row.asked > 1 for row in self.in_order),
            "signed": sum(row.signed for row in self.in_order),
            "by_outcome": Counter(row.outcome for row in self.in_order),
        }

    def views(self) -> dict[str, View]:
        return {"requests": View(lambda: self.in_order, Asked.as_json)}

    def extra_routes(self) -> list[Route]:
        return [
            Route("/root.pem", self._root),
            Route("/crls/{issuer}.crl", self._revocations),
        ]

    async def _revocations(self, request: Request) -> Response:
        found = self.pki.revocations(request.path_params["issuer"])
        if found is None:
            return Response(status_code=404)
        return Response(found, media_type="application/pkix-crl")

    async def _root(self, request: Request) -> Response:
        return Response(self.pki.root_pem, media_type="application/x-pem-file")


def _several(kept: Any) -> list[Any]:
    if kept is None:
        return []
    return kept if isinstance(kept, list) else [kept]


async def _slow(rule: Rule, call: Call, proceed: Proceed) -> Reply:
    call.switches["person_ms"] = rule["ms"]
    return await proceed()


OUTCOMES = {"refuse": "refused", "expire": "expired"}


def unwilling(kind: str) -> Strike:
    """Nobody signs, and the service says so."""

    async def strike(rule: Rule, call: Call, proceed: Proceed) -> Reply:
        call.switches.setdefault("person_ms", rule["ms"])
        call.switches["unwilling"] = (OUTCOMES.get(kind, kind), rule["code"], rule["message"])
        return await proceed()

    return strike


def flawed(flaw: str) -> Strike:
    """The signature is not what it should be."""

    async def strike(rule: Rule, call: Call, proceed: Proceed) -> Reply:
        call.switches["flaw"] = flaw
        return await proceed()

    return strike
