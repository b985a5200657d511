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
from gateway.api import bodies, papers, reading, steps
from gateway.api.bodies import SUBMIT
from gateway.api.steps import STEP, command_of
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
        ("other_papers", [{"name": "Ảnh", "quantity": 1}] * 201),
        ("databases", ["dan-cu"] * 51),
        ("vneid_verified", "1"),
        ("remark", "x" * 2001),
        ("documents/0/file", "a" * 63),
        ("documents/0/reused", 1),
        ("fees/0/method", ""),
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


@pytest.mark.parametrize("kind", sorted(steps.KINDS))
def test_every_step_names_its_faulty_field(kind) -> None:
    told = dict(refused(STEP, {"kind": kind, "at": "2026-11-02T08:00:00", "unheard_of": 1}))
    assert {"/at", "/unheard_of"} <= set(told)


def test_every_command_but_submit_is_a_step() -> None:
    told = {
        get_args(command.model_fields["kind"].annotation)[0]
        for command in get_args(get_args(commands.Command)[0])
    }
    assert told - {"submit"} == steps.KINDS


@pytest.mark.parametrize(
    "body",
    [
        *get_args(get_args(steps.AnyStep)[0]),
        papers.Official,
        papers.Document,
        papers.OtherPaper,
        papers.Fee,
    ],
    ids=lambda body: body.__name__,
)
def test_no_field_of_the_published_language_comes_in_without_its_limits(body) -> None:
    """A step extends a command: a field added there must be given limits here."""
    own = {
        name
        for base in body.__mro__
        if base.__module__ in {steps.__name__, papers.__name__}
        for name in base.__annotations__
    }
    contract = getattr(commands, body.__name__)
    assert set(contract.model_fields) <= own
    assert body.model_config["extra"] == "forbid"
    assert body.model_config["strict"] is True


FULL = {
    "procedure": PROCEDURE,
    "agency": "H56.14",
    "processing_unit": "Phòng Đăng ký kinh doanh",
    "return_method": "1",
    "other_papers": [{"name": "Ảnh 4x6", "quantity": 2, "kind": 1}],
    "vneid_verified": True,
    "online_payment": "1",
    "filed_at": "1",
    "databases": ["dan-cu"],
    "remark": "Nộp thay",
    "official": {"name": "Lê Văn B", "title": "Chuyên viên", "department": "Một cửa"},
    "note": "Đã kiểm tra",
    "documents": [
        {
            "id": "tl1",
            "name": "Giấy đề nghị",
            "component": "TP01",
            "url": "https://mot-cua.example.vn/tl1.pdf",
            "file": "a" * 64,
            "digitised": True,
            "reused": "1",
            "from_data_store": False,
            "replaced_by": "KQ.01",
        }
    ],
    "fees": [{"code": "LP01", "name": "Lệ phí", "amount": 1, "kind": "2", "method": "1"}],
}


def test_no_field_of_a_submission_is_forgotten_on_its_way_into_the_command() -> None:
    body = submit(**{**FULL, "procedure": submission()["procedure"]})
    command = body.command(PROCEDURE, lambda value: "sealed")
    own = {"kind", "at", "applicant_kind", "sealed"}
    for name in set(commands.Submit.model_fields) - own:
        value, default = getattr(command, name), commands.Submit.model_fields[name].default
        assert value != default, name
    for part, contract in (
        (command.documents[0], commands.Document),
        (command.fees[0], commands.Fee),
        (command.other_papers[0], commands.OtherPaper),
        (command.official, commands.Official),
    ):
        for name in contract.model_fields:
            assert getattr(part, name) is not None, name
    assert body.files() == [("a" * 64, "/documents/0/file")]


def test_no_field_of_a_result_is_forgotten_on_its_way_into_the_command() -> None:
    wish = {"user": "079199000123", "ca_name": "VNPT-CA", "reason": "Cấp phép"}
    result = {"id": "kq1", "name": "Giấy phép", "file": "a" * 64, "component": "TP01"}
    body = step(
        "complete",
        channel="1",
        official=FULL["official"],
        note="Xong",
        results=[{**result, "code": "KQ.01", "signing": wish}],
    )
    command = command_of(STEP.validate_json(json.dumps(body)), str)
    assert isinstance(command, commands.Complete)
    assert all(value is not None for value in dict(command).values())
    (made,) = command.results
    assert all(value is not None for value in dict(made).values())
    assert made.signing is not None
    assert all(value is not None for value in dict(made.signing).values())
    assert set(dict(made)) == set(commands.Result.model_fields)


@pytest.mark.parametrize(
    ("kind", "fields", "place"),
    [
        ("transfer", {"agency": "12.34"}, "/agency"),
        ("transfer", {"agency": "h56.14"}, "/agency"),
        ("transfer", {"agency": "H56.14", "reason": " "}, "/reason"),
        ("extend", {"due_at": "2026-11-02"}, "/due_at"),
        ("extend", {"reason": "x" * 2001}, "/reason"),
        ("rate", {"satisfaction": "not-measured"}, "/satisfaction"),
        ("rate", {"source": ""}, "/source"),
        ("receive", {"channel": "4"}, "/channel"),
        ("receive", {"channel": 1}, "/channel"),
        ("request-supplement", {"papers": [{"name": "Ảnh", "quantity": -1}]}, "/papers/0/quantity"),
        ("request-supplement", {"fees": [{"name": "Phí", "amount": "1"}]}, "/fees/0/amount"),
        (
            "give-supplement",
            {"documents": [{"id": "1", "name": "Ảnh", "file": "A" * 64}]},
            "/documents/0/file",
        ),
        (
            "give-supplement",
            {"documents": [{"id": "1", "name": "Ảnh", "reused": "3"}]},
            "/documents/0/reused",
        ),
    ],
)
def test_a_faulty_field_of_a_step_is_named(kind, fields, place) -> None:
    assert place in dict(refused(STEP, step(kind, **fields)))


def test_an_agency_that_takes_over_is_named_in_either_form() -> None:
    for code in ("H56.14", "000.00.14.H56"):
        body = STEP.validate_json(json.dumps(step("transfer", agency=code, reason="Sáp nhập")))
        assert isinstance(body, commands.Transfer)
        assert body.agency == "H56.14"


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


@pytest.mark.parametrize("kind", sorted(steps.KINDS))
def test_steps_are_commands_that_the_dossier_service_reads(kind) -> None:
    needed: dict[str, Any] = {
        "refuse": {"reason": "Sai thẩm quyền"},
        "request-supplement": {"content": "Bản sao giấy tờ"},
        "request-fee": {"fees": [{"name": "Lệ phí", "amount": 1}]},
        "record-fee": {"online": True},
        "pause": {"reason": "Quá hạn"},
        "withdraw": {"reason": "Đổi ý"},
        "extend": {"due_at": "2026-12-02T17:00:00+07:00", "reason": "Chờ thẩm định"},
        "transfer": {"agency": "H10.15", "reason": "Sáp nhập"},
        "rate": {"satisfaction": "neutral", "source": "khảo sát"},
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
