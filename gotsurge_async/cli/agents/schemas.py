"""The JSON Schemas of what commands print with ``--json``; the tools of ``gotsurge mcp`` answer with the same.

A field that is listed is there, unless its document says otherwise. More fields may come: a reader passes over what it
does not know. `VERSION` is raised when a field goes, or changes its meaning. What GotSurge itself wrote, such as a
task, is an object of any fields.
"""

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

VERSION = 1
"""The version of all schemas."""

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time"}
ANY: Schema = {}
OBJECT: Schema = {"type": "object"}
COUNTS: Schema = {"type": "object", "additionalProperties": NUMBER}
AMOUNTS: Schema = {"type": "object", "additionalProperties": TEXT}
SHA256: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}


def maybe(schema: Schema) -> Schema:
    """The schema of a value that may be null."""
    return {"anyOf": [schema, {"type": "null"}]}


def listed(schema: Schema) -> Schema:
    """The schema of a list."""
    return {"type": "array", "items": schema}


def fields(**properties: Schema) -> Schema:
    """The schema of an object that has all of these fields, and perhaps others."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def numbers(names: str) -> dict[str, Schema]:
    """Fields that are whole numbers."""
    return dict.fromkeys(names.split(), NUMBER)


_WORDS = "created already_pushed changed refused in_doubt unprocessed in_flight cancelled"
_RUN = {
    "run": TEXT, "state": TEXT, "held": FLAG, "holder": maybe(OBJECT), "segments": maybe(NUMBER),
    "segments_in_hand": maybe(NUMBER), "environment": TEXT, "mode": TEXT, "source": TEXT,
    "source_sha256": maybe(SHA256), "created_at": TIME, "finished_at": maybe(TIME), "archived_at": maybe(TIME),
    "archived_in": maybe(TEXT),
    "options": OBJECT, "next": listed(TEXT), "states": COUNTS, **numbers(f"orders {_WORDS}"),
}  # fmt: skip
_ORDER = {
    "task_id": TEXT, "tracking_id": maybe(TEXT), "status": maybe(TEXT), "changed_at": maybe(TIME),
    "vessel": maybe(TEXT), "imo": maybe(NUMBER), "berth": maybe(TEXT), "due_at": maybe(TIME), "late": FLAG,
    "group_tag": maybe(TEXT), "invoice_number": maybe(TEXT), "planned": maybe(TEXT), "price": maybe(TEXT),
    "currency": maybe(TEXT), "driver": maybe(TEXT), "run": maybe(TEXT), "account": TEXT, "seen_at": TIME,
}  # fmt: skip
_SUMS = {
    **numbers("ordered delivered late failed cancelled open not_comparable"),
    "planned": listed(TEXT), "planned_delivered": listed(TEXT), "final": listed(TEXT),
}  # fmt: skip
_UNDONE = fields(key=TEXT, task_id=TEXT, status=maybe(TEXT), error=TEXT)

DOCUMENTS: Mapping[str, Schema] = {
    "runs": listed(fields(**_RUN)),
    "status": fields(
        **_RUN, decisions=listed(OBJECT), unused_drafts=listed(TEXT), ledger_bytes=NUMBER, ledger_orders=NUMBER,
        bytes_per_order=maybe({"type": "number"}),
    ),
    "orders": listed(fields(**_ORDER)),
    "order": listed(
        fields(**_ORDER, history=listed(fields(status=TEXT, at=maybe(TIME), note=maybe(TEXT))), task=OBJECT)
    ),
    "alerts": listed(
        fields(kind=TEXT, order=TEXT, tracking_id=maybe(TEXT), status=maybe(TEXT), at=maybe(TIME), vessel=maybe(TEXT),
               imo=maybe(NUMBER), berth=maybe(TEXT), account=maybe(TEXT), seen_at=maybe(TIME), text=TEXT)
    ),
    "report": fields(
        day=TEXT, timezone=TEXT, environments=listed(TEXT), file=TEXT, oldest_read=maybe(TIME), **_SUMS,
        vessels=listed(fields(vessel=TEXT, imo=maybe(NUMBER), **_SUMS)),
    ),
    "price": OBJECT,
    "plan": fields(
        version=NUMBER, made_at=TIME, file=TEXT, sha256=SHA256, items_sha256=maybe(SHA256), spend=AMOUNTS,
        tight=listed(fields(line=NUMBER, key=TEXT, rule=TEXT)), similar=listed(TEXT), warnings=listed(TEXT),
        changed=listed(fields(line=NUMBER, key=TEXT, reason=TEXT)), preview=maybe(OBJECT),
        **numbers("orders left_out without_price tight_count similar_count warning_count already_pushed in_doubt"),
        **numbers("changed_count exit"),
    ),
    "explain": listed(fields(code=TEXT, family=TEXT, title=TEXT, text=TEXT, messages=listed(TEXT))),
    "create": fields(
        **numbers("created already_pushed refused in_doubt unprocessed changed"),
        orders=listed(
            fields(tracking_id=maybe(TEXT), result=TEXT, id=maybe(TEXT), status=maybe(TEXT), error=maybe(TEXT))
        ),
    ),
    "push": fields(run=TEXT, exit=NUMBER, **numbers("created refused in_doubt unprocessed")),
    "cancel": OBJECT,
    "undo": fields(
        run=TEXT, cancelled=listed(_UNDONE), already_cancelled=listed(_UNDONE), too_late=listed(_UNDONE),
        failed=listed(_UNDONE),
        next=listed(TEXT), stopped_by=maybe(TEXT), **numbers("in_doubt unprocessed unused_drafts exit"),
    ),
    "resolve": fields(run=TEXT, by=TEXT, left_in_doubt=NUMBER, next=listed(TEXT), exit=NUMBER),
    "change": OBJECT,
    "proposal": fields(
        proposal=TEXT, digest=SHA256, state=TEXT, kind=TEXT, environment=TEXT, account=maybe(TEXT),
        command=listed(TEXT), preview=listed(TEXT), orders=NUMBER, spend=AMOUNTS, proposed_by=TEXT, client=TEXT,
        created_at=TIME, expires_at=TIME, decided_by=maybe(TEXT), decided_at=maybe(TIME), ended_at=maybe(TIME),
        exit=maybe(NUMBER), outcome=ANY,
    ),
    "error": {**fields(error=TEXT, exit=NUMBER, run=maybe(TEXT), explain=listed(TEXT)), "required": ["error", "exit"]},
}  # fmt: skip
"""By name; "error" is what every command prints instead when it fails."""
PRINTED_BY = {
    "create": "tasks create", "cancel": "tasks cancel", "change": "tasks update", "order": "orders ORDER",
    "proposal": "approve ID", "error": "any command that fails",
}  # fmt: skip
"""The command that prints a document, where it has another name."""


def schema_named(name: str) -> Schema:
    """A schema as a document of its own."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"gotsurge/{name}/{VERSION}",
        "title": f"gotsurge {PRINTED_BY.get(name, name)} --json",
        **DOCUMENTS[name],
    }
