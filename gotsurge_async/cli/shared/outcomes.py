"""A few orders, or ids of tasks, in one command: reading them, and the result of each."""

import io
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import click
import msgspec
from msgspec import Struct, structs

from gotsurge_async.api.endpoints import CHUNK
from gotsurge_async.calls.create import Created, InDoubt, Refused
from gotsurge_async.calls.stream import ResultStream
from gotsurge_async.cli.shared.exits import Exit, Failure, WrongUse, exit_code_of
from gotsurge_async.cli.shared.options import Decorator, gathered, max_price_option, timezone_option
from gotsurge_async.cli.shared.output import print_one, print_table, prose, say
from gotsurge_async.errors import Coded, GotSurgeError, code_of
from gotsurge_async.models.tasks import Order
from gotsurge_async.models.times import show_times_in
from gotsurge_async.money import Money
from gotsurge_async.push.desk.outcomes import Changed
from gotsurge_async.resources.platform.tasks import Updated
from gotsurge_async.tables import STDIN, STDIN_NAME, SourceOptions
from gotsurge_async.tables.checks.faults import SourceReport
from gotsurge_async.tables.jsonl_source import JsonlSource


def read_orders(file: str, *, timezone: str | None = None, max_price: Money | None = None) -> list[Order]:
    """Read 1 to 20 orders, with the checks of a push.

    The file holds one order, a list of orders, the body of a create (``{"tasks": […]}``), or an order a line, all in
    the API's own shape. ``-`` is standard input.
    """
    name, rows = STDIN_NAME if file == STDIN else file, _rows(file)
    if not 1 <= len(rows) <= CHUNK:
        text = f"the input contains {len(rows)} orders, but one call takes 1 to {CHUNK}; gotsurge push takes more"
        raise Failure(Coded(text, "E235"), Exit.USAGE)
    report = SourceReport()
    options = SourceOptions(now=datetime.now(UTC), timezone=timezone, max_price=max_price)
    show_times_in(options.zone())
    stream = io.BytesIO(b"\n".join(map(msgspec.json.encode, rows)))
    with JsonlSource(name, stream, options, report) as source:
        orders = [row.order for row in source.rows()]
    for warning in report.warnings:
        say(f"warning: {_by_number(warning)}")
    if not report.ok:
        faults = [*map(_by_number, report.faults), "nothing was sent"]
        rules = [fault.rule for fault in report.faults]
        raise Failure("\n".join(faults), Exit.USAGE, more={"explain": [*map(code_of, rules)]})
    twice = [name for name, count in Counter(order.tracking_id for order in orders).items() if count > 1]
    if twice:
        raise Failure(Coded(f"{name}: tracking_id {twice[0]} appears twice; nothing was sent", "E229"), Exit.USAGE)
    return orders


takes_orders: Decorator[Any] = gathered(
    "orders", read_orders, click.argument("file", metavar="FILE"), timezone_option, max_price_option
)
"""The file of a command that takes a few orders; the command gets them as its argument ``orders``."""


def _by_number(fault: Any) -> str:
    """A fault with the number of its order, since it has no line in the file."""
    return str(structs.replace(fault, file=f"{fault.file}: order {fault.line}", line=None))


def _rows(file: str) -> list[Any]:
    try:
        content = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
    except OSError as error:
        raise Failure(f"{file}: {error.strerror or error}", Exit.USAGE) from None
    try:
        whole = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        lines = [line for line in content.splitlines() if line.strip()]
        name = "standard input" if file == "-" else file
        if len(lines) < 2:
            raise Failure(Coded(f"{name} is not JSON: {error}", "E216"), Exit.USAGE) from None
        return [_line(name, number, line) for number, line in enumerate(lines, start=1)]
    if isinstance(whole, dict):
        whole = whole.get("tasks", whole)
    return whole if isinstance(whole, list) else [whole]


def _line(file: str, number: int, line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        text = f"{file} is neither JSON nor JSON Lines; line {number}: {error}"
        raise Failure(Coded(text, "E216"), Exit.USAGE) from None


def words_of(arguments: Sequence[str]) -> list[str]:
    """The arguments, with the lines of standard input in place of a single ``-``."""
    if list(arguments) != ["-"]:
        return list(arguments)
    return [line.strip() for line in sys.stdin if line.strip()]


def pairs_of(words: Sequence[str]) -> dict[str, str]:
    """Read ``TASK_ID=TRACKING_ID`` words."""
    pairs: dict[str, str] = {}
    for word in words:
        task_id, _, tracking_id = word.partition("=")
        if not task_id or not tracking_id:
            raise WrongUse(f"{word!r} has no tracking id: give only TASK_ID=TRACKING_ID, or only TASK_ID", "E102")
        if task_id in pairs:
            raise WrongUse(f"task {task_id} appears twice", "E102")
        pairs[task_id] = tracking_id
    return pairs


# --- their results ---------------------------------------------------------------------------------------------------


class Results(Struct, frozen=True):
    """The result of each order, and the error that ended the sending early, if any."""

    results: list[Any]
    error: GotSurgeError | None

    @classmethod
    async def of(cls, stream: ResultStream[Any, Any]) -> Self:
        """Wait for all results."""
        results: list[Any] = []
        try:
            async with stream:
                async for result in stream:
                    results.append(result)  # noqa: PERF401 - what came before an error is kept
        except GotSurgeError as error:
            if not results:
                raise
            return cls(results, error)
        return cls(results, None)

    @property
    def exit_code(self) -> Exit:
        """The code of the worst result: doubt, then an error that needs a person, then refusals."""
        words = {_word(result) for result in self.results}
        if "in doubt" in words:
            return Exit.IN_DOUBT
        if self.error is not None:
            return exit_code_of(self.error)
        if "unprocessed" in words:
            return Exit.STOPPED
        if "changed" in words:
            return Exit.CHANGED
        return Exit.REFUSED if "refused" in words else Exit.CREATED

    def print(self) -> Exit:
        """Print a row for each order, and return the exit code."""
        rows = [self._row(result) for result in self.results]
        columns = [prose(name) if name == "error" else name for name in (rows[0] if rows else ())]
        print_one(self._document(rows), lambda: print_table(columns, [list(row.values()) for row in rows]))
        if self.error is not None:
            say(f"Error: {self.error}")
        return self.exit_code

    def _document(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        counts = Counter(row["result"] for row in rows)
        words = ("created", "already pushed", "refused", "in doubt", "unprocessed", "changed")
        return {**{word.replace(" ", "_"): counts[word] for word in words}, "orders": rows}

    def _row(self, result: Any) -> dict[str, Any]:
        receipt = result.receipt if isinstance(result, Created) else None
        return {
            "tracking_id": result.order.tracking_id,
            "result": _word(result),
            "id": receipt.id if receipt else None,
            "status": receipt.current_status if receipt else None,
            "error": _why(result),
        }


def _word(result: Any) -> str:
    if isinstance(result, Created) and result.replayed:
        return "already pushed"
    words = {Created: "created", Refused: "refused", InDoubt: "in doubt", Changed: "changed"}
    return words.get(type(result), "unprocessed")


def _why(result: Any) -> str | None:
    if isinstance(result, Changed):
        return f"pushed before, and differs in {', '.join(result.fields)}"
    return None if isinstance(result, Created) else str(result.error)


class Updates(Results, frozen=True):
    """The result of each task that the command changes or broadcasts."""

    @property
    def exit_code(self) -> Exit:
        """The exit code: success if all is done. Nothing is in doubt, since a repeat does no harm."""
        if self.error is not None:
            return exit_code_of(self.error)
        return Exit.CREATED if all(isinstance(result, Updated) for result in self.results) else Exit.REFUSED

    def _document(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        done = sum(row["done"] for row in rows)
        return {"done": done, "not_done": len(rows) - done, "tasks": rows}

    def _row(self, result: Any) -> dict[str, Any]:
        task = result.task if isinstance(result, Updated) else None
        task_id, tracking_id = result.item if isinstance(result.item, tuple) else (result.item, None)
        return {
            "id": task_id,
            "tracking_id": task.tracking_id if task and task.tracking_id else tracking_id,
            "done": task is not None,
            "status": task.current_status if task else None,
            "error": None if isinstance(result, Updated) else str(result.error),
        }
