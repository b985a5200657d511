"""Which provider is asked for whom.

A person's CA is served by one provider. Another stands in for it only where the configuration names
the legal basis, and only before anybody can have been asked: after ``Unavailable`` of the
credentials, or ``NeverSent``; never after ``Unclear`` or ``Accepted``.
"""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Self

import httpx
import structlog

from common.http import http_client
from signature_connector.domain.provider import Called, Provider, Unreadable
from signature_connector.providers.configured import (
    ALL,
    Configured,
    ProviderEntry,
    ProviderFiles,
    ProvidersInvalid,
)
from signature_connector.providers.wire import Line

log = structlog.get_logger()


class Choice:
    """The providers in use. A context manager: its connections end with it."""

    def __init__(self, files: ProviderFiles) -> None:
        self._files = files
        self._stack = AsyncExitStack()
        self._made: dict[Configured, Provider] = {}
        self._lines: dict[tuple[Any, ...], tuple[Line, httpx.AsyncClient]] = {}
        self.invalid: str | None = None
        """What is wrong with the file as it now stands; the providers before stay in use."""

    async def __aenter__(self) -> Self:
        """Read the file.

        Raises:
            ProvidersInvalid: it cannot be used, or there is no provider at all.
        """
        try:
            await self._take_up()
            if not self._made:
                raise ProvidersInvalid("no provider: neither esign_url nor a file with one")
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def choose(self, agency: str, ca_name: str) -> tuple[Provider, ...]:
        """Who may be asked for a person of this CA, on behalf of this agency, in this order.

        The first is the CA's own. Another may be asked only while nobody can have been: after
        ``Unavailable`` of the credentials, or ``NeverSent``. Empty where nobody serves the CA for
        the agency.
        """
        own = self._own(agency, ca_name) or self._own(agency, ALL)
        found = [own] if own else []
        for one in self._speaking(agency):
            stands_in = any(other.ca_name == ca_name for other in one.entry.stands_in_for)
            if stands_in and all(one.entry.name != other.entry.name for other in found):
                found.append(one)
        return tuple(self._made[one] for one in found)

    def provider(self, name: str, agency: str) -> Provider | None:
        """The provider of this name, as it is asked on behalf of this agency: the one that a
        submission was given to. None where there is none any more."""
        found = (one for one in self._speaking(agency) if one.entry.name == name)
        return next((self._made[one] for one in found), None)

    def called(self, name: str, body: bytes) -> Called:
        """What a callback to the provider of this name is about, whichever account it is for.

        Raises:
            Unreadable: none of this provider's, or there is no such provider.
        """
        for one, provider in self._made.items():
            if one.entry.name == name:
                try:
                    return provider.called(body)
                except Unreadable:
                    continue
        raise Unreadable("no such provider, or no callback of it")

    @property
    def names(self) -> tuple[str, ...]:
        """The providers' names."""
        return tuple(dict.fromkeys(one.entry.name for one in self._made))

    @property
    def troubles(self) -> Mapping[str, str]:
        """Accounts that cannot be used, by provider and agencies, and why."""
        return {
            f"{one.entry.name} ({', '.join(one.account.agencies)})": one.trouble
            for one in self._made
            if one.trouble
        }

    async def watch(self, seconds: float) -> None:
        """Read the file and the secrets again every so often, without end (a worker)."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self._take_up()
                self.invalid = None
            except Exception as error:
                told = str(error) if isinstance(error, ProvidersInvalid) else type(error).__name__
                if told != self.invalid:
                    log.error("providers not taken up", error=told)
                self.invalid = told

    async def _take_up(self) -> None:
        """Adapters of accounts that did not change stay, with their sessions."""
        configured = await asyncio.to_thread(self._files.read)
        made = {}
        for one in configured:
            made[one] = self._made.get(one) or await self._make(one)
        self._made = made

    async def _make(self, one: Configured) -> Provider:
        line, http = await self._line(one.entry)
        return one.make(line, http, self._files.file_limit)

    async def _line(self, entry: ProviderEntry) -> tuple[Line, httpx.AsyncClient]:
        pair = (entry.tls_certificate, entry.tls_key)
        key = (str(entry.url), entry.tls_ca_file, *pair, entry.connections)
        if key not in self._lines:
            given: dict[str, Any] = {
                "base_url": str(entry.url).rstrip("/"),
                "connections": entry.connections,
                "ca_file": entry.tls_ca_file,
                "certificate": pair if all(pair) else None,
            }
            try:
                http = await self._stack.enter_async_context(http_client(kept=False, **given))
                kept = await self._stack.enter_async_context(http_client(kept=True, **given))
            except (OSError, ssl.SSLError):
                raise ProvidersInvalid(f"{entry.name}: a TLS file cannot be used") from None
            self._lines[key] = (Line(http, kept), http)
        return self._lines[key]

    def _speaking(self, agency: str) -> Sequence[Configured]:
        """Of each provider the account for the most specific subtree that the agency is in."""
        best: dict[str, tuple[int, Configured]] = {}
        for one in self._made:
            for subtree in () if one.trouble else one.account.agencies:
                rank = _rank(agency, subtree)
                known = best.get(one.entry.name)
                if rank >= 0 and (known is None or rank > known[0]):
                    best[one.entry.name] = (rank, one)
        return [one for _, one in best.values()]

    def _own(self, agency: str, ca_name: str) -> Configured | None:
        serving = [one for one in self._speaking(agency) if ca_name in one.entry.ca_names]
        rank = lambda one: max(_rank(agency, subtree) for subtree in one.account.agencies)  # noqa: E731
        return max(serving, key=rank, default=None)


def _rank(agency: str, subtree: str) -> int:
    """How closely a subtree surrounds an agency (new form); -1 where it does not."""
    if subtree == ALL:
        return 0
    return len(subtree) if agency == subtree or agency.startswith(f"{subtree}.") else -1
