"""Where certificates say that their revocation can be looked up, and how long an answer counts."""

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice

from asn1crypto import algos, core, crl, ocsp, x509

from signature_connector.domain.revocation import Lookup

MOST_CERTIFICATES = 10
MOST_ADDRESSES = 3
"""Of each kind in one certificate."""
LONGEST_ADDRESS = 2048
_MOST_NAMES = 100
_WITHOUT_END = timedelta(minutes=5)
# Narrower than RFC 3986: no name of a user, no fragment, no zone, nothing that one reader takes for
# another part of the address than the next one does.
_ADDRESS = re.compile(
    r"https?://(?P<host>[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?:[/?][a-z0-9._~:/?@!$&'()*+,;=%\[\]-]*)?",
    re.IGNORECASE | re.ASCII,
)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)


def lookups(chain: Sequence[bytes]) -> list[list[Lookup]]:
    """For each certificate of a chain that is not self-issued, the calls that could tell.

    Args:
        chain: DER certificates, each before its issuer. What of them cannot be read is left out:
            they are foreign, and nothing that they hold raises.

    Returns:
        Per certificate, OCSP first (RFC 6960), then CRLs (RFC 5280).
    """
    loaded = [one for der in chain[:MOST_CERTIFICATES] if (one := _loaded(der)) is not None]
    found = [_calls(one, loaded) for one in loaded]
    return [one for one in found if one is not None]


def _loaded(der: bytes) -> x509.Certificate | None:
    try:
        return x509.Certificate.load(der, strict=True)
    except (ValueError, TypeError):
        return None


def _calls(one: x509.Certificate, chain: Sequence[x509.Certificate]) -> list[Lookup] | None:
    """Those for a certificate; None: it has no issuer among the chain."""
    issuer = next((other for other in chain if _issued(one, by=other)), None)
    if issuer is None or _issued(one, by=one):
        return None
    try:
        request = _request(one, issuer)
    except Exception:  # hostile bytes make the parser raise nearly anything
        return []
    calls = [Lookup("ocsp", url, request) for url in _addresses(_ocsp_names, one)]
    return calls + [Lookup("crl", url) for url in _addresses(_crl_names, one)]


def _issued(one: x509.Certificate, *, by: x509.Certificate) -> bool:
    try:
        return bool(one.issuer == by.subject)
    except Exception:  # hostile bytes make the parser raise nearly anything
        return False


def _addresses(
    read: Callable[[x509.Certificate], Iterator[x509.GeneralName]], certificate: x509.Certificate
) -> list[str]:
    """The first addresses that can be asked, each once; none of an extension that is broken."""
    try:
        names = list(islice(read(certificate), _MOST_NAMES))
        told = [address for one in names if (address := _address(one)) is not None]
    except Exception:  # hostile bytes make the parser raise nearly anything
        return []
    return list(dict.fromkeys(told))[:MOST_ADDRESSES]


def _ocsp_names(certificate: x509.Certificate) -> Iterator[x509.GeneralName]:
    for one in _extension(certificate, "authority_information_access"):
        if one["access_method"].native == "ocsp":
            yield one["access_location"]


def _crl_names(certificate: x509.Certificate) -> Iterator[x509.GeneralName]:
    for point in _extension(certificate, "crl_distribution_points"):
        name = point["distribution_point"]
        if not isinstance(name, core.Void) and name.name == "full_name":
            yield from name.chosen


def _extension(certificate: x509.Certificate, name: str) -> core.SequenceOf:
    """Read alone, so that a broken one takes nothing from the others; twice is forbidden."""
    extensions = certificate["tbs_certificate"]["extensions"]
    found = [one["extn_value"] for one in extensions if one["extn_id"].native == name]
    return found[0].parsed if len(found) == 1 else ()


def _address(name: x509.GeneralName) -> str | None:
    """An address as it is written: the library's text of it has the escapes resolved."""
    if name.name != "uniform_resource_identifier":
        return None
    written = bytes(name.chosen.contents)
    if len(written) > LONGEST_ADDRESS:
        return None
    text = written.decode("latin-1")
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found["port"] or 80) not in range(1, 2**16):
        return None
    return text if _host_allowed(found["host"]) else None


def _host_allowed(host: str) -> bool:
    """Whether all readers take it for the same: a name, or an address written in full.

    ``127.1``, ``0x7f000001`` and ``2130706433`` are addresses to some, and names to the guard.
    """
    if host.startswith("[") or _NUMBER.fullmatch(host.rpartition(".")[2]):
        try:
            ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return False
    return True


def completed(chain: Sequence[bytes], known: Sequence[bytes]) -> list[bytes]:
    """A chain, led on towards its root by certificates that are known otherwise.

    Args:
        chain: DER certificates, each before its issuer, as far as they were given.
        known: DER certificates of the trust bundle.
    """
    whole = list(chain[:MOST_CERTIFICATES])
    by_subject = {one.subject.dump(): one for one in map(x509.Certificate.load, known)}
    try:
        while whole and len(whole) < MOST_CERTIFICATES:
            last = x509.Certificate.load(whole[-1], strict=True)
            issuer = by_subject.get(last.issuer.dump())
            if last.issuer == last.subject or issuer is None:
                break
            whole.append(issuer.dump())
    except Exception:  # hostile bytes make the parser raise nearly anything
        return whole
    return whole


def good_until(kind: str, content: bytes) -> datetime | None:
    """Until when an answer may be used again; None: it is none of this kind."""
    try:
        if kind == "crl":
            end = crl.CertificateList.load(content, strict=True)["tbs_cert_list"]["next_update"]
            return _end(end.native)
        response = ocsp.OCSPResponse.load(content, strict=True)
        if response["response_status"].native != "successful":
            return None
        ends = [_end(one["next_update"].native) for one in response.response_data["responses"]]
        return min(ends, default=None)
    except Exception:  # hostile bytes make the parser raise nearly anything
        return None


def _end(told: datetime | None) -> datetime:
    if told is None:
        return datetime.now(UTC) + _WITHOUT_END
    if told.tzinfo is None:
        raise ValueError("no moment")
    return told.astimezone(UTC)


def _request(certificate: x509.Certificate, issuer: x509.Certificate) -> bytes:
    """Without a nonce, so that the answer can be used again (RFC 5019)."""
    identifier = ocsp.CertId(
        {
            # Names the certificate, protects nothing; the one that every responder knows.
            "hash_algorithm": algos.DigestAlgorithm({"algorithm": "sha1"}),
            "issuer_name_hash": core.OctetString(certificate.issuer.sha1),
            "issuer_key_hash": core.OctetString(issuer.public_key.sha1),
            "serial_number": certificate.serial_number,
        }
    )
    wanted = ocsp.Request({"req_cert": identifier})
    request = ocsp.TBSRequest({"request_list": ocsp.Requests([wanted])})
    return bytes(ocsp.OCSPRequest({"tbs_request": request}).dump())
