"""How evidence is judged by the rules of NĐ 42/2022 Điều 13.2, and what the printed page shows."""

import re
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from catalog.api.page import CONTENT_SECURITY_POLICY, page
from catalog.domain.channels import Exchanged, Found, GivenStatement, RegisteredChannel
from catalog.domain.conformance import Known, PartReport, PointReport, judge
from catalog.domain.hostnames import NotAHostname, hostname, readable
from catalog.domain.reasons import REASONS
from catalog.use_cases.conformance import AgencyName, Report, _basis, rules, rules_of

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
TODAY = date(2026, 11, 21)
VI, EN = "dichvucong.thanhhoa.gov.vn", "e-services.thanhhoa.gov.vn"


def a_channel(id_: str, kind: str, host: str) -> RegisteredChannel:
    return RegisteredChannel(
        id=id_, kind=kind, host=host, registered_by="one-stop", registered_at=NOW
    )


def a_finding(check: str, state: str, reason: str, **changed: object) -> Found:
    known = {"channel": "vi", "target": VI, "checked_at": NOW - timedelta(hours=2)}
    return Found(agency="H56", check=check, state=state, reason=reason, **{**known, **changed})


def all_met(channel: str = "vi", host: str = VI, **changed: object) -> list[Found]:
    of = {"channel": channel, "target": host, **changed}
    return [
        a_finding("aaaa", "met", "has-aaaa", **of),
        a_finding("ipv6-answer", "met", "answers", **of),
        a_finding("tls", "met", "certificate-valid", **of),
    ]


def exchanged(
    system: str, *, days: float | None = 0.1, agency: str = "H56.14", **changed: object
) -> Exchanged:
    last = None if days is None else NOW - timedelta(days=days)
    return Exchanged(
        system=system,
        agency=agency,
        **{"last_success_at": last, "last_failure_at": None, **changed},
    )


def known(**changed: Any) -> Known:
    nothing: dict[str, Any] = {"channels": (), "found": (), "exchanges": (), "statements": ()}
    return Known(**{"agency": "H56", **nothing, **changed})


def judged(of: Known) -> dict[str, PointReport]:
    return {point.id: point for point in judge(rules_of(TODAY), of, NOW)}


def part(of: Known, id_: str) -> PartReport:
    return next(one for point in judged(of).values() for one in point.parts if one.id == id_)


def test_of_an_agency_that_registered_nothing_everything_is_unknown_and_says_what_is_missing():
    points = judged(known())
    assert list(points) == ["a", "b", "c", "d", "dd", "e"]
    assert [point.label for point in points.values()][4] == "13.2.đ"
    assert {point.state for point in points.values()} == {"unknown"}
    reasons = {one.reason for point in points.values() for one in point.parts}
    assert reasons == {
        REASONS[slug][0] for slug in ("not-registered", "never-exchanged", "not-declared")
    }
    assert [one.id for one in points["b"].parts] == ["b.web-portal", "b.national-portal"]


def test_point_a_is_met_by_both_domains_with_ipv6_and_by_nothing_less():
    both = (a_channel("vi", "portal-vi", VI), a_channel("en", "portal-en", EN))
    full = known(channels=both, found=[*all_met(), *all_met("en", EN)])
    assert judged(full)["a"].state == "met"
    assert part(full, "a.ipv6").at == NOW - timedelta(hours=2)
    assert judged(known(channels=both, found=all_met()))["a"].state == "unknown"
    alone = known(channels=both[:1], found=all_met())
    assert (part(alone, "a.ipv6").state, part(alone, "a.domain-en").state) == ("met", "unknown")
    assert judged(alone)["a"].state == "unknown"


def test_an_agency_without_aaaa_record_is_told_not_met_with_evidence():
    found = [
        a_finding("aaaa", "not-met", "no-aaaa", facts={"aaaa": [], "a_records": 1}),
        a_finding("ipv6-answer", "not-met", "no-aaaa"),
    ]
    of = known(channels=(a_channel("vi", "portal-vi", VI),), found=found)
    told = part(of, "a.ipv6")
    assert (told.state, told.reason) == ("not-met", "Không có bản ghi AAAA")
    assert judged(of)["a"].state == "not-met"
    record = told.evidence[0]
    assert (record.what, record.target, record.state) == ("aaaa", VI, "not-met")
    assert record.facts == {"aaaa": [], "a_records": 1}
    assert record.at == NOW - timedelta(hours=2)


def test_an_expired_certificate_is_shown_not_met_and_is_no_part_of_point_a():
    both = (a_channel("vi", "portal-vi", VI), a_channel("en", "portal-en", EN))
    found = [*all_met()[:2], *all_met("en", EN)]
    found.append(a_finding("tls", "not-met", "certificate-expired", facts={"days_left": -3}))
    of = known(channels=both, found=found)
    assert (part(of, "a.tls").state, part(of, "a.tls").decides) == ("not-met", False)
    assert judged(of)["a"].state == "met"


def test_a_finding_counts_for_the_host_it_was_made_of_and_not_for_ever():
    moved = known(
        channels=(a_channel("vi", "portal-vi", "dichvucong.moi.gov.vn"),), found=all_met()
    )
    assert part(moved, "a.ipv6").reason == REASONS["not-checked"][0]
    old = all_met(checked_at=NOW - timedelta(days=3, minutes=1))
    stale = part(known(channels=(a_channel("vi", "portal-vi", VI),), found=old), "a.ipv6")
    assert (stale.state, stale.reason) == ("unknown", REASONS["checked-long-ago"][0])


@pytest.mark.parametrize(
    ("kind", "host", "state"),
    [
        ("portal-vi", VI, "met"),
        ("portal-vi", "dichvucong.tp-hue.gov.vn", "met"),
        ("portal-vi", "dichvucong.gov.vn", "not-met"),
        ("portal-vi", "dichvucong.so.thanhhoa.gov.vn", "not-met"),
        ("portal-vi", "dichvucong.thanhhoa.vn", "not-met"),
        ("portal-vi", "motcua.thanhhoa.gov.vn", "not-met"),
        ("portal-vi", "dichvucong-thanhhoa.gov.vn", "not-met"),
        ("portal-vi", "xdichvucong.thanhhoa.gov.vn", "not-met"),
        ("portal-vi", "dichvucong.thanhhoa.gov.vn.example.vn", "not-met"),
        ("portal-en", EN, "met"),
        ("portal-en", VI, "not-met"),
        ("portal-en", "eservices.thanhhoa.gov.vn", "not-met"),
    ],
)
def test_the_form_of_the_domain(kind, host, state):
    told = part(known(channels=(a_channel("x", kind, host),)), f"a.domain-{kind[-2:]}")
    assert told.state == state
    assert [one.target for one in told.evidence] == [host]


def test_one_portal_address_of_the_right_form_is_enough():
    two = (
        a_channel("old", "portal-vi", "motcua.thanhhoa.gov.vn"),
        a_channel("vi", "portal-vi", VI),
    )
    assert part(known(channels=two), "a.domain-vi").state == "met"


@pytest.mark.parametrize(
    ("point", "system"),
    [("c", "monitoring"), ("d", "signing-gateway")],
)
def test_a_recent_exchange_meets_the_point_and_an_old_one_does_not(point, system):
    def told(*exchanges: Exchanged) -> PointReport:
        return judged(known(exchanges=exchanges))[point]

    assert told(exchanged(system, days=6.9)).state == "met"
    late = told(exchanged(system, days=7.1))
    assert (late.state, late.parts[0].reason) == ("not-met", REASONS["exchanged-long-ago"][0])
    assert late.parts[0].at == NOW - timedelta(days=7.1)
    failing = told(exchanged(system, days=None, last_failure_at=NOW, failed=3))
    assert (failing.state, failing.parts[0].reason) == ("not-met", REASONS["exchange-fails"][0])
    assert failing.parts[0].evidence[0].facts["failed"] == 3
    # of another system, or of an agency that is not below this one
    others = (exchanged("national-portal"), exchanged(system, agency="H560"))
    assert told(*others).state == "unknown"
    assert told(exchanged(system, agency="H56")).state == "met"
    assert (
        told(exchanged(system, days=30), exchanged(system, days=1, agency="H56.2")).state == "met"
    )


def test_the_national_portal_alone_does_not_meet_point_b():
    of = known(exchanges=(exchanged("national-portal"),))
    assert [one.state for one in judged(of)["b"].parts] == ["unknown", "met"]
    assert judged(of)["b"].state == "unknown"
    old = known(exchanges=(exchanged("national-portal", days=30),))
    assert judged(old)["b"].state == "not-met"


def test_what_an_agency_states_is_shown_and_never_makes_a_point_met():
    statement = GivenStatement(
        part="e.shared-tools",
        text="Dùng nền tảng dùng chung",
        document="12/BC-UBND",
        dated=TODAY,
        given_by="one-stop",
        given_at=NOW,
    )
    told = judged(known(statements=(statement,)))["e"]
    assert (told.state, told.parts[0].reason) == ("unknown", REASONS["declared"][0])
    assert told.parts[0].evidence[0].facts["document"] == "12/BC-UBND"


def test_rules_are_those_of_the_day_and_an_unconfirmed_decree_is_only_mentioned():
    assert rules().on(date(2022, 8, 14)) is None
    assert rules().on(date(2022, 8, 15)) is rules().on(TODAY)
    (notice,) = rules().notices
    assert (notice.confidence, notice.basis) == ("low", "single-source")
    assert all("224/2026" not in found.instrument for found in rules().sets)
    assert rules().parts_to_state() == {"b.web-portal", "dd.guidance", "e.shared-tools"}


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ("dichvucong.hanoi.gov.vn", "dichvucong.hanoi.gov.vn"),
        ("DichVuCong.HaNoi.GOV.VN.", "dichvucong.hanoi.gov.vn"),
        ("dịchvụcông.vn", "xn--dchvcng-x0a0689dsha.vn"),
        ("di\u0323chvu\u0323co\u0302ng.vn", "xn--dchvcng-x0a0689dsha.vn"),
    ],
)
def test_a_host_has_one_written_form(given, host):
    assert hostname(given) == host
    assert hostname(readable(host)) == host


@pytest.mark.parametrize(
    "given",
    [
        *("", ".", "vn", "localhost", "10.0.0.1", "[::1]", "::1", "127.1", "0x7f.1", "2130706433"),
        *("https://a.gov.vn", "a.gov.vn/x", "a.gov.vn:8443", "user@a.gov.vn", "a b.gov.vn"),
        *("-a.gov.vn", "a-.gov.vn", "a..gov.vn", ".a.gov.vn", "a_b.gov.vn", "*.gov.vn"),
        *("a.local", "portal.internal", "x.svc.cluster.local", "a.test", "1.0.0.127.in-addr.arpa"),
        *(
            "x" * 64 + ".gov.vn",
            "a." * 127 + "vn",
            "straße.vn",
            "a\u200db.vn",
            "ａ.gov.vn",
            "a。b.vn",
        ),
        *("xn--zzzzzz99999999.vn", "xn--a.vn", "xn---.vn", "ab--c.vn", "a\x00.vn", "a.gov.vn\n"),
    ],
)
def test_what_is_no_public_host_name_is_refused(given):
    with pytest.raises(NotAHostname):
        hostname(given)


class Page(HTMLParser):
    """Checks nesting, and gathers text, tags and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def a_report(of: Known, name: str = "UBND tỉnh Thanh Hóa") -> Report:
    return Report(
        agency=AgencyName(code="H56", name=name, active=True),
        on=TODAY,
        generated_at=NOW,
        rules=_basis(rules_of(TODAY)),
        notices=rules().notices,
        points=judge(rules_of(TODAY), of, NOW),
    )


def test_the_page_is_whole_vietnamese_first_and_takes_nothing_from_elsewhere():
    channels = (a_channel("vi", "portal-vi", VI), a_channel("en", "portal-en", EN))
    text = page(a_report(known(channels=channels, found=all_met())))
    shown = Page(text)
    assert list(re.findall(r"13\.2\.\w", shown.text)) == [
        *("13.2.a", "13.2.b", "13.2.c", "13.2.d", "13.2.đ", "13.2.e")
    ]
    assert text.startswith('<!DOCTYPE html>\n<html lang="vi">')
    assert shown.text.index("Tên miền đúng dạng") < shown.text.index("Domains of the prescribed")
    assert "21/11/2026 10:00" in shown.text  # in Vietnam
    assert "Nghị định 224/2026/NĐ-CP" in shown.text
    assert not {"script", "img", "link", "iframe", "form", "a"} & set(shown.tags)
    assert not {"src", "href", "style"} & {name for name, _ in shown.attributes}
    assert shown.tags.count("section") == 6
    assert "size: A4" in text
    assert "default-src 'none'" in CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY


def test_whatever_comes_from_outside_is_escaped():
    evil = "<script>alert(1)</script>\"'&"
    statement = GivenStatement(
        part="dd.guidance", text=evil, document=evil, given_by=evil, given_at=NOW
    )
    finding = a_finding(
        "tls", "not-met", "certificate-expired", facts={evil: [evil], "issuer": evil}
    )
    of = known(
        channels=(a_channel(evil, "portal-vi", VI),),
        statements=(statement,),
        found=[finding.model_copy(update={"channel": evil})],
    )
    text = page(a_report(of, name=evil))
    assert "<script" not in text
    assert Page(text).text.count(evil) >= 6
