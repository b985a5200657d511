"""What can be said about documents, certificates and signatures, in Vietnamese and English.

Free of personal data: a report goes into the evidence as it is. Light, since the service itself
imports it while the verifying library is loaded by the isolated processes alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """What a finding means for the verdict."""

    PASSED = "passed"
    WARNING = "warning"
    REFUSED = "refused"


SENTENCES: Mapping[str, tuple[str, str]] = {
    # the document before it is signed
    "readable": ("Tệp PDF đọc được", "The PDF can be read"),
    "not-a-pdf": ("Tệp không phải là PDF", "The file is no PDF"),
    "unreadable": (
        "Tệp PDF hỏng hoặc sai cấu trúc",
        "The PDF is damaged or breaks the rules of the format",
    ),
    "too-large": ("Tệp vượt giới hạn dung lượng", "The file is above the size limit"),
    "encrypted": ("Tệp PDF bị mã hóa", "The PDF is encrypted"),
    "locked": (
        "Một chữ ký có trước không cho phép thay đổi tài liệu",
        "An earlier signature forbids any change of the document",
    ),
    "not-provable": (
        "Cấu trúc tệp không cho phép kiểm chứng sau khi ký",
        "The structure of the file does not allow a signature on it to be verified",
    ),
    "file-missing": (
        "Không tìm thấy tệp trong kho",
        "The file is not in the file store",
    ),
    "file-damaged": (
        "Tệp trong kho đã bị thay đổi",
        "The stored file does not have the digest it is stored under",
    ),
    # the certificate before it is used
    "certificate-usable": (
        "Chứng thư số còn hiệu lực và được phép ký",
        "The certificate is within its validity and meant for signing",
    ),
    "certificate-malformed": (
        "Chứng thư số không đọc được",
        "The certificate cannot be read",
    ),
    "certificate-serial": (
        "Số sê-ri được báo không phải của chứng thư số",
        "The serial number told is not that of the certificate",
    ),
    "certificate-not-yet-valid": (
        "Chứng thư số chưa có hiệu lực",
        "The certificate is not valid yet",
    ),
    "certificate-expired": ("Chứng thư số đã hết hạn", "The certificate has expired"),
    "certificate-usage": (
        "Chứng thư số không được cấp để ký số",
        "The certificate is not meant for signing",
    ),
    "certificate-untrusted": (
        "Chứng thư số không thuộc chuỗi tin cậy",
        "The certificate does not lead to a trusted root",
    ),
    "issuer-unknown": (
        "Chưa kiểm tra được chuỗi chứng thư trước khi ký: chưa biết chứng thư của tổ chức cấp",
        "The chain could not be checked before signing: the issuer's certificate is not known",
    ),
    "revocation-unchecked": (
        "Chưa kiểm tra tình trạng thu hồi của chứng thư số",
        "The revocation status of the certificate was not checked",
    ),
    "no-certificate": (
        "Không có chứng thư số nào dùng được của người ký",
        "The signer has no certificate that can be used",
    ),
    # the document that came back
    "unsigned": (
        "Tài liệu trả về không có chữ ký mới",
        "The returned document carries no new signature",
    ),
    "truncated": ("Tài liệu trả về bị cắt cụt", "The returned document is cut short"),
    "other-document": (
        "Tài liệu trả về không phải tài liệu đã gửi",
        "The returned document is not the one that was sent",
    ),
    "several-signatures": (
        "Có nhiều hơn một chữ ký mới",
        "There is more than one new signature",
    ),
    "wrong-certificate": (
        "Chữ ký không phải của chứng thư số đã chọn",
        "The signature is not by the expected certificate",
    ),
    "weak-algorithm": (
        "Thuật toán hoặc độ dài khóa không được phép",
        "The algorithm or key length is not allowed",
    ),
    "changed-while-signing": (
        "Nội dung bị thay đổi cùng lúc với việc ký",
        "More than the signature was changed by signing",
    ),
    "changed-after-signing": (
        "Nội dung bị thay đổi sau khi ký",
        "The document was changed after it was signed",
    ),
    "extra-update": (
        "Có phần bổ sung không giải thích được sau chữ ký",
        "An update without explanation follows the signature",
    ),
    "not-covered": (
        "Chữ ký không bao phủ toàn bộ tài liệu",
        "The signature does not cover the whole document",
    ),
    "digest-mismatch": (
        "Giá trị băm của tài liệu không khớp với chữ ký",
        "The document does not have the digest that was signed",
    ),
    "bad-signature": (
        "Giá trị chữ ký không đúng",
        "The signature value does not verify",
    ),
    "untrusted": (
        "Chữ ký không dẫn tới gốc tin cậy",
        "The signature does not lead to a trusted root",
    ),
    "not-examinable": (
        "Không kiểm tra được tài liệu trong giới hạn cho phép",
        "The document could not be examined within the limits",
    ),
    "content-kept": (
        "Tài liệu đã gửi được giữ nguyên; chỉ có thêm chữ ký",
        "The sent document is kept as it was; only the signature was added",
    ),
    "signer-expected": (
        "Đúng chứng thư số của người ký",
        "Signed by the expected certificate",
    ),
    "intact": (
        "Toàn vẹn: giá trị băm và chữ ký đều đúng",
        "Intact: digest and signature verify",
    ),
    "trusted": (
        "Chứng thư số có hiệu lực và thuộc chuỗi tin cậy",
        "The certificate is valid and leads to a trusted root",
    ),
    "covered": (
        "Chữ ký bao phủ toàn bộ tài liệu",
        "The signature covers the whole document",
    ),
    "validation-data-added": (
        "Sau chữ ký chỉ có dữ liệu phục vụ kiểm tra lâu dài",
        "Only data for long-term validation follows the signature",
    ),
    "algorithms-allowed": (
        "Thuật toán và độ dài khóa được phép",
        "Algorithms and key length are allowed",
    ),
    "not-pades": (
        "Chữ ký không theo dạng PAdES (EN 319 142-1)",
        "The signature is not of the PAdES form (EN 319 142-1)",
    ),
    "pkcs1-padding": (
        "Chữ ký RSA dùng PKCS#1 v1.5 thay vì PSS",
        "The RSA signature uses PKCS#1 v1.5 padding, not PSS",
    ),
    "timestamp-unchecked": (
        "Có dấu thời gian nhưng chưa được kiểm chứng",
        "There is a timestamp, which was not verified",
    ),
    # the provider
    "refused-by-person": ("Người ký từ chối", "The signer refused"),
    "expired": (
        "Hết thời gian chờ người ký xác nhận",
        "The signer did not confirm in time",
    ),
    "refused-by-provider": (
        "Nhà cung cấp dịch vụ ký từ chối yêu cầu",
        "The signing provider refused the request",
    ),
    "unclear-answer": (
        "Đã gửi yêu cầu ký nhưng không nhận được câu trả lời rõ ràng",
        "The request was sent and not answered understandably",
    ),
    "interrupted": (
        "Bị gián đoạn trong khi chờ người ký",
        "Interrupted while the signer was being asked",
    ),
    "result-not-kept": (
        "Đã nhận kết quả nhưng không lưu được",
        "A result came back that could not be stored",
    ),
    "never-sent": (
        "Yêu cầu chưa rời hệ thống",
        "The request certainly never left",
    ),
    "try-again": (
        "Tạm thời chưa thực hiện được, sẽ thử lại",
        "Not possible now, to be tried again",
    ),
    "prepared-long-ago": (
        "Đã chuẩn bị từ lâu, cần chuẩn bị lại",
        "Prepared too long ago, to be prepared anew",
    ),
    "gave-up": (
        "Quá thời hạn thử lại",
        "Tried in vain for longer than is allowed",
    ),
    "late-answer": (
        "Câu trả lời đến sau khi yêu cầu đã được chuyển xử lý thủ công",
        "An answer came after the request had been handed to an operator",
    ),
    # assembly
    "level-not-supported": (
        "Chưa hỗ trợ mức chữ ký này cho định dạng tài liệu",
        "This signature level is not supported for the format yet",
    ),
    "unfit-key": (
        "Khóa của chứng thư số không dùng được với thuật toán ký yêu cầu",
        "The certificate's key cannot sign by the algorithm that is asked for",
    ),
    "field-taken": (
        "Ô chữ ký đã được ký",
        "The signature field is signed already",
    ),
    "no-room": (
        "Chữ ký lớn hơn vùng đã dành sẵn",
        "The signature does not fit into the room that was reserved",
    ),
    "wrong-timestamp": (
        "Dấu thời gian không phải của chữ ký hoặc tài liệu này",
        "The timestamp is not over this signature or document",
    ),
    "timestamped-already": (
        "Chữ ký đã có dấu thời gian",
        "The signature carries a timestamp already",
    ),
    "covered-already": (
        "Chữ ký đã được bao phủ bởi phần bổ sung sau nó nên không thể thêm dấu thời gian",
        "What follows the signature covers it, so that no timestamp can be added",
    ),
    "validation-data-malformed": (
        "Dữ liệu phục vụ kiểm tra lâu dài không đọc được",
        "The data for long-term validation cannot be read",
    ),
    "anchor-missing": (
        "Không tìm thấy vị trí đặt dấu ký trên trang",
        "The text that marks the place of the stamp is not in the document",
    ),
    "stamp-outside": (
        "Vị trí dấu ký nằm ngoài trang hoặc quá nhỏ",
        "The place of the stamp is not on a page, or is too small",
    ),
    "not-xml": (
        "Tệp không phải là XML hợp lệ, hoặc có khai báo DOCTYPE",
        "The file is no well-formed XML, or has a document type declaration",
    ),
    "signed-xml": (
        "Chưa hỗ trợ ký thêm vào tài liệu XML đã có chữ ký",
        "A further signature on an XML document is not supported yet",
    ),
}
"""Code → the sentence in Vietnamese and in English."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found.

    Attributes:
        detail: a name of the field (algorithm, kind of error); never content or a person's data.
    """

    code: str
    level: Level
    detail: str | None = None

    def body(self) -> dict[str, Any]:
        """For reports."""
        vietnamese, english = SENTENCES[self.code]
        body = {"code": self.code, "level": self.level, "vi": vietnamese, "en": english}
        return {**body, "detail": self.detail} if self.detail else body

    def sentence(self) -> str:
        """For events and pages: both languages and the detail."""
        vietnamese, english = SENTENCES[self.code]
        detail = f" ({self.detail})" if self.detail else ""
        return f"{vietnamese} / {english}{detail}"


def passed(code: str, detail: str | None = None) -> Finding:
    """Something is as it should be."""
    return Finding(code, Level.PASSED, detail)


def warning(code: str, detail: str | None = None) -> Finding:
    """Something to be known that stops nothing."""
    return Finding(code, Level.WARNING, detail)


def refused(code: str, detail: str | None = None) -> Finding:
    """The reason why not."""
    return Finding(code, Level.REFUSED, detail)


@dataclass(frozen=True, slots=True)
class Report:
    """What an examination found.

    Attributes:
        findings: in the order in which they were made; a refusal is the last one.
        facts: numbers and names for the evidence and the next steps.
    """

    findings: tuple[Finding, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def refusal(self) -> Finding | None:
        """Why it is not accepted; None when it is."""
        return next((f for f in self.findings if f.level is Level.REFUSED), None)

    def body(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "accepted": self.refusal is None,
            "findings": [finding.body() for finding in self.findings],
            **self.facts,
        }


class Refusal(Exception):
    """Ends an examination with a finding."""

    def __init__(self, code: str, detail: str | None = None) -> None:
        super().__init__(code)
        self.finding = refused(code, detail)
