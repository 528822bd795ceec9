"""The tools of ``gotsurge mcp``: the arguments of each, and the command that answers it.

A read tool is a command with ``--json``. A write tool does not run its command, which becomes a proposal; a person
has it run (`gotsurge approve`).
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from msgspec import Struct, structs

from gotsurge_async.api.endpoints import CHUNK
from gotsurge_async.cli.agents.schema import FLAG, NUMBER, TEXT, Schema, command_of, fields, listed
from gotsurge_async.cli.agents.sending import account_of, file_digest, run_command
from gotsurge_async.cli.shared.connect import Target
from gotsurge_async.cli.shared.exits import Exit, Failure
from gotsurge_async.cli.shared.ledger import OUT, target_of
from gotsurge_async.cli.shared.options import amount
from gotsurge_async.errors import UsageError
from gotsurge_async.ledger import Ledger
from gotsurge_async.ledger.proposals import ProposalLimits, Request, Summary
from gotsurge_async.models.tasks import Order
from gotsurge_async.models.words import one_line, printable
from gotsurge_async.push.plan import Plan, decimals
from gotsurge_async.push.preview import on_one_line
from gotsurge_async.tables.checks.words import number_of
from gotsurge_async.tables.maps.kept import maps_folder

Arguments = Mapping[str, Any]


class Bounds(Struct, frozen=True, kw_only=True):
    """The limits of one server, by its options.

    Attributes:
        folder: the only folder whose tables may be read.
        platform: whether single orders are those of a platform partner.
        asks_client: whether a person may approve in the client.
    """

    ledger: Ledger
    target: Target
    variables: Mapping[str, str]
    tools: Collection[str]
    folder: Path
    platform: bool = False
    limits: ProposalLimits
    asks_client: bool = False
    user: str

    async def read(self, words: Sequence[str], stdin: str = "") -> Any:
        """The document of a command that only reads; Failure with it where the command fails."""
        with TemporaryDirectory(prefix="gotsurge-") as folder:
            out = [f"--out={Path(folder) / 'report.csv'}"] if words[0] == "report" else []
            document = (await run_command([words[0], *out, *words[1:]], stdin, self.variables)).document
        if isinstance(document, dict) and document.get("error") is not None:
            raise Failure(document["error"], Exit.USAGE, more=document)
        return document

    def resolved(self, given: Arguments) -> Arguments:
        """Arguments as the command gets them: with the absolute paths of files, and a reason as it is shown."""
        values = {name: self._file(value) if name in ("file", "items") else value for name, value in given.items()}
        if "map" in given:
            values["map"] = f"{(maps_folder() / given['map']).absolute()}.toml"
        if "reason" in given:
            values["reason"] = one_line(given["reason"])
        return values

    async def of_run(self, given: Arguments) -> "Bounds":
        """The bounds of a proposal about a run, or a task of one, whose own account and server the command uses.

        UsageError where the server has another account.
        """
        run_id = given.get("run")
        if run_id is None and "task" in given:
            known = await self.ledger.order_with(self.target.environment, given["task"])
            run_id = None if known is None else known[0]
        if run_id is None:
            return self
        return structs.replace(self, target=target_of(await self.ledger.run(run_id), self.target))

    def _file(self, name: str) -> str:
        """The absolute path of a table; UsageError where it is outside of the folder, or no file."""
        with suppress(OSError):  # such as a name that is too long
            path = (self.folder / name).resolve()
            if path.is_relative_to(self.folder.resolve()) and path.is_file():
                return str(path)
        raise UsageError(f"{one_line(name)[:300]}: there is no such file in the folder of this server", "E613")


class Tool(Struct, frozen=True):
    """A tool, and the command that answers it, or that it proposes.

    Attributes:
        takes: the names of its `ARGUMENTS`, each an option of the command; "?" ends that of one that may be left out.
        last: the argument with which the command ends; "" for none.
    """

    result: str
    takes: str
    last: str = ""

    @property
    def input_schema(self) -> Schema:
        """The schema of the arguments."""
        properties = {name.rstrip("?"): ARGUMENTS[name.rstrip("?")] for name in self.takes.split()}
        required = [name for name in self.takes.split() if not name.endswith("?")]
        return {**fields(**properties), "required": required, "additionalProperties": False}

    def words(self, bounds: Bounds, given: Arguments) -> list[str]:
        """The words of the command: ``--name=value`` cannot be taken for another option."""
        given = {**given, "orders": "-"}  # which are its input
        options: list[str] = []
        for name, schema in self.input_schema["properties"].items():
            value, option = given.get(name, schema.get("default", [])), f"--{OPTIONS.get(name, name)}"
            if isinstance(value, Mapping):
                value = [f"{field}={text}" for field, text in sorted(value.items())]
            if isinstance(value, bool):
                options += [option] * value
            elif name != self.last:
                options += [f"{option}={each}" for each in (value if isinstance(value, list) else [value])]
        last = ["--", given[self.last]] if self.last else []
        return [*command_of(self.result), "--json", *options, *self._fixed(bounds, given), *last]

    def _fixed(self, bounds: Bounds, given: Arguments) -> list[str]:
        """The options of the command that no argument sets: the place and the account, and what nobody is asked."""
        target = bounds.target
        match self.result:
            case "explain":
                return []
            case "price" | "plan" | "change":
                return target.words()
            case "create":
                return [*target.words(), *["--platform"] * bounds.platform]
            case "push":
                return [*target.words(), f"--out={bounds.folder / OUT}", "--accept-map", "--quiet"]
            case "cancel" | "undo":
                return [*target.words(), "--yes"]
            case "resolve":
                return [*target.words(account=False), *([] if "task" in given else ["--not-created"])]
        return [f"--env={target.environment}"]

    def request(self, name: str, bounds: Bounds, given: Arguments) -> Request:
        """The request that a call would send."""
        words, orders = self.words(bounds, given), given.get("orders")
        return Request(
            kind=name,
            environment=bounds.target.environment,
            account=account_of(words),
            words=tuple(words),
            stdin="" if orders is None else msgspec.json.encode(orders, order="deterministic").decode(),
            inputs={name: (given[name], file_digest(given[name])) for name in FILES if name in given},
        )


def _text(description: str, **more: Any) -> Schema:
    return {**TEXT, "description": description, "minLength": 1, "maxLength": 20_000, **more}


ARGUMENTS: Mapping[str, Schema] = {
    "clear": listed(_text("A field to empty.")),
    "day": _text("YYYY-MM-DD, today or yesterday."),
    "deliveries": {**listed(_text("As the pickup.")), "minItems": 1, "maxItems": 10},
    "file": _text("The name of a table in the folder of this server."),
    "items": _text("The table of the items, if there is one."),
    "key": _text("The key of the order."),
    "keys": listed(_text("The key of an order.")),
    "limit": {**NUMBER, "minimum": 1, "maximum": 500, "default": 50, "description": "At most so many."},
    "map": _text("The name of a kept map for columns with other names.", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
    "open": {**FLAG, "description": "Only orders that are not at their end."},
    "order": _text("A tracking id, a task id or a key."),
    "orders": {"type": "array", "items": {"type": "object"}, "minItems": 1, "maxItems": CHUNK},
    "proposal": _text("The id of a proposal.", maxLength=100),
    "pickup": _text("LATITUDE,LONGITUDE in degrees, or an address."),
    "reason": _text("The reason, which GotSurge and the drivers see.", maxLength=500),
    "run": _text("The id of a run, as list_runs has it."),
    "set": {"type": "object", "additionalProperties": TEXT, "propertyNames": {"pattern": "^[a-z_]+$"}},
    "sheet": _text("The sheet of a workbook."),
    "status": listed(_text("A status, such as broadcasting.")),
    "task": _text("The id of the task."),
    "timezone": _text("The zone of times that name none, such as Asia/Singapore."),
    "vehicle": _text("Such as car, van_1.7m or lorry_14ft."),
    "version_rev": _text("The revision to change; nothing is changed if the task was changed since."),
    "vessel": _text("A part of the vessel's name, or its IMO number."),
    "words": _text("A code such as E201 or exit-3, or words of a message."),
}
FILES = ("file", "items", "map")
OPTIONS = {"pickup": "from", "deliveries": "to", "keys": "key", "task": "created", "version_rev": "version-rev"}
"""The options of the commands for arguments that have other names."""
TEXTS: Mapping[str, str] = {
    "list_orders": "Where orders stand, as they were last read.",
    "order_history": "One order with every step that is known of it.",
    "list_runs": "The runs of the ledger, the newest first: what was pushed, and how many orders are where.",
    "run_status": "Where a run stands, what people decided about it, and the command to give next.",
    "list_alerts": "Orders that a person should look after: late, without a driver, failed, in doubt, doubled.",
    "day_report": "A day by vessel: ordered, delivered, late, failed, cancelled, and the money. No `file` is kept.",
    "quote_price": "What a delivery should cost. GotSurge is asked; nothing is ordered.",
    "check_table": "Check a table as a push would: its faults, or its orders, costs and a preview. Nothing is sent.",
    "explain_error": "What an error code, an exit code or a message means, and what to do.",
    "get_proposal": "A proposal, where it stands and what became of it; without an id the newest ones.",
    "create_orders": "Propose to create and broadcast 1 to 20 orders, in the API's own shape, each with a tracking_id.",
    "push_table": "Propose to push a table of any number of orders. Approved is only the file as it is now.",
    "cancel_order": "Propose to cancel a task that no driver has accepted yet.",
    "undo_run": "Propose to cancel the orders of a run that no driver has taken yet; with keys only these.",
    "resolve_order": "Propose to record that an order in doubt was created, as a task, or, without one, was not.",
    "change_task": 'Propose to change fields of a task of a platform partner, such as {"price": "SGD 48.50"}.',
}
"""What each tool does, for agents."""
_TABLE = "file items? map? timezone? sheet?"
READ: Mapping[str, Tool] = {
    "list_orders": Tool("orders", "run? vessel? limit? status? open?"),
    "order_history": Tool("order", "order", "order"),
    "list_runs": Tool("runs", "limit?"),
    "run_status": Tool("status", "run", "run"),
    "list_alerts": Tool("alerts", "run? vessel?"),
    "day_report": Tool("report", "day? vessel?"),
    "quote_price": Tool("price", "pickup deliveries vehicle?"),
    "check_table": Tool("plan", _TABLE, "file"),
    "explain_error": Tool("explain", "words", "words"),
}
"""The tools that read, by name; `get_proposal` is the server's own."""
WRITE: Mapping[str, Tool] = {
    "create_orders": Tool("create", "orders", "orders"),
    "push_table": Tool("push", _TABLE, "file"),
    "cancel_order": Tool("cancel", "task reason", "task"),
    "undo_run": Tool("undo", "run reason? keys?", "run"),
    "resolve_order": Tool("resolve", "run key task?", "run"),
    "change_task": Tool("change", "task set? clear? version_rev?", "task"),
}
"""The tools that propose, by name."""


# --- proposing --------------------------------------------------------------------------------------------------------


async def _creation(bounds: Bounds, given: Arguments, request: Request) -> Summary:
    """A summary of a command that creates orders, which are read as `gotsurge plan` reads them."""
    orders, place = given.get("orders", []), bounds.target.words()
    check = READ["check_table"].words(bounds, given) if request.inputs else ["plan", "--json", "--format=jsonl", *place]
    lines_of_json = msgspec.json.Encoder().encode_lines(orders).decode()
    plan = msgspec.convert(await bounds.read(check if request.inputs else [*check, "--", "-"], lines_of_json), Plan)
    files = dict(request.inputs.values())
    if files and {plan.sha256, plan.items_sha256, plan.map_sha256} - {None} != {*files.values()}:
        raise UsageError(f"{one_line(plan.file)} has just changed: propose it again", "E613")
    new = number_of(plan.orders - plan.already_pushed, "order")
    lines = [f"Create and broadcast {new} in {request.environment}"]
    lines += [f"  {path}, SHA-256 {digest}" for path, digest in files.items()]
    lines += ["  open the table to read the orders that are not shown here"] if files else []
    lines += [f"  {name}: {fact}" for name, fact in plan.facts().items()]
    lines += [f"  {finding}" for finding in plan.findings()]
    if plan.preview is not None:
        lines += plan.preview.lines(None)
        lines += [f"  {on_one_line(each)}" for each in orders[len(plan.preview.first) :]]
    return Summary(
        preview=[*map(printable, lines)],
        orders=plan.orders,
        unpriced=plan.without_most,
        known=plan.already_pushed,
        altered=plan.in_doubt + plan.changed_count,
        spend=plan.most,
    )


async def sum_up(bounds: Bounds, given: Arguments, request: Request) -> Summary:
    """Check what a request would send, and sum it up for people; UsageError where it cannot be proposed.

    Of what creates nothing there is a line that says it, then the reason and the fields that change.
    """
    place, note = request.environment, ""
    match request.kind:
        case "create_orders" | "push_table":
            return await _creation(bounds, given, request)
        case "cancel_order":
            known = await bounds.ledger.order_with(place, given["task"])
            unknown = "no order that the ledger can change has it"
            order = unknown if known is None else f"order {known[1]} of run {known[0]}"
            first = f"Cancel task {given['task']} in {place}: {order}"
        case "undo_run":
            info, counts = await bounds.ledger.run(given["run"]), await bounds.ledger.counts(given["run"])
            keys = ", ".join(given.get("keys", []))
            what = f"order {keys}" if keys else f"all of {number_of(counts.total, 'order')}"
            first = f"Cancel {what} of run {info.id} ({info.environment}, from {info.source})"
            note = "only orders that no driver has taken yet can be cancelled"
        case "resolve_order":
            became = f"created as task {given['task']}" if "task" in given else "NOT created"
            first = f"Record that order {given['key']} of run {given['run']} was {became}"
            note = "" if "task" in given else "if it does exist, its next push sends a second driver: find out first"
        case _:
            first = f"Change task {given['task']} in {place}"
    values, cleared = given.get("set", {}), given.get("clear", [])
    lines = [f"reason: {given['reason']}"] if "reason" in given else []
    lines += [f"{name}={value}" for name, value in sorted(values.items())]
    lines += [*(f"{name} is emptied" for name in cleared), *filter(None, [note])]
    most: Counter[str] = Counter()
    for name in Order.MONEY:  # the fee, which is the last one, is paid besides the greatest price
        money = amount(values.get(name, "0"))
        if money.millicents < 0:
            raise UsageError(f"an amount must not be negative: {money}", "E613")
        more = money.millicents - (0 if name == "admin_fee" else most[money.currency])
        most[money.currency] += max(0, more)
    rises = ("increment" in values or "max_price" in cleared) and "max_price" not in values
    preview = [one_line(first), *(f"  {one_line(line)}" for line in lines)]
    return Summary(preview=preview, unpriced=int(rises or "price" in cleared), spend=decimals(+most))
