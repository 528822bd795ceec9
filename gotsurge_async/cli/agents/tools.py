"""The tools of ``gotsurge mcp``: what each takes, and the command that answers it.

A read tool is a command with ``--json``. A write tool is a command that is not run: it becomes a proposal, and a person
has it run (`gotsurge approve`).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from msgspec import Struct, structs

from gotsurge_async.api.endpoints import CHUNK
from gotsurge_async.cli.agents.account import account_of
from gotsurge_async.cli.agents.schema import FLAG, NUMBER, TEXT, Schema, fields, listed
from gotsurge_async.cli.agents.sending import BY, PLANNED, Ran, file_digest, run_command
from gotsurge_async.cli.shared.ledger import OUT
from gotsurge_async.cli.shared.options import MoneyAmount
from gotsurge_async.errors import UsageError
from gotsurge_async.ledger import Ledger
from gotsurge_async.ledger.proposals import DayLimits, Request, Summary
from gotsurge_async.models.tasks import Order
from gotsurge_async.models.times import written
from gotsurge_async.models.words import one_line
from gotsurge_async.money import Money
from gotsurge_async.push.plan import Plan
from gotsurge_async.tables.checks.windows import Window
from gotsurge_async.tables.checks.words import number_of

Arguments = Mapping[str, Any]
MOST_OF_ADDRESS = 300  # letters that are shown of one


class Bounds(Struct, frozen=True, kw_only=True):
    """What one server may do, as its options say.

    Attributes:
        environment, api_base, account: where, and as whom; the last two may be "".
        variables: variables of each command.
        folder: the only folder whose tables may be read.
        platform: whether single orders are those of a platform partner.
        lasts: for how long a proposal waits for a person.
        asks_client: whether a person may approve in the client.
    """

    ledger: Ledger
    environment: str
    api_base: str
    account: str
    accept_assumed: bool = False
    variables: Mapping[str, str] = {}
    folder: Path
    platform: bool = False
    limits: DayLimits
    lasts: timedelta
    asks_client: bool = False
    user: str

    @property
    def env(self) -> str:
        """The word that names the environment."""
        return f"--env={self.environment}"

    @property
    def place(self) -> list[str]:
        """The words that name place and account."""
        words = [self.env, *([f"--api-base={self.api_base}"] if self.api_base else [])]
        words += [f"--account={self.account}"] if self.account else []
        return [*words, "--accept-assumed-endpoints"] if self.accept_assumed else words

    async def run(self, words: Sequence[str], stdin: str = "") -> Ran:
        """Run a command that reads, with ``--json``."""
        with TemporaryDirectory(prefix="gotsurge-") as folder:
            options = ["--json", *([f"--out={Path(folder) / 'report.csv'}"] if words[0] == "report" else [])]
            return await run_command([words[0], *options, *words[1:]], stdin, self.variables)

    async def check_run(self, run_id: str) -> None:
        """Refuse a run of another environment, or one that there is not."""
        info = await self.ledger.run(run_id)
        if info.environment != self.environment:
            raise UsageError(f"run {info.id} is of {info.environment}, and this server of {self.environment}", "E613")

    def file(self, name: str) -> str:
        """The absolute path of a table.

        Raises:
            UsageError: it is outside of the folder, or no file.
        """
        with suppress(OSError):  # such as a name that is too long
            path = (self.folder / name).resolve()
            if path.is_relative_to(self.folder.resolve()) and path.is_file():
                return str(path)
        raise UsageError(f"{one_line(name)[:300]}: there is no such file in the folder of this server", "E613")


class Tool(Struct, frozen=True):
    """A tool.

    Attributes:
        text: what it does, for agents.
        result: the name of the schema of its result.
        takes: its arguments with their schemas; "?" ends the name of one that may be left out.
        read: returns the words of the command that answers; None for a tool that proposes.
        request: returns what would be sent; None for a tool that reads.
        summary: checks that, and sums it up for people.
    """

    text: str
    result: str
    takes: Mapping[str, Schema]
    read: Callable[[Bounds, Arguments], list[str]] | None = None
    request: Callable[[Bounds, Arguments], Request] | None = None
    summary: Callable[[Bounds, Arguments, Request], Awaitable[Summary]] | None = None

    @property
    def input_schema(self) -> Schema:
        """The schema of the arguments."""
        schema = fields(**{name.rstrip("?"): takes for name, takes in self.takes.items()})
        needed = [name for name in self.takes if not name.endswith("?")]
        return {**schema, "required": needed, "additionalProperties": False}


def _text(description: str, **more: Any) -> Schema:
    return {**TEXT, "description": description, "minLength": 1, "maxLength": 20_000, **more}


def _option(arguments: Arguments, *names: str) -> list[str]:
    """Arguments as options, ``--name=value`` each, which cannot be taken for another option."""
    return [f"--{name.replace('_', '-')}={arguments[name]}" for name in names if name in arguments]


def _each(option: str, values: Sequence[str]) -> list[str]:
    return [f"--{option}={value}" for value in values]


def _table_words(bounds: Bounds, given: Arguments) -> list[str]:
    words = _option(given, "timezone", "sheet")
    if "items" in given:
        words.append(f"--items={bounds.file(given['items'])}")
    if "map" in given:
        from gotsurge_async.tables.maps.kept import maps_folder

        words.append(f"--map={(maps_folder() / given['map']).absolute()}.toml")
    return words


def _check(bounds: Bounds, given: Arguments) -> list[str]:
    return ["plan", *_table_words(bounds, given), *bounds.place, "--", bounds.file(given["file"])]


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
            *("orders", bounds.env, *_option({"limit": 50, **given}, "run", "vessel", "limit")),
            *(*_each("status", given.get("status", [])), *(["--open"] if given.get("open") else [])),
        ],
    ),
    "order_history": Tool(
        "One order with every step that is known of it.",
        "order",
        {"order": _text("A tracking id, a task id or a key.")},
        lambda bounds, given: ["orders", bounds.env, "--", given["order"]],
    ),
    "list_runs": Tool(
        "The runs of the ledger, the newest first: what was pushed, and how many orders are where.",
        "runs",
        {"limit?": {**NUMBER, "minimum": 1, "maximum": 200}},
        lambda bounds, given: ["runs", bounds.env, *_option(given, "limit")],
    ),
    "run_status": Tool(
        "Where a run stands, what people decided about it, and the command to give next.",
        "status",
        {"run": _RUN_ID},
        lambda bounds, given: ["status", bounds.env, "--", given["run"]],
    ),
    "list_alerts": Tool(
        "Orders that a person should look after: late, without a driver, failed, in doubt, doubled.",
        "alerts",
        {"run?": _RUN_ID, "vessel?": _VESSEL},
        lambda bounds, given: ["alerts", bounds.env, *_option(given, "run", "vessel")],
    ),
    "day_report": Tool(
        "A day by vessel: ordered, delivered, late, failed, cancelled, and the money. Its `file` is not kept.",
        "report",
        {"day?": _text("YYYY-MM-DD, today or yesterday."), "vessel?": _VESSEL},
        lambda bounds, given: ["report", bounds.env, *_option(given, "day", "vessel")],
    ),
    "quote_price": Tool(
        "What a delivery should cost. GotSurge is asked; nothing is ordered.",
        "price",
        {
            "pickup": _text("LATITUDE,LONGITUDE in degrees, or an address."),
            "deliveries": {**listed(_text("The same.")), "minItems": 1, "maxItems": 10},
            "vehicle?": _text("Such as car, van_1.7m or lorry_14ft."),
        },
        lambda bounds, given: [
            *("price", *bounds.place, f"--from={given['pickup']}", *_each("to", given["deliveries"])),
            *_option(given, "vehicle"),
        ],
    ),
    "check_table": Tool(
        "Check a table as a push would: its faults, or its orders, costs and a preview. Nothing is sent.",
        "plan",
        _TABLE,
        _check,
    ),
    "explain_error": Tool(
        "What an error code, an exit code or a message means, and what to do.",
        "explain",
        {"words": _text("A code such as E201 or exit-3, or words of a message.")},
        lambda _, given: ["explain", "--", given["words"]],
    ),
}
"""The tools that read, by name; `get_proposal` is the server's own."""


# --- proposing --------------------------------------------------------------------------------------------------------


class Refused(UsageError):
    """A command that checks a proposal found faults; its JSON document says which."""

    def __init__(self, document: Any) -> None:
        super().__init__(document.get("error", "it cannot be proposed"))
        self.document = document


def _request(bounds: Bounds, kind: str, *words: str, **more: Any) -> Request:
    return Request(kind=kind, environment=bounds.environment, account=account_of(words), words=words, **more)


async def _planned(bounds: Bounds, words: list[str], stdin: str = "") -> Plan:
    ran = await bounds.run(words, stdin)
    if ran.error is not None:
        raise Refused(ran.document)
    return msgspec.convert(ran.document, Plan)


def _sum_up(plan: Plan, bounds: Bounds, *above: str) -> Summary:
    money = ", ".join(f"{currency} {amount}".strip() for currency, amount in plan.spend.items()) or "no prices"
    notes = {
        "without a price: GotSurge sets it": plan.without_price,
        "pushed before, not sent again": plan.already_pushed,
        "pushed before with other content, not sent": plan.changed_count,
        "alike": plan.similar_count,
        "with too narrow a window": plan.tight_count,
    }
    new = number_of(plan.orders - plan.already_pushed, "order")
    lines = [f"Create and broadcast {new} in {bounds.environment}: {money}", *above]
    lines += [f"  {count:,} {words}" for words, count in notes.items() if count]
    lines += [f"  warning: {one_line(text)}" for text in plan.warnings[:10]]
    lines += plan.preview.lines(None) if plan.preview is not None else ()
    known, unpriced = plan.already_pushed, plan.without_price
    return Summary(preview=lines, orders=plan.orders, spend=plan.spend, unpriced=unpriced, known=known)


def _create(bounds: Bounds, given: Arguments) -> Request:
    text = msgspec.json.encode(given["orders"], order="deterministic").decode()
    platform = ["--platform"] if bounds.platform else []
    return _request(bounds, "create_orders", *_CREATE, *bounds.place, *platform, "--json", "--", "-", stdin=text)


async def _sum_up_orders(bounds: Bounds, given: Arguments, _: Request) -> Summary:
    lines = "\n".join(msgspec.json.encode(order).decode() for order in given["orders"])
    plan = await _planned(bounds, ["plan", "--format=jsonl", *bounds.place, "--", "-"], lines)
    whole = [each.get("tracking_id") for each in plan.preview.first] if plan.preview is not None else []
    rest = [_briefly(order) for order in given["orders"] if order["tracking_id"] not in whole]
    summary, spend = _sum_up(plan, bounds), {name: Decimal(amount) for name, amount in plan.spend.items()}
    for order in given["orders"]:  # GotSurge may raise a price up to the greatest one
        price, most, currency = order.get("price"), order.get("max_price") or 0, order.get("currency", "")
        if price is not None and most > price:
            spend[currency] = spend.get(currency, Decimal(0)) + Money(millicents=most - price, currency=currency).amount
    return structs.replace(
        summary,
        preview=[*summary.preview, *rest],
        spend={name: str(amount) for name, amount in spend.items()},
    )


def _briefly(order: Mapping[str, Any]) -> str:
    """One line about an order that the preview does not show whole."""
    window = msgspec.convert(order["from_time_window"], Window)
    price = order.get("price")
    cells = {
        "from": _address(order["from_address"]),
        "to": _address(order["to_address"]),
        "pickup": f"{written(window.start_time_utc)} to {written(window.end_time_utc)}",
        "price": "none" if price is None else str(Money(millicents=price, currency=order.get("currency", ""))),
    }
    return one_line(f"{order['tracking_id']}: " + "; ".join(f"{name} {text}" for name, text in cells.items()))


def _address(address: Mapping[str, Any]) -> str:
    names = sorted(address, key=lambda name: name != "street_address")
    text = one_line(", ".join(str(address[name]) for name in names if address[name] is not None))
    return text if len(text) <= MOST_OF_ADDRESS else f"{text[:MOST_OF_ADDRESS]}…"


def _push(bounds: Bounds, given: Arguments) -> Request:
    table, options = bounds.file(given["file"]), _table_words(bounds, given)
    paths = [table, *(option.partition("=")[2] for option in options if option.startswith(("--items=", "--map=")))]
    words = ["push", *options, *bounds.place, f"--out={bounds.folder / OUT}", "--accept-map", "--quiet", PLANNED]
    return _request(
        bounds, "push_table", *words, "--json", "--", table, files={each: file_digest(each) for each in paths}
    )


async def _sum_up_table(bounds: Bounds, given: Arguments, request: Request) -> Summary:
    plan, table = await _planned(bounds, _check(bounds, given)), request.words[-1]
    if not {plan.sha256, plan.items_sha256 or plan.sha256} <= {*request.files.values()}:
        raise UsageError(f"{one_line(table)} has just changed: propose it again", "E613")
    files = [f"  {one_line(path)}, SHA-256 {digest}" for path, digest in request.files.items()]
    rows = number_of(plan.orders + plan.left_out, "order")
    return _sum_up(plan, bounds, *files, f"  {rows} in the table: open it to read those that are not shown here")


def _cancel(bounds: Bounds, given: Arguments) -> Request:
    reason = f"--reason={one_line(given['reason'])}"
    return _request(bounds, "cancel_order", *_CANCEL, *bounds.place, reason, "--yes", "--json", "--", given["task"])


async def _sum_up_cancel(bounds: Bounds, given: Arguments, _: Request) -> Summary:
    known = await bounds.ledger.order_with(bounds.environment, given["task"])
    order = "the ledger has no such task" if known is None else f"order {one_line(known[1])} of run {known[0]}"
    first = f"Cancel task {one_line(given['task'])} in {bounds.environment}: {order}"
    return Summary(preview=[first, f"  reason: {one_line(given['reason'])}"])


def _undo(bounds: Bounds, given: Arguments) -> Request:
    options = [*_option(given, "reason"), *_each("key", given.get("keys", []))]
    return _request(bounds, "undo_run", "undo", *bounds.place, *options, "--yes", "--json", "--", given["run"])


async def _sum_up_undo(bounds: Bounds, given: Arguments, _: Request) -> Summary:
    info = await bounds.ledger.run(given["run"])
    counts = await bounds.ledger.counts(info.id)
    keys = ", ".join(map(one_line, given.get("keys", [])))
    what = f"order {keys}" if keys else f"all of {number_of(counts.total, 'order')}"
    first = f"Cancel {what} of run {info.id} ({info.environment}, from {one_line(info.source)})"
    return Summary(preview=[first, "  only orders that no driver has taken yet can be cancelled"])


def _resolve(bounds: Bounds, given: Arguments) -> Request:
    base = _option({"api_base": bounds.api_base}, "api_base") if bounds.api_base else []
    what = f"--created={given['task']}" if "task" in given else "--not-created"
    options = [bounds.env, *base, f"--key={given['key']}", what, BY]
    return _request(bounds, "resolve_order", "resolve", *options, "--json", "--", given["run"])


async def _sum_up_resolve(bounds: Bounds, given: Arguments, _: Request) -> Summary:
    info = await bounds.ledger.run(given["run"])
    first = f"Record that order {one_line(given['key'])} of run {info.id} was "
    if "task" in given:
        return Summary(preview=[f"{first}created as task {one_line(given['task'])}"])
    warning = "  if it does exist, its next push sends a second driver: find out first"
    return Summary(preview=[f"{first}NOT created", warning])


def _change(bounds: Bounds, given: Arguments) -> Request:
    sets = _each("set", [f"{name}={value}" for name, value in sorted(given.get("set", {}).items())])
    options = [*bounds.place, *sets, *_each("clear", sorted(given.get("clear", []))), *_option(given, "version_rev")]
    return _request(bounds, "change_task", "tasks", "update", *options, "--json", "--", given["task"])


async def _sum_up_change(bounds: Bounds, given: Arguments, _: Request) -> Summary:
    values = given.get("set", {})
    amounts = [MoneyAmount().convert(values[name], None, None) for name in Order.MONEY if name in values]
    if least := [money for money in amounts if money.millicents < 0]:
        raise UsageError(f"an amount is not below 0: {least[0]}", "E613")
    greatest: dict[str, Money] = {}
    for money in amounts:
        greatest[money.currency] = max(money, greatest.get(money.currency, money), key=lambda each: each.millicents)
    lines = [f"Change task {one_line(given['task'])} in {bounds.environment}"]
    lines += [f"  {name} = {one_line(value)}" for name, value in sorted(values.items())]
    lines += [f"  {one_line(name)} is emptied" for name in sorted(given.get("clear", []))]
    return Summary(preview=lines, spend={currency: str(money.amount) for currency, money in greatest.items()})


_CREATE, _CANCEL = ("tasks", "create"), ("tasks", "cancel")
WRITE: Mapping[str, Tool] = {
    "create_orders": Tool(
        "Propose to create and broadcast 1 to 20 orders, in the API's own shape, each with a tracking_id.",
        "create",
        {"orders": {"type": "array", "items": {"type": "object"}, "minItems": 1, "maxItems": CHUNK}},
        request=_create,
        summary=_sum_up_orders,
    ),
    "push_table": Tool(
        "Propose to push a table of any number of orders. Approved is only the file as it is now.",
        "push",
        _TABLE,
        request=_push,
        summary=_sum_up_table,
    ),
    "cancel_order": Tool(
        "Propose to cancel a task that no driver has accepted yet.",
        "cancel",
        {"task": _text("The task's id."), "reason": _REASON},
        request=_cancel,
        summary=_sum_up_cancel,
    ),
    "undo_run": Tool(
        "Propose to cancel the orders of a run that no driver has taken yet; with keys only these.",
        "undo",
        {"run": _RUN_ID, "keys?": listed(_text("The key of an order.")), "reason?": _REASON},
        request=_undo,
        summary=_sum_up_undo,
    ),
    "resolve_order": Tool(
        "Propose to record that an order in doubt was created, as a task, or, without one, that it was not.",
        "resolve",
        {"run": _RUN_ID, "key": _text("The key of the order."), "task?": _text("The task that it became.")},
        request=_resolve,
        summary=_sum_up_resolve,
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
        request=_change,
        summary=_sum_up_change,
    ),
}
"""The tools that propose, by name."""
