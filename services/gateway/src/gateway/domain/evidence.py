"""What a container of evidence says: manifests (ETSI EN 319 162-1 annex A.4) and explanations."""

import base64
import hashlib
from collections.abc import Mapping
from html import escape
from xml.sax.saxutils import quoteattr

from gateway.domain.log_export import FORMAT, Block, Proven

MEDIA_TYPE = "application/vnd.etsi.asic-e+zip"
CHECK = "kiem-tra.py"
TEXT, PAGE = "HUONG-DAN.txt", "HUONG-DAN.html"
SIGNED_MANIFEST, SIGNATURE = "META-INF/ASiCManifest001.xml", "META-INF/signature001.p7s"
STAMPED_MANIFEST, TIMESTAMP = "META-INF/ASiCManifest002.xml", "META-INF/timestamp002.tst"
SIGNATURE_TYPE = "application/pkcs7-signature"
TIMESTAMP_TYPE = "application/vnd.etsi.timestamp-token"

_NAMESPACE = "http://uri.etsi.org/02918/v1.2.1#"
_DSIG = "http://www.w3.org/2000/09/xmldsig#"
_SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
_TYPES = {
    "json": "application/json",
    "txt": "text/plain",
    "html": "text/html",
    "pem": "application/x-pem-file",
    "tst": TIMESTAMP_TYPE,
    "p7s": SIGNATURE_TYPE,
    "py": "text/x-python",
}
_OTHER_TYPE = "application/octet-stream"


def manifest(reference: str, media_type: str, files: Mapping[str, bytes]) -> bytes:
    """An ASiCManifest: what a signature or a timestamp covers.

    Args:
        reference: the file with the signature or timestamp.
        media_type: of that file.
        files: those it covers, by name.
    """
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<asic:ASiCManifest xmlns:asic="{_NAMESPACE}" xmlns:ds="{_DSIG}">',
        f'  <asic:SigReference URI={quoteattr(reference)} MimeType="{media_type}"/>',
    ]
    for name, content in files.items():
        kind = _TYPES.get(name.rpartition(".")[2], _OTHER_TYPE)
        lines += [
            f'  <asic:DataObjectReference URI={quoteattr(name)} MimeType="{kind}">',
            f'    <ds:DigestMethod Algorithm="{_SHA256}"/>',
            f"    <ds:DigestValue>{_base64_digest(content)}</ds:DigestValue>",
            "  </asic:DataObjectReference>",
        ]
    return "\n".join([*lines, "</asic:ASiCManifest>", ""]).encode()


def _base64_digest(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def proof(block: Block, proven: Proven) -> dict[str, object]:
    """The members of ``proof.json``."""
    return {
        "format": FORMAT,
        "partition": block.header.partition,
        "block": block.header.number,
        "number": proven.number,
        "record_hash": proven.record.hash().hex(),
        "path": [node.hex() for node in proven.path],
    }


def explanation(block: Block, proven: Proven, system: str, *, signed: bool, stamped: bool) -> str:
    """What this is and how it is checked, for an expert who has never heard of us.

    Args:
        signed, stamped: whether the container carries a signature, and a timestamp, of its own.
    """
    record, header = proven.record, block.header
    about = {
        "Hệ thống | System": system,
        "Mã giao dịch | Exchange": str(record.id),
        "Thời điểm nhận | Received at": record.members()["at"],
        "Bên gửi | Client": record.client_id,
        "Cơ quan | Agency": record.agency or "-",
        "Loại yêu cầu | Request": record.form,
        "Về | About": record.subject or "-",
        "SHA-256 nội dung nhận | of the content received": record.digest,
        "Số byte | Bytes": str(record.size),
        "Mã trả lời | Status of the answer": str(record.status),
        "SHA-256 nội dung trả lời | of the answer": record.answer_digest,
        "Vị trí | Place": f"phân vùng | partition {header.partition}, số | number {proven.number},"
        f" khối | block {header.number}",
    }
    return "\n".join(
        [
            "CHỨNG CỨ VỀ MỘT GIAO DỊCH ĐIỆN TỬ | EVIDENCE OF ONE ELECTRONIC EXCHANGE",
            "",
            *(f"{name}: {value}" for name, value in about.items()),
            "",
            *_VIETNAMESE,
            "",
            *_ENGLISH,
            "",
            "CÁC LỆNH KIỂM TRA | COMMANDS",
            "",
            *_commands(signed=signed, stamped=stamped),
            "",
        ]
    )


def _commands(*, signed: bool, stamped: bool) -> list[str]:
    lines = [
        "# 1. Bản ghi thuộc khối | the record is in the block",
        f"python3 {CHECK}",
        "# 2. Khối do khóa của hệ thống ký | the system's key signed the block",
        _BLOCK_SIGNATURE,
        "# 3. Khối có từ thời điểm này | the block was there at this time",
        _stamp("block-stamped.bin", "block-timestamp.tst"),
        "openssl ts -reply -in block-timestamp.tst -token_in -text",
    ]
    if signed:
        covered = f"-in {SIGNATURE} -content {SIGNED_MANIFEST}"
        lines += [
            "# 4. Chữ ký CAdES trên bản kê của gói | the CAdES signature over the manifest",
            f"openssl cms -verify -inform DER {covered} {_SIGNER} -out manifest.xml",
        ]
    if stamped:
        lines += [
            "# 5. Dấu thời gian của gói | the timestamp of the container",
            _stamp(STAMPED_MANIFEST, TIMESTAMP),
        ]
    return lines


def _stamp(content: str, token: str) -> str:
    return f"openssl ts -verify -data {content} -in {token} -token_in -CAfile tsa.pem"


def page(text: str) -> str:
    """The explanation as a page without scripts or anything from elsewhere."""
    return (
        '<!doctype html>\n<html lang="vi"><head><meta charset="utf-8">'
        "<title>Chứng cứ về một giao dịch điện tử</title>"
        "<style>body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "pre{white-space:pre-wrap;overflow-wrap:anywhere}</style></head><body>"
        f"<pre>{escape(text)}</pre></body></html>\n"
    )


_BLOCK_SIGNATURE = (
    "openssl dgst -sha256 -verify block-key.pem -signature block-signature.der block-header.json"
)
_SIGNER = "-binary -purpose any -CAfile ky.pem"
_VIETNAMESE = (
    "Ý NGHĨA. record.json là bản ghi mà hệ thống đã lập khi nhận yêu cầu này (Điều 45 Nghị định",
    "47/2020/NĐ-CP, được sửa đổi). Bản ghi nằm trong một khối; tiêu đề khối (block-header.json)",
    "được khóa của nhật ký ký, rồi một tổ chức cấp dấu thời gian chứng nhận (RFC 3161). Vì vậy sau",
    "thời điểm của dấu thời gian không ai, kể cả người vận hành, sửa được bản ghi mà không bị phát",
    "hiện. Ai giữ nội dung gốc thì so sánh SHA-256 của nó với số nêu trên.",
    "Cần có từ nguồn độc lập: tsa.pem (chứng thư gốc của tổ chức cấp dấu thời gian), chứng thư của",
    "khóa nhật ký để so với block-key.pem, và ky.pem (chứng thư gốc của chữ ký trên gói).",
)
_ENGLISH = (
    "MEANING. record.json is what the system put down when it received this request (Decree",
    "47/2020/NĐ-CP as amended, article 45). The record is in a block, whose header",
    "(block-header.json) the key of the log signed and a time-stamping authority certified (RFC",
    "3161). Since that time nobody, operators included, can change the record without being found",
    "out. Whoever holds the original content compares its SHA-256 with the one above.",
    "From elsewhere you need: tsa.pem (the root certificate of the time-stamping authority), the",
    "certificate of the log's key to compare block-key.pem with, and ky.pem (the root certificate",
    "of the signature over the container).",
)
