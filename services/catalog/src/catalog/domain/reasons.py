"""Why a state is what it is, in both languages."""

from types import MappingProxyType

REASONS = MappingProxyType(
    {
        "has-aaaa": ("Có bản ghi AAAA", "There is an AAAA record"),
        "no-aaaa": ("Không có bản ghi AAAA", "There is no AAAA record"),
        "no-such-host": ("Tên miền không phân giải được", "The name does not resolve"),
        "resolver-failed": ("Chưa hỏi được DNS", "DNS could not be asked"),
        "not-public": (
            "Bản ghi AAAA không phải địa chỉ công cộng",
            "The AAAA record is no public address",
        ),
        "answers": ("Trả lời qua IPv6", "Answers over IPv6"),
        "server-error": ("Trả lời qua IPv6 bằng lỗi máy chủ", "Answers over IPv6 with a failure"),
        "refused": ("Từ chối kết nối qua IPv6", "Refuses connections over IPv6"),
        "no-answer": ("Không trả lời qua IPv6", "Does not answer over IPv6"),
        "not-http": ("Câu trả lời không phải HTTP", "The answer is no HTTP"),
        "no-route": (
            "Máy kiểm tra không có đường IPv6 tới cổng",
            "The checker has no IPv6 route to the portal",
        ),
        "not-probed": (
            "Không thử địa chỉ không công cộng",
            "Addresses that are not public are not tried",
        ),
        "check-failed": ("Việc kiểm tra bị lỗi", "The check itself failed"),
        "certificate-valid": ("Chứng thư hợp lệ", "The certificate is valid"),
        "certificate-expired": ("Chứng thư đã hết hạn", "The certificate has expired"),
        "certificate-not-yet-valid": (
            "Chứng thư chưa có hiệu lực",
            "The certificate is not valid yet",
        ),
        "certificate-other-host": (
            "Chứng thư không cấp cho tên miền này",
            "The certificate is for another host",
        ),
        "certificate-untrusted": (
            "Chuỗi chứng thư không được tin cậy",
            "The certificate's chain is not trusted",
        ),
        "no-tls": ("Không có kết nối TLS", "No TLS connection was made"),
        "domain-fits": ("Tên miền đúng dạng", "The domain has the form"),
        "domain-differs": ("Tên miền không đúng dạng", "The domain does not have the form"),
        "not-registered": (
            "Chưa đăng ký kênh nào thuộc loại này",
            "No channel of this kind is registered",
        ),
        "not-checked": ("Chưa kiểm tra", "Not checked yet"),
        "checked-long-ago": ("Kết quả kiểm tra đã cũ", "The check was too long ago"),
        "all-checks-met": ("Mọi kiểm tra đều đạt", "Every check is met"),
        "exchanged": ("Có trao đổi thành công gần đây", "There was a successful exchange lately"),
        "exchanged-long-ago": (
            "Lần trao đổi thành công cuối đã quá lâu",
            "The last successful exchange was too long ago",
        ),
        "exchange-fails": (
            "Có trao đổi nhưng chưa lần nào thành công",
            "Exchanges were tried and none has succeeded",
        ),
        "never-exchanged": (
            "Chưa thấy lần trao đổi nào qua hệ thống này",
            "No exchange through this system has been seen",
        ),
        "declared": (
            "Cơ quan tự khai; máy không kiểm tra được",
            "Declared by the agency; a machine cannot check it",
        ),
        "not-declared": (
            "Máy không kiểm tra được; cơ quan chưa khai",
            "A machine cannot check it; the agency has made no statement",
        ),
    }
)
