"""What commands print: tables for people, tab-separated lines for pipes, JSON for programs."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gotsurge_async import codec
from gotsurge_async.cli.shared.exits import print_text
from gotsurge_async.money import Money

F = TypeVar("F", bound=Callable[..., Any])

SHOWN = 20
"""How many orders are listed for people; --json lists all."""


def json_option(command: F) -> F:
    """The option ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


def print_json(value: Any) -> None:
    """Print models, or plain values, as one JSON document: the shape, and the units, of the API's own JSON."""
    text = msgspec.json.format(codec.encode(_plain(value)), indent=2)
    print_text(text.decode())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, err: bool = False) -> None:
    """Print a table: ruled on a terminal, else a line a row with tabs between its cells, the headings first."""
    cells = [[shown(value) for value in row] for row in rows]
    console = Console(stderr=err)
    if not console.is_terminal:
        _print_lines([columns, *cells], err)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        # An id is there to be copied.
        table.add_column(column, overflow="fold", no_wrap=column in ("id", "operation"))
    for row in cells:
        # Text of the service is no markup.
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def print_record(pairs: Iterable[tuple[str, Any]], *, err: bool = False) -> None:
    """Print one thing, a line for each field that has a value: its name, then the value."""
    given = [[name, shown(value)] for name, value in pairs if shown(value)]
    console = Console(stderr=err)
    if not console.is_terminal:
        _print_lines(given, err)
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, text in given:
        grid.add_row(name, Text(text))
    console.print(grid)


def tell_more(number: int) -> None:
    """Say how many of a number of rows were not listed."""
    if number > SHOWN:
        click.echo(f"… and {number - SHOWN:,} more: --json lists all")


def shown(value: Any) -> str:
    """A value as people read it, on one line: money as ``SGD 48.50``, times in UTC, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Money):
        # The currency of an organization's amounts is not told.
        return str(value).removeprefix("? ")
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    return " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())


def _print_lines(rows: Iterable[Sequence[str]], err: bool) -> None:
    for row in rows:
        click.echo("\t".join(row), err=err)


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [codec.unstructure(each) for each in value]
    return value
