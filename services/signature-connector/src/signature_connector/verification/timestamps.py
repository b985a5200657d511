"""Answers of time-stamping authorities (RFC 3161, section 2.4.2), judged before they are used."""

from datetime import datetime
from typing import Any, ClassVar

from asn1crypto import cms, core, tsp

from signature_connector.domain.findings import Refusal, Report, passed
from signature_connector.domain.timestamps import CLOCKS_APART, Query
from signature_connector.verification.chains import NOTHING, Chains
from signature_connector.verification.policies import Policy
from signature_connector.verification.signature import Found, Stamped, judge_token


class _Response(core.Sequence):  # type: ignore[misc]  # asn1crypto has no types
    """A response; a rejection has no token (the library's has to have one)."""

    _fields: ClassVar[Any] = [
        ("status", tsp.PKIStatusInfo),
        ("time_stamp_token", cms.ContentInfo, {"optional": True}),
    ]


def examine_reply(reply: bytes, query: Query, policy: Policy | None, moment: datetime) -> Report:
    """Whether an answer holds a token that may be kept.

    Args:
        reply: DER of the response.
        query: what was asked.
        policy: whose roots count.
        moment: now.

    Returns:
        A report whose facts are ``token`` (DER of the CMS ContentInfo) and ``time``, or a refusal.
    """
    try:
        token, time = _examined(reply, query, policy, moment)
    except Refusal as refusal:
        return Report((refusal.finding,))
    except Exception as error:  # hostile bytes make the parser raise nearly anything
        return Report((Refusal("timestamp-bad", type(error).__name__).finding,))
    return Report((passed("timestamp-good", time.isoformat()),), {"token": token, "time": time})


def _examined(
    reply: bytes, query: Query, policy: Policy | None, moment: datetime
) -> tuple[bytes, datetime]:
    response = _Response.load(reply, strict=True)
    status = response["status"]["status"].native
    if status not in ("granted", "granted_with_mods"):
        raise Refusal("timestamp-bad", str(status))
    content = response["time_stamp_token"]
    info: tsp.TSTInfo = content["content"]["encap_content_info"]["content"].parsed
    if info["nonce"].native != query.nonce:
        raise Refusal("timestamp-bad", "nonce")
    if query.policy is not None and info["policy"].dotted != query.policy:
        raise Refusal("timestamp-bad", "policy")
    if policy is None:
        raise Refusal("policy-unknown")

    def imprint(algorithm: str) -> bytes:
        if algorithm != "sha256":
            raise Refusal("digest-mismatch", algorithm)
        return query.imprint

    token = bytes(content.dump())
    latest = moment + CLOCKS_APART
    stamp = Stamped(token, imprint)
    time, _ = judge_token(stamp, Found("", ""), Chains(policy, NOTHING, latest), latest, {})
    if time < moment - CLOCKS_APART:
        raise Refusal("timestamp-bad", "clock")
    return token, time
