"""What commands print: tables for people, tab-separated lines for pipes, JSON for programs."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

from gotsurge_async import codec
from gotsurge_async.money import Money

if TYPE_CHECKING:
    from rich.console import Console

SHOWN = 20
"""How many rows, or ids, are listed for people; --json lists all."""

_WHOLE = frozenset(("id", "operation", "run", "task", "column"))
"""Columns of tables that never wrap: what stands there is to be copied."""

DOCUMENT_GIVEN = "gotsurge_async.cli.document_was_given"
"""Where the context of a command remembers that it has printed its JSON document."""


def say(text: object) -> None:
    """Tell people what is no data, on stderr."""
    click.echo(str(text), err=True)


def counted(numbers: Mapping[str, int]) -> str:
    """How many there are of each, as ``3 created, 1 in doubt``; nothing of those that there are none of."""
    return ", ".join(f"{number:,} {word}" for word, number in numbers.items() if number)


def print_json(value: Any) -> None:
    """Print models, or plain values, as the one JSON document of a command; of models it is the API's own JSON."""
    if isinstance(value, list | tuple):
        value = [codec.unstructure(each) for each in value]
    started_document()
    click.echo(msgspec.json.format(codec.encode(value), indent=2).decode())


def started_document() -> None:
    """Say that the command's one JSON document is printed from here on."""
    context = click.get_current_context(silent=True)
    if context is not None:
        context.meta[DOCUMENT_GIVEN] = True


def is_terminal() -> bool:
    """Whether what is printed goes to a terminal."""
    return _terminal(False) is not None


def at_a_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def lasting(seconds: float) -> str:
    """How long something takes, for people: in the unit that fits."""
    if seconds < 100:
        return f"{seconds:,.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:,.0f} min"
    return f"{seconds / 3600:,.0f} h" if seconds < 48 * 3600 else f"{seconds / 86400:,.0f} days"


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, err: bool = False, headed: bool = True
) -> None:
    """Print a table: ruled on a terminal, else a line a row with tabs between its cells, the headings first.

    Args:
        headed: with headings; False for lines that go on with a table.
    """
    cells = [[shown(value) for value in row] for row in rows]
    console = _terminal(err)
    if console is None:
        _print_lines([columns, *cells] if headed else cells, err)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column.lower() in _WHOLE)
    for row in cells:
        # Text of the service is no markup.
        table.add_row(*map(Text, row))
    console.print(table)


def print_record(pairs: Iterable[tuple[str, Any]], *, err: bool = False) -> None:
    """Print one thing, a line for each field that has a value: its name, then the value."""
    given = [(name, text) for name, value in pairs if (text := shown(value))]
    console = _terminal(err)
    if console is None:
        _print_lines(given, err)
        return
    from rich.table import Table
    from rich.text import Text

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


def _terminal(err: bool) -> "Console | None":
    """The terminal that the output goes to, if it is one."""
    from rich.console import Console  # loaded by what prints a table, and by nothing else

    console = Console(stderr=err)
    return console if console.is_terminal else None


def _print_lines(rows: Iterable[Sequence[str]], err: bool) -> None:
    for row in rows:
        click.echo("\t".join(row), err=err)
