"""A table of texts in any format, and the records of a CSV, each with the physical line on which it starts."""

import abc
import csv
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import methodcaller
from typing import Any

from msgspec import Struct, structs

from gotsurge_async.errors import Coded
from gotsurge_async.starting import pattern
from gotsurge_async.tables.cells import Broken
from gotsurge_async.tables.formats.lines import MAX_LINE, TOO_LONG, Digested, Form, Text, unwrapped
from gotsurge_async.tables.formats.sheet_reader.messages import SHOWS_ERROR

_LIMIT = "field limit"
"""The words of the csv module's error for a value that is too long."""
_ERROR = pattern(
    r"#[¡¿]?(?:(?:NULL|DIV/0|VALUE|REF|NUM|SPILL|CALC|WERT|BEZUG|ZAHL|ÜBERLAUF|KALK|NUL|VALEUR|NOMBRE|NULO|VALOR"
    r"|NULLO|VALORE|RIF|LEEG|DEEL/0|WAARDE|VERW|GETAL)!|(?:NAME|NOM|NOMBRE|NOME|NAAM)\?|N/[ABD]|NV|GETTING_DATA|#{4,})"
    r"|Err:5\d\d"
)
"""The errors that spreadsheets write into a CSV: English, German, French, Spanish, Portuguese, Italian or Dutch ones.
A value that is too wide for its column is written as number signs."""
_MAYBE_ERROR = pattern(rb"#(?:[^\s#]{3,12}[!?]|N[/V]|GETTING|####)|Err:5")
_SEPARATOR = pattern(rb'"?sep=([\t!#-~])"?[\r\n]*', re.IGNORECASE)


class Record(Struct, frozen=True, gc=False):
    """A record: its first line, its cells, whether some cells have bytes that are not text, and its last line.

    ``shown`` has the texts that a sheet shows of numbers, by the places of their cells, if these differ; "" for a text
    that is not known. A `Broken` is a rule that the cell breaks if its column is read.
    """

    line: int
    cells: list[str]
    damaged: bool
    last_line: int
    shown: Mapping[int, str] | None = None

    @property
    def with_rules(self) -> list[str]:
        """The cells, in which those that break a rule have it as their text."""
        broken = {place: text for place, text in (self.shown or {}).items() if isinstance(text, Broken)}
        return [broken.get(place, cell) for place, cell in enumerate(self.cells)]


Unreadable = Callable[[int, str], None]
"""Called with the line of a record that cannot be read, and the rule that it breaks."""


Strip = Callable[[Any], str]
"""Takes the white space around a cell away."""


class Grid(abc.ABC):
    """A table in any format.

    Attributes:
        strip: removes the white space around a cell; a cell that has a type may do so itself.
        form: how it is written; complete when the first record was read.
        digest: the SHA-256 of the bytes that were read.
        stopped: whether reading stopped before the end.
        sheets: the names of all sheets of cells of a workbook.
        remarks: warnings about the whole table.
    """

    def __init__(self, form: Form, digest: Any) -> None:
        self.form = form
        self.digest = digest
        self.stopped: bool = False
        self.sheets: Sequence[str] = ()
        self.remarks: list[str] = []
        self.strip: Strip = methodcaller("strip")

    @abc.abstractmethod
    def records(self, unreadable: Unreadable) -> Iterator[Record]:
        """The records, without empty ones; ``unreadable`` is called for broken ones. BadFile if no more can be read."""

    def close(self) -> None:  # noqa: B027 - most have nothing to stop
        """Stop reading the table, even if another thread waits for its next record."""


class CsvGrid(Grid):
    """A CSV. A quote that is never closed ends it, because it is not certain where the next row starts.

    Args:
        delimiter: the character between two cells; if None, that of a first line such as ``sep=;``, else ``usual``.
    """

    def __init__(self, stream: Digested, encoding: str | None, delimiter: str | None, usual: str = ",") -> None:
        super().__init__(Form(delimiter=delimiter or usual), stream.digest)
        self.strip: Strip = str.strip  # all are texts without a type, so the quickest
        self._stream = stream
        self._encoding = encoding
        self._takes_separator = delimiter is None
        self._start = 1  # the first line of the current record
        self._block: tuple[int, list[bytes | None]] = (1, [])  # the last lines that were read, and the first's number
        self._damaged: set[int] = set()  # the lines that are not text
        self._has_errors = False  # whether a cell so far may be an error
        self._wrapped = False  # whether a cell so far may be one that `unwrapped` changes

    def records(self, unreadable: Unreadable) -> Iterator[Record]:
        """Yield the records, see `Grid.records`."""
        text = Text(self._stream, self._encoding)
        self.form: Form = structs.replace(text.form, delimiter=self.form.delimiter)
        if refusal := text.refusal():
            self.stopped: bool = True
            unreadable(1, refusal)
            return
        blocks = self._without_separator(text.blocks())
        texts = itertools.chain.from_iterable(self._texts(blocks))
        reader = csv.reader(texts, delimiter=self.form.delimiter, strict=True)
        damaged = self._damaged
        while True:
            start = self._start
            try:
                cells = next(reader)
            except StopIteration:
                return
            except (csv.Error, _TooLong) as error:
                last = reader.line_num
                is_open = last > start or (_LIMIT in str(error) and self._is_open(last))
                self.stopped = isinstance(error, _TooLong) or is_open
                unreadable(start, _rule(error, start, last, is_open=is_open))
                if self.stopped:
                    return
            else:
                last = reader.line_num
                if self._wrapped:
                    cells = [unwrapped(cell) for cell in cells]
                # A spreadsheet leaves rows of empty cells below its table.
                if any(map(str.strip, cells)):
                    is_damaged = bool(damaged) and not damaged.isdisjoint(range(start, last + 1))
                    yield Record(start, cells, is_damaged, last, _errors(cells) if self._has_errors else None)
            self._start = last + 1

    def _is_open(self, line: int) -> bool:
        """Whether a line that starts a record ends in a quoted value, which the next line continues."""
        first, lines = self._block
        return (lines[line - first] or b"").count(b'"') % 2 > 0

    def _without_separator(self, blocks: Iterator[list[bytes | None]]) -> Iterator[list[bytes | None]]:
        """The lines; a first line that only names the delimiter to Excel is used, and becomes empty."""
        first: list[bytes | None] = next(filter(None, blocks), [])
        if first and first[0] and (separator := _SEPARATOR.fullmatch(first[0])):
            if self._takes_separator:
                self.form = structs.replace(self.form, delimiter=separator[1].decode())
            first[0] = b"\n"
        return itertools.chain((first,), blocks)

    def _texts(self, blocks: Iterator[list[bytes | None]]) -> Iterator[Iterable[str]]:
        """The lines as text, block by block.

        Raises:
            _TooLong: a line, or the current record, has more than `MAX_LINE` bytes.
        """
        line, start, size = 1, 1, 0
        for lines in blocks:
            if self._start != start:
                start, size = self._start, 0
            if size > MAX_LINE:
                raise _TooLong
            joined = b"".join(filter(None, lines))
            size += len(joined)
            self._wrapped = self._wrapped or b'="' in joined
            self._has_errors = self._has_errors or _MAYBE_ERROR.search(joined) is not None
            texts = None if None in lines or b"\0" in joined else _decoded(lines)
            self._block = line, lines
            yield self._odd(line, lines) if texts is None else texts
            line += len(lines)

    def _odd(self, line: int, lines: list[bytes | None]) -> Iterator[str]:
        """The texts of some lines, of which at least one is not text."""
        for number, raw in enumerate(lines, start=line):
            if raw is None:
                raise _TooLong(TOO_LONG)
            text = raw.decode(errors="replace")
            if "\0" in text or "\ufffd" in text:
                self._damaged.add(number)
            yield text


class _TooLong(Exception):
    """A line or a record is longer than any order."""


def _decoded(lines: list[bytes | None]) -> list[str] | None:
    try:
        return [*map(bytes.decode, lines)]  # type: ignore[arg-type]
    except UnicodeDecodeError:
        return None


def _errors(cells: Sequence[str]) -> dict[int, str]:
    return {place: Broken(SHOWS_ERROR) for place, cell in enumerate(cells) if _ERROR.fullmatch(cell.strip())}


def _rule(error: csv.Error | _TooLong, start: int, last: int, *, is_open: bool) -> Coded:
    """The message for a record that breaks the rules; the file ends with one that is open after its first line."""
    if isinstance(error, _TooLong) and error.args:
        return Coded(f"the line is longer than {MAX_LINE} bytes; the rest of the file was not read", "E215")
    if _LIMIT in str(error):
        cause = ', or its quote (") is never closed' if last > start else ""
        rest = "; the rest of the file was not read" if is_open else ""
        return Coded(f"a value is longer than {csv.field_size_limit()} characters{cause}{rest}", "E215")
    rule = 'a value here begins with a quote (") that is never closed'
    if isinstance(error, csv.Error) and "expected after" in str(error):
        rule = 'a quote (") is out of place: quotes enclose a whole value, and a quote inside it is written twice ("")'
        if last != start:
            rule = (
                f'a value here begins with a quote (") that is not closed before line {last}: '
                'close it, and double each quote inside a quoted value (""); the rest of the file was not read'
            )
    elif last > start:
        rule = 'a value here begins with a quote (") that is never closed; the rest of the file was not read'
    return Coded(rule, "E214")
