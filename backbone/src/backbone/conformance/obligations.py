"""What a client system has to do. A new obligation is a function with ``@obligation`` that says of
each case whether it was met; no case at all means that it was not seen."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from backbone.conformance.disturbances import (
    BUSY,
    LOST_ANSWER,
    LOST_REQUEST,
    NEW_MEMBER,
    OLD_TOKEN,
    TOO_MANY,
)
from backbone.conformance.exchanges import Exchange

Case = tuple[bool, str]
"""Whether it was met, and in which case, in a sentence."""
Judge = Callable[[Sequence[Exchange]], Iterator[Case]]


@dataclass(frozen=True, slots=True)
class Obligation:
    """Something that a client system has to do."""

    name: str
    title: str
    title_en: str
    judge: Judge


OBLIGATIONS: list[Obligation] = []


def obligation(title: str, title_en: str) -> Callable[[Judge], Judge]:
    """Enter an obligation in the table."""

    def enter(judge: Judge) -> Judge:
        name = judge.__name__.replace("_", "-")
        OBLIGATIONS.append(Obligation(name, title, title_en, judge))
        return judge

    return enter


@obligation(
    "Không nhận được trả lời thì gửi lại nguyên vẹn yêu cầu đó",
    "Without an answer the same request is sent again, unchanged",
)
def repeats_what_was_not_answered(exchanges: Sequence[Exchange]) -> Iterator[Case]:
    for exchange in exchanges:
        if exchange.disturbed in (LOST_ANSWER, LOST_REQUEST):
            again = _again(exchanges, exchange)
            yield (
                again is not None,
                f"{exchange.name}: {'again as ' + again.name if again else 'never sent again'}",
            )


@obligation(
    "Một Idempotency-Key chỉ dùng cho một yêu cầu",
    "An Idempotency-Key stands for one request",
)
def one_key_for_one_request(exchanges: Sequence[Exchange]) -> Iterator[Case]:
    used: dict[str, Exchange] = {}
    for exchange in exchanges:
        if not (exchange.writes and exchange.key):
            continue
        first = used.setdefault(exchange.key, exchange)
        if first is exchange:
            continue
        yield first.same == exchange.same, f"{exchange.name} has the key of {first.name}"
    if used:
        yield True, f"{len(used)} keys"


@obligation(
    "Chờ đúng thời gian Retry-After rồi mới gửi lại",
    "Retry-After is honoured before trying again",
)
def waits_as_it_is_told(exchanges: Sequence[Exchange]) -> Iterator[Case]:
    for exchange in exchanges:
        if exchange.disturbed not in (BUSY, TOO_MANY):
            continue
        again = _again(exchanges, exchange)
        if again is None or exchange.answered_at is None:
            yield False, f"{exchange.name}: never sent again"
            continue
        waited = again.at - exchange.answered_at
        # Clocks and timers may be a little early.
        yield (
            waited >= exchange.retry_after - 0.2,
            f"{exchange.name}: again after {waited:.1f} s, asked for {exchange.retry_after:.0f} s",
        )


@obligation(
    "Bước sau của hồ sơ chỉ gửi khi bước trước đã được tiếp nhận",
    "A dossier's next step is sent once the one before it was taken in",
)
def keeps_the_order_of_a_dossier(exchanges: Sequence[Exchange]) -> Iterator[Case]:
    of_dossier: defaultdict[str, list[Exchange]] = defaultdict(list)
    for exchange in exchanges:
        if exchange.writes and exchange.dossier:
            of_dossier[exchange.dossier].append(exchange)
    for sent in of_dossier.values():
        for number, exchange in enumerate(sent):
            unfinished = [
                before
                for before in sent[:number]
                if before.same != exchange.same
                and not any(
                    one.same == before.same
                    and one.status is not None
                    and one.status < 500
                    and one.status not in (401, 429)
                    and one.answered_at is not None
                    and one.answered_at <= exchange.at
                    for one in sent[:number]
                )
            ]
            if number:
                yield (
                    not unfinished,
                    f"{exchange.name}"
                    + (f" before {unfinished[0].name} was answered" if unfinished else ""),
                )


@obligation(
    "Biết kết quả của mọi yêu cầu đã được tiếp nhận",
    "The outcome of everything taken in is learned",
)
def learns_every_outcome(exchanges: Sequence[Exchange]) -> Iterator[Case]:
    told = {
        submission
        for exchange in exchanges
        if exchange.status is not None
        for submission in exchange.told
    }
    taken = {
        exchange.submission: exchange
        for exchange in exchanges
        if exchange.writes and exchange.submission
    }
    for submission, exchange in taken.items():
        yield submission in told, f"{exchange.name}: submission {submission}"


@obligation(
    "Yêu cầu bị từ chối không được gửi lại nguyên vẹn",
    "What was refused is not sent again unchanged",
)
def corrects_what_was_refused(exchanges: Sequence[Exchange]) -> Iterator[Case]:
    for exchange in exchanges:
        refused = exchange.status is not None and 400 <= exchange.status < 500
        if not refused or exchange.status in (401, 429) or not exchange.writes:
            continue
        again = _again(exchanges, exchange)
        yield (
            again is None,
            f"{exchange.name}: {exchange.status} {exchange.problem}"
            + (f", again as {again.name}" if again else ""),
        )


@obligation(
    "Token hết hiệu lực thì lấy token mới và gửi lại",
    "When a token is refused a new one is got, and the request sent again",
)
def renews_its_token(exchanges: Sequence[Exchange]) -> Iterator[Case]:
    for exchange in exchanges:
        if exchange.disturbed == OLD_TOKEN:
            again = _again(exchanges, exchange)
            yield (
                again is not None and again.token != exchange.token,
                f"{exchange.name}: "
                + (
                    "never sent again"
                    if again is None
                    else f"again as {again.name}"
                    + (" with the same token" if again.token == exchange.token else "")
                ),
            )


@obligation(
    "Trường mới trong trả lời không làm hệ thống dừng lại",
    "A new member of an answer stops nothing",
)
def reads_on_over_new_members(exchanges: Sequence[Exchange]) -> Iterator[Case]:
    for exchange in exchanges:
        if exchange.disturbed != NEW_MEMBER or exchange.taken is None or exchange.taken >= 400:
            continue
        repeated = _again(exchanges, exchange)
        later = [one for one in exchanges if one.number > exchange.number and one.writes]
        yield (
            repeated is None and bool(later),
            f"{exchange.name}: "
            + (
                f"sent again as {repeated.name}"
                if repeated
                else "went on"
                if later
                else "nothing was sent after it"
            ),
        )


@obligation(
    "Yêu cầu bổ sung hồ sơ được trả lời bằng bước bổ sung",
    "A request for supplements is followed by the supplement",
)
def follows_supplements(exchanges: Sequence[Exchange]) -> Iterator[Case]:
    taken = [one for one in exchanges if one.taken is not None and one.taken < 300]
    for exchange in taken:
        if exchange.kind != "request-supplement":
            continue
        later = [
            one.kind
            for one in taken
            if one.dossier == exchange.dossier and one.number > exchange.number
        ]
        ends = ("give-supplement", "withdraw", "refuse")
        yield (
            any(kind in ends for kind in later),
            f"{exchange.name}: then {', '.join(map(str, later)) or 'nothing'}",
        )


def _again(exchanges: Sequence[Exchange], exchange: Exchange) -> Exchange | None:
    """The first repetition of a request."""
    for later in exchanges:
        if later.number > exchange.number and later.same == exchange.same:
            return later
    return None
