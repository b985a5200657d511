"""Where certificates say that their revocation can be looked up, and how long an answer counts."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from asn1crypto import algos, core, crl, ocsp, x509

from signature_connector.domain.revocation import Lookup

MOST_CERTIFICATES = 10
MOST_ADDRESSES = 3
"""Of each kind in one certificate."""
_WITHOUT_END = timedelta(minutes=5)


def lookups(chain: Sequence[bytes]) -> list[list[Lookup]]:
    """For each certificate of a chain that is not self-issued, the calls that could tell.

    Args:
        chain: DER certificates, each before its issuer.

    Returns:
        Per certificate, OCSP first (RFC 6960), then CRLs (RFC 5280).
    """
    loaded = [x509.Certificate.load(der, strict=True) for der in chain[:MOST_CERTIFICATES]]
    found = []
    for one in loaded:
        issuer = next((other for other in loaded if other.subject == one.issuer), None)
        if one.issuer == one.subject or issuer is None:
            continue
        calls = [
            Lookup("ocsp", url, _request(one, issuer))
            for url in _http(one.ocsp_urls)[:MOST_ADDRESSES]
        ]
        addresses = _http([url for point in one.crl_distribution_points for url in _urls(point)])
        calls += [Lookup("crl", url) for url in addresses[:MOST_ADDRESSES]]
        found.append(calls)
    return found


def completed(chain: Sequence[bytes], known: Sequence[bytes]) -> list[bytes]:
    """A chain, led on towards its root by certificates that are known otherwise.

    Args:
        chain: DER certificates, each before its issuer, as far as they were given.
        known: DER certificates of the trust bundle.
    """
    whole = list(chain[:MOST_CERTIFICATES])
    by_subject = {one.subject.dump(): one for one in map(x509.Certificate.load, known)}
    while whole and len(whole) < MOST_CERTIFICATES:
        last = x509.Certificate.load(whole[-1], strict=True)
        issuer = by_subject.get(last.issuer.dump())
        if last.issuer == last.subject or issuer is None:
            break
        whole.append(issuer.dump())
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
    except (ValueError, TypeError, KeyError):
        return None


def _end(told: datetime | None) -> datetime:
    return told if told is not None else datetime.now(UTC) + _WITHOUT_END


def _http(urls: Sequence[str]) -> list[str]:
    return [url for url in dict.fromkeys(urls) if url.lower().startswith(("http://", "https://"))]


def _urls(point: x509.DistributionPoint) -> list[str]:
    name = point["distribution_point"]
    if name.name != "full_name":
        return []
    return [one.native for one in name.chosen if one.name == "uniform_resource_identifier"]


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
