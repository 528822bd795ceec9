"""``gotsurge schema``: the JSON Schemas of the documents that commands print with ``--json``, and that agents get.

A listed field is present, unless its document says otherwise. More fields may be added: readers must ignore unknown
ones. `VERSION` is raised when a field is removed, or changes its meaning. Objects of GotSurge, such as a task, may
have any fields.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import click

from gotsurge_async.cli.shared.exits import WrongUse
from gotsurge_async.cli.shared.output import print_json, print_table, prose

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


def named(schema: Schema, names: str) -> dict[str, Schema]:
    """Several fields with one schema; those whose names end with "?" may be null."""
    return {name.rstrip("?"): maybe(schema) if name.endswith("?") else schema for name in names.split()}


numbers: Callable[[str], dict[str, Schema]] = partial(named, NUMBER)
texts: Callable[[str], dict[str, Schema]] = partial(named, TEXT)
times: Callable[[str], dict[str, Schema]] = partial(named, TIME)
_COUNTS = "orders created already_pushed changed refused in_doubt unprocessed in_flight cancelled"
_RUN = {
    **texts("run state environment mode source archived_in?"), **times("created_at finished_at? archived_at?"),
    **numbers(_COUNTS), "held": FLAG, "holder": maybe(OBJECT), "segments": maybe(NUMBER), "options": OBJECT,
    "segments_in_hand": maybe(NUMBER), "source_sha256": maybe(SHA256), "next": listed(TEXT), "states": COUNTS,
}  # fmt: skip
_ORDER = {
    **texts("task_id account tracking_id? status? vessel? berth? group_tag? invoice_number? planned? price? currency?"),
    **texts("driver? run?"), **times("seen_at changed_at? due_at?"), "imo": maybe(NUMBER), "late": FLAG,
}  # fmt: skip
_SUMS = {
    **numbers("ordered delivered late failed cancelled open not_comparable"),
    **named(listed(TEXT), "planned planned_delivered final"),
}
_UNDONE = listed(fields(**texts("key task_id status? error")))

DOCUMENTS: Mapping[str, Schema] = {
    "runs": listed(fields(**_RUN)),
    "status": fields(
        **_RUN, **numbers("ledger_bytes ledger_orders"), bytes_per_order=maybe({"type": "number"}),
        decisions=listed(OBJECT), unused_drafts=listed(TEXT),
    ),
    "orders": listed(fields(**_ORDER)),
    "order": listed(fields(**_ORDER, history=listed(fields(**texts("status note?"), **times("at?"))), task=OBJECT)),
    "alerts": listed(fields(
        **texts("kind order text tracking_id? status? vessel? berth? account?"), **times("at? seen_at?"),
        imo=maybe(NUMBER),
    )),
    "report": fields(
        **texts("day timezone file"), **times("oldest_read?"), environments=listed(TEXT), **_SUMS,
        vessels=listed(fields(vessel=TEXT, imo=maybe(NUMBER), **_SUMS)),
    ),
    "price": OBJECT,
    "plan": fields(
        **texts("file sheet?"), **times("made_at"), **named(SHA256, "sha256 items_sha256? map_sha256?"),
        **named(AMOUNTS, "spend most"),
        tight=listed(fields(**texts("key rule"), line=NUMBER)), similar=listed(TEXT), warnings=listed(TEXT),
        changed=listed(fields(**texts("key reason"), line=NUMBER)), preview=maybe(OBJECT),
        **numbers("version orders left_out without_price without_most tight_count similar_count warning_count"),
        **numbers("already_pushed in_doubt changed_count exit"),
    ),
    "explain": listed(fields(**texts("code family title text"), messages=listed(TEXT))),
    "create": fields(
        **numbers("created already_pushed refused in_doubt unprocessed changed"),
        orders=listed(fields(**texts("tracking_id? result id? status? error?"))),
    ),
    "push": fields(**texts("run"), **numbers("created refused in_doubt unprocessed exit")),
    "cancel": OBJECT,
    "undo": fields(
        **texts("run stopped_by?"), **numbers("in_doubt unprocessed unused_drafts exit"), next=listed(TEXT),
        **named(_UNDONE, "cancelled already_cancelled too_late failed doubtful"),
    ),
    "resolve": fields(**texts("run by"), **numbers("left_in_doubt exit"), next=listed(TEXT)),
    "change": OBJECT,
    "proposal": fields(
        **texts("proposal state kind environment account? proposed_by client decided_by?"), digest=SHA256,
        **times("created_at expires_at decided_at? ended_at?"), command=listed(TEXT), preview=listed(TEXT),
        orders=NUMBER, spend=AMOUNTS, exit=maybe(NUMBER), outcome=ANY,
    ),
    "error": {**fields(**texts("error run?"), exit=NUMBER, explain=listed(TEXT)), "required": ["error", "exit"]},
}  # fmt: skip
"""The schemas by name; every command prints "error" instead when it fails."""
PRINTED_BY = {
    "create": "tasks create", "cancel": "tasks cancel", "change": "tasks update", "order": "orders ORDER",
    "proposal": "approve ID", "error": "any command that fails",
}  # fmt: skip
"""The command that prints a document, if it has another name; words for a person to replace are in capitals."""


def command_of(name: str) -> list[str]:
    """The words of the command that prints a document."""
    return [word for word in PRINTED_BY.get(name, name).split() if word.islower()]


def id_of(name: str) -> str:
    """The name of a schema with its version."""
    return f"gotsurge/{name}/{VERSION}"


def schema_named(name: str) -> Schema:
    """A schema as a separate document."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": id_of(name),
        "title": f"gotsurge {PRINTED_BY.get(name, name)} --json",
        **DOCUMENTS[name],
    }


@click.command()
@click.argument("name", required=False)
def schema(name: str | None) -> None:
    """Print the JSON Schema of what a command prints with --json; without NAME list the schemas.

    The tools of gotsurge mcp answer with the same documents. The version in a schema's $id is raised when a field goes
    or changes its meaning; more fields may come at any time.
    """
    if name is None:
        rows = [(each, f"gotsurge {PRINTED_BY.get(each, each)} --json") for each in DOCUMENTS]
        print_table(("NAME", prose("PRINTED BY")), rows)
        return
    if name not in DOCUMENTS:
        raise WrongUse(f"there is no schema {name}; the schemas are {', '.join(DOCUMENTS)}", "E102")
    print_json(schema_named(name))
