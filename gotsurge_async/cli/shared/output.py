"""The output of commands: tables for people, tab-separated lines for pipes, JSON for programs."""

import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click
import msgspec
from msgspec import Struct

from gotsurge_async import codec
from gotsurge_async.errors import ConfigError
from gotsurge_async.models.tasks import TaskStatus
from gotsurge_async.models.times import written
from gotsurge_async.models.words import in_words, one_line, printable, printable_lines
from gotsurge_async.money import Money

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

Code = TypeVar("Code", bound=int)

SHOWN = 20
"""The most rows, or ids, that are listed for people; --json lists all."""

WORDS = "gotsurge_async.cli.words"
"""The key in `meta` for the words of the command line."""
AS_JSON = "gotsurge_async.cli.as_json"
"""The key in `meta` for whether the command has ``--json``."""
HAS_DOCUMENT = "gotsurge_async.cli.has_document"
"""The key in `meta` for whether the command has begun to print its JSON document."""


def meta() -> dict[str, Any]:
    """Values about the running command. Outside of a command they are lost."""
    context = click.get_current_context(silent=True)
    return {} if context is None else context.meta


def as_json() -> bool:
    """Whether the running command prints JSON, for programs."""
    return bool(meta().get(AS_JSON))


def say(text: object) -> None:
    """Print a line for people on stderr."""
    click.echo(printable_lines(str(text)), err=True)


def counted(numbers: Mapping[str, int]) -> str:
    """Numbers with their words, as ``3 created, 1 in doubt``; without zeros."""
    return ", ".join(f"{number:,} {word}" for word, number in numbers.items() if number)


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return _terminal() is not None


def at_a_terminal() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirmed(question: str) -> bool:
    """Ask a question at the terminal; returns whether the answer is yes. Raises click.Abort without an answer."""
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


def shown(value: Any) -> str:
    """A value for people, on one line: money as ``SGD 48.50``, times in the zone of people, "" for None."""
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


def tabbed(cells: Iterable[Any]) -> str:
    """A line for a pipe, with tabs between the cells."""
    return "\t".join(map(shown, cells))


def event_line(whole: Iterable[Any], brief: Iterable[Any]) -> str:
    """A line of a stream of events: ``whole`` with tabs in a pipe, ``brief`` at a terminal."""
    return "  ".join(map(_at_a_terminal, brief)) if is_terminal() else tabbed(whole)


def filled(text: str, indent: int = 0) -> str:
    """A text whose paragraphs fill the terminal's width; a paragraph with an indented line stays as it is."""
    console = _terminal()
    if console is None:
        return textwrap.indent(text, " " * indent)
    return "\n\n".join(
        paragraph
        if re.search(r"^ ", paragraph, re.MULTILINE)
        else "\n".join(line.plain for line in _indented(" ".join(paragraph.split()), console.width, indent))
        for paragraph in text.split("\n\n")
    )


def _at_a_terminal(value: Any, *, seconds: bool = True) -> str:
    """A value as `shown` writes it, but with a status in words, which only people read, and perhaps without seconds."""
    if isinstance(value, datetime):
        return written(value, seconds=seconds)
    return shown(in_words(value) if isinstance(value, TaskStatus) else value)


def _terminal() -> "Console | None":
    """The terminal that receives the output, if there is one."""
    from rich.console import Console  # loaded by what prints a table, and by nothing else

    console = Console()
    return console if console.is_terminal else None


# --- a command's result ----------------------------------------------------------------------------------------------


class Step(Struct, frozen=True):
    """A command to type next: the fact that calls for it, and its purpose or condition."""

    why: str
    when: str
    command: str

    def __str__(self) -> str:
        return printable(f"{self.why}. {self.when}, run: {self.command}")


def print_json(value: Any) -> None:
    """Print models or plain values as the one JSON document of a command; models in the API's own JSON."""
    if isinstance(value, list | tuple):
        value = [codec.unstructure(item) for item in value]
    started_document()
    click.echo(msgspec.json.format(codec.encode(value), indent=2).decode())


def started_document() -> None:
    """Note that the command has begun to print its JSON document: an error must not print another one."""
    meta()[HAS_DOCUMENT] = True


def finish(
    document: Mapping[str, Any], code: Code, show: str | Callable[[], None], steps: Sequence[Step] | None = None
) -> Code:
    """Print a command's result, and return its exit code: one JSON document, or for people ``show`` or its output.

    ``steps`` are the commands to type next, ``next`` in the document; None for a command that never has any.
    """
    following = {} if steps is None else {"next": [step.command for step in steps]}
    print_one({**document, **following, "exit": int(code)}, show)
    for step in () if as_json() else steps or ():
        say(step)
    return code


@contextmanager
def output_to(path: Path | None, *, force: bool = False) -> Iterator[IO[bytes]]:
    """Open a command's output: standard output, or a file, whole or not at all; only ``--force`` replaces a file."""
    from gotsurge_async.tables.writing import WholeFile  # few commands write a file

    if path is not None and path.exists() and not (force and path.is_file()):
        if path.is_file():
            raise ConfigError(f"{path} already exists: --force replaces it", "E110")
        raise ConfigError(f"{path} is not a file: choose another name", "E110")
    try:
        with ExitStack() as at_end:
            whole = None if path is None else WholeFile(path, at_end)
            yield sys.stdout.buffer if whole is None else whole.stream
            if whole is None:
                sys.stdout.flush()
            else:
                whole.put_in_place()
    except OSError as error:
        raise ConfigError(
            f"cannot write {f'the file {path}' if path else 'standard output'}: {error.strerror or error}", "E109"
        ) from None


def print_one(document: Any, show: str | Callable[[], None] | Iterable[tuple[str, Any]]) -> None:
    """Print a result: its document with ``--json``, else a line, what ``show`` prints, or a line for each field."""
    if as_json():
        print_json(document)
    elif isinstance(show, str):
        click.echo(show)
    elif callable(show):
        show()
    else:
        print_record(show)


def print_list(documents: Sequence[Any], columns: "Sequence[str | Column]", rows: Iterable[Sequence[Any]]) -> None:
    """Print several objects: their documents as a list with ``--json``, else a table."""
    print_one(documents, lambda: print_table(columns, rows))


# --- records and tables ----------------------------------------------------------------------------------------------

_GAP = 2


class Column(Struct, frozen=True):
    """A column that shrinks on a narrow terminal; a plain text is the title of a column that is always whole.

    Attributes:
        least: cells wrap at spaces, and leave the column this wide; 0 for cells on one line. At most one column of a
            table wraps.
        rank: if columns are left out, the highest rank goes first; 0 for a column that stays.
    """

    title: str
    least: int = 0
    rank: int = 0


def prose(title: str, least: int = 24) -> Column:
    """A column for sentences and names, which wrap at spaces."""
    return Column(title, least=least)


def spare(title: str, rank: int = 1) -> Column:
    """A column that is left out if there is no room; the highest rank goes first."""
    return Column(title, rank=rank)


def print_record(pairs: Iterable[tuple[str, Any]]) -> None:
    """Print one object, a line for each field with a value: its name, then the value, which wraps at spaces only."""
    console = _terminal()
    if console is None:
        fields = [(name, text) for name, value in pairs if (text := shown(value))]
        click.echo("".join(f"{name}\t{text}\n" for name, text in fields), nl=False)
        return
    for line in _record(pairs, console.width):
        console.print(line, soft_wrap=True)


def print_table(columns: Sequence[str | Column], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table: at a terminal by `fitted`, with a note on columns left out, else with tabs between cells."""
    console = _terminal()
    if console is None:
        titles = [column.title if isinstance(column, Column) else column for column in columns]
        for row in (titles, *rows):
            click.echo(tabbed(row))
        return
    parts, left_out = fitted(columns, rows, console.width)
    for part in parts:
        console.print(part, soft_wrap=True)  # only what nothing could make narrower is broken by the terminal
    if left_out:
        say(f"not shown at this width: {', '.join(left_out)}; a pipe and --json have all")


def print_first(columns: Sequence[str | Column], rows: Sequence[Sequence[Any]]) -> None:
    """Print at most `SHOWN` rows as a table, if there are any, and the number of the others."""
    if rows:
        print_table(columns, rows[:SHOWN])
    if len(rows) > SHOWN:
        click.echo(f"… and {len(rows) - SHOWN:,} more: --json lists all")


def fitted(
    columns: Sequence[str | Column], rows: Iterable[Sequence[Any]], width: int
) -> "tuple[list[RenderableType], list[str]]":
    """A table for a terminal of this width: parts to print one below the other, and the titles of columns left out.

    The seconds of times are dropped first, then columns with a rank. If even the rest is too wide, each row becomes a
    record. Only prose is broken, so that all other text can be copied.
    """
    from rich.table import Table
    from rich.text import Text

    every = [column if isinstance(column, Column) else Column(column) for column in columns]
    values = [list(row) for row in rows]
    ranks = sorted({column.rank for column in every if column.rank}, reverse=True)
    for seconds, gone in ((True, 0), *((False, number) for number in range(len(ranks) + 1))):
        kept = [place for place, column in enumerate(every) if column.rank not in ranks[:gone]]
        cells = [[_at_a_terminal(row[place], seconds=seconds) for place in kept] for row in values]
        least = [_least(every[place], [row[at] for row in cells]) for at, place in enumerate(kept)]
        if sum(least) + _GAP * (len(kept) - 1) > width:
            continue
        table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
        for place, narrow in zip(kept, least, strict=True):
            table.add_column(Text(every[place].title), min_width=narrow, no_wrap=not every[place].least)
        for row in cells:
            table.add_row(*map(Text, row))
        return [table], [column.title for place, column in enumerate(every) if place not in kept]
    titles = [column.title for column in every]
    lines = [line for row in values for line in (*_record(zip(titles, row, strict=True), width), Text(""))]
    return list(lines[:-1]), []


def _least(column: Column, cells: Sequence[str]) -> int:
    """The least width of a column in which no word is broken."""
    from rich.cells import cell_len

    texts = [column.title, *cells]
    widest = max(map(cell_len, texts))
    words = (cell_len(word) for text in texts for word in text.split())
    return min(widest, max(column.least, *words)) if column.least else widest


def _record(pairs: Iterable[tuple[str, Any]], width: int) -> "list[Text]":
    """The lines of a record: values next to their names, or below a name that leaves no room for a word."""
    from rich.cells import cell_len
    from rich.text import Text

    fields = [(name, text) for name, value in pairs if (text := _at_a_terminal(value))]
    begin = max((len(name) for name, _ in fields), default=0) + _GAP
    lines: list[Text] = []
    for name, text in fields:
        if begin <= width // 2 and max(map(cell_len, text.split())) <= width - begin:
            first, *more = _indented(text, width, begin)
            lines += [Text.assemble((name.ljust(begin), "bold"), first[begin:]), *more]
        else:
            lines += [*_indented(name, width, 0, "bold"), *_indented(text, width, _GAP)]
    return lines


def _indented(text: str, width: int, indent: int, style: str = "") -> "list[Text]":
    """A text as indented lines that break at spaces only."""
    from rich.console import Console
    from rich.text import Text

    lines = Text(text, style, overflow="ignore").wrap(Console(), max(width - indent, 1))
    for line in lines:
        line.rstrip()
    return [Text(" " * indent).append_text(line) for line in lines]
