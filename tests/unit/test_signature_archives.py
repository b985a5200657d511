"""Archive timestamps in CMS, XML and JWS: what they prove, and every change that they notice."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asn1crypto import cms, core
from lxml import etree

from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.verification import Kind
from tests.support.archives import (
    DS,
    XADES,
    XADES141,
    Token,
    ago,
    archived_cms,
    changed,
    cms_kept,
    index_of,
    jws_archive,
    jws_data,
    jws_kept,
    jws_stamp,
    token,
    with_data,
    with_signature_stamp,
    with_xml_data,
    with_xml_stamp,
    xml_kept,
)
from tests.support.signing import Holder, authority, issue, root, signer
from tests.support.verification import (
    b64,
    cades,
    codes,
    crl,
    good_data,
    jws,
    policies,
    report,
    tsa,
    xades,
)

NONE = ValidationData()
KEPT: dict[str, tuple[Kind, Callable[..., bytes]]] = {
    "cades": ("cms", cms_kept),
    "xades": ("xml", xml_kept),
    "jades": ("jws", jws_kept),
}
every_format = pytest.mark.parametrize("form", KEPT)


def kept(form: str, **how: Any) -> tuple[Kind, bytes]:
    kind, make = KEPT[form]
    return kind, make(**how)


def only(found: Any) -> dict[str, Any]:
    (one,) = found.facts["signatures"]
    return dict(one)


def accepted(found: Any) -> list[tuple[str, bool]]:
    return [(one["kind"], one["accepted"]) for one in only(found)["timestamps"]]


def bad_stamps(found: Any) -> list[str]:
    return [
        one.get("detail", "") for one in only(found)["findings"] if one["code"] == "timestamp-bad"
    ]


BOTH = [("signature", True), ("archive", True)]


# What they prove.


@every_format
def test_an_archive_timestamp_makes_it_b_lta_with_nothing_looked_up(form: str) -> None:
    found = report(*kept(form), data=NONE)
    assert found.facts["indication"] == "TOTAL-PASSED"
    assert only(found)["level"] == "B-LTA"
    assert accepted(found) == BOTH
    assert "timestamp-unchecked" not in codes(found)
    proven = datetime.fromisoformat(only(found)["proven_at"])
    assert abs(proven - ago(6)) < timedelta(minutes=5)


@pytest.mark.parametrize("digest", ["sha384", "sha512"])
def test_an_archive_timestamp_may_use_another_digest_than_the_signature(digest: str) -> None:
    stamp = token(at=ago(3), digest=digest)
    message = with_data(with_signature_stamp(cades(), token(at=ago(6))), good_data())
    assert only(report("cms", archived_cms(message, stamp, digest=digest)))["level"] == "B-LTA"
    for form in ("xades", "jades"):
        assert only(report(*kept(form, last=stamp)))["level"] == "B-LTA"


def test_an_archive_timestamp_may_name_its_canonicalisation() -> None:
    found = report("xml", xml_kept(exclusive=True), data=NONE)
    assert only(found)["level"] == "B-LTA"


def test_a_detached_signature_is_archived_with_its_content() -> None:
    message = with_data(with_signature_stamp(cades(detached=True), token(at=ago(6))), good_data())
    whole = archived_cms(message, token(at=ago(3)))
    assert only(report("cms", whole, detached=b"Noi dung"))["level"] == "B-LTA"


def test_an_archive_timestamp_is_renewed_by_another() -> None:
    twice = archived_cms(cms_kept(), token(tsa("Another"), at=ago(1)))
    found = report("cms", twice, data=NONE)
    assert only(found)["level"] == "B-LTA"
    assert accepted(found) == [*BOTH, ("archive", True)]


def tsa_ended() -> Holder:
    return tsa("Ended")


def lists(*serials: int, at: datetime) -> ValidationData:
    """CRLs by which certificates of the root were revoked at a moment."""
    revoked = dict.fromkeys(serials, at)
    return ValidationData((), (), (crl(root(), revoked), crl(authority())))


@every_format
def test_a_token_counts_as_of_the_archive_timestamp_over_it(form: str) -> None:
    """Its authority was revoked two hours ago; an archive timestamp from before proves the token
    to be older than that, one from after does not."""
    data = lists(tsa_ended().certificate.serial_number, at=ago(2))
    first = token(tsa_ended(), at=ago(6))
    in_time = report(*kept(form, first=first, last=token(at=ago(3)), data=NONE), data=data)
    assert accepted(in_time) == BOTH
    too_late = report(*kept(form, first=first, last=token(at=ago(1)), data=NONE), data=data)
    assert accepted(too_late) == [("signature", False), ("archive", True)]
    assert bad_stamps(too_late) == [f"certificate-revoked: {ago(2).date().isoformat()}"]
    proven = datetime.fromisoformat(only(too_late)["proven_at"])
    assert abs(proven - ago(1)) < timedelta(minutes=5)


@every_format
def test_a_token_that_was_added_later_is_not_proven_by_the_archive_timestamp(form: str) -> None:
    """It claims to be older than everything; its authority's key was taken two hours ago."""
    data = lists(tsa_ended().certificate.serial_number, at=ago(2))
    forged = token(tsa_ended(), at=ago(9))
    if form == "cades":
        found = report("cms", with_signature_stamp(cms_kept(data=NONE), forged), data=data)
    elif form == "xades":
        late = xml_kept(data=NONE, change=lambda one: with_xml_stamp(one, forged))
        found = report("xml", late, data=data)
    else:
        body = json.loads(jws_kept(data=NONE))
        part = jws_stamp(body["signature"], forged)
        body["header"]["etsiU"].append(b64(json.dumps(part).encode()))
        found = report("jws", json.dumps(body).encode(), data=data)
    assert sorted(accepted(found)) == [("archive", True), ("signature", False), ("signature", True)]
    proven = datetime.fromisoformat(only(found)["proven_at"])
    assert abs(proven - ago(6)) < timedelta(minutes=5)


def test_a_timestamp_of_the_signature_proves_no_other_token() -> None:
    """A forged one that claims to be older stands before it."""
    data = lists(tsa_ended().certificate.serial_number, at=ago(2))
    protected, payload, value = jws().split(".")
    stamps = (token(tsa_ended(), at=ago(9)), token(at=ago(4)))
    body = {"payload": payload, "protected": protected, "signature": value}
    header = {"etsiU": [jws_stamp(value, one) for one in stamps]}
    found = report("jws", json.dumps({**body, "header": header}).encode(), data=data)
    assert [one for _, one in accepted(found)] == [False, True]
    proven = datetime.fromisoformat(only(found)["proven_at"])
    assert abs(proven - ago(4)) < timedelta(minutes=5)


@every_format
def test_an_archive_timestamp_by_somebody_who_is_not_trusted_proves_nothing(form: str) -> None:
    from tests.support.signing import Usage

    rogue = issue("Rogue", None, Usage(authority=True, key=signer().key))
    stamp = token(Holder(rogue.certificate, rogue.key), at=ago(3))
    found = report(*kept(form, last=stamp))
    assert accepted(found) == [("signature", True), ("archive", False)]
    assert only(found)["level"] == "B-LT"


def test_an_archive_timestamp_may_come_from_a_root_of_its_own() -> None:
    """As with the simulated authority: not trusted unless its root is."""
    from tests.support.assembly import tsa as other

    stamp: Token = lambda octets: other().token(_sha256(octets))  # noqa: E731
    data = ValidationData((), (), (*good_data().crls, *_own_lists()))
    soon = datetime.now(UTC) + timedelta(minutes=1)
    both = policies(root(), Holder(other().root, root().key))
    message = cms_kept(last=stamp)
    assert only(report("cms", message, data=data, at=soon))["level"] == "B-LT"
    assert only(report("cms", message, data=data, trusted=both, at=soon))["level"] == "B-LTA"


def _sha256(octets: bytes) -> bytes:
    import hashlib

    return hashlib.sha256(octets).digest()


def _own_lists() -> tuple[bytes, ...]:
    from tests.support.assembly import validation_data

    return tuple(validation_data().crls)


# Data that the archive timestamp is not over.


def test_data_that_was_added_later_makes_no_b_lta() -> None:
    stamped = with_signature_stamp(cades(), token(at=ago(6)))
    message = with_data(archived_cms(stamped, token(at=ago(3))), good_data())
    assert only(report("cms", message, data=NONE))["level"] == "B-LT"

    protected, payload, value = jws().split(".")
    items = [b64(json.dumps(jws_stamp(value, token(at=ago(6)))).encode())]
    archive = jws_archive(protected, payload, value, items, token(at=ago(3)))
    items += [b64(json.dumps(one).encode()) for one in (archive, *jws_data(good_data()))]
    body = {"payload": payload, "protected": protected, "signature": value}
    late = json.dumps({**body, "header": {"etsiU": items}}).encode()
    assert only(report("jws", late, data=NONE))["level"] == "B-LT"


def test_an_index_that_leaves_the_data_out_makes_no_b_lta() -> None:
    stamped = with_data(with_signature_stamp(cades(), token(at=ago(6))), good_data())
    message = archived_cms(
        stamped, token(at=ago(3)), index=lambda *given: index_of(*given, leave_out=("crls",))
    )
    found = report("cms", message, data=NONE)
    assert accepted(found) == BOTH
    assert only(found)["level"] == "B-LT"


def test_an_index_that_leaves_a_token_out_proves_nothing_of_it() -> None:
    data = lists(tsa_ended().certificate.serial_number, at=ago(2))
    stamped = with_signature_stamp(cades(), token(tsa_ended(), at=ago(6)))
    message = archived_cms(
        stamped, token(at=ago(3)), index=lambda *given: index_of(*given, leave_out=("attributes",))
    )
    assert accepted(report("cms", message, data=data)) == [("signature", False), ("archive", True)]


# What they notice: one byte of each part.


def _flipped(octets: bytes) -> bytes:
    return octets[:-1] + bytes([octets[-1] ^ 1])


def _attribute_values(signer_info: cms.SignerInfo, kind: str) -> cms.CMSAttribute:
    (found,) = [one for one in signer_info["unsigned_attrs"] if one["type"].dotted == kind]
    return found


def _swap_certificate(signed: cms.SignedData, _: cms.SignerInfo) -> None:
    issuing = [one for one in signed["certificates"] if one.chosen.dump() != signer().der]
    assert issuing
    ours = [one for one in signed["certificates"] if one.chosen.dump() == signer().der]
    other = cms.CertificateChoices.load(_flipped(issuing[0].dump()))
    signed["certificates"] = cms.CertificateSet([*ours, other])


def _swap_list(signed: cms.SignedData, _: cms.SignerInfo) -> None:
    first, *rest = signed["crls"]
    other = cms.RevocationInfoChoice.load(_flipped(first.dump()))
    signed["crls"] = cms.RevocationInfoChoices([other, *rest])


def _drop_list(signed: cms.SignedData, _: cms.SignerInfo) -> None:
    signed["crls"] = cms.RevocationInfoChoices(list(signed["crls"])[:1])


def _swap_token(_: cms.SignedData, signer_info: cms.SignerInfo) -> None:
    stamp = _attribute_values(signer_info, "1.2.840.113549.1.9.16.2.14")
    stamp["values"] = [cms.ContentInfo.load(_flipped(stamp["values"][0].dump()))]


def _drop_token(_: cms.SignedData, signer_info: cms.SignerInfo) -> None:
    kept = [
        one
        for one in signer_info["unsigned_attrs"]
        if one["type"].dotted != "1.2.840.113549.1.9.16.2.14"
    ]
    signer_info["unsigned_attrs"] = cms.CMSAttributes(kept)


def _swap_index(_: cms.SignedData, signer_info: cms.SignerInfo) -> None:
    archive = _attribute_values(signer_info, "0.4.0.1733.2.4")
    whole = archive["values"][0].dump()
    loaded = cms.ContentInfo.load(whole)
    (stamping,) = loaded["content"]["signer_infos"]
    index = _attribute_values(stamping, "0.4.0.19122.1.5")
    index["values"] = [core.Sequence.load(_flipped(index["values"][0].dump()))]
    archive["values"] = [cms.ContentInfo.load(loaded.dump(force=True))]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_swap_certificate, "digest-mismatch: certificates"),
        (_swap_list, "digest-mismatch: revocation data"),
        (_drop_list, "digest-mismatch: revocation data"),
        (_swap_token, "digest-mismatch: unsigned attributes"),
        (_drop_token, "digest-mismatch: unsigned attributes"),
        (_swap_index, "digest-mismatch: unsigned attributes"),
    ],
    ids=["certificate", "list", "list-dropped", "token", "token-dropped", "index"],
)
def test_a_change_of_what_a_cades_archive_covers_is_noticed(
    change: Callable[[cms.SignedData, cms.SignerInfo], None], reason: str
) -> None:
    found = report("cms", changed(cms_kept(), change))
    assert ("archive", False) in accepted(found)
    assert reason in bad_stamps(found)
    assert only(found)["level"] != "B-LTA"


@pytest.mark.parametrize("field", ["sid", "signature_algorithm", "content", "version"])
def test_an_archive_over_other_signed_fields_is_noticed(field: str) -> None:
    """The token is genuine, and over a signature that differs in one thing."""
    stamped = with_data(with_signature_stamp(cades(), token(at=ago(6))), good_data())

    def over_another(octets: bytes) -> bytes:
        place = {
            "version": octets.index(b"\x02\x01\x01"),
            "sid": octets.index(b"Issuing CA"),
            "signature_algorithm": octets.rindex(b"\x04\x82\x01\x00") - 1,
            "content": 11 + 5,
        }[field]
        other = octets[:place] + bytes([octets[place] ^ 1]) + octets[place + 1 :]
        return token(at=ago(3))(other)

    found = report("cms", archived_cms(stamped, over_another))
    assert accepted(found) == [("signature", True), ("archive", False)]
    assert bad_stamps(found) == ["digest-mismatch"]
    assert only(found)["level"] == "B-LT"


def test_an_archive_of_another_signature_is_noticed() -> None:
    other = cms.ContentInfo.load(cms_kept())["content"]["signer_infos"][0]
    archive = _attribute_values(other, "0.4.0.1733.2.4")
    stamped = with_data(with_signature_stamp(cades(), token(at=ago(6))), good_data())

    def put(_: cms.SignedData, signer_info: cms.SignerInfo) -> None:
        signer_info["unsigned_attrs"] = cms.CMSAttributes([*signer_info["unsigned_attrs"], archive])

    found = report("cms", changed(stamped, put))
    assert accepted(found) == [("signature", True), ("archive", False)]


def test_an_index_by_another_digest_than_the_token_is_refused() -> None:
    stamped = with_data(with_signature_stamp(cades(), token(at=ago(6))), good_data())
    message = archived_cms(
        stamped, token(at=ago(3)), index=lambda one, by: index_of(one, by, "sha512")
    )
    assert bad_stamps(report("cms", message)) == ["digest-mismatch: algorithm of the index"]


def test_an_archive_that_claims_to_be_older_than_what_it_covers_does_not_count() -> None:
    """A token cannot have been covered before it was made."""
    found = report("cms", cms_kept(first=token(at=ago(3)), last=token(at=ago(6))))
    assert ("signature", False) in accepted(found)


def _text(signature: Any, path: str, *, last: bool = False) -> None:
    place = signature.findall(path)[-1 if last else 0]
    decoded = base64.b64decode(place.text)
    place.text = base64.b64encode(_flipped(decoded)).decode()


def _key(signature: Any) -> None:
    signature.find(f"{DS}KeyInfo").tail = None
    signature.find(f"{DS}KeyInfo/{DS}X509Data").tail = " "


def _object(signature: Any) -> None:
    etree.SubElement(signature, f"{DS}Object").text = "x"


def _moved(signature: Any) -> None:
    unsigned = signature.find(f".//{XADES}UnsignedSignatureProperties")
    unsigned.insert(0, unsigned.find(f"{XADES}RevocationValues"))


def _dropped(signature: Any) -> None:
    unsigned = signature.find(f".//{XADES}UnsignedSignatureProperties")
    unsigned.remove(unsigned.find(f"{XADES}SignatureTimeStamp"))


@pytest.mark.parametrize(
    "change",
    [
        lambda signature: _text(signature, f".//{XADES}EncapsulatedX509Certificate"),
        lambda signature: _text(signature, f".//{XADES}EncapsulatedCRLValue", last=True),
        lambda signature: _text(
            signature, f".//{XADES}SignatureTimeStamp/{XADES}EncapsulatedTimeStamp"
        ),
        _object,
        _moved,
        _dropped,
    ],
    ids=["certificate", "list", "token", "object", "order", "token-dropped"],
)
def test_a_change_of_what_a_xades_archive_covers_is_noticed(change: Callable[[Any], None]) -> None:
    assert only(report("xml", xml_kept()))["level"] == "B-LTA"
    found = report("xml", xml_kept(change=change))
    assert ("archive", False) in accepted(found)
    assert "digest-mismatch" in bad_stamps(found)
    assert only(found)["level"] != "B-LTA"


@pytest.mark.parametrize(
    "part",
    [
        b"<So>12</So>",
        b"SigningTime>20",
        b"X509Data",
        b"DigestMethod Algorithm",
        b'<GiayPhep xmlns="urn:vn"',
    ],
    ids=["content", "properties", "key", "references", "namespace"],
)
def test_an_archive_over_another_xml_signature_is_noticed(part: bytes) -> None:
    """The token is genuine, and over octets of which one differs."""

    def over_another(octets: bytes) -> bytes:
        place = octets.index(part)
        return token(at=ago(3))(octets[:place] + b"!" + octets[place + 1 :])

    found = report("xml", xml_kept(last=over_another))
    assert accepted(found) == [("signature", True), ("archive", False)]
    assert bad_stamps(found) == ["digest-mismatch"]
    assert only(found)["level"] == "B-LT"


def _swap(place: int) -> Callable[[list[str]], None]:
    """One byte of a component: of the last thing that it holds."""

    def change(items: list[str]) -> None:
        part = json.loads(base64.urlsafe_b64decode(items[place] + "=="))
        text = json.dumps(part)
        at = text.rindex('"', 0, text.rindex('"')) + 40
        text = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        items[place] = b64(text.encode())

    return change


def _reorder(items: list[str]) -> None:
    items[1], items[2] = items[2], items[1]


def _respell(items: list[str]) -> None:
    part = json.loads(base64.urlsafe_b64decode(items[2] + "=="))
    items[2] = b64(json.dumps(part, indent=1).encode())


@pytest.mark.parametrize(
    "change",
    [_swap(0), _swap(2), _reorder, _respell, lambda items: items.pop(0)],
    ids=["token", "list", "order", "spelling", "token-dropped"],
)
def test_a_change_of_what_a_jades_archive_covers_is_noticed(
    change: Callable[[list[str]], None],
) -> None:
    found = report("jws", jws_kept(change=change))
    assert ("archive", False) in accepted(found)
    assert "digest-mismatch" in bad_stamps(found)
    assert only(found)["level"] != "B-LTA"


@pytest.mark.parametrize("part", [0, 1, 2], ids=["payload", "header", "signature"])
def test_an_archive_over_another_jws_is_noticed(part: int) -> None:
    def over_another(octets: bytes) -> bytes:
        parts = octets.split(b".")
        parts[part] = b"A" + parts[part][1:] if parts[part][:1] != b"A" else b"B" + parts[part][1:]
        return token(at=ago(3))(b".".join(parts))

    found = report("jws", jws_kept(last=over_another))
    assert accepted(found) == [("signature", True), ("archive", False)]
    assert bad_stamps(found) == ["digest-mismatch"]


def test_a_payload_that_is_not_encoded_is_archived_as_it_stands() -> None:
    """RFC 7797: then the octets themselves come first."""
    from tests.support.verification import raw

    payload = "so 12"
    header = json.loads(base64.urlsafe_b64decode(jws().split(".")[0] + "=="))
    protected = b64(json.dumps({**header, "b64": False, "crit": ["b64"]}).encode())
    value = b64(raw(signer(), f"{protected}.{payload}".encode()))
    items = [b64(json.dumps(jws_stamp(value, token(at=ago(6)))).encode())]
    items += [b64(json.dumps(one).encode()) for one in jws_data(good_data())]
    archive = jws_archive(protected, payload, value, items, token(at=ago(3)))
    items.append(b64(json.dumps(archive).encode()))
    body = {"payload": payload, "protected": protected, "signature": value}
    found = report("jws", json.dumps({**body, "header": {"etsiU": items}}).encode(), data=NONE)
    assert only(found)["level"] == "B-LTA"


# What is named, not verified.


def test_older_kinds_of_archive_timestamps_are_named_and_not_verified() -> None:
    stamped = with_data(with_signature_stamp(cades(), token(at=ago(6))), good_data())

    def old(kind: str) -> bytes:
        def add(_: cms.SignedData, signer_info: cms.SignerInfo) -> None:
            made = cms.ContentInfo.load(token(at=ago(3))(b"x"))
            more = cms.CMSAttribute({"type": kind, "values": [made]})
            signer_info["unsigned_attrs"] = cms.CMSAttributes(
                [*signer_info["unsigned_attrs"], more]
            )

        return changed(stamped, add)

    def rename(signature: Any) -> None:
        signature.find(f".//{XADES141}ArchiveTimeStamp").tag = f"{XADES}ArchiveTimeStamp"

    def listing(signature: Any) -> None:
        archive = signature.find(f".//{XADES141}ArchiveTimeStamp")
        archive.insert(0, etree.Element(f"{XADES}Include", URI="#x"))

    def in_clear(items: list[Any]) -> None:
        items[:] = [json.loads(base64.urlsafe_b64decode(one + "==")) for one in items]

    for kind, content in (
        ("cms", old("1.2.840.113549.1.9.16.2.48")),
        ("cms", old("0.4.0.1733.2.4")),  # without an index
        ("xml", xml_kept(change=rename)),
        ("xml", xml_kept(change=listing)),
        ("jws", jws_kept(change=in_clear)),
    ):
        found = report(kind, content)  # type: ignore[arg-type]  # literals
        assert "timestamp-unchecked" in codes(found)
        assert accepted(found) == [("signature", True)]
        assert only(found)["level"] == "B-LT"


def test_data_for_timestamps_is_read_from_where_it_stands() -> None:
    """``TimeStampValidationData`` and ``tstVD``, and OCSP among the message's revocation data."""
    document = b"<a/>"
    root_element = etree.fromstring(xades(document))
    signature = root_element.find(f".//{DS}Signature")
    with_xml_stamp(signature, token(at=ago(6)))
    with_xml_data(signature, good_data())
    unsigned = signature.find(f".//{XADES}UnsignedSignatureProperties")
    holder = etree.SubElement(unsigned, f"{XADES141}TimeStampValidationData")
    for name in ("CertificateValues", "RevocationValues"):
        holder.append(unsigned.find(f"{XADES}{name}"))
    assert only(report("xml", etree.tostring(root_element), data=NONE))["level"] == "B-LT"

    protected, payload, value = jws().split(".")
    certificates, revocation = jws_data(good_data())
    items: list[Any] = [jws_stamp(value, token(at=ago(6)))]
    items.append({"tstVD": {**certificates, **revocation}})
    body = {"payload": payload, "protected": protected, "signature": value}
    whole = json.dumps({**body, "header": {"etsiU": items}}).encode()
    assert only(report("jws", whole, data=NONE))["level"] == "B-LT"


def test_more_timestamps_than_are_judged_at_once_are_refused() -> None:
    def many(items: list[str]) -> None:
        items[:] = items[:1] * 21

    message = cades()
    for _ in range(21):
        message = with_signature_stamp(message, token(at=ago(6)))

    def repeat(signature: Any) -> None:
        unsigned = signature.find(f".//{XADES}UnsignedSignatureProperties")
        for _ in range(21):
            with_xml_stamp(signature, lambda _: b"0")
        assert len(unsigned) > 20

    assert codes(report("jws", jws_kept(change=many)))[-1] == "too-many-signatures"
    assert codes(report("cms", message))[-1] == "too-many-signatures"
    assert codes(report("xml", xml_kept(change=repeat)))[-1] == "too-many-signatures"
