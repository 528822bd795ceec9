"""What commands print: tables for people, tab-separated lines for pipes, JSON for programs."""

import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import product
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec import Struct

from gotsurge_async import codec
from gotsurge_async.models.tasks import TaskStatus
from gotsurge_async.models.times import written
from gotsurge_async.models.words import in_words, one_line
from gotsurge_async.money import Money

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

SHOWN = 20
"""The most rows, or ids, that are listed for people; --json lists all."""

DOCUMENT_GIVEN = "gotsurge_async.cli.document_was_given"
"""The key in the context's ``meta`` that says that the command has printed its JSON document."""


def say(text: object) -> None:
    """Print a line for people on stderr."""
    click.echo(str(text), err=True)


def counted(numbers: Mapping[str, int]) -> str:
    """Numbers with their words, as ``3 created, 1 in doubt``; without the zeros."""
    return ", ".join(f"{number:,} {word}" for word, number in numbers.items() if number)


def print_json(value: Any) -> None:
    """Print models, or plain values, as the one JSON document of a command; models in the API's own JSON."""
    if isinstance(value, list | tuple):
        value = [codec.unstructure(item) for item in value]
    started_document()
    click.echo(msgspec.json.format(codec.encode(value), indent=2).decode())


def started_document() -> None:
    """Note that the command has begun to print its JSON document."""
    context = click.get_current_context(silent=True)
    if context is not None:
        context.meta[DOCUMENT_GIVEN] = True


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return _terminal() is not None


def at_a_terminal() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirmed(question: str) -> bool:
    """Whether a person says yes, after the question stands on the screen; raises click.Abort without an answer."""
    with suppress(Exception):  # another system, or no terminal
        import termios

        termios.tcflush(sys.stdin, termios.TCIFLUSH)  # what was typed before
    return click.confirm(question, err=True)


def lasting(seconds: float) -> str:
    """A duration for people, in the unit that fits."""
    if seconds < 100:
        return f"{seconds:,.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:,.0f} min"
    return f"{seconds / 3600:,.0f} h" if seconds < 48 * 3600 else f"{seconds / 86400:,.0f} days"


def event_line(whole: Iterable[Any], brief: Iterable[Any]) -> str:
    """A line of a stream of events: in a pipe ``whole`` with tabs, at a terminal ``brief``."""
    return "  ".join(map(_at_a_terminal, brief)) if is_terminal() else "\t".join(map(shown, whole))


def filled(text: str, indent: str = "") -> str:
    """A text whose paragraphs fill the terminal's width; a paragraph with an indented line stays as it is."""
    console = _terminal()
    if console is None:
        return textwrap.indent(text, indent)
    wrapper = textwrap.TextWrapper(
        console.width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )
    paragraphs = text.split("\n\n")
    return "\n\n".join(text if re.search(r"^ ", text, re.MULTILINE) else wrapper.fill(text) for text in paragraphs)


def shown(value: Any) -> str:
    """A value for people, on one line: money as ``SGD 48.50``, times in the zone of people, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Money):
        return str(value).removeprefix("? ")  # an organization's amounts have no currency
    if isinstance(value, datetime):
        return written(value, seconds=True)
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    return one_line(str(value))


def _at_a_terminal(value: Any) -> str:
    """A value as `shown` writes it, and a status in words: programs read pipes."""
    return shown(in_words(value) if isinstance(value, TaskStatus) else value)


def _terminal(err: bool = False) -> "Console | None":
    """The terminal that the output goes to, if it is one."""
    from rich.console import Console  # loaded by what prints a table, and by nothing else

    console = Console(stderr=err)
    return console if console.is_terminal else None


# --- how a command ends ----------------------------------------------------------------------------------------------


class Step(Struct, frozen=True):
    """A command to type next, and why."""

    why: str
    command: str

    def __str__(self) -> str:
        return f"{self.why}: {self.command}"


def finish(
    document: Mapping[str, Any],
    code: int,
    show: Callable[[], None],
    *,
    as_json: bool,
    steps: Sequence[Step] | None = None,
) -> None:
    """Print a command's result: one JSON document with its exit code, or for people what ``show`` prints.

    Args:
        steps: what to type next; in the document as ``next``. None for a command that never has any.
    """
    if as_json:
        following = {} if steps is None else {"next": [step.command for step in steps]}
        print_json({**document, **following, "exit": int(code)})
        return
    show()
    for step in steps or ():
        say(step)


# --- records and tables ----------------------------------------------------------------------------------------------

_GAP = 2
_LEAST_PROSE, _LEAST_CUT = 36, 12
"""The narrowest columns of prose and of names, before they stand below their row, or others are left out."""


class Column(Struct, frozen=True):
    """A column that gives way on a narrow terminal; a plain text stands for one that is always whole.

    Attributes:
        cut: cells that do not fit are cut.
        prose: cells wrap at spaces, or stand below their row. Such columns are the last ones.
        rank: of the columns that may be left out, the highest rank goes first; 0 for one that stays.
    """

    title: str
    cut: bool = False
    prose: bool = False
    rank: int = 0


def cut(title: str) -> Column:
    """A column for names that are recognized by their beginning."""
    return Column(title, cut=True)


def prose(title: str) -> Column:
    """A column for sentences and paths: never cut, but below the row where there is no room."""
    return Column(title, prose=True)


def spare(title: str, rank: int = 1) -> Column:
    """A column that is left out where there is no room; the highest rank goes first."""
    return Column(title, rank=rank)


def print_record(pairs: Iterable[tuple[str, Any]]) -> None:
    """Print one thing, a line for each field that has a value: its name, then the value, which wraps at spaces only."""
    console = _terminal()
    show = shown if console is None else _at_a_terminal
    fields = [(name, text) for name, value in pairs if (text := show(value))]
    if console is None:
        _print_lines(fields)
        return
    from rich.cells import cell_len
    from rich.text import Text

    begin = max((len(name) for name, _ in fields), default=0) + _GAP
    for name, text in fields:
        beside = begin <= console.width // 2 and max(map(cell_len, text.split())) <= console.width - begin
        if beside:
            first, *more = _indented(text, console.width, begin)
            lines = [Text.assemble((name.ljust(begin), "bold"), first[begin:]), *more]
        else:
            lines = [*_indented(name, console.width, 0, "bold"), *_indented(text, console.width, _GAP)]
        for line in lines:
            console.print(line, soft_wrap=True)


def print_table(
    columns: Sequence[str | Column], rows: Iterable[Sequence[Any]], *, err: bool = False, headed: bool = True
) -> None:
    """Print a table: at a terminal as `fitted` says, with a note on what was left out, else with tabs between cells.

    Args:
        headed: with headings; False for rows that continue a table.
    """
    console = _terminal(err)
    if console is None:
        titles = [column.title if isinstance(column, Column) else column for column in columns]
        _print_lines([*([titles] if headed else []), *(list(map(shown, row)) for row in rows)], err)
        return
    parts, left_out = fitted(columns, rows, console.width, headed=headed)
    for part in parts:
        console.print(part, soft_wrap=True)  # only what nothing could make narrower is broken by the terminal
    if left_out:
        say(f"not shown at this width: {', '.join(left_out)}; a wider terminal, a pipe and --json have all")


def print_first(columns: Sequence[str | Column], rows: Sequence[Sequence[Any]]) -> None:
    """Print at most `SHOWN` rows as a table, if there are any, and the number of the others."""
    if rows:
        print_table(columns, rows[:SHOWN])
    if len(rows) > SHOWN:
        click.echo(f"… and {len(rows) - SHOWN:,} more: --json lists all")


def fitted(
    columns: Sequence[str | Column], rows: Iterable[Sequence[Any]], width: int, *, headed: bool = True
) -> "tuple[list[RenderableType], list[str]]":
    """A table for a terminal of this width: parts to print one below the other, and the titles of columns left out.

    What gives way, in this order: the seconds of times; columns with a rank; prose, which goes below its row.
    Everything else stands on one line, never cut, so that it can be copied: where even that is wider, each row becomes
    a list of its cells.
    """
    every = [column if isinstance(column, Column) else Column(column) for column in columns]
    values = [list(row) for row in rows]
    full = [[_at_a_terminal(value) for value in row] for row in values]
    brief = [[_to_the_minute(value) for value in row] for row in values]
    ranks = sorted({column.rank for column in every if column.rank}, reverse=True)
    prose_at = [place for place, column in enumerate(every) if column.prose]
    tries = [(full, 0, 0), *((brief, *more) for more in product(range(len(prose_at) + 1), range(len(ranks) + 1)))]
    for cells, below, gone in tries:
        dropped = [place for place, column in enumerate(every) if column.rank in ranks[:gone]]
        under = prose_at[len(prose_at) - below :]
        beside = [place for place in range(len(every)) if place not in (*dropped, *under)]
        widths = _widths([(every[place], [row[place] for row in cells]) for place in beside], width)
        if widths is not None:
            parts = _parts(every, cells, dict(zip(beside, widths, strict=True)), under, width, headed=headed)
            return parts, [every[place].title for place in dropped]
    return _lists(every, full), []


def _parts(
    columns: Sequence[Column],
    cells: Sequence[Sequence[str]],
    widths: Mapping[int, int],
    under: Sequence[int],
    width: int,
    *,
    headed: bool,
) -> "list[RenderableType]":
    """A table whose columns at the places of ``widths`` are beside each other, and those of ``under`` below the row."""
    from rich.table import Table
    from rich.text import Text

    def new_grid() -> Table:
        grid = Table.grid(padding=(0, _GAP, 0, 0))
        for place, wide in widths.items():
            grid.add_column(width=wide, no_wrap=not columns[place].prose, overflow="ellipsis")
        parts.append(grid)
        return grid

    parts: list[RenderableType] = []
    grid = new_grid()
    titles = [
        column.title if place in widths or any(row[place] for row in cells) else ""
        for place, column in enumerate(columns)
    ]
    for row in [titles, *cells] if headed else cells:
        style = "bold" if row is titles else ""
        if len(parts) > 1:  # something stands below the last row
            grid = new_grid()
        grid.add_row(*(Text(row[place], style) for place in widths))
        parts += [line for place in under if row[place] for line in _indented(row[place], width, _GAP, style)]
    return parts


def _lists(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> "list[RenderableType]":
    """Each row as a list of its cells."""
    from rich.text import Text

    lines: list[RenderableType] = []
    for row in cells:
        named = [(column.title, text) for column, text in zip(columns, row, strict=True) if text]
        lines += [Text.assemble((title, "bold"), f"  {text}") for title, text in named] + [Text("")]
    return lines[:-1]


def _to_the_minute(value: Any) -> str:
    return written(value) if isinstance(value, datetime) else _at_a_terminal(value)


def _widths(columns: Sequence[tuple[Column, Sequence[str]]], width: int) -> list[int] | None:
    """The widths of columns beside each other, None if there is no room for them. No word of prose is broken."""
    from rich.cells import cell_len

    most = [max(map(cell_len, [column.title, *cells])) for column, cells in columns]
    widths = []
    for natural, (column, cells) in zip(most, columns, strict=True):
        word = max((cell_len(word) for cell in cells for word in cell.split()), default=0) if column.prose else 0
        least = max(_LEAST_PROSE, word) if column.prose else _LEAST_CUT if column.cut else natural
        widths.append(min(natural, least))
    left = width - sum(widths) - _GAP * (len(widths) - 1)
    if left < 0:
        return None
    for place, natural in enumerate(most):
        more = min(natural - widths[place], left)
        widths[place] += more
        left -= more
    return widths


def _indented(text: str, width: int, indent: int, style: str = "") -> "list[Text]":
    """A text as indented lines that break at spaces only."""
    from rich.console import Console
    from rich.text import Text

    lines = Text(text, style, overflow="ignore").wrap(Console(), max(width - indent, 1))
    for line in lines:
        line.rstrip()
    return [Text(" " * indent).append_text(line) for line in lines]


def _print_lines(rows: Iterable[Sequence[str]], err: bool = False) -> None:
    for row in rows:
        click.echo("\t".join(row), err=err)
