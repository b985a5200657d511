"""The conformance report as one HTML page without anything from elsewhere, for screen and A4.

Whatever comes from data is escaped, and the policy of the page allows its own style and nothing
else: no script, no frame, no address.
"""

import base64
import hashlib
from datetime import datetime
from html import escape

from pydantic import JsonValue

from catalog.domain.channels import State
from catalog.domain.conformance import Evidence, PartReport, PointReport
from catalog.use_cases.conformance import VIETNAM, Report

_STYLE = """
@page { size: A4; margin: 16mm 14mm; }
* { box-sizing: border-box; }
body { font: 10.5pt/1.45 "Times New Roman", "Liberation Serif", serif; color: #111;
       max-width: 182mm; margin: 0 auto; padding: 8mm 0; background: #fff; }
h1 { font-size: 16pt; margin: 0 0 1mm; text-align: center; }
h2 { font-size: 11.5pt; margin: 0; flex: 1; }
.en { color: #555; font-style: italic; font-weight: normal; }
.under { text-align: center; margin: 0 0 5mm; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.6mm 4mm; margin: 0 0 4mm; }
dt { font-weight: bold; }
dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; table-layout: fixed; width: 100%; margin: 1.5mm 0 0;
        font-size: 9pt; }
th:nth-child(1) { width: 15%; } th:nth-child(2) { width: 25%; } th:nth-child(3) { width: 21%; }
th:nth-child(5) { width: 13%; }
th, td { border: 0.3pt solid #999; padding: 0.8mm 1.6mm; text-align: left; vertical-align: top;
         overflow-wrap: anywhere; }
th { background: #f1f1f1; }
thead { display: table-header-group; }
tr, .head { break-inside: avoid; }
section { border-top: 0.8pt solid #333; padding: 2.5mm 0 3mm; }
.head { display: flex; gap: 4mm; align-items: baseline; }
.part { margin: 2mm 0 0 4mm; }
.part p { margin: 0; }
.state { font-weight: bold; white-space: nowrap; border: 0.8pt solid; border-radius: 1mm;
         padding: 0 1.6mm; font-size: 9.5pt; }
td .state .en { display: none; }
.met { color: #0a6b2d; } .not-met { color: #a51616; } .unknown { color: #6a5200; }
.note { background: #f6f3e6; border: 0.3pt solid #b9a96a; padding: 1.5mm 2mm; margin: 0 0 3mm; }
.small { font-size: 9pt; }
footer { border-top: 0.3pt solid #999; padding-top: 2mm; font-size: 8.5pt; color: #444; }
@media print { body { padding: 0; } }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_STATES: dict[State, tuple[str, str, str]] = {
    "met": ("✓", "Đạt", "met"),
    "not-met": ("✗", "Chưa đạt", "not met"),
    "unknown": ("?", "Chưa rõ", "unknown"),
}
_WHAT = {
    "aaaa": "Bản ghi AAAA",
    "ipv6-answer": "Trả lời qua IPv6",
    "tls": "Chứng thư TLS",
    "national-portal": "Cổng DVCQG",
    "monitoring": "EMC",
    "signing-gateway": "eSign",
}
_FACTS = {
    "a_records": "Số bản ghi A",
    "aaaa": "AAAA",
    "address": "Địa chỉ",
    "dated": "Ngày văn bản",
    "days": "Ngưỡng (ngày)",
    "days_left": "Còn lại (ngày)",
    "document": "Văn bản",
    "error": "Lỗi",
    "failed": "Lần không thành công",
    "given_by": "Hệ thống khai",
    "issuer": "Nơi cấp",
    "last_failure_at": "Lần lỗi cuối",
    "last_success_at": "Lần thành công cuối",
    "last_success_of": "Của cơ quan",
    "not_after": "Hết hạn",
    "readable": "Tên đọc được",
    "registered_by": "Hệ thống đăng ký",
    "resolver": "DNS",
    "scheme": "Giao thức",
    "status": "Mã HTTP",
    "succeeded": "Lần thành công",
    "text": "Nội dung",
}
_TIMES = frozenset({"last_failure_at", "last_success_at", "not_after"})
_WORDS = {
    "high": "cao",
    "medium": "trung bình",
    "low": "thấp",
    "single-source": "chỉ một nguồn",
    "law": "văn bản pháp luật",
}
_KINDS = {
    "channel": "Kênh đã đăng ký",
    "check": "Kiểm tra",
    "exchange": "Trao đổi",
    "statement": "Cơ quan tự khai",
}


def page(report: Report) -> str:
    """The whole page."""
    name = f"{report.agency.name} ({report.agency.code})"
    rules = report.rules
    since = f"từ {_day(rules.effective_from)}"
    if rules.effective_to:
        since += f" đến {_day(rules.effective_to)}"
    since += f"; độ tin cậy {_word(rules.confidence)}"
    facts = [
        ("Cơ quan", "Agency", _text(name)),
        (
            "Quy định",
            "Rules",
            _text(f"{rules.instrument}, {rules.article}") + f" ({since})",
        ),
        ("Áp dụng cho ngày", "Rules as of", _day(report.on)),
        ("Lập lúc", "Made at", _moment(report.generated_at)),
        ("Kết quả", "Result", _summary(report.points)),
    ]
    told = "".join(
        f'<dt>{vi} <span class="en">{en}</span></dt><dd>{value}</dd>' for vi, en, value in facts
    )
    notices = "".join(
        f'<p class="note"><strong>{_text(one.instrument)}</strong> (được cho là từ '
        f"{_day(one.claimed_from)}; nguồn: {_word(one.basis)}, độ tin cậy "
        f'{_word(one.confidence)}): {_text(one.text)} <span class="en">{_text(one.text_en)}'
        "</span></p>"
        for one in report.notices
    )
    note = f'<p class="small">{_text(rules.note)}</p>' if rules.note else ""
    return (
        '<!DOCTYPE html>\n<html lang="vi"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Báo cáo Điều 13 – {_text(name)}</title><style>{_STYLE}</style></head><body>"
        "<header><h1>Báo cáo đáp ứng yêu cầu đối với cổng dịch vụ công</h1>"
        '<p class="under en">Conformance report of a public-service portal</p>'
        f"<dl>{told}</dl>{notices}</header><main>"
        f"{''.join(_point(point) for point in report.points)}</main>"
        f"<footer><p>Lần trao đổi thành công cuối không quá {rules.exchange_days} ngày, kết quả "
        f"kiểm tra không quá {rules.check_days} ngày. {_text(rules.measures_source)}</p>{note}"
        f'<p class="small">{_text(rules.source)}</p></footer></body></html>\n'
    )


def _summary(points: tuple[PointReport, ...]) -> str:
    counts = {state: sum(point.state == state for point in points) for state in _STATES}
    return " · ".join(
        f"{counts[state]} {vietnamese.lower()}" for state, (_, vietnamese, _) in _STATES.items()
    )


def _point(point: PointReport) -> str:
    parts = "".join(_part(part) for part in point.parts)
    return (
        f'<section id="{_text(point.id)}"><div class="head"><h2>{_text(point.label)} – '
        f'{_text(point.name)}<br><span class="en">{_text(point.name_en)}</span></h2>'
        f"{_state(point.state)}</div>{parts}</section>"
    )


def _part(part: PartReport) -> str:
    time = f" – {_moment(part.at)}" if part.at else ""
    evidence = ""
    if part.evidence:
        rows = "".join(_row(one) for one in part.evidence)
        evidence = (
            "<table><thead><tr><th>Căn cứ</th><th>Đối tượng</th><th>Kết quả</th>"
            f"<th>Chi tiết</th><th>Thời điểm</th></tr></thead><tbody>{rows}</tbody></table>"
        )
    return (
        f'<div class="part"><div class="head"><p><strong>{_text(part.name)}</strong> '
        f'<span class="en">{_text(part.name_en)}</span><br>{_text(part.reason)} '
        f'<span class="en">{_text(part.reason_en)}</span>{time}</p>{_state(part.state)}</div>'
        f"{evidence}</div>"
    )


def _row(one: Evidence) -> str:
    what = _KINDS[one.kind]
    if one.what in _WHAT:
        what += f": {_WHAT[one.what]}"
    facts = "<br>".join(
        f"{_text(_FACTS.get(key, key))}: {_text(_plain(key, value))}"
        for key, value in one.facts.items()
        if value not in (None, [], "")
    )
    return (
        f"<tr><td>{_text(what)}</td><td>{_text(one.target)}</td>"
        f"<td>{_state(one.state)}<br>{_text(one.reason)}</td><td>{facts}</td>"
        f"<td>{_moment(one.at) if one.at else '–'}</td></tr>"
    )


def _state(state: State) -> str:
    sign, vietnamese, english = _STATES[state]
    return (
        f'<span class="state {state}">{sign} {vietnamese} <span class="en">{english}</span></span>'
    )


def _plain(key: str, value: JsonValue) -> str:
    if key in _TIMES and isinstance(value, str):
        return _moment(datetime.fromisoformat(value))
    if isinstance(value, list):
        return ", ".join(str(one) for one in value)
    return str(value)


def _text(value: str) -> str:
    return escape(value, quote=True)


def _word(value: str) -> str:
    return _text(_WORDS.get(value, value))


def _moment(at: datetime) -> str:
    return at.astimezone(VIETNAM).strftime("%d/%m/%Y %H:%M")


def _day(day: object) -> str:
    return format(day, "%d/%m/%Y") if day else ""
