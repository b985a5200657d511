"""What clients may send, field by field."""

import json
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from common.contracts import commands
from common.contracts.catalog import Field
from gateway.api import bodies, reading
from gateway.api.bodies import STEP, SUBMIT, command_of
from tests.support.gateway import NAME, NUMBER, dossier_code, step, submission

MISSING = object()

PROCEDURE = commands.ProcedureSummary(
    code="1.000016", name="Thành lập doanh nghiệp", field=Field(code=None, name="Doanh nghiệp")
)


def submit(**changed: Any) -> bodies.Submit:
    return SUBMIT.validate_json(json.dumps(submission(**changed)))


def changed(place: str, value: Any) -> dict[str, Any]:
    """A submission with one field set, at a path such as ``applicant/identity/number``."""
    body = submission()
    *path, last = place.split("/")
    target: Any = body
    for part in path:
        target = target[int(part)] if part.isdecimal() else target[part]
    if value is MISSING:
        del target[last]
    else:
        target[last] = value
    return body


def refused(adapter, body: Any) -> list[tuple[str, str]]:
    """Where (JSON pointer) and why the body is refused."""
    with pytest.raises(ValidationError) as error:
        adapter.validate_json(json.dumps(body))
    problem = reading._problem(error.value)
    return [(fault["pointer"], fault["detail_en"]) for fault in problem.errors]


def test_a_whole_submission_is_taken() -> None:
    body = submit()
    assert body.submitted_at == datetime(2026, 11, 2, 1, tzinfo=UTC)
    assert body.applicant.name == NAME


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("code", "H56.14-261102-1"),
        ("code", "h56.14-261102-0001"),
        ("code", "H56.14-٢٦١١٠٢-0001"),
        ("code", "H56.14-261102-0001\n"),
        ("code", "H" + "1" * 60 + "-261102-0001"),
        ("code", 261102),
        ("code", None),
        ("code", MISSING),
        ("agency", "H56."),
        ("agency", "12.34"),
        ("procedure", "1.16"),
        ("channel", "4"),
        ("channel", 2),
        ("applicant", MISSING),
        ("applicant", []),
        ("applicant/kind", "5"),
        ("applicant/name", ""),
        ("applicant/name", "   "),
        ("applicant/name", "x" * 301),
        ("applicant/name", "a\u0000b"),
        ("applicant/name", "a\u001bb"),
        ("applicant/identity/type", "cmnd"),
        ("applicant/identity/number", "07919900012"),
        ("applicant/identity/number", "٠٧٩١٩٩٠٠٠١٢٣"),
        ("applicant/identity/number", 79199000123),
        ("applicant/email", "không phải thư"),
        ("summary", "x" * 1001),
        ("submitted_at", "2026-11-02T08:00:00"),
        ("submitted_at", "2026-11-02"),
        ("submitted_at", "1793581200"),
        ("submitted_at", 1793581200),
        ("submitted_at", "2026-02-30T08:00:00Z"),
        ("submitted_at", "0001-01-01T00:00:00+14:00"),
        ("submitted_at", "9999-12-31T23:59:59Z"),
        ("submitted_at", "2026-11-02T08:00:00+99:00"),
        ("documents", [{"id": "1", "name": "Giấy"}] * 201),
        ("documents", {"id": "1", "name": "Giấy"}),
        ("documents/0/url", "javascript:alert(1)"),
        ("documents/0/digitised", "true"),
        ("documents/0/id", MISSING),
        ("fees", [{"name": "Lệ phí", "amount": 1}] * 101),
        ("fees/0/amount", -1),
        ("fees/0/amount", 1.5),
        ("fees/0/amount", "50000"),
        ("fees/0/amount", 10**30),
        ("fees/0/amount", True),
        ("return_method", "2"),
        ("official", []),
        ("official", "Trần Văn A"),
        ("nickname", "không biết"),
        ("applicant/gender", "1"),
        ("documents/0/size", 5),
    ],
)
def test_a_faulty_field_is_named(place, value) -> None:
    assert [pointer for pointer, _ in refused(SUBMIT, changed(place, value))] == ["/" + place]


@pytest.mark.parametrize(
    ("type_", "number", "fits"),
    [
        ("citizen-id", "079199000123", True),
        ("citizen-id", "079199000", False),
        ("old-citizen-id", "025123456", True),
        ("old-citizen-id", "079199000123", False),
        ("tax-code", "0101243150", True),
        ("tax-code", "0101243150-001", True),
        ("tax-code", "079199000123", True),
        ("tax-code", "0101243150001", False),
        ("tax-code", "01012431", False),
        ("passport", "C1234567", True),
        ("passport", "C-123", False),
    ],
)
def test_numbers_have_the_form_of_their_type(type_, number, fits) -> None:
    body = changed("applicant/identity", {"type": type_, "number": number})
    if fits:
        SUBMIT.validate_json(json.dumps(body))
    else:
        assert [place for place, _ in refused(SUBMIT, body)] == ["/applicant/identity/number"]


@given(st.text("0123456789", min_size=10, max_size=10))
def test_no_tax_code_is_refused_for_its_check_digit(number) -> None:
    body = changed("applicant/identity", {"type": "tax-code", "number": number})
    SUBMIT.validate_json(json.dumps(body))


@given(st.text(min_size=1, max_size=60))
def test_a_refusal_never_repeats_what_was_sent(secret) -> None:
    marked = f"~{secret}~"
    for place in ("applicant/identity/number", "channel", "submitted_at", "procedure", "agency"):
        told = json.dumps(refused(SUBMIT, changed(place, marked)), ensure_ascii=False)
        assert marked not in told
    told = json.dumps(refused(STEP, {"kind": marked}), ensure_ascii=False)
    assert marked not in told


@pytest.mark.parametrize("kind", sorted(bodies.KINDS))
def test_every_step_names_its_faulty_field(kind) -> None:
    told = dict(refused(STEP, {"kind": kind, "at": "2026-11-02T08:00:00", "unheard_of": 1}))
    assert {"/at", "/unheard_of"} <= set(told)


def test_every_command_but_submit_is_a_step() -> None:
    told = {
        get_args(command.model_fields["kind"].annotation)[0]
        for command in get_args(get_args(commands.Command)[0])
    }
    assert told - {"submit"} == bodies.KINDS


@pytest.mark.parametrize(
    "body",
    [*get_args(get_args(bodies.AnyStep)[0]), bodies.Official, bodies.Document, bodies.Fee],
    ids=lambda body: body.__name__,
)
def test_no_field_of_the_published_language_comes_in_without_its_limits(body) -> None:
    """A step extends a command: a field added there must be given limits here."""
    own = {
        name
        for base in body.__mro__
        if base.__module__ == bodies.__name__
        for name in base.__annotations__
    }
    contract = getattr(commands, body.__name__)
    assert set(contract.model_fields) <= own
    assert body.model_config["extra"] == "forbid"
    assert body.model_config["strict"] is True


def test_results_that_are_to_be_signed_need_a_file() -> None:
    wish = {"user": "079199000123", "ca_name": "VNPT-CA"}
    body = step("complete", results=[{"id": "kq1", "name": "Giấy phép", "signing": wish}])
    assert [place for place, _ in refused(STEP, body)] == ["/results/0"]


@pytest.mark.parametrize("user", ["079199000123", "0101243150", "0101243150-001"])
def test_a_signer_is_sealed_before_the_command_exists(user) -> None:
    wish = {"user": user, "ca_name": "VNPT-CA"}
    body = step(
        "complete", results=[{"id": "kq1", "name": "Giấy phép", "file": "a" * 64, "signing": wish}]
    )
    command = command_of(STEP.validate_json(json.dumps(body)), lambda value: f"<{value}>"[::-1])
    assert isinstance(command, commands.Complete)
    assert command.results[0].signing is not None
    assert command.results[0].signing.sealed_user == f">{user[::-1]}<"
    assert user not in command.model_dump_json()


def test_only_the_seal_sees_the_applicant() -> None:
    seen = []

    def seal(value):
        seen.append(value)
        return "sealed"

    command = submit().command(PROCEDURE, seal)
    assert seen == [
        {
            "name": NAME,
            "identity": {"type": "citizen-id", "number": NUMBER},
            "email": "buoi@example.vn",
            "phone": "0903 123 456",
            "address": "12 Lê Lợi, Phường Bến Nghé",
        }
    ]
    written = command.model_dump_json()
    assert NAME not in written
    assert NUMBER not in written
    assert commands.Submit.model_validate_json(written) == commands.Submit.model_validate(
        command.model_dump()
    )


@pytest.mark.parametrize("kind", sorted(bodies.KINDS))
def test_steps_are_commands_that_the_dossier_service_reads(kind) -> None:
    needed: dict[str, Any] = {
        "refuse": {"reason": "Sai thẩm quyền"},
        "request-supplement": {"content": "Bản sao giấy tờ"},
        "request-fee": {"fees": [{"name": "Lệ phí", "amount": 1}]},
        "record-fee": {"online": True},
        "pause": {"reason": "Quá hạn"},
        "withdraw": {"reason": "Đổi ý"},
    }
    body = STEP.validate_json(json.dumps(step(kind, **needed.get(kind, {}))))
    command = command_of(body, str)
    assert isinstance(command, get_args(get_args(commands.Command)[0]))
    assert command.kind == kind
    assert command.at == datetime(2026, 11, 2, 2, tzinfo=UTC)


def test_content_is_the_same_however_it_is_written() -> None:
    body = submission()
    other = {name: body[name] for name in reversed(body)}
    other["submitted_at"] = "2026-11-02T01:00:00.000Z"
    other["note"] = None
    other["applicant"]["portal_account"] = None
    first = SUBMIT.validate_json(json.dumps(body))
    second = SUBMIT.validate_json(json.dumps(other, ensure_ascii=True, indent=3))
    assert first.canonical() == second.canonical()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("applicant/identity/number", "079199000124"),
        ("applicant/phone", "0903 123 457"),
        ("submitted_at", "2026-11-02T08:00:01+07:00"),
        ("fees/0/amount", 50001),
        ("code", dossier_code(2)),
        ("documents", []),
        ("channel", "1"),
    ],
)
def test_another_content_is_another(place, value) -> None:
    other = SUBMIT.validate_json(json.dumps(changed(place, value)))
    assert submit().canonical() != other.canonical()
