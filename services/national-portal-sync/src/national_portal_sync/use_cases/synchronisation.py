"""How items get to the portal: the adapter that ``common.delivery`` works with.

A dossier can be asked about; a step cannot: after an unknown outcome it is sent again and noted as
maybe doubled. Whether a dossier is created or updated is decided when it is sent, by what the
portal is known to have; where it says otherwise, that is noted and the dossier goes out again in
the other form. Sending the whole state twice as an update changes nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from common.contracts.dossier import DossierState, StepTaken
from common.delivery import Ability, Claimed, Outcome, Result
from common.errors import describe
from common.sealing import KeyRing
from national_portal_sync.clients.answers import Answer, Verdict, holds, per_item
from national_portal_sync.clients.fields import Profile
from national_portal_sync.clients.items import (
    Link,
    Wire,
    dossier_item,
    personal_fields,
    personal_values,
    step_item,
)
from national_portal_sync.clients.portal import (
    Account,
    LoginRefused,
    NoAnswer,
    NotTaken,
    PortalTrouble,
)
from national_portal_sync.clients.portals import Connected
from national_portal_sync.clients.questions import answer_item
from national_portal_sync.domain.keys import ANSWER, DOSSIER, PARTNER, STEP, step_number
from national_portal_sync.store import disclosures
from national_portal_sync.store import known as store
from national_portal_sync.store.disclosures import Disclosure
from national_portal_sync.store.reconciliation import keep_snapshots

ASKED_AT_ONCE = 4
"""Questions of one call's worth that are under way together: each is a call of its own."""
_ELSEWHERE = Outcome(Result.RETRY, "the agency's account changed meanwhile", pause=0.0)
_MOST_TRIES = 20
"""Tries after which a portal that says both that it has a dossier and that it has not is not
believed any more, and after which a step's dossier is no longer waited for."""


class Accounts(Protocol):
    """The accounts, by the agencies they speak for."""

    def of(self, agency: str) -> Connected | None:
        """The account of an agency, if there is one."""


Answered = Callable[[AsyncConnection, Sequence[Claimed]], Awaitable[None]]
"""Notes that the portal took these answers to questions, in the transaction that settles them."""


@dataclass(slots=True)
class _Form:
    """What is known of a dossier while it is being sent.

    Attributes:
        known: whether the portal has it, as far as we know by now.
        noted: the same as it stands in the table.
        status: of the snapshot that is being sent.
        account: under which it is being sent.
        procedure: code of the dossier's.
        personal: names of the personal fields that are being sent.
    """

    known: bool
    noted: bool
    status: str | None = None
    account: str | None = None
    procedure: str | None = None
    personal: Sequence[str] = ()


class Synchronisation:
    """Sends dossiers and steps, each under its agency's account (``common.delivery.Partner``).

    Args:
        link: makes addresses for stored files.
    """

    name = PARTNER

    def __init__(
        self,
        accounts: Accounts,
        keys: KeyRing,
        *,
        batch: int,
        parallel: int,
        link: Link | None = None,
        answered: Answered | None = None,
    ) -> None:
        self._answered = answered
        self.batch = batch
        self.parallel = parallel
        self._accounts = accounts
        self._keys = keys
        self._link = link
        self._forms: dict[int, _Form] = {}  # of claimed items, by id

    def ability(self, kind: str) -> Ability:
        """Dossiers can be looked up, steps cannot."""
        return Ability.LOOK_UP if kind == DOSSIER else Ability.NONE

    async def prepare(self, connection: AsyncConnection, items: Sequence[Claimed]) -> None:
        """Read which of the claimed dossiers the portal has."""
        dossiers = [item for item in items if item.kind == DOSSIER]
        if not dossiers:
            return
        known = await store.known(connection, [item.subject for item in dossiers])
        for item in dossiers:
            has = item.subject in known
            self._forms[item.id] = _Form(has, noted=has)

    def group(self, item: Claimed) -> Hashable:
        """A call creates dossiers, or updates dossiers, or adds steps."""
        form = self._forms.get(item.id)
        return item.kind, form is not None and form.known

    async def send(self, items: Sequence[Claimed]) -> Sequence[Outcome]:
        """One call; an item that cannot be put into the portal's form does not go with it."""
        account = self._account(items)
        if account is None:
            return [_ELSEWHERE] * len(items)
        portal = account.portal
        if items[0].kind == STEP:
            profile = account.account.profile
            return await self._deliver(
                items, account, lambda item: _step(item, profile), portal.progress
            )
        if items[0].kind == ANSWER:
            return await self._deliver(items, account, self._answer, portal.answer)
        update = self._forms[items[0].id].known
        return await self._deliver(
            items,
            account,
            lambda item: self._dossier(item, account.account),
            lambda wire: portal.sync(wire, update=update),
        )

    async def ask(self, items: Sequence[Claimed]) -> Sequence[Outcome]:
        """Look dossiers up, until the portal does not answer.

        An update need not be asked about, and neither must one that is found be left at that: it
        goes out (again) as an update, in its newest version.
        """
        account = self._account(items)
        if account is None:
            return [replace(_ELSEWHERE, result=Result.UNKNOWN)] * len(items)
        portal = account.portal
        slots = asyncio.Semaphore(ASKED_AT_ONCE)
        trouble: PortalTrouble | None = None

        async def one(item: Claimed) -> Outcome:
            nonlocal trouble
            if self._forms[item.id].known:
                return Outcome(Result.AGAIN)
            async with slots:
                if trouble is None:
                    try:
                        return self._looked_up(item, await portal.look_up(item.subject))
                    except PortalTrouble as now:
                        trouble = now
            if isinstance(trouble, LoginRefused):
                account.note(trouble)
                return Outcome(Result.UNKNOWN, trouble.reason, pause=0.0)
            return _unknown(trouble)

        return await asyncio.gather(*(one(item) for item in items))

    async def settled(
        self, connection: AsyncConnection, outcomes: Sequence[tuple[Claimed, Outcome]]
    ) -> None:
        """Note what the portal has."""
        learnt, steps, told = [], [], []
        taken = [
            item
            for item, outcome in outcomes
            if outcome.result is Result.DONE and item.kind in (DOSSIER, ANSWER)
        ]
        for item, outcome in outcomes:
            form = self._forms.pop(item.id, None)
            if form is not None and form.personal:
                given = form.account, item.version, form.personal, outcome.result.value
                told.append(Disclosure(item.subject, item.agency, form.procedure, *given))
            code, agency, done = item.subject, item.agency, outcome.result is Result.DONE
            if item.kind == STEP and done:
                number = step_number(item.key)
                steps.append(store.StepSent(code, agency, number, item.maybe_doubled))
            elif form is not None and done:
                sent = item.version, form.status, form.account
                learnt.append(store.Learnt(code, agency, True, *sent))
            elif form is not None and form.known != form.noted:
                learnt.append(store.Learnt(code, agency, form.known))
        await store.learn(connection, learnt)
        await store.note_steps(connection, steps)
        await disclosures.note(connection, told)
        await keep_snapshots(
            connection,
            [(item.subject, item.version, item.body) for item in taken if item.kind == DOSSIER],
        )
        answers = [item for item in taken if item.kind == ANSWER]
        if answers and self._answered is not None:
            await self._answered(connection, answers)

    def _answer(self, item: Claimed) -> Wire:
        return answer_item(item.key, self._keys.open(item.body.decode(), item.key))

    def wire(self, agency: str, body: bytes) -> Wire:
        """A snapshot as it is sent for an agency.

        Raises:
            LookupError: no account speaks for the agency.
        """
        account = self._accounts.of(agency)
        if account is None:
            raise LookupError("no account")
        return self._form(DossierState.model_validate_json(body), account.account)

    def _dossier(self, item: Claimed, account: Account) -> Wire:
        dossier = DossierState.model_validate_json(item.body)
        form = self._forms[item.id]
        form.status, form.account = dossier.status, account.name
        form.procedure = dossier.procedure.code
        wire = self._form(dossier, account)
        form.personal = personal_fields(wire)
        return wire

    def _form(self, dossier: DossierState, account: Account) -> Wire:
        applicant = self._keys.open(dossier.sealed, dossier.code)
        return dossier_item(dossier, applicant, account.profile, self._link)

    def _account(self, items: Sequence[Claimed]) -> Connected | None:
        """The account of all of these; None where, by now, there is none or there are several."""
        accounts = {self._accounts.of(agency) for agency in {item.agency for item in items}}
        return accounts.pop() if len(accounts) == 1 else None

    async def _deliver(
        self,
        items: Sequence[Claimed],
        account: Connected,
        convert: Callable[[Claimed], Wire],
        call: Callable[[Sequence[Wire]], Awaitable[Answer]],
    ) -> Sequence[Outcome]:
        outcomes: dict[int, Outcome] = {}
        wire: dict[int, Wire] = {}
        for item in items:
            try:
                wire[item.id] = convert(item)
            except Exception as error:  # whatever is wrong with it is no fault of the others
                outcomes[item.id] = Outcome(Result.REFUSED, f"not convertible: {describe(error)}")
        sent = [item for item in items if item.id in wire]
        if sent:
            told = await self._called(sent, account, wire, call)
            outcomes |= {item.id: outcome for item, outcome in zip(sent, told, strict=True)}
        return [outcomes[item.id] for item in items]

    async def _called(
        self,
        items: Sequence[Claimed],
        account: Connected,
        wire: Mapping[int, Wire],
        call: Callable[[Sequence[Wire]], Awaitable[Answer]],
    ) -> Sequence[Outcome]:
        try:
            answer = await call([wire[item.id] for item in items])
            account.note(None)
        except LoginRefused as trouble:
            account.note(trouble)  # pauses this account until it is let in
            return [Outcome(Result.RETRY, trouble.reason, pause=0.0)] * len(items)
        except NotTaken as trouble:
            down = trouble.pause is None
            told = Outcome(Result.RETRY, trouble.reason, trouble.pause, partner_down=down)
            return [told] * len(items)
        except NoAnswer as trouble:
            return [_unknown(trouble)] * len(items)
        own = per_item(answer, [item.subject for item in items])
        if own is None and answer.verdict is Verdict.DONE:
            return [Outcome(Result.DONE)] * len(items)
        outcomes = []
        for place, item in enumerate(items):
            one = answer if own is None else own[place]
            if one is None:
                outcome = Outcome(Result.UNKNOWN, "the answer does not say of this item")
            elif own is None and len(items) > 1 and not _about(item, answer):
                outcome = Outcome(Result.WHOLE)
            else:
                outcome = self._judged(item, one, personal_values(wire[item.id]))
            outcomes.append(outcome)
        return outcomes

    def _judged(self, item: Claimed, answer: Answer, personal: Sequence[str]) -> Outcome:
        """What the portal says of one item."""
        reason = answer.reason(personal)
        patient = item.attempts < _MOST_TRIES
        form = self._forms.get(item.id)
        match answer.verdict:
            case Verdict.DONE:
                return Outcome(Result.DONE)
            case Verdict.UNCLEAR:
                return Outcome(Result.UNKNOWN, reason)
            case Verdict.EXISTS if form is None:
                return Outcome(Result.DONE)  # a step that it has
            case Verdict.MISSING if form is None:
                self._forms[item.id] = _Form(known=False, noted=True)
                return Outcome(Result.RETRY if patient else Result.REFUSED, reason)
            case Verdict.EXISTS | Verdict.MISSING if form is not None and patient:
                has = answer.verdict is Verdict.EXISTS
                if form.known != has:
                    form.known = has
                    return Outcome(Result.AGAIN, reason)
        return Outcome(Result.REFUSED, reason)

    def _looked_up(self, item: Claimed, answer: Answer) -> Outcome:
        found = holds(answer, item.subject)
        if found is None:
            return Outcome(Result.UNKNOWN, answer.reason())
        self._forms[item.id].known = found
        return Outcome(Result.AGAIN if found else Result.NOT_THERE)


def _about(item: Claimed, answer: Answer) -> bool:
    """Whether an answer to a call with many items is as good as one to this item alone."""
    if answer.verdict is Verdict.UNCLEAR:
        return True
    said = answer.verdict in {Verdict.EXISTS, Verdict.MISSING}
    return said and item.kind == DOSSIER and item.subject in answer.names()


def _step(item: Claimed, profile: Profile) -> Wire:
    return step_item(item.subject, StepTaken.model_validate_json(item.body), profile)


def _unknown(trouble: PortalTrouble) -> Outcome:
    return Outcome(Result.UNKNOWN, trouble.reason, trouble.pause, partner_down=True)
