"""The sentences of findings, in Vietnamese and English."""

from collections.abc import Mapping

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
    # the request's way
    "no-provider": (
        "Không có nhà cung cấp dịch vụ ký nào phục vụ được yêu cầu này",
        "No signing provider serves this request",
    ),
    "no-news": (
        "Không hỏi được kết quả ký trong thời hạn cho phép",
        "What became of the order could not be found out in time",
    ),
    "level-not-reached": (
        "Chưa đạt mức chữ ký mong muốn: thiếu dấu thời gian hoặc dữ liệu kiểm chứng",
        "The level wished was not reached: no timestamp or validation data could be had",
    ),
    "authority-status-unnamed": (
        "Chứng thư của tổ chức cấp dấu thời gian không nêu nơi tra cứu tình trạng thu hồi",
        "The time-stamping authority's certificates do not say where their revocation is told",
    ),
    "renewal-troubled": (
        "Chưa gia hạn được dấu thời gian lưu trữ, sẽ thử lại",
        "The archive timestamp could not be renewed yet, to be tried again",
    ),
    "renewal-lapsed": (
        "Dấu thời gian lưu trữ không được gia hạn trước khi chứng thư của tổ chức cấp hết hạn",
        "The archive timestamp was not renewed before its authority's certificate ended",
    ),
    "cancelled-late": (
        "Yêu cầu hủy đến khi người ký có thể đã được hỏi",
        "It was to be cancelled when the signer may have been asked already",
    ),
    "cancelled": ("Yêu cầu ký đã được hủy", "The request was cancelled"),
    "signer-before": (
        "Người ký trước không ký nên không ký tiếp",
        "The signer before did not sign, so nobody after does",
    ),
    "confirmed-by-operator": (
        "Cán bộ vận hành xác nhận kèm tệp đã ký",
        "An operator confirmed it with the signed file",
    ),
    "repeated-by-operator": (
        "Yêu cầu ký lại; cán bộ vận hành xác nhận người ký đã đồng ý",
        "Asked anew; an operator confirmed that the signer agreed",
    ),
    "given-up-by-operator": (
        "Cán bộ vận hành kết thúc yêu cầu",
        "An operator gave the request up",
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
    # signatures that somebody asks about, and what is looked up for them
    "no-signature": ("Tệp không có chữ ký số", "There is no signature in the file"),
    "signature-unreadable": (
        "Chữ ký sai cấu trúc, không đọc được",
        "The signature breaks the rules of its format and cannot be read",
    ),
    "signature-unsupported": (
        "Kiểu chữ ký không được hỗ trợ",
        "This type of signature is not supported",
    ),
    "too-many-signatures": (
        "Có quá nhiều chữ ký để kiểm tra trong một lần",
        "There are more signatures than are verified at once",
    ),
    "content-missing": (
        "Thiếu nội dung được ký (chữ ký tách rời)",
        "The signed content is missing (detached signature)",
    ),
    "content-twice": (
        "Nội dung được ký đã nằm trong chữ ký mà lại được gửi kèm",
        "The signed content is in the signature and was given beside it as well",
    ),
    "signer-certificate-missing": (
        "Không tìm thấy chứng thư số của người ký",
        "The signer's certificate is not there",
    ),
    "signer-certificate-swapped": (
        "Chứng thư số không phải chứng thư được ghi trong phần đã ký",
        "The certificate is not the one that the signed attributes name",
    ),
    "form-filled": (
        "Sau khi ký có điền biểu mẫu hoặc cập nhật khác, như tiêu đề: cần người xem xét",
        "Forms were filled or titles and the like changed after signing: a person should look",
    ),
    "part-signed": (
        "Chữ ký chỉ bao phủ một phần của tài liệu",
        "The signature covers a part of the document only",
    ),
    "further-signatures": (
        "Sau đó chỉ có thêm chữ ký khác",
        "Only further signatures were added afterwards",
    ),
    "not-changed": (
        "Tài liệu không bị thay đổi sau khi ký",
        "The document was not changed after it was signed",
    ),
    "reference-ambiguous": (
        "Tham chiếu tới phần được ký không xác định được duy nhất một phần tử",
        "A reference of the signature does not lead to exactly one element",
    ),
    "transform-refused": (
        "Phép biến đổi trong chữ ký không được chấp nhận",
        "A transform of the signature is not accepted",
    ),
    "header-refused": (
        "Tiêu đề JWS không được chấp nhận",
        "The header of the JWS is not accepted",
    ),
    "algorithm-none": (
        "JWS không được ký (alg là none hoặc thuật toán khóa đối xứng)",
        "The JWS is not signed (alg is none, or of a shared secret)",
    ),
    "certificate-revoked": (
        "Chứng thư số đã bị thu hồi",
        "The certificate was revoked",
    ),
    "not-revoked": (
        "Chứng thư số không bị thu hồi",
        "The certificate was not revoked",
    ),
    "revoked-later": (
        "Chứng thư số bị thu hồi sau thời điểm ký đã được chứng minh",
        "The certificate was revoked after the time that the signature is proven for",
    ),
    "chain-constraints": (
        "Chuỗi chứng thư không đáp ứng các ràng buộc",
        "The chain of certificates does not keep its constraints",
    ),
    "timestamp-good": (
        "Dấu thời gian hợp lệ",
        "The timestamp is valid",
    ),
    "sigt-deprecated": (
        "Thời điểm ký ghi ở sigT, đã bị thay bằng iat cho chữ ký tạo từ ngày 15/7/2025",
        "The signing time stands in sigT; for signatures made from 15 July 2025 on it is iat",
    ),
    "timestamp-bad": (
        "Dấu thời gian không hợp lệ",
        "The timestamp is not valid",
    ),
    "policy-unknown": (
        "Không có chính sách tin cậy này vào ngày này",
        "There is no such trust policy for this date",
    ),
    # the holder of a certificate and the person asked to sign
    "holder-matches": (
        "Chứng thư số là của người được yêu cầu ký",
        "The certificate belongs to the person who is asked to sign",
    ),
    "holder-differs": (
        "Chứng thư số là của người khác",
        "The certificate belongs to somebody else",
    ),
    "holder-unknown": (
        "Chưa đối chiếu được người ký: chứng thư số không ghi số định danh cùng loại",
        "The signer could not be compared: the certificate names no number of this kind",
    ),
    # the verdict on formats that are no PDF
    "level-differs": (
        "Chữ ký không đúng định dạng hoặc chưa đạt mức yêu cầu",
        "The signature is not of the form, or not of the level, that it should have",
    ),
}
"""Code → the sentence in Vietnamese and in English."""
