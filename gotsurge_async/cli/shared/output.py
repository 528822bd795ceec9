"""What commands print: tables for people, tab-separated lines for pipes, JSON for programs."""

import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import product
from typing import TYPE_CHECKING, Any

import attrs
import click
import msgspec

from gotsurge_async import codec
from gotsurge_async.money import Money

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

SHOWN = 20
"""How many rows, or ids, are listed for people; --json lists all."""

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


def event_line(whole: Iterable[Any], brief: Iterable[Any]) -> str:
    """A line of what is printed as it comes: in a pipe all of it, with tabs; at a terminal what fits."""
    return "  ".join(map(shown, brief)) if is_terminal() else "\t".join(map(shown, whole))


def filled(text: str, indent: str = "") -> str:
    """A text for people: at a terminal its paragraphs take the width; one with a line that is indented stays."""
    console = _terminal(False)
    if console is None:
        return textwrap.indent(text, indent)
    wrapper = textwrap.TextWrapper(
        console.width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )
    paragraphs = text.split("\n\n")
    return "\n\n".join(each if re.search(r"^ ", each, re.MULTILINE) else wrapper.fill(each) for each in paragraphs)


def print_record(pairs: Iterable[tuple[str, Any]], *, err: bool = False) -> None:
    """Print one thing, a line for each field that has a value: its name, then the value, which wraps at spaces only."""
    given = [(name, text) for name, value in pairs if (text := shown(value))]
    console = _terminal(err)
    if console is None:
        _print_lines(given, err)
        return
    for line in _record_lines(given, console.width):
        console.print(line, soft_wrap=True)


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


# --- tables -----------------------------------------------------------------------------------------------------------

_GAP = 2
_LEAST_PROSE, _LEAST_CUT = 36, 12
"""How narrow a column becomes before it stands below its row, or others are left out."""


@attrs.frozen
class Column:
    """A column that gives way where a terminal is narrow; one that is named by a plain text is always whole.

    Attributes:
        cut: what does not fit is cut.
        prose: it wraps at spaces, or stands below its row, indented. Such columns are the last ones.
        rank: of the columns that may be left out, the highest goes first; 0 for one that stays.
    """

    title: str
    cut: bool = False
    prose: bool = False
    rank: int = 0

    def least(self, cells: Iterable[str], most: int) -> int:
        """How narrow it may become, of cells that are ``most`` wide. No word of prose is broken beside others."""
        if self.prose:
            from rich.cells import cell_len

            return min(
                most, max(_LEAST_PROSE, *(cell_len(word) for cell in ("", *cells) for word in ("", *cell.split())))
            )
        return min(most, _LEAST_CUT) if self.cut else most


def cut(title: str) -> Column:
    """A column for names that can be known by how they begin."""
    return Column(title, cut=True)


def prose(title: str) -> Column:
    """A column for sentences and paths: all of it is shown, below the row if there is no room in it."""
    return Column(title, prose=True)


def spare(title: str, rank: int = 1) -> Column:
    """A column that is left out where there is no room; of several the one with the highest rank goes first."""
    return Column(title, rank=rank)


def print_table(
    columns: Sequence[str | Column], rows: Iterable[Sequence[Any]], *, err: bool = False, headed: bool = True
) -> None:
    """Print a table: in columns on a terminal, else a line a row with tabs between its cells, the headings first.

    A pipe gets every column. A terminal gets what fits, as `table_lines` says, and is told what was left out.

    Args:
        headed: with headings; False for lines that go on with a table.
    """
    console = _terminal(err)
    if console is None:
        cells = [list(map(shown, row)) for row in rows]
        titles = [each.title if isinstance(each, Column) else each for each in columns]
        _print_lines([titles, *cells] if headed else cells, err)
        return
    lines, left_out = table_lines(columns, rows, console.width)
    for line in lines if headed else lines[1:]:
        console.print(line, soft_wrap=True)  # only what nothing could make narrower is broken by the terminal
    if left_out:
        say(f"not shown at this width: {', '.join(left_out)}; a wider terminal, a pipe and --json have all")


def table_lines(
    columns: Sequence[str | Column], rows: Iterable[Sequence[Any]], width: int
) -> "tuple[list[Text], list[str]]":
    """A table for a terminal of a width: its lines, the headings first, and the titles of the columns left out.

    What gives way, in this order: the seconds of times; columns that may be left out; columns of prose, which go below
    their row. Everything else stands on one line, never cut, so that it can be copied: where even that is wider, each
    row becomes a list of its cells.
    """
    from rich.text import Text

    given = [each if isinstance(each, Column) else Column(each) for each in columns]
    values = [list(row) for row in rows]
    full = [[shown(value) for value in row] for row in values]
    brief = [[_to_the_minute(value) for value in row] for row in values]
    ranks = sorted({column.rank for column in given if column.rank}, reverse=True)
    prose_at = [place for place, column in enumerate(given) if column.prose]
    tries = [(full, 0, 0), *((brief, *each) for each in product(range(len(prose_at) + 1), range(len(ranks) + 1)))]
    for cells, below, gone in tries:
        dropped = {place for place, column in enumerate(given) if column.rank in ranks[:gone]}
        under = prose_at[len(prose_at) - below :]
        beside = [place for place in range(len(given)) if place not in dropped and place not in under]
        widths = _widths([(given[place], [row[place] for row in cells]) for place in beside], width)
        if widths is None:
            continue
        titles = [Text(given[place].title, "bold") for place in beside]
        lines = _beside(titles, widths, [given[place] for place in beside])
        for place in under:
            if any(row[place] for row in cells):
                lines.append(Text.assemble("  ", (given[place].title, "bold")))
        for row in cells:
            lines += _beside([Text(row[place]) for place in beside], widths, [given[place] for place in beside])
            lines += [line for place in under if row[place] for line in _below(row[place], width)]
        return lines, [given[place].title for place in sorted(dropped)]
    lines = [Text("")]
    for row in full:
        named = [(column.title, text) for column, text in zip(given, row, strict=True) if text]
        lines += [Text.assemble((title, "bold"), f"  {text}") for title, text in named] + [Text("")]
    return lines[:-1], []


def _to_the_minute(value: Any) -> str:
    return shown(value)[:16] + shown(value)[19:] if isinstance(value, datetime) else shown(value)


def _widths(columns: Sequence[tuple[Column, Sequence[str]]], width: int) -> list[int] | None:
    """How wide each column becomes, None if they cannot stand beside each other."""
    from rich.cells import cell_len

    natural = [max(map(cell_len, [column.title, *cells])) for column, cells in columns]
    widths = [column.least(cells, most) for most, (column, cells) in zip(natural, columns, strict=True)]
    left = width - sum(widths) - _GAP * (len(widths) - 1)
    if left < 0:
        return None
    for place, most in enumerate(natural):
        more = min(most - widths[place], left)
        widths[place] += more
        left -= more
    return widths


def _beside(cells: "Sequence[Text]", widths: Sequence[int], columns: Sequence[Column]) -> "list[Text]":
    """A row as lines: one, unless prose wraps."""
    from rich.text import Text

    wrapped = [
        _wrapped(cell, width) if column.prose else [cell]
        for cell, width, column in zip(cells, widths, columns, strict=True)
    ]
    lines = []
    for number in range(max(map(len, wrapped))):
        line = Text()
        for each, width in zip(wrapped, widths, strict=True):
            part = each[number].copy() if number < len(each) else Text()
            part.truncate(width, overflow="ellipsis", pad=True)
            line.append_text(part).append(" " * _GAP)
        line.rstrip()
        lines.append(line)
    return lines


def _record_lines(given: Sequence[tuple[str, str]], width: int) -> "list[Text]":
    """The fields of a record. A value stands beside its name, or below it where names or words are long."""
    from rich.cells import cell_len
    from rich.text import Text

    begin = max((cell_len(name) for name, _ in given), default=0) + _GAP
    lines = []
    for name, text in given:
        if begin > width // 2 or max(map(cell_len, text.split())) > width - begin:
            lines += [*_wrapped(Text(name, "bold", overflow="ignore"), width), *_below(text, width)]
            continue
        first, *more = _wrapped(Text(text), width - begin)
        lines.append(Text.assemble((name, "bold"), " " * (begin - cell_len(name)), first))
        lines += [Text(" " * begin) + line for line in more]
    return lines


def _below(text: str, width: int) -> "list[Text]":
    from rich.text import Text

    return [Text("  ") + line for line in _wrapped(Text(text, overflow="ignore"), max(width - 2, 1))]


def _wrapped(text: "Text", width: int) -> "list[Text]":
    from rich.console import Console

    lines = list(text.wrap(Console(), width))
    for line in lines:
        line.rstrip()
    return lines or [text]


def _print_lines(rows: Iterable[Sequence[str]], err: bool) -> None:
    for row in rows:
        click.echo("\t".join(row), err=err)
