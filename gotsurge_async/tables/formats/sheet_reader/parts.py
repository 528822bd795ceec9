"""The parts of an .xlsx, .xlsm or .ods as text.

Calamine does not show everything that matters: it reads an error or a formula without a value as an empty cell, drops
leading zeros, and treats hidden rows as all others. So the text of the parts is searched, too. (openpyxl takes
seven times as long, and reads no .xls.)
"""

import itertools
import os
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import IO, NamedTuple, TypeAlias
from xml.etree import ElementTree  # expands nothing beyond what it reads, which is limited
from xml.parsers import expat  # the same

from .messages import ADVICE_TO_SPLIT, FREE, SHOWS_ERROR, BadSheet, Request
from .number_formats import NumberFormat, number_format

_NO_VALUE = "is a formula whose value was not saved: open the workbook in a spreadsheet program, and save it there"
_NOT_COMPUTED = (
    "is a formula whose value may not be computed: open the workbook in a spreadsheet program, and save it there"
)
_SAVE_AGAIN = "open it in a spreadsheet program, and save it again"
_LOST = f"contains errors, or formulas without a value, at unknown positions: {_SAVE_AGAIN}"
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
# A formula that fills several cells, of which only the first one contains it.
_FILLING = re.compile(
    rb"""<(?:[\w.-]+:)?f(?=[^>]*\st\s*=\s*["'](?:array|dataTable)["'])"""
    rb"""(?=[^>]*\sref\s*=\s*["']([A-Z]{1,3})([0-9]{1,7}):([A-Z]{1,3})([0-9]{1,7})["'])"""
)
_MOST_FILLED = 1_000_000
# A formula without a value, or with 0, which a program that cannot compute saves as the value.
_FORMULA_ALONE = re.compile(
    rb"\s*<(?:[\w.-]+:)?f(?:\s[^>]*)?(?:/>|>[^<]*</[^>]*>)\s*(?:<(?:[\w.-]+:)?v\s*(?:/>|>(0?)</[^>]*>))?\s*</"
)
_ATTRIBUTE = re.compile(rb"""\s([a-z]+)\s*=\s*["']([^"']*)["']""")
_PLACE = re.compile(rb"([A-Z]{1,3})([0-9]{1,7})")
_REFERENCE = re.compile(rb"""\sr\s*=\s*["']([A-Z]{1,3})([0-9]{1,7})["']""")
_ROW = re.compile(rb"<(?:[\w.-]+:)?row(\s[^>]*)(?<!/)>(?!\s*</)")  # with cells
_TRUE = (b"1", b"true")
_WORKBOOK, _RELATED, _STYLES = "xl/workbook.xml", "xl/_rels/workbook.xml.rels", "xl/styles.xml"
_SHEETS = "xl/worksheets/"
_CONTENT = "content.xml"  # the part of an .ods that has the cells
_SPANNING = re.compile(rb"""number-rows-spanned\s*=\s*["'](?!1["'])""")
_TABLE = "urn:oasis:names:tc:opendocument:xmlns:table:1.0 "
_CELLS = {f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"}


class Cell(NamedTuple):
    """A cell whose meaning differs from its value.

    Attributes:
        column: its column, from 0.
        format: the format of its number, if the sheet shows more than the number's digits.
        rule: the rule that it breaks; "" if it breaks none.
    """

    column: int
    format: NumberFormat | None
    rule: str


Range: TypeAlias = tuple[tuple[int, int], tuple[int, int]]
"""Merged cells: the row and the column of the first cell, and of the last one, from 0."""


class _Tables:
    """Handlers of the elements of an .ods that note the ``merged`` cells of one sheet. Others repeat rows or cells."""

    def __init__(self, sheet: str) -> None:
        self.merged: list[Range] = []
        self._sheet = sheet
        self._inside: list[bool] = []  # for each table that is open, whether it is the sheet; cells may contain tables
        self._row = self._column = self._rows = 0

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """Count a cell, or begin a row or a table."""
        if name == f"{_TABLE}table":
            self._inside.append(not self._inside and attributes.get(f"{_TABLE}name") == self._sheet)
        elif self._inside != [True]:
            return
        elif name == f"{_TABLE}table-row":
            self._column, self._rows = 0, int(attributes.get(f"{_TABLE}number-rows-repeated", 1))
        elif name in _CELLS:
            rows = int(attributes.get(f"{_TABLE}number-rows-spanned", 1))
            columns = int(attributes.get(f"{_TABLE}number-columns-spanned", 1))
            if rows > 1:
                last = self._row + rows - 1, self._column + columns - 1
                self.merged.append(((self._row, self._column), last))
            self._column += int(attributes.get(f"{_TABLE}number-columns-repeated", 1))

    def end(self, name: str) -> None:
        """End a row or a table."""
        if name == f"{_TABLE}table":
            self._inside.pop()
        elif name == f"{_TABLE}table-row" and self._inside == [True]:
            self._row += self._rows


class Parts:
    """The parts of an .xlsx, .xlsm or .ods; BadSheet if the file is damaged, or expands to more than any workbook."""

    def __init__(self, file: IO[bytes], request: Request) -> None:
        try:
            self._zip = zipfile.ZipFile(file)
        except _DAMAGES:
            raise BadSheet("is damaged: it cannot be decompressed") from None
        # What the directory states is all that zipfile reads of a part.
        total = sum(part.file_size for part in self._zip.infolist())
        allowed = min(request.unpacked, max(FREE, file.seek(0, os.SEEK_END) * request.ratio))
        if total > allowed:
            raise BadSheet(f"expands to {total:,} bytes, but the limit is {allowed:,}: {ADVICE_TO_SPLIT}")
        self._odd: set[str] = set()
        self._hiding: set[str] = set()
        self._is_spanning = False
        for name in self._zip.namelist():
            before, rows, columns = b"", 0, 0
            for block in self._blocks(name):
                around = before + block
                if any(sign in around for sign in _MAYBE) and _ODD.search(around):
                    self._odd.add(name)
                if name == _CONTENT and _SPANNING.search(around):
                    self._is_spanning = True
                if name.startswith(_SHEETS):
                    if b"hidden" in around:
                        self._hiding.add(name)
                    rows, columns = _reach(around, rows, columns, request.cells)
                before = block[-_OVERLAP:]

    @property
    def has_errors(self) -> bool:
        """Whether a cell of an .ods shows an error; it is not known which cell."""
        return _CONTENT in self._odd

    def search(self, sheet: str) -> tuple[dict[int, list[Cell]], list[int]]:
        """The odd cells of a sheet of an .xlsx by their rows, from 1, and its hidden rows that have cells."""
        part, styles = self._part_of(sheet), self._formats()
        if not part and any(name.startswith(_SHEETS) for name in self._odd):
            raise BadSheet(_LOST)
        odd: dict[int, list[Cell]] = {}
        hidden: list[int] = []
        if not part or not (styles or part in self._odd or part in self._hiding):
            return odd, hidden
        styled = _STYLED % b"|".join(styles) if styles else b""
        cell_pattern = re.compile(_CELL % styled)
        not_computed = part in self._odd and self._is_not_computed()
        for text in self._whole_cells(part):
            for filling in _FILLING.finditer(text) if not_computed else ():
                for line, filled in _filled(filling):
                    odd.setdefault(line, []).append(filled)
            for cell in cell_pattern.finditer(text):
                if (known := _odd_cell(text, cell, styles, not_computed=not_computed)) is not None:
                    odd.setdefault(known[0], []).append(known[1])
            if part in self._hiding:
                rows = (dict(_ATTRIBUTE.findall(row[1])) for row in _ROW.finditer(text))
                numbers = (row.get(b"r", b"") for row in rows if row.get(b"hidden") in _TRUE)
                hidden += [int(number) for number in numbers if number.isdigit()]
        return odd, hidden

    def merged_in(self, sheet: str) -> list[Range]:
        """The cells of a sheet of an .ods that are merged with cells below."""
        if not self._is_spanning:
            return []
        tables, parser = _Tables(sheet), expat.ParserCreate(namespace_separator=" ")
        parser.StartElementHandler, parser.EndElementHandler = tables.start, tables.end
        try:
            for block in self._blocks(_CONTENT):
                parser.Parse(block)
            parser.Parse(b"", True)
        except (expat.ExpatError, ValueError):
            raise BadSheet("is damaged: it cannot be read") from None
        return tables.merged

    def _blocks(self, name: str) -> Iterator[bytes]:
        # zipfile reads no more of a part than its stated size, and compares its checksum.
        try:
            with self._zip.open(name) as part:
                while block := part.read(_BLOCK):
                    yield block
        except _DAMAGES as error:
            raise BadSheet(f"is damaged: {error}") from None

    def _whole_cells(self, name: str) -> Iterator[bytes]:
        """The text of a sheet, in pieces that end with a whole cell."""
        rest = b""
        for block in self._blocks(name):
            text = rest + block
            end = max((match.end() for match in _CELL_END.finditer(text, max(0, len(text) - _BLOCK))), default=0)
            yield text[:end]
            rest = text[end:]
            if len(rest) > _SMALL:
                raise BadSheet("is damaged: one of its cells has no end")
        yield rest

    def _part_of(self, sheet: str) -> str:
        """The part that contains a sheet; "" if there is none."""
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

    def _is_not_computed(self) -> bool:
        """Whether a spreadsheet program would replace the saved values of all formulas when it opens the workbook.

        Programs that cannot compute formulas save 0 as the value of each. A spreadsheet program removes this mark.
        """
        calculation = self._tree(_WORKBOOK).find(".//{*}calcPr")
        return calculation is not None and calculation.get("fullCalcOnLoad", "").encode() in _TRUE

    def _formats(self) -> dict[bytes, NumberFormat]:
        """The styles of cells that show more than the digits of a whole number."""
        tree = self._tree(_STYLES)
        formats = {style.get("numFmtId"): style.get("formatCode") or "" for style in tree.findall(".//{*}numFmt")}
        cells = tree.find("{*}cellXfs")
        codes = [formats.get(style.get("numFmtId"), "") for style in (cells if cells is not None else ())]
        return {b"%d" % number: known for number, code in enumerate(codes) if (known := number_format(code))}

    def _tree(self, name: str) -> ElementTree.Element:
        if name not in self._zip.NameToInfo or self._zip.NameToInfo[name].file_size > _SMALL:
            return ElementTree.Element("none")
        try:
            return ElementTree.fromstring(b"".join(self._blocks(name)))  # noqa: S314 - see above
        except ElementTree.ParseError:
            raise BadSheet("is damaged: it cannot be read") from None


def _odd_cell(
    text: bytes, cell: re.Match[bytes], styles: Mapping[bytes, NumberFormat], *, not_computed: bool
) -> tuple[int, Cell] | None:
    """The row and the cell for a match of a pattern in `_CELL`; None if the cell is not odd after all."""
    attributes = dict(_ATTRIBUTE.findall(cell[1]))
    kind, shown, rule = attributes.get(b"t", b"n"), None, ""
    formula = None if cell[1].endswith(b"/") else _FORMULA_ALONE.match(text, cell.end())
    if kind == b"e":
        rule = SHOWS_ERROR
    elif formula and kind != b"str" and not formula[1]:
        rule = _NO_VALUE
    elif formula and not_computed:
        rule = _NOT_COMPUTED
    elif kind == b"n":
        shown = styles.get(attributes.get(b"s", b"0"))
    if not rule and not shown:
        return None
    place = _PLACE.fullmatch(attributes.get(b"r", b""))
    if place is None:
        raise BadSheet(_LOST if rule else f"does not contain the positions of its cells: {_SAVE_AGAIN}")
    return int(place[2]), Cell(_column(place[1]), shown, rule)


def _filled(formula: re.Match[bytes]) -> Iterator[tuple[int, Cell]]:
    """The rows and the cells that a match of `_FILLING` fills, without the first one, which contains it."""
    left, top, right, bottom = _column(formula[1]), int(formula[2]), _column(formula[3]), int(formula[4])
    if (bottom - top + 1) * (right - left + 1) > _MOST_FILLED:
        raise BadSheet(_LOST)
    for line, column in itertools.product(range(top, bottom + 1), range(left, right + 1)):
        if (line, column) != (top, left):
            yield line, Cell(column, None, _NOT_COMPUTED)


def _reach(text: bytes, rows: int, columns: int, most: int) -> tuple[int, int]:
    """The last row and column of a sheet so far, after a piece of its text."""
    if places := _REFERENCE.findall(text):
        rows = max(rows, *map(int, {row for _, row in places}))
        columns = max(columns, 1 + max(map(_column, {letters for letters, _ in places})))
    if rows * columns > most:
        raise BadSheet(
            f"has a sheet of {rows:,} rows and {columns:,} columns, but at most {most:,} cells are read: "
            "delete cells far from the table, or save it as CSV UTF-8"
        )
    return rows, columns


def _column(letters: bytes) -> int:
    """The index of a column, from 0, by its letters."""
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number - 1
