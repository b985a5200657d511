"""What was refused, and tokens that are void."""

from gateway.api.examples.form import Told

_REFUSAL = "01a2012b-1a6b-764d-a7e7-058dcad22725"
TOLD = {
    "list_refusals": Told(
        "Các yêu cầu bị từ chối, mới nhất trước: của chính hệ thống này và của các hệ thống có cơ "
        "quan, thủ tục đều nằm trong quyền của nó; có toàn quyền thì xem được cả của người lạ.",
        answers={
            200: {
                "page": {
                    "items": [
                        {
                            "id": _REFUSAL,
                            "at": "2026-11-22T03:00:00Z",
                            "client_id": "tinh-demo",
                            "claimed": None,
                            "method": "POST",
                            "route": "/v1/dossiers",
                            "status": 422,
                            "type": "unknown-procedure",
                            "address": "192.0.2.10",
                            "request_id": _REFUSAL,
                            "repeated": 1,
                        }
                    ],
                    "next": None,
                }
            }
        },
        parameters={"type": "unknown-procedure", "status": 422, "before": _REFUSAL},
    ),
    "revoke_token": Told(
        "Hệ thống trả lại token (RFC 7009). Chậm nhất 30 giây sau không nơi nào nhận token đó nữa.",
        request={"token": {"token": "eyJhbGciOiJFUzI1NiJ9.e30.c2ln", "client_id": "tinh-demo"}},
    ),
    "revoked_tokens": Told(
        "Dành cho dịch vụ tự kiểm tra token. Dấu là mã băm, không nêu tên ai.",
        answers={
            200: {
                "revoked": {
                    "tokens": ["0mZ2vYb8kq3cQf1u"],
                    "clients": {"tVn7w2pXr5s9d1aE": 1795305600.0},
                }
            }
        },
    ),
}
