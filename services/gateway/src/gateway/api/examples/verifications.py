"""Verification of signatures."""

from gateway import errors
from gateway.api.examples.form import Told

_CERTIFICATE = {
    "serial_number": "5404fffeb7033fb316d672201b7ba4fe",
    "sha256": "9f2c4be3a1d07f5e6c8b9a0d1e2f3a4b5c6d7e8f90a1b2c3d4e5f60718293a4b",
    "issuer": "Common Name: VNPT-CA, Country: VN",
    "not_before": "2026-01-05T00:00:00Z",
    "not_after": "2029-01-05T00:00:00Z",
    "key": "rsa 2048",
}
_SIGNATURE = {
    "name": "Signature1",
    "format": "pades",
    "level": "B-LT",
    "indication": "TOTAL-PASSED",
    "sub_indication": None,
    "signer": {"name": "N. V. K.", "identifier": "***001", "organisation": "UBND xã"},
    "issuer": "Common Name: VNPT-CA, Country: VN",
    "certificate": _CERTIFICATE,
    "chain": [
        {
            "subject": "Common Name: VNPT-CA, Country: VN",
            "sha256": "1b2c3d4e5f60718293a4b9f2c4be3a1d07f5e6c8b9a0d1e2f3a4b5c6d7e8f90a",
        }
    ],
    "claimed_at": "2026-11-22T05:59:58Z",
    "proven_at": "2026-11-22T06:00:00Z",
    "judged_at": "2026-11-22T06:00:00Z",
    "mechanism": "rsassa_pss sha256",
    "intact": True,
    "revocation": "good",
    "modifications": "validation-data",
    "covers": ["revision 2"],
    "timestamps": [
        {
            "kind": "signature",
            "time": "2026-11-22T06:00:00Z",
            "issuer": "Common Name: TSA, Country: VN",
            "accepted": True,
        }
    ],
    "findings": [
        {
            "code": "intact",
            "level": "passed",
            "vi": "Toàn vẹn: giá trị băm và chữ ký đều đúng",
            "en": "Intact: digest and signature verify",
            "detail": None,
        }
    ],
}
_REPORT = {
    "indication": "TOTAL-PASSED",
    "sub_indication": None,
    "at": "2026-11-22T07:00:00Z",
    "policy": {
        "name": "vn-public",
        "version": "2026-1",
        "date": "2026-01-01",
        "source": "Danh sách gốc do đơn vị vận hành nạp",
        "confidence": "operator",
    },
    "algorithm_policy": {
        "version": "2026-1",
        "source": "TT 15/2025/TT-BKHCN: RSA from 2048 bits, ECDSA from 256 bits; no SHA-1",
        "confidence": "law for the sizes; the digests by judgement",
    },
    "signatures": [_SIGNATURE],
    "findings": [],
}

TOLD = {
    "verify_signatures": Told(
        "Kiểm tra mọi chữ ký trong tài liệu PDF, CMS, XML hoặc JWS: tổ chức cấp chứng thư, thời "
        "gian ký, tính toàn vẹn, hiệu lực, mức chữ ký, những thay đổi sau khi ký, và chính sách "
        "tin cậy đã áp dụng. Với `Accept: application/xml`, báo cáo theo ETSI TS 119 102-2. Tài "
        "liệu không được lưu lại. Nội dung của chữ ký tách rời được gửi kèm, hoặc nêu bằng mã "
        "băm (`content`) của tệp mà hệ thống này đã tải lên.",
        request={"document": "%PDF-1.7 …"},
        answers={200: {"passed": _REPORT}},
        refusals=("malformed-parts", errors.NoSuchFile, errors.FileDamaged),
    ),
}
