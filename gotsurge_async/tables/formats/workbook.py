"""A sheet of a workbook, .xlsx, .xls or .ods, read by python-calamine.

Calamine does not show everything that matters: an error or a formula without a value is an empty cell to it, a number
loses its leading zeros, and hidden rows are like all others. So the text of the parts of an .xlsx or .ods is searched,
too, and with it whether they expand to more than any workbook. (openpyxl takes seven times as long, and reads no .xls.)
"""

import contextlib
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree  # expands nothing beyond what it reads, which is limited

from gotsurge_async.errors import Coded, ConfigError
from gotsurge_async.tables.cells import Broken, Exact
from gotsurge_async.tables.checks.words import number_of
from gotsurge_async.tables.fields import did_you_mean
from gotsurge_async.tables.formats.grid import Grid, Record, Unreadable
from gotsurge_async.tables.formats.lines import BadFile, Digested, Form
from gotsurge_async.tables.formats.typed import TEXTS, on_disk, record_of, rounded_text

if TYPE_CHECKING:
    from python_calamine import CalamineSheet, CalamineWorkbook

MOST_UNPACKED = 4 << 30
"""The most bytes that the parts of a workbook may expand to."""
MOST_CELLS = 64_000_000
"""The most cells of a sheet, which is held whole, with all that is empty between its first cell and its last."""

_ERROR = "is an error of the spreadsheet, such as #N/A: mend its formula"
_ERROR_OF_ODS = (
    "a cell shows an error such as #N/A or #REF!, and would be read as an empty one: "
    "mend its formula, or clear the cell"
)
_NO_VALUE = "is a formula whose value was not saved: open the workbook in a spreadsheet program, and save it there"
_MERGED = "is merged with the cell above, and has no value of its own: take the cells apart, and fill in each"
_LOST = "shows errors, or formulas without a value, and does not say in which cells: save it in a spreadsheet program"
_LOCKED = "is locked by a password: save it without one"
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
"""The name under which an old kind of container, which .xls has too, holds an .xlsx with a password."""
_DIRECTORY = 64 << 20  # that name is searched for up to here
_TEXTS = {**TEXTS, float: rounded_text}


class WorkbookGrid(Grid):
    """A sheet, the first visible one unless another is named. It is in memory while it is read.

    The line of a record is the row of the sheet.

    Raises:
        ConfigError: python-calamine is not installed.
    """

    def __init__(self, stream: Digested, format_: str, sheet: str | None) -> None:
        super().__init__(Form(format=format_, sheet=sheet), stream.digest)
        try:
            import python_calamine
        except ImportError:
            why = f'a workbook (.{format_}) needs python-calamine: pip install "gotsurge-async[excel]"'
            raise ConfigError(why, "E108") from None
        self._calamine = python_calamine
        self._stream = stream

    def records(self, unreadable: Unreadable) -> Iterator[Record]:
        """See `Grid.records`."""
        with on_disk(self._stream) as file:
            parts = _Parts(file) if file.read(2) == b"PK" else None
            file.seek(0)
            if parts is None and _ENCRYPTED in file.read(_DIRECTORY):
                raise BadFile(_LOCKED)
            file.seek(0)
            with _bad_file(self._calamine.CalamineError):
                book = self._calamine.load_workbook(file)
                name = self._choose(book)
                sheet = book.get_sheet_by_name(name)
            odd = {} if parts is None else self._odd_cells(parts, name)
            yield from self._rows(sheet, odd, unreadable)

    def _choose(self, book: "CalamineWorkbook") -> str:
        """The name of the sheet that is read."""
        work, visible = self._calamine.SheetTypeEnum.WorkSheet, self._calamine.SheetVisibleEnum.Visible
        is_visible = {sheet.name: sheet.visible == visible for sheet in book.sheets_metadata if sheet.typ == work}
        self.sheets: Sequence[str] = list(is_visible)
        name = self.form.sheet
        if name is None:
            name = next((name for name in is_visible if is_visible[name]), None)
            if name is None:
                raise BadFile("has no visible sheet of cells: name one (--sheet)", "E206")
            self.form: Form = Form(format=self.form.format, sheet=name)
            if before := self.sheets[: self.sheets.index(name)]:
                self._remark(
                    f'the sheet "{name}" is read, the first that can be seen; hidden, and not read: {", ".join(before)}'
                )
        elif name not in is_visible:
            hint = did_you_mean(name, self.sheets)
            raise BadFile(f'has no sheet "{name}"{hint}; it has {", ".join(self.sheets)}', "E206")
        elif not is_visible[name]:
            self._remark(f'the sheet "{name}" is hidden, and is read because it was named')
        return name

    def _remark(self, rule: str) -> None:
        self.remarks.append(Coded(rule, "E238"))

    def _odd_cells(self, parts: "_Parts", sheet: str) -> "dict[int, list[_Cell]]":
        """The odd cells of an .xlsx by their rows; a remark counts the hidden rows."""
        if parts.has_errors:
            raise BadFile(_ERROR_OF_ODS)
        cells, hidden = parts.search(sheet)
        if hidden:
            self._remark(
                f"{number_of(len(hidden), 'row')} of the sheet, first {hidden[0]}, cannot be seen: "
                "what is hidden, or filtered out, is sent like all other rows"
            )
        return cells

    def _rows(self, sheet: "CalamineSheet", odd: "dict[int, list[_Cell]]", unreadable: Unreadable) -> Iterator[Record]:
        left = sheet.start[1] if sheet.start else 0
        with _bad_file():
            rows = enumerate(sheet.iter_rows(), start=1)
        merged = _below_others(sheet.merged_cell_ranges or ())
        last_rows: dict[int, int] = {}  # the column of a cell that is merged with those below -> the last of their rows
        for line, row in rows:
            record = record_of(line, row, unreadable, _TEXTS)
            if last_rows:
                last_rows = {column: last for column, last in last_rows.items() if last >= line}
            covered = [_Cell(column, 0, _MERGED) for column in last_rows]
            if record is not None and (cells := [*covered, *odd.pop(line, ())]):
                record = _changed(record, cells, left)
            for column, last in merged.get(line, ()):
                place = column - left
                if 0 <= place < len(row) and row[place] not in ("", None):
                    last_rows[column] = last
            if record is not None:
                yield record


def _below_others(ranges: Iterable[tuple[tuple[int, int], tuple[int, int]]]) -> dict[int, list[tuple[int, int]]]:
    """The first row of cells that are merged with those below -> their column, from 0, and their last row.

    Args:
        ranges: the first and the last cell of each, as row and column from 0.
    """
    merged: dict[int, list[tuple[int, int]]] = {}
    for (first, column), (last, _) in ranges:
        if last > first:
            merged.setdefault(first + 1, []).append((column, last + 1))
    return merged


class _Cell(NamedTuple):
    """A cell that is not what its value shows.

    Attributes:
        column: from 0.
        zeros: the number of digits that its number has in the sheet.
        rule: what is wrong with it; "" if only its zeros are missing.
    """

    column: int
    zeros: int
    rule: str


def _changed(record: Record, odd: Sequence[_Cell], left: int) -> Record:
    """A record with what is odd about its cells; ``left`` is the column of its first cell."""
    cells, damaged = list(record.cells), record.damaged
    for cell in odd:
        place = cell.column - left
        if not 0 <= place < len(cells):
            continue
        if cell.rule:
            cells[place], damaged = Broken(cell.rule), True
        elif cells[place].isdecimal():
            cells[place] = Exact(cells[place].zfill(cell.zeros))
    return record._replace(cells=cells, damaged=damaged)


@contextlib.contextmanager
def _bad_file(*errors: type[Exception]) -> Iterator[None]:
    """Turn the errors of calamine into a `BadFile`, its panics too."""
    try:
        yield
    except errors as error:
        if type(error).__name__ == "PasswordError":
            raise BadFile(_LOCKED) from None
        raise BadFile(f"is damaged, or no workbook: {error}") from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of Rust; it is not an Exception
            raise
        raise BadFile("is damaged: it cannot be read") from None


# --- the parts of a workbook as text ---------------------------------------------------------------------------------

_DAMAGES = (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError, zlib.error)
_BLOCK = 1 << 20
_SMALL = 64 << 20
_OVERLAP = 64
# As every program may write it: with a prefix, in any order, with either quote, with spaces.
_ODD = re.compile(rb"""\st\s*=\s*["']e["']|<(?:[\w.-]+:)?f[\s/>]|value-type\s*=\s*["']error["']""")
_MAYBE = (b'"e"', b"'e'", b"<f", b":f", b"error")  # whatever _ODD matches has one of these, which are faster to find
_CELL = rb"""<(?:[\w.-]+:)?c(?=[\s>])(?:(?=[^>]*\st\s*=\s*["']e["'])|(?=[^>]*>\s*<(?:[\w.-]+:)?f[\s/>])%s)([^>]*)>"""
_STYLED = rb"""|(?=[^>]*\ss\s*=\s*["'](?:%s)["'])"""
_CELL_END = re.compile(rb"</(?:[\w.-]+:)?c>")
_FORMULA_ALONE = re.compile(
    rb"\s*<(?:[\w.-]+:)?f(?:\s[^>]*)?(?:/>|>[^<]*</[^>]*>)\s*(?:<(?:[\w.-]+:)?v\s*(?:/>|></[^>]*>))?\s*</"
)
_ATTRIBUTE = re.compile(rb"""\s([a-z]+)\s*=\s*["']([^"']*)["']""")
_PLACE = re.compile(rb"([A-Z]{1,3})([0-9]{1,7})")
_REFERENCE = re.compile(rb"""\sr\s*=\s*["']([A-Z]{1,3})([0-9]{1,7})["']""")
_ROW = re.compile(rb"<(?:[\w.-]+:)?row(\s[^>]*)(?<!/)>(?!\s*</)")  # with cells
_TRUE = (b"1", b"true")
_ZEROS = re.compile(r"0{2,20}")
_WORKBOOK, _RELATED, _STYLES = "xl/workbook.xml", "xl/_rels/workbook.xml.rels", "xl/styles.xml"
_SHEETS = "xl/worksheets/"
_CONTENT = "content.xml"  # the part of an .ods that has the cells


class _Parts:
    """The parts of an .xlsx, .xlsm or .ods.

    Raises:
        BadFile: it is damaged, or expands to more than any workbook.
    """

    def __init__(self, file: IO[bytes]) -> None:
        try:
            self._zip = zipfile.ZipFile(file)
        except _DAMAGES:
            raise BadFile("is damaged: it cannot be unpacked") from None
        self._odd: set[str] = set()
        self._hiding: set[str] = set()
        total = 0
        for name in self._zip.namelist():
            before, rows, columns = b"", 0, 0
            for block in self._blocks(name):
                total += len(block)
                if total > MOST_UNPACKED:
                    raise BadFile(f"expands to more than {MOST_UNPACKED:,} bytes")
                around = before + block
                if any(sign in around for sign in _MAYBE) and _ODD.search(around):
                    self._odd.add(name)
                if name.startswith(_SHEETS):
                    if b"hidden" in around:
                        self._hiding.add(name)
                    rows, columns = _reach(around, rows, columns)
                before = block[-_OVERLAP:]

    @property
    def has_errors(self) -> bool:
        """Whether a cell of an .ods shows an error; which one is not known."""
        return _CONTENT in self._odd

    def search(self, sheet: str) -> tuple[dict[int, list[_Cell]], list[int]]:
        """The odd cells of a sheet of an .xlsx by their rows, from 1, and its hidden rows that have cells."""
        part, styles = self._part_of(sheet), self._styles_with_zeros()
        if not part and any(name.startswith(_SHEETS) for name in self._odd):
            raise BadFile(_LOST)
        odd: dict[int, list[_Cell]] = {}
        hidden: list[int] = []
        if not part or not (styles or part in self._odd or part in self._hiding):
            return odd, hidden
        styled = _STYLED % b"|".join(styles) if styles else b""
        cell_pattern = re.compile(_CELL % styled)
        for text in self._whole_cells(part):
            for cell in cell_pattern.finditer(text):
                if (known := _odd_cell(text, cell, styles)) is not None:
                    odd.setdefault(known[0], []).append(known[1])
            if part in self._hiding:
                rows = (dict(_ATTRIBUTE.findall(row[1])) for row in _ROW.finditer(text))
                numbers = (row.get(b"r", b"") for row in rows if row.get(b"hidden") in _TRUE)
                hidden += [int(number) for number in numbers if number.isdigit()]
        return odd, hidden

    def _blocks(self, name: str) -> Iterator[bytes]:
        # zipfile reads no more of a part than its stated size, and compares its checksum.
        try:
            with self._zip.open(name) as part:
                while block := part.read(_BLOCK):
                    yield block
        except _DAMAGES as error:
            raise BadFile(f"is damaged: {error}") from None

    def _whole_cells(self, name: str) -> Iterator[bytes]:
        """The text of a sheet, in pieces that end with a whole cell."""
        rest = b""
        for block in self._blocks(name):
            text = rest + block
            end = max((match.end() for match in _CELL_END.finditer(text, max(0, len(text) - _BLOCK))), default=0)
            yield text[:end]
            rest = text[end:]
            if len(rest) > _SMALL:
                raise BadFile("is damaged: a cell of it has no end")
        yield rest

    def _part_of(self, sheet: str) -> str:
        """The part that has a sheet; "" if there is none."""
        # A strict workbook has other namespaces.
        ids = [
            next((value for name, value in element.items() if name.endswith("}id")), None)
            for element in self._tree(_WORKBOOK).findall(".//{*}sheet")
            if element.get("name") == sheet
        ]
        for relation in self._tree(_RELATED):
            if ids and relation.get("Id") == ids[0]:
                part = posixpath.normpath(posixpath.join("/xl", relation.get("Target") or "")).lstrip("/")
                return part if part in self._zip.NameToInfo else ""
        return ""

    def _styles_with_zeros(self) -> dict[bytes, int]:
        """The styles of cells that show numbers with leading zeros, and the number of their digits."""
        tree = self._tree(_STYLES)
        formats = {style.get("numFmtId"): style.get("formatCode") or "" for style in tree.findall(".//{*}numFmt")}
        cells = tree.find("{*}cellXfs")
        codes = [formats.get(style.get("numFmtId"), "") for style in (cells if cells is not None else ())]
        return {b"%d" % number: len(code) for number, code in enumerate(codes) if _ZEROS.fullmatch(code)}

    def _tree(self, name: str) -> ElementTree.Element:
        if name not in self._zip.NameToInfo or self._zip.NameToInfo[name].file_size > _SMALL:
            return ElementTree.Element("none")
        try:
            return ElementTree.fromstring(b"".join(self._blocks(name)))  # noqa: S314 - see above
        except ElementTree.ParseError:
            raise BadFile("is damaged: it cannot be read") from None


def _odd_cell(text: bytes, cell: re.Match[bytes], styles: Mapping[bytes, int]) -> tuple[int, _Cell] | None:
    """The row and the cell of what a pattern of `_CELL` matched; None if it is not odd after all."""
    attributes = dict(_ATTRIBUTE.findall(cell[1]))
    kind, zeros, rule = attributes.get(b"t", b"n"), 0, ""
    if kind == b"e":
        rule = _ERROR
    elif kind != b"str" and not cell[1].endswith(b"/") and _FORMULA_ALONE.match(text, cell.end()):
        rule = _NO_VALUE
    elif kind == b"n":
        zeros = styles.get(attributes.get(b"s", b"0"), 0)
    if not rule and not zeros:
        return None
    place = _PLACE.fullmatch(attributes.get(b"r", b""))
    if place is None:
        raise BadFile(_LOST if rule else "does not say where its cells are: save it in a spreadsheet program")
    return int(place[2]), _Cell(_column(place[1]), zeros, rule)


def _reach(text: bytes, rows: int, columns: int) -> tuple[int, int]:
    """The last row and column of a sheet so far, with those of a piece of its text."""
    if places := _REFERENCE.findall(text):
        rows = max(rows, *map(int, {row for _, row in places}))
        columns = max(columns, 1 + max(map(_column, {letters for letters, _ in places})))
    if rows * columns > MOST_CELLS:
        raise BadFile(
            f"has a sheet of {rows:,} rows and {columns:,} columns, and more than {MOST_CELLS:,} cells are too many: "
            "delete what stands far from the table, or save it as CSV UTF-8"
        )
    return rows, columns


def _column(letters: bytes) -> int:
    """A column from 0 by its letters."""
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number - 1
