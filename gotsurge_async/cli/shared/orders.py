"""A few orders from a JSON file into one call, and what became of each."""

import io
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import click
import msgspec

from gotsurge_async.api.endpoints import CHUNK
from gotsurge_async.bulk.sources import SourceOptions
from gotsurge_async.bulk.sources.jsonl_source import JsonlSource
from gotsurge_async.bulk.sources.source import SourceReport
from gotsurge_async.calls.create import Created, InDoubt, OrderResult, PushStream, Refused
from gotsurge_async.cli.shared.exits import Exit, Failure, exit_code_of
from gotsurge_async.cli.shared.output import print_json, print_table
from gotsurge_async.errors import GotSurgeError
from gotsurge_async.models.tasks import Order
from gotsurge_async.money import Money

_WORDS = {Created: "created", Refused: "refused", InDoubt: "in doubt"}


def read_orders(file: str, *, timezone: str | None = None, max_price: Money | None = None) -> list[Order]:
    """Read 1 to 20 orders, checked as a push checks them.

    The file holds one order, a list of orders, the body of a create (``{"tasks": […]}``), or an order a line, all in
    the API's own shape. ``-`` is standard input.

    Raises:
        Failure: every fault, order by order.
    """
    rows = _rows(file, _content(file))
    if not 1 <= len(rows) <= CHUNK:
        raise Failure(
            f"{file} holds {len(rows)} orders, one call takes 1 to {CHUNK}: gotsurge push takes any", Exit.USAGE
        )
    report = SourceReport()
    options = SourceOptions(now=datetime.now(UTC), timezone=timezone, max_price=max_price)
    stream = io.BytesIO(b"\n".join(map(msgspec.json.encode, rows)))
    with JsonlSource(file, stream, options, report) as source:
        orders = [row.order for row in source.rows()]
    for warning in report.warnings:
        click.echo(f"warning: {_told(warning)}", err=True)
    if not report.ok:
        faults = [*map(_told, report.faults), "nothing was sent"]
        raise Failure("\n".join(faults), Exit.USAGE)
    twice = [name for name, count in Counter(order.tracking_id for order in orders).items() if count > 1]
    if twice:
        raise Failure(f"{file}: tracking_id {twice[0]} stands there twice; nothing was sent", Exit.USAGE)
    return orders


def _told(fault: Any) -> str:
    """A fault, by the number of its order: the lines are not those of the file."""
    return str(attrs.evolve(fault, file=f"{fault.file}: order {fault.line}", line=None))


def _content(file: str) -> bytes:
    try:
        if file == "-":
            return sys.stdin.buffer.read()
        return Path(file).read_bytes()
    except OSError as error:
        raise Failure(f"{file}: {error.strerror or error}", Exit.USAGE) from None


def _rows(file: str, content: bytes) -> list[Any]:
    try:
        whole = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        lines = [line for line in content.splitlines() if line.strip()]
        if len(lines) < 2:
            raise Failure(f"{file} is not JSON: {error}", Exit.USAGE) from None
        return [_line(file, number, line) for number, line in enumerate(lines, start=1)]
    if isinstance(whole, dict):
        whole = whole.get("tasks", whole)
    return whole if isinstance(whole, list) else [whole]


def _line(file: str, number: int, line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Failure(f"{file} is not JSON, and line {number} of it is not either: {error}", Exit.USAGE) from None


# --- what became of them ---------------------------------------------------------------------------------------------


@attrs.frozen
class Outcome:
    """The result of each order, and the error that ended the sending early, if one did."""

    results: list[OrderResult[Order]]
    error: GotSurgeError | None

    @classmethod
    async def of(cls, stream: PushStream) -> "Outcome":
        """Wait for all results."""
        results: list[OrderResult[Order]] = []
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
        """The worst that happened: doubt, then what a person must mend, then refusals."""
        words = {_word(result) for result in self.results}
        if "in doubt" in words:
            return Exit.IN_DOUBT
        if self.error is not None:
            return exit_code_of(self.error)
        if "not sent" in words:
            return Exit.STOPPED
        return Exit.REFUSED if "refused" in words else Exit.CREATED

    def tell(self, *, as_json: bool) -> None:
        """Print a row for each order."""
        rows = [_row(result) for result in self.results]
        if as_json:
            counts = {name: sum(row["result"] == word for row in rows) for name, word in _COUNTED.items()}
            print_json({**counts, "orders": rows})
        else:
            print_table(("tracking_id", "result", "id", "status", "error"), [list(row.values()) for row in rows])
        if self.error is not None:
            click.echo(f"Error: {self.error}", err=True)


_COUNTED = {"created": "created", "refused": "refused", "in_doubt": "in doubt", "not_sent": "not sent"}


def _word(result: OrderResult[Order]) -> str:
    return _WORDS.get(type(result), "not sent")


def _row(result: OrderResult[Order]) -> dict[str, Any]:
    receipt = result.receipt if isinstance(result, Created) else None
    return {
        "tracking_id": result.order.tracking_id,
        "result": _word(result),
        "id": receipt.id if receipt else None,
        "status": receipt.current_status if receipt else None,
        "error": None if isinstance(result, Created) else str(result.error),
    }
