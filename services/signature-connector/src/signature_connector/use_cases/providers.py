"""Which provider is asked for whom, and which of them is in trouble just now."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from common.delivery import Breaker
from signature_connector.domain.provider import Called, Provider, Unreadable

Call = Literal["credentials", "submit", "status"]
_TRIAL_SECONDS = 1.0
_LONGEST_TRIAL_SECONDS = 600.0


class Choice(Protocol):
    """Which providers may serve whom, as it is configured."""

    def choose(self, agency: str, ca_name: str) -> Sequence[Provider]:
        """Adapters that may serve a person with this CA for an agency, by preference."""

    def provider(self, name: str, agency: str) -> Provider | None:
        """The adapter of this name, as it is asked on behalf of an agency."""

    def called(self, name: str, body: bytes) -> Called:
        """What a callback to the provider of this name is about.

        Raises:
            Unreadable: none of this provider's, or there is no such provider.
        """

    @property
    def names(self) -> Sequence[str]:
        """Of all adapters."""


@dataclass(frozen=True)
class Always:
    """The same providers for everybody, by preference."""

    providers: tuple[Provider, ...]

    def choose(self, agency: str, ca_name: str) -> Sequence[Provider]:
        return self.providers

    def provider(self, name: str, agency: str) -> Provider | None:
        return next((one for one in self.providers if one.name == name), None)

    def called(self, name: str, body: bytes) -> Called:
        for one in self.providers:
            if one.name == name:
                return one.called(body)
        raise Unreadable("no such provider")

    @property
    def names(self) -> Sequence[str]:
        return [one.name for one in self.providers]


@dataclass
class Gate:
    """Lets calls through to one provider: none while it fails, then one for a trial, then all.

    A breaker for each kind of call, since a provider may list certificates well and yet lose every
    signing call.
    """

    breakers: dict[Call, Breaker] = field(
        default_factory=lambda: {
            "credentials": Breaker(),
            "submit": Breaker(),
            "status": Breaker(),
        }
    )
    observe: Callable[[str, bool], None] | None = None
    _trials: dict[Call, float] = field(default_factory=dict)

    def closed(self, call: Call) -> float:
        """Seconds for which no such call is to be made; changes nothing."""
        breaker = self.breakers[call]
        if (wait := breaker.wait()) > 0:
            return wait
        begun = self._trials.get(call)
        trying = begun is not None and time.monotonic() - begun < _LONGEST_TRIAL_SECONDS
        return _TRIAL_SECONDS if breaker.open and trying else 0.0

    def admit(self, call: Call) -> float:
        """Seconds to wait before such a call; 0: it may be made, and its outcome be recorded."""
        if (wait := self.closed(call)) > 0:
            return wait
        if self.breakers[call].open:
            self._trials[call] = time.monotonic()
        return 0.0

    def record(
        self,
        call: Call,
        failed: bool | None,
        agency: str | None = None,
        *,
        pause: float | None = None,
    ) -> None:
        """How a call for an agency went: None where it says nothing of the provider."""
        self._trials.pop(call, None)
        if failed is not None:
            self.breakers[call].record(failed=failed)
            if self.observe is not None and agency is not None:
                self.observe(agency, failed)
        if pause is not None:
            self.breakers[call].hold(pause)


class Gates:
    """The gates of all providers.

    Args:
        observe: is told of each call for an agency whether it failed.
    """

    def __init__(self, observe: Callable[[str, bool], None] | None = None) -> None:
        self._observe = observe
        self._gates: dict[str, Gate] = {}

    def of(self, provider: str) -> Gate:
        """The gate of a provider."""
        gate = self._gates.get(provider)
        if gate is None:
            gate = self._gates[provider] = Gate(observe=self._observe)
        return gate

    def all_closed(self, names: Sequence[str]) -> float:
        """Seconds for which none of these providers can be asked for anything."""
        return min(
            (
                max(self.of(name).closed("credentials"), self.of(name).closed("submit"))
                for name in names
            ),
            default=0.0,
        )

    def all_trying(self, names: Sequence[str]) -> bool:
        """Whether none of these providers gets more than a trial call at a time."""
        return all(
            self.of(name).breakers["credentials"].open or self.of(name).breakers["submit"].open
            for name in names
        )
