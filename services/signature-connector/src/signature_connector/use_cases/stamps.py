"""What a visible stamp says."""

from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.x509.oid import NameOID

from signature_connector.domain.profiles import Options

VIETNAM = timezone(timedelta(hours=7))


def stamp_lines(certificate: bytes, options: Options, at: datetime) -> tuple[str, ...]:
    """Signer, organisation, time and reason, in Vietnamese (NĐ 30/2020/NĐ-CP, Phụ lục I).

    Args:
        certificate: DER of the signer's.
        at: the time that the signature claims.
    """
    subject = x509.load_der_x509_certificate(certificate).subject
    name = _first(subject, NameOID.COMMON_NAME)
    organisation = _first(subject, NameOID.ORGANIZATION_NAME)
    lines = [f"Ký bởi: {name or 'không rõ'}"]
    if organisation and organisation != name:
        lines.append(f"Cơ quan: {organisation}")
    lines.append(f"Thời gian ký: {at.astimezone(VIETNAM):%d/%m/%Y %H:%M:%S} (+07:00)")
    if options.reason:
        lines.append(f"Lý do: {options.reason}")
    return tuple(lines)


def _first(subject: x509.Name, oid: x509.ObjectIdentifier) -> str | None:
    found = subject.get_attributes_for_oid(oid)
    return str(found[0].value) if found else None
