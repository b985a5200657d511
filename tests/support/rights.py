"""The rules of rights: what each route asks of a token, by service and operation.

A right is a scope x agency subtree x procedure set. The table is declared here, apart from the code
that it judges: ``tests/integration/test_gateway_rights.py`` plays it against every route of every
OpenAPI document, and a route without a line fails. The page ``docs/api/rights.md`` is made of it::

    python -m tests.support.rights
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Verdict = Literal["free", "403", "404", "hidden", "line", "all", "out of sight"]
"""What a token gets that has the scope, but not this right.

* ``free``: nothing of the kind is at stake.
* ``403``, ``404``: this answer.
* ``hidden``: lists leave out what the token has no right to.
* ``line``: each line of the request is judged by itself and refused alone.
* ``all``: 403 unless the token has this right for everything: things cannot be told apart by it.
* ``out of sight``: it may be at stake behind the route, which shows nothing of it.
"""

_MEANT: Mapping[Verdict, str] = {
    "free": "–",
    "403": "403",
    "404": "404",
    "hidden": "left out",
    "line": "line refused",
    "all": "403 unless all",
    "out of sight": "counted only",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """What a route asks.

    Attributes:
        scope: None for a route that anybody may call, without a token.
        agency: answer to a token that does not act for the thing's agency.
        procedure: answer to a token that does not deal with the thing's procedure.
        own: answer to another client than the one whose thing it is.
        instead: another scope that opens it as well.
    """

    scope: str | None
    agency: Verdict = "free"
    procedure: Verdict = "free"
    own: Verdict = "free"
    instead: str | None = None


PUBLIC = Rule(None)
_READ_ONE = Rule("dossiers:read", "404", "404")
_OWN_FILE = Rule("dossiers:read", own="404")
_OWN_UPLOAD = Rule("dossiers:write", own="404")
_CHANNEL = Rule("channels:write", "403")
_OPERATIONS = Rule("operations")
_HELD = Rule("operations", "404", "all")

GATEWAY: Mapping[str, Rule] = {
    "submit_dossier": Rule("dossiers:write", "403", "403"),
    "take_step": Rule("dossiers:write", "403", "403"),
    "submit_in_bulk": Rule("dossiers:write", "line", "line"),
    "read_bulk": Rule("dossiers:read", own="404"),
    "list_submissions": Rule("dossiers:read", "hidden", "hidden", "hidden"),
    "read_submission": Rule("dossiers:read", "404", "404", "404"),
    "list_dossiers": Rule("dossiers:read", "hidden", "hidden"),
    "read_dossier": _READ_ONE,
    "read_steps": _READ_ONE,
    "read_deadline": _READ_ONE,
    "search_dossiers": Rule("dossiers:search", "hidden", "hidden"),
    "list_personal_reads": Rule("audit", "hidden", "hidden"),
    "list_refusals": Rule("audit", "hidden", "hidden"),
    "upload_file": Rule("dossiers:write"),
    "create_upload": Rule("dossiers:write"),
    "read_upload": _OWN_UPLOAD,
    "head_upload": _OWN_UPLOAD,
    "append_upload": _OWN_UPLOAD,
    "cancel_upload": _OWN_UPLOAD,
    "download_file": _OWN_FILE,
    "head_file": _OWN_FILE,
    "read_signing_request": Rule("signing:read", "404", "404"),
    "verify_signatures": Rule("signatures:verify"),
    "list_questions": Rule("questions:read", "hidden", "hidden"),
    "answer_question": Rule("questions:write", "404", "404"),
    "put_channel": _CHANNEL,
    "delete_channel": _CHANNEL,
    "put_statement": _CHANNEL,
    "delete_statement": _CHANNEL,
    "exchange_token": PUBLIC,
    "exchange_next_value": Rule("dossiers:write", "403"),
    "exchange_upload": Rule("dossiers:write"),
    "exchange_submit": Rule("dossiers:write", "403", "403"),
    "exchange_progress": _READ_ONE,
    "token": PUBLIC,
    "revoke_token": PUBLIC,
    "revoked_tokens": PUBLIC,
    "jwks": PUBLIC,
    "list_agencies": PUBLIC,
    "read_agency": PUBLIC,
    "read_agency_versions": PUBLIC,
    "list_channels": PUBLIC,
    "read_channel": PUBLIC,
    "read_changes": PUBLIC,
    "list_code_lists": PUBLIC,
    "read_code_list": PUBLIC,
    "read_code_list_versions": PUBLIC,
    "list_conformance": PUBLIC,
    "read_conformance": PUBLIC,
    "conformance_page": PUBLIC,
    "read_procedure_groups": PUBLIC,
    "list_procedures": PUBLIC,
    "read_procedure": PUBLIC,
    "read_procedure_versions": PUBLIC,
}

DOSSIER: Mapping[str, Rule] = {
    "list_dossiers": Rule("dossiers:read", "hidden", "hidden"),
    "read_dossier": _READ_ONE,
    "list_steps": _READ_ONE,
    "read_deadline": _READ_ONE,
    "search_dossiers": Rule("dossiers:search", "hidden", "hidden"),
    "list_personal_reads": Rule("audit", "hidden", "hidden"),
    "import_dossiers": Rule("operations", "line", "line"),
    "list_imports": Rule("operations", own="hidden"),
    "read_import": Rule("operations", own="404"),
    "list_import_faults": Rule("operations", own="404"),
    "read_key_progress": _OPERATIONS,
    "read_working_days": _OPERATIONS,
}

SIGNATURES: Mapping[str, Rule] = {
    "request_signature": Rule("signing:write", "403", "403"),
    "signing_request": Rule("signing:read", "404", "404"),
    "held_requests": Rule("operations", "hidden", "hidden"),
    "evidence": Rule("operations", "404", "404"),
    "request_signatures": Rule("signing:write", "403", "403"),
    "request_batch": Rule("signing:write", "403", "403"),
    "export_evidence": Rule("operations", "404", "404"),
    "cancel_signature": Rule("signing:write", "404", "404"),
    "decide_held": Rule("operations", "404", "404"),
    "signing_callback": PUBLIC,
    "verify_signatures": Rule("signatures:verify"),
}

PORTAL: Mapping[str, Rule] = {
    "list_questions": Rule("questions:read", "hidden", "hidden"),
    "answer_question": Rule("questions:write", "404", "404"),
    "list_disclosures": Rule("audit", "hidden", "hidden"),
    "summary": Rule("operations", "out of sight", "all"),
    "held": Rule("operations", "hidden", "all"),
    "retry": _HELD,
    "dismiss": _HELD,
    "dossier": Rule("operations", "404", "all"),
    "accounts": Rule("operations", "hidden"),
    "check": Rule("operations", "404"),
    "begin": Rule("operations", "403", "all"),
    "runs": Rule("operations", "hidden", "all"),
    "read": Rule("operations", "404", "all"),
    "read_csv": Rule("operations", "404", "all"),
    "healings": Rule("operations", "404", "all"),
}

CATALOG: Mapping[str, Rule] = {
    "agencies": PUBLIC,
    "agency": PUBLIC,
    "agency_versions": PUBLIC,
    "list_channels": PUBLIC,
    "read_channel": PUBLIC,
    "put_channel": _CHANNEL,
    "delete_channel": _CHANNEL,
    "put_statement": _CHANNEL,
    "delete_statement": _CHANNEL,
    "list_changes": Rule("operations", "403"),
    "changes": PUBLIC,
    "code_lists": PUBLIC,
    "code_list": PUBLIC,
    "code_list_versions": PUBLIC,
    "list_conformance": PUBLIC,
    "read_conformance": PUBLIC,
    "conformance_page": PUBLIC,
    "check_conformance": Rule("operations", "403"),
    "list_imports": _OPERATIONS,
    "read_import": _OPERATIONS,
    "import_catalogue": Rule("operations", "all"),
    "sync_now": Rule("operations", "all"),
    "procedure_groups": PUBLIC,
    "procedures": PUBLIC,
    "procedure": PUBLIC,
    "procedure_versions": PUBLIC,
}

MEASUREMENTS: Mapping[str, Rule] = {
    "summary": Rule("operations", "out of sight", "out of sight"),
    "maybe_doubled": Rule("operations", "all", "all"),
}

_DESK = Rule("operations", "404", "all")
DESK: Mapping[str, Rule] = {
    "GET /internal/parked": Rule("operations", "hidden", "all"),
    "GET /internal/parked/{id}": _DESK,
    "POST /internal/parked/{id}/redrive": _DESK,
    "POST /internal/parked/{id}/dismiss": _DESK,
    "GET /internal/held": Rule("operations", "hidden", "all"),
    "GET /internal/held/{id}": _DESK,
    "POST /internal/held/{id}/{action}": _DESK,
    "GET /internal/desk": Rule("operations", "hidden", "all"),
    "GET /internal/seals": _OPERATIONS,
    "GET /internal/events": Rule("events:history"),
    "GET /internal/log": Rule("events:history"),
    "GET /healthz": PUBLIC,
    "GET /readyz": PUBLIC,
    "GET /metrics": PUBLIC,
}
"""Routes of every service that stand in no document: inside of the cluster only."""

_EXPORT = Rule("operations", "all", "all", instead="audit")
UNDOCUMENTED: Mapping[str, Mapping[str, Rule]] = {
    "gateway": {
        "GET /internal/refusals": Rule("operations", "hidden", "hidden"),
        "GET /internal/message-log/state": Rule("operations", "out of sight", "out of sight"),
        "GET /internal/message-log/export": _EXPORT,
        "GET /internal/message-log/exchanges/{exchange_id}/evidence": _EXPORT,
        "GET /docs": PUBLIC,
        "GET /docs/start.js": PUBLIC,
        "GET /docs/{name}": PUBLIC,
    }
}
"""Further routes that stand in no document, by service."""

RULES: Mapping[str, Mapping[str, Rule]] = {
    "gateway": GATEWAY,
    "dossier": DOSSIER,
    "signature-connector": SIGNATURES,
    "national-portal-sync": PORTAL,
    "catalog": CATALOG,
    "metrics-exporter": MEASUREMENTS,
}

SCOPES = frozenset(
    {
        rule.scope
        for rules in (*RULES.values(), DESK)
        for rule in rules.values()
        if rule.scope is not None
    }
    | {"dossiers:personal", "signing:write"}
)
"""Every scope there is."""

PAGE = Path(__file__).parents[2] / "docs" / "api" / "rights.md"

_HEAD = """\
# Rights

<!-- Made from tests/support/rights.py by `python -m tests.support.rights`; do not edit. -->

A token carries **scopes** (what may be done), **agencies** (roots of the subtrees it is done for)
and **procedures** (codes of the procedures it is done about). A request needs all three for the
thing at hand; `*` stands for all agencies or all procedures. What no token says is not allowed: a
token that names no procedure gets 403.

What a token has no right to is answered like this:

| | meaning |
|---|---|
| 403 | it names the agency or procedure itself, so it is told that it has no right |
| 404 | the same answer as for a thing that there is not |
| left out | lists, searches and pages go on without it |
| line refused | the lines of a file or of a bulk request are judged one by one |
| 403 unless all | the route cannot tell its things apart by agency or procedure |
| counted only | sums of the whole installation, which name nothing |
| – | none is at stake |

A thing whose procedure is not known (a question that names none, records of before procedures were
kept) is there for those who deal with all. Steps on dossiers that the gateway has not heard the
procedure of are taken in and judged where the dossier lives: such a one ends `refused` with the
same 403. In the column *own*, another client than the one that brought the thing.
"""


def page() -> str:
    """The page of the rules."""
    parts = [_HEAD]
    for service, rules in RULES.items():
        parts += [f"\n## {service}\n", *_table(rules)]
    parts += ["\n## Every service, inside of the cluster\n", *_table(DESK)]
    for service, rules in UNDOCUMENTED.items():
        parts += [f"\n## {service}, in no document\n", *_table(rules)]
    return "\n".join(parts) + "\n"


def _table(rules: Mapping[str, Rule]) -> list[str]:
    lines = [
        "| operation | scope | foreign agency | foreign procedure | own |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| `{name}` | {_scope(rule)} | {_MEANT[rule.agency]} "
        f"| {_MEANT[rule.procedure]} | {_MEANT[rule.own]} |"
        for name, rule in sorted(rules.items())
    ]
    return lines


def _scope(rule: Rule) -> str:
    named = [f"`{one}`" for one in (rule.scope, rule.instead) if one]
    return " or ".join(named) or "none"


if __name__ == "__main__":
    PAGE.write_text(page())
