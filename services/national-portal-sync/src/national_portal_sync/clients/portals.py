"""The portal as every account sees it, each with a session, a breaker and limits of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

import httpx
import structlog
from prometheus_client import CollectorRegistry, Gauge

from common.delivery import Breaker, Line, Pace
from common.errors import describe
from national_portal_sync.clients.accounts import AccountFiles, AccountsInvalid, account_of
from national_portal_sync.clients.portal import Account, LoginRefused, NationalPortal, NotTaken

log = structlog.get_logger()

_REFUSED_SECONDS, _REFUSED_MOST_SECONDS = 30.0, 3600.0
"""How long an account is left alone after a refused login, at first and at the most: further tries
might lock it. New credentials and a successful check end it at once."""
_NO_ACCOUNT = "no account of the portal speaks for this agency"


@dataclass(eq=False)
class Connected:
    """An account at work.

    Attributes:
        refused: what the portal said when it last refused the login; None since it let it in.
        refusals: how often in a row.
    """

    account: Account
    portal: NationalPortal
    line: Line
    refused: str | None = None
    refusals: int = 0

    def note(self, refusal: LoginRefused | None) -> None:
        """Pause the account whose login was refused, and it alone; or forget that it was."""
        if refusal is None:
            self.refused, self.refusals = None, 0
        elif self.line.breaker.wait() <= 0:  # calls that were refused together count once
            self.refusals += 1
            self.refused = refusal.reason
            pause = min(_REFUSED_SECONDS * 2 ** min(self.refusals - 1, 8), _REFUSED_MOST_SECONDS)
            self.line.breaker.hold(pause)
            log.error("login refused", account=self.account.name, reason=refusal.reason)

    def let_in(self) -> None:
        """It was tried and works: whatever it was paused for is over."""
        self.note(None)
        self.line.breaker.reset()

    @property
    def trouble(self) -> str | None:
        """Why nothing goes out under this account, for operators."""
        return self.account.trouble or self.refused


class Portals:
    """The accounts in use.

    Args:
        files: where they are read from.
        seconds: how long a call may take.
    """

    def __init__(self, http: httpx.AsyncClient, files: AccountFiles, *, seconds: float) -> None:
        self._http = http
        self._files = files
        self._seconds = seconds
        self._connected: dict[str, Connected] = {}
        self._roots: dict[str, Connected] = {}
        self._found: dict[str, Connected | None] = {}
        self._nobody = Line("no account", 0, closed=_NO_ACCOUNT)
        self.breaker: Breaker = _Together(self)
        self.invalid: str | None = None
        """What is wrong with the accounts as they now stand; those before are still in use."""
        self.take(files.read())

    def take(self, accounts: Sequence[Account]) -> bool:
        """Use these accounts from now on; whether anything is new.

        One that has not changed goes on with its session; one that has begins anew.
        """
        if accounts == self.accounts:
            return False
        before = self._connected
        self._connected = {}
        for account in accounts:
            old = before.get(account.name)
            kept = old if old is not None and old.account == account else self._connect(account)
            self._connected[account.name] = kept
        for name, old in before.items():
            if self._connected.get(name) is not old:
                old.line.closed = "this account was changed"  # what is in hand goes back
        self._roots = {
            root: one for one in self._connected.values() for root in one.account.agencies
        }
        self._found.clear()
        return True

    async def reload(self) -> bool:
        """Read the accounts again; whether anything is new. What cannot be read changes nothing."""
        try:
            accounts = await asyncio.to_thread(self._files.read)
        except AccountsInvalid as error:
            if str(error) != self.invalid:
                log.error("accounts not taken over", reason=str(error))
            self.invalid = str(error)
            return False
        self.invalid = None
        if not self.take(accounts):
            return False
        log.info("accounts taken over", accounts=[account.name for account in accounts])
        return True

    @property
    def accounts(self) -> list[Account]:
        """The accounts in use."""
        return [one.account for one in self._connected.values()]

    def all(self) -> list[Connected]:
        """The accounts at work, in the order of the file."""
        return list(self._connected.values())

    def named(self, name: str) -> Connected | None:
        """The account of this name."""
        return self._connected.get(name)

    def of(self, agency: str) -> Connected | None:
        """The account that speaks for an agency: that of the most specific subtree."""
        try:
            return self._found[agency]
        except KeyError:
            found: Connected | None = account_of(agency, self._roots)
            self._found[agency] = found
            return found

    def line(self, agency: str) -> Line:
        """Over which line an agency's items go; a closed one where it has no account."""
        found = self.of(agency)
        return found.line if found is not None else self._nobody

    def portal(self, agency: str) -> NationalPortal:
        """The portal as the account of an agency sees it.

        Raises:
            NotTaken: there is no such account.
        """
        found = self.of(agency)
        if found is None:
            raise NotTaken(_NO_ACCOUNT)
        return found.portal

    def units(self) -> list[tuple[str, NationalPortal]]:
        """The unit of each usable account, and the portal as it sees it."""
        usable = (one for one in self._connected.values() if not one.line.shut)
        return [(one.account.unit, one.portal) for one in usable]

    def why_waiting(self, agency: str) -> str | None:
        """Why nothing of an agency goes out, where that is its account's fault."""
        found = self.of(agency)
        return _NO_ACCOUNT if found is None else found.trouble

    def _connect(self, account: Account) -> Connected:
        pace = None
        if account.calls_per_second is not None:
            pace = Pace(account.calls_per_second, account.parallel)
        line = Line(account.name, account.parallel, pace=pace, closed=account.trouble)
        portal = NationalPortal(self._http, account, seconds=self._seconds, pace=pace)
        return Connected(account, portal, line)


class _Together(Breaker):
    """All accounts at once: waits while every one does, is open while any one is."""

    def __init__(self, portals: Portals) -> None:
        super().__init__()
        self._portals = portals

    def wait(self) -> float:
        waits = [one.line.breaker.wait() for one in self._portals.all()]
        return min(waits, default=0.0)

    @property
    def open(self) -> bool:
        return any(one.line.breaker.open for one in self._portals.all())


class Watch:
    """Takes up changed accounts and measures which are of no use.

    Args:
        waiting: agencies of which something waits.
        wake: tells the deliverer that items may go that could not before.
        seconds: how often files are read.
    """

    def __init__(
        self,
        portals: Portals,
        registry: CollectorRegistry,
        waiting: Callable[[], Awaitable[Iterable[str]]],
        wake: Callable[[], None],
        seconds: float,
    ) -> None:
        self._portals = portals
        self._waiting = waiting
        self._wake = wake
        self._seconds = seconds
        self._without: frozenset[str] = frozenset()
        self._usable = Gauge(
            "portal_account_usable",
            "Whether an account of the national portal can be used",
            ("account",),
            registry=registry,
        )
        self._agencies = Gauge(
            "portal_agencies_without_account",
            "Agencies with items for the national portal and no account to send them under",
            registry=registry,
        )
        self._invalid = Gauge(
            "portal_accounts_invalid",
            "Whether the accounts as they now stand cannot be read",
            registry=registry,
        )

    async def run(self) -> None:
        """Look again and again, without end."""
        while True:
            try:
                await self.look()
            except Exception as error:
                log.warning("accounts not looked at", error=describe(error))
            await asyncio.sleep(self._seconds)

    async def look(self) -> None:
        """Take up what changed, and measure."""
        if await self._portals.reload():
            self._wake()
        self._usable.clear()
        for one in self._portals.all():
            self._usable.labels(one.account.name).set(one.trouble is None)
        self._invalid.set(self._portals.invalid is not None)
        agencies = await self._waiting()
        without = frozenset(one for one in agencies if self._portals.of(one) is None)
        self._agencies.set(len(without))
        if new := without - self._without:
            log.error("no account for agencies", agencies=sorted(new)[:20], count=len(new))
        self._without = without
