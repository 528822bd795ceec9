"""The tools of ``gotsurge mcp``: the arguments of each, and the command that answers it.

A read tool is a command with ``--json``. A write tool does not run its command, which becomes a proposal; a person
has it run (`gotsurge approve`).
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from msgspec import Struct

from gotsurge_async.api.endpoints import CHUNK
from gotsurge_async.cli.agents.schema import FLAG, NUMBER, TEXT, Schema, command_of, fields, listed
from gotsurge_async.cli.agents.sending import BY, PLANNED, Ran, account_of, file_digest, files_of, run_command
from gotsurge_async.cli.shared.connect import Target
from gotsurge_async.cli.shared.ledger import OUT
from gotsurge_async.cli.shared.options import MoneyAmount
from gotsurge_async.errors import UsageError
from gotsurge_async.ledger import Ledger
from gotsurge_async.ledger.proposals import DayLimits, Request, Summary
from gotsurge_async.models.tasks import Order
from gotsurge_async.models.words import one_line, printable
from gotsurge_async.push.plan import Plan, decimals
from gotsurge_async.push.preview import on_one_line
from gotsurge_async.tables.checks.words import number_of

Arguments = Mapping[str, Any]


class Bounds(Struct, frozen=True, kw_only=True):
    """The limits of one server, by its options.

    Attributes:
        target: the place and the account.
        variables: the environment variables of each command.
        folder: the only folder whose tables may be read.
        platform: whether single orders are those of a platform partner.
        lasts: the time that a proposal waits for a person.
        asks_client: whether a person may approve in the client.
    """

    ledger: Ledger
    target: Target
    variables: Mapping[str, str] = {}
    folder: Path
    platform: bool = False
    limits: DayLimits
    lasts: timedelta
    asks_client: bool = False
    user: str

    @property
    def environment(self) -> str:
        """The environment for which agents propose."""
        return self.target.environment

    async def run(self, words: Sequence[str], stdin: str = "") -> Ran:
        """Run a command that reads; raises UsageError with its document if it fails."""
        with TemporaryDirectory(prefix="gotsurge-") as folder:
            out = [f"--out={Path(folder) / 'report.csv'}"] if words[0] == "report" else []
            ran = await run_command([words[0], *out, *words[1:]], stdin, self.variables)
        if isinstance(ran.document, dict) and ran.document.get("error") is not None:
            raise Refused(ran.document)
        return ran

    async def check_run(self, run_id: str) -> None:
        """Refuse a run that does not exist, or is of another environment."""
        info = await self.ledger.run(run_id)
        if info.environment != self.environment:
            raise UsageError(f"run {info.id} is of {info.environment}, but this server of {self.environment}", "E613")

    def file(self, name: str) -> str:
        """The absolute path of a table.

        Raises:
            UsageError: it is outside of the folder, or not a file.
        """
        with suppress(OSError):  # such as a name that is too long
            path = (self.folder / name).resolve()
            if path.is_relative_to(self.folder.resolve()) and path.is_file():
                return str(path)
        raise UsageError(f"{one_line(name)[:300]}: there is no such file in the folder of this server", "E613")


class Refused(UsageError):
    """A command failed; its JSON document has the reason."""

    def __init__(self, document: Any) -> None:
        super().__init__(document.get("error", "it cannot be proposed"))
        self.document = document


class Tool(Struct, frozen=True):
    """A tool.

    Attributes:
        text: its description, for agents.
        result: the name of the schema of its result.
        takes: its arguments with their schemas; "?" ends the name of an optional one.
        options: returns the options and the arguments of the command that answers, or that is proposed.
        summary: checks the request of a tool that proposes, and sums it up for people; None for a tool that reads.
    """

    text: str
    result: str
    takes: Mapping[str, Schema]
    options: "Callable[[Bounds, Arguments], list[str]]" = lambda _, __: []
    summary: "Callable[[Bounds, Arguments, Request], Awaitable[Summary]] | None" = None

    @property
    def input_schema(self) -> Schema:
        """The schema of the arguments."""
        schema = fields(**{name.rstrip("?"): takes for name, takes in self.takes.items()})
        needed = [name for name in self.takes if not name.endswith("?")]
        return {**schema, "required": needed, "additionalProperties": False}

    def words(self, bounds: Bounds, given: Arguments) -> list[str]:
        """The words of the command, with a reason on one line, as it is shown."""
        if "reason" in given:
            given = {**given, "reason": one_line(given["reason"])}
        return [*command_of(self.result), "--json", *self.options(bounds, given)]

    def request(self, name: str, bounds: Bounds, given: Arguments) -> Request:
        """The request that a call would send."""
        words, orders = self.words(bounds, given), given.get("orders")
        return Request(
            kind=name,
            environment=bounds.environment,
            account=account_of(words),
            words=tuple(words),
            stdin="" if orders is None else msgspec.json.encode(orders, order="deterministic").decode(),
            files={path: file_digest(path) for path in files_of(words).values()},
        )


def _text(description: str, **more: Any) -> Schema:
    return {**TEXT, "description": description, "minLength": 1, "maxLength": 20_000, **more}


def _options(given: Arguments, names: str) -> list[str]:
    """Arguments as options, ``--name=value`` for each value, which cannot be mistaken for another option.

    Args:
        names: the names of the arguments; OPTION=ARGUMENT for one whose option has another name.
    """
    words: list[str] = []
    for option, _, name in (each.partition("=") for each in names.split()):
        value = given.get(name or option, [])
        words += [f"--{option.replace('_', '-')}={each}" for each in (value if isinstance(value, list) else [value])]
    return words


def _table_options(bounds: Bounds, given: Arguments) -> list[str]:
    files = {"items": bounds.file(given["items"])} if "items" in given else {}
    if "map" in given:
        from gotsurge_async.tables.maps.kept import maps_folder

        files["map"] = f"{(maps_folder() / given['map']).absolute()}.toml"
    options = [*_options({**given, **files}, "timezone sheet items map"), *bounds.target.words()]
    return [*options, "--", bounds.file(given["file"])]


_RUN_ID = _text("The id of a run, as list_runs has it.")
_VESSEL = _text("A part of the vessel's name, or its IMO number.")
_REASON = _text("The reason, which GotSurge and the drivers see.", maxLength=500)
_TABLE = {
    "file": _text("The name of a table in the folder of this server."),
    "items?": _text("The table of the items, if there is one."),
    "map?": _text("The name of a kept map for columns with other names.", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
    "timezone?": _text("The zone of times that name none, such as Asia/Singapore."),
    "sheet?": _text("The sheet of a workbook."),
}

READ: Mapping[str, Tool] = {
    "list_orders": Tool(
        "Where orders stand, as they were last read.",
        "orders",
        {
            "run?": _RUN_ID,
            "vessel?": _VESSEL,
            "status?": listed(_text("A status, such as broadcasting.")),
            "open?": {**FLAG, "description": "Only orders that are not at their end."},
            "limit?": {**NUMBER, "minimum": 1, "maximum": 500, "description": "At most so many; 50 unless given."},
        },
        lambda bounds, given: [
            *(f"--env={bounds.environment}", *_options({"limit": 50, **given}, "run vessel limit status")),
            *(["--open"] if given.get("open") else []),
        ],
    ),
    "order_history": Tool(
        "One order with every step that is known of it.",
        "order",
        {"order": _text("A tracking id, a task id or a key.")},
        lambda bounds, given: [f"--env={bounds.environment}", "--", given["order"]],
    ),
    "list_runs": Tool(
        "The runs of the ledger, the newest first: what was pushed, and how many orders are where.",
        "runs",
        {"limit?": {**NUMBER, "minimum": 1, "maximum": 200}},
        lambda bounds, given: [f"--env={bounds.environment}", *_options(given, "limit")],
    ),
    "run_status": Tool(
        "Where a run stands, what people decided about it, and the command to give next.",
        "status",
        {"run": _RUN_ID},
        lambda bounds, given: [f"--env={bounds.environment}", "--", given["run"]],
    ),
    "list_alerts": Tool(
        "Orders that a person should look after: late, without a driver, failed, in doubt, doubled.",
        "alerts",
        {"run?": _RUN_ID, "vessel?": _VESSEL},
        lambda bounds, given: [f"--env={bounds.environment}", *_options(given, "run vessel")],
    ),
    "day_report": Tool(
        "A day by vessel: ordered, delivered, late, failed, cancelled, and the money. Its `file` is not kept.",
        "report",
        {"day?": _text("YYYY-MM-DD, today or yesterday."), "vessel?": _VESSEL},
        lambda bounds, given: [f"--env={bounds.environment}", *_options(given, "day vessel")],
    ),
    "quote_price": Tool(
        "What a delivery should cost. GotSurge is asked; nothing is ordered.",
        "price",
        {
            "pickup": _text("LATITUDE,LONGITUDE in degrees, or an address."),
            "deliveries": {**listed(_text("The same.")), "minItems": 1, "maxItems": 10},
            "vehicle?": _text("Such as car, van_1.7m or lorry_14ft."),
        },
        lambda bounds, given: [*bounds.target.words(), *_options(given, "from=pickup to=deliveries vehicle")],
    ),
    "check_table": Tool(
        "Check a table as a push would: its faults, or its orders, costs and a preview. Nothing is sent.",
        "plan",
        _TABLE,
        _table_options,
    ),
    "explain_error": Tool(
        "What an error code, an exit code or a message means, and what to do.",
        "explain",
        {"words": _text("A code such as E201 or exit-3, or words of a message.")},
        lambda _, given: ["--", given["words"]],
    ),
}
"""The tools that read, by name; `get_proposal` is the server's own."""


# --- proposing --------------------------------------------------------------------------------------------------------


async def _sum_up_creation(bounds: Bounds, given: Arguments, request: Request) -> Summary:
    """A summary of a command that creates orders, which are read as `gotsurge plan` reads them."""
    orders: Sequence[Mapping[str, Any]] = given.get("orders", ())
    how = _table_options(bounds, given) if request.files else ["--format=jsonl", *bounds.target.words(), "--", "-"]
    ran = await bounds.run(["plan", "--json", *how], "\n".join(msgspec.json.encode(each).decode() for each in orders))
    plan = msgspec.convert(ran.document, Plan)
    if request.files and {plan.sha256, plan.items_sha256, plan.map_sha256} - {None} != {*request.files.values()}:
        raise UsageError(f"{one_line(plan.file)} has just changed: propose it again", "E613")
    lines = [f"Create and broadcast {number_of(plan.orders - plan.already_pushed, 'order')} in {bounds.environment}"]
    lines += [f"  {path}, SHA-256 {digest}" for path, digest in request.files.items()]
    lines += ["  open the table to read the orders that are not shown here"] if request.files else []
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
        spend=plan.most,
    )


async def _sum_up_cancel(bounds: Bounds, given: Arguments, _: Request) -> Summary:
    known = await bounds.ledger.order_with(bounds.environment, given["task"])
    order = "the ledger has no such task" if known is None else f"order {one_line(known[1])} of run {known[0]}"
    first = f"Cancel task {one_line(given['task'])} in {bounds.environment}: {order}"
    return Summary(preview=[first, *_why(given)])


def _equations(given: Arguments) -> list[str]:
    return [f"{name}={value}" for name, value in sorted(given.get("set", {}).items())]


def _why(given: Arguments) -> list[str]:
    return [f"  reason: {one_line(given['reason'])}"] if "reason" in given else []


async def _sum_up_undo(bounds: Bounds, given: Arguments, _: Request) -> Summary:
    info = await bounds.ledger.run(given["run"])
    counts = await bounds.ledger.counts(info.id)
    keys = ", ".join(map(one_line, given.get("keys", [])))
    what = f"order {keys}" if keys else f"all of {number_of(counts.total, 'order')}"
    first = f"Cancel {what} of run {info.id} ({info.environment}, from {one_line(info.source)})"
    return Summary(preview=[first, *_why(given), "  only orders that no driver has taken yet can be cancelled"])


async def _sum_up_resolve(bounds: Bounds, given: Arguments, _: Request) -> Summary:
    info = await bounds.ledger.run(given["run"])
    became = f"created as task {one_line(given['task'])}" if "task" in given else "NOT created"
    first = f"Record that order {one_line(given['key'])} of run {info.id} was {became}"
    warning = "  if it does exist, its next push sends a second driver: find out first"
    return Summary(preview=[first] if "task" in given else [first, warning])


async def _sum_up_change(bounds: Bounds, given: Arguments, _: Request) -> Summary:
    values, cleared = given.get("set", {}), given.get("clear", [])
    most: Counter[str] = Counter()
    for name in Order.MONEY:  # the fee, which is the last one, is paid besides the greatest price
        money = MoneyAmount().convert(values.get(name, "0"), None, None)
        if money.millicents < 0:
            raise UsageError(f"an amount must not be negative: {money}", "E613")
        more = money.millicents - (0 if name == "admin_fee" else most[money.currency])
        most[money.currency] += max(0, more)
    rises = ("increment" in values or "max_price" in cleared) and "max_price" not in values
    lines = [f"Change task {one_line(given['task'])} in {bounds.environment}"]
    lines += [f"  {one_line(equation)}" for equation in _equations(given)]
    lines += [f"  {one_line(name)} is emptied" for name in cleared]
    return Summary(
        preview=lines,
        unpriced=int(rises or "price" in cleared),
        spend=decimals(+most),
    )


WRITE: Mapping[str, Tool] = {
    "create_orders": Tool(
        "Propose to create and broadcast 1 to 20 orders, in the API's own shape, each with a tracking_id.",
        "create",
        {"orders": {"type": "array", "items": {"type": "object"}, "minItems": 1, "maxItems": CHUNK}},
        lambda bounds, _: [*bounds.target.words(), *(["--platform"] if bounds.platform else []), "--", "-"],
        _sum_up_creation,
    ),
    "push_table": Tool(
        "Propose to push a table of any number of orders. Approved is only the file as it is now.",
        "push",
        _TABLE,
        lambda bounds, given: [
            *(f"--out={bounds.folder / OUT}", "--accept-map", "--quiet", PLANNED, *_table_options(bounds, given)),
        ],
        _sum_up_creation,
    ),
    "cancel_order": Tool(
        "Propose to cancel a task that no driver has accepted yet.",
        "cancel",
        {"task": _text("The task's id."), "reason": _REASON},
        lambda bounds, given: [*bounds.target.words(), *_options(given, "reason"), "--yes", "--", given["task"]],
        _sum_up_cancel,
    ),
    "undo_run": Tool(
        "Propose to cancel the orders of a run that no driver has taken yet; with keys only these.",
        "undo",
        {"run": _RUN_ID, "keys?": listed(_text("The key of an order.")), "reason?": _REASON},
        lambda bounds, given: [
            *(*bounds.target.words(), *_options(given, "reason key=keys"), "--yes", "--", given["run"]),
        ],
        _sum_up_undo,
    ),
    "resolve_order": Tool(
        "Propose to record that an order in doubt was created, as a task, or, without one, that it was not.",
        "resolve",
        {"run": _RUN_ID, "key": _text("The key of the order."), "task?": _text("The task that it became.")},
        lambda bounds, given: [
            *(*bounds.target.words(account=False), *_options(given, "key created=task")),
            *([] if "task" in given else ["--not-created"]),
            *(BY, "--", given["run"]),
        ],
        _sum_up_resolve,
    ),
    "change_task": Tool(
        'Propose to change fields of a task of a platform partner, such as {"price": "SGD 48.50"}.',
        "change",
        {
            "task": _text("The task's id."),
            "set?": {"type": "object", "additionalProperties": TEXT, "propertyNames": {"pattern": "^[a-z_]+$"}},
            "clear?": listed(_text("A field to empty.")),
            "version_rev?": _text("The revision to change; nothing is changed if the task was changed since."),
        },
        lambda bounds, given: [
            *(
                *bounds.target.words(),
                *_options({"set": _equations(given)}, "set"),
                *_options(given, "clear version_rev"),
            ),
            *("--", given["task"]),
        ],
        _sum_up_change,
    ),
}
"""The tools that propose, by name."""
