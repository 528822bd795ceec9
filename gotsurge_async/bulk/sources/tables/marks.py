"""What an .xlsx says of its cells beyond their values: numbers that are shown with leading zeros, broken formulas, and
rows that nobody sees.

Its parts are looked through as text. That also tells whether they expand to more than any workbook.
"""

import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import IO, NamedTuple
from xml.etree import ElementTree  # expands nothing beyond what it reads, which is limited

from gotsurge_async.bulk.sources.lines import BadFile

MOST_UNPACKED = 4 << 30
"""The most bytes that the parts of a workbook may expand to."""
MOST_CELLS = 64_000_000
"""The most cells of a sheet, which is held whole, with all that is empty between its first cell and its last."""

_DAMAGES = (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError, zlib.error)
_BLOCK = 1 << 20
_SMALL = 64 << 20
_OVERLAP = 64
# As every program may write it: with a prefix, in any order, with either quote, with spaces.
_ODD = re.compile(rb"""\st\s*=\s*["']e["']|<(?:[\w.-]+:)?f[\s/>]|value-type\s*=\s*["']error["']""")
_MAYBE = (b'"e"', b"'e'", b"<f", b":f", b"error")  # one of these is in whatever _ODD finds, and sooner found
_CELL = rb"""<(?:[\w.-]+:)?c(?=[\s>])(?:(?=[^>]*\st\s*=\s*["']e["'])|(?=[^>]*>\s*<(?:[\w.-]+:)?f[\s/>])%s)([^>]*)>"""
_STYLED = rb"""|(?=[^>]*\ss\s*=\s*["'](?:%s)["'])"""
_CELL_END = re.compile(rb"</(?:[\w.-]+:)?c>")
_NO_VALUE = re.compile(
    rb"\s*<(?:[\w.-]+:)?f(?:\s[^>]*)?(?:/>|>[^<]*</[^>]*>)\s*(?:<(?:[\w.-]+:)?v\s*(?:/>|></[^>]*>))?\s*</"
)
_ATTRIBUTE = re.compile(rb"""\s([a-z]+)\s*=\s*["']([^"']*)["']""")
_PLACE = re.compile(rb"([A-Z]{1,3})([0-9]{1,7})")
_REFERENCE = re.compile(rb"""\sr\s*=\s*["']([A-Z]{1,3})([0-9]{1,7})["']""")
_ROW = re.compile(rb"<(?:[\w.-]+:)?row(\s[^>]*)(?<!/)>(?!\s*</)")  # with cells
_HIDDEN = re.compile(rb"""\shidden\s*=\s*["'](?:1|true)["']""")
_ROW_NUMBER = re.compile(rb"""\sr\s*=\s*["']([0-9]{1,7})["']""")
_ZEROS = re.compile(r"0{2,20}")
_WORKBOOK, _RELATED, _STYLES = "xl/workbook.xml", "xl/_rels/workbook.xml.rels", "xl/styles.xml"
_CONTENT = "content.xml"  # the part of an .ods that has the cells

ERROR = "is an error of the spreadsheet, such as #N/A: mend its formula"
UNKNOWN = "is a formula whose value was not saved: open the workbook in a spreadsheet program, and save it there"
_LOST = "shows errors, or formulas without a value, and does not say in which cells: save it in a spreadsheet program"


class Mark(NamedTuple):
    """A cell that is not what its value says.

    Attributes:
        row, column: from 1, and from 0.
        zeros: with how many digits its number is shown; 0 if it has no value.
        rule: what is wrong then.
    """

    row: int
    column: int
    zeros: int
    rule: str


class Parts:
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
                if name.startswith("xl/worksheets/"):
                    if b"hidden" in around:
                        self._hiding.add(name)
                    rows, columns = _reach(around, rows, columns)
                before = block[-_OVERLAP:]

    def _blocks(self, name: str) -> Iterator[bytes]:
        # zipfile reads no more of a part than it is said to have, and compares its checksum.
        try:
            with self._zip.open(name) as part:
                while block := part.read(_BLOCK):
                    yield block
        except _DAMAGES as error:
            raise BadFile(f"is damaged: {error}") from None

    @property
    def has_errors(self) -> bool:
        """Whether a cell of an .ods shows an error; where is not known."""
        return _CONTENT in self._odd

    def marks(self, sheet: str) -> Iterator[Mark]:
        """The marked cells of a sheet of an .xlsx, row by row."""
        part, styles = self._part_of(sheet), self._zeros()
        if not part and any(each.startswith("xl/worksheets/") for each in self._odd):
            raise BadFile(_LOST)
        if part and (styles or part in self._odd):
            yield from self._search(part, styles)

    def hidden_rows(self, sheet: str) -> list[int]:
        """The rows with cells of a sheet of an .xlsx that are hidden, or filtered out, from 1."""
        part, found, rest = self._part_of(sheet), list[int](), b""
        for block in self._blocks(part) if part in self._hiding else ():
            text = rest + block
            for row in _ROW.finditer(text):
                if _HIDDEN.search(row[1]) and (number := _ROW_NUMBER.search(row[1])):
                    found.append(int(number[1]))
            rest = text[text.rfind(b"<") :] if text.rfind(b"<") > text.rfind(b">") else b""
        return found

    def _search(self, part: str, styles: Mapping[int, int]) -> Iterator[Mark]:
        shown = _STYLED % b"|".join(b"%d" % number for number in styles) if styles else b""
        cell, rest = re.compile(_CELL % shown), b""
        for block in self._blocks(part):
            text = rest + block
            end = max((found.end() for found in _CELL_END.finditer(text, max(0, len(text) - _BLOCK))), default=0)
            for found in cell.finditer(text, 0, end):
                mark = self._mark(text, found, styles)
                if mark is not None:
                    yield mark
            rest = text[end:]
            if len(rest) > _SMALL:
                raise BadFile("is damaged: a cell of it has no end")

    def _mark(self, text: bytes, cell: re.Match[bytes], styles: Mapping[int, int]) -> Mark | None:
        written = dict(_ATTRIBUTE.findall(cell[1]))
        kind, zeros, rule = written.get(b"t", b"n"), 0, ""
        if kind == b"e":
            rule = ERROR
        elif kind != b"str" and not cell[1].endswith(b"/") and _NO_VALUE.match(text, cell.end()):
            rule = UNKNOWN
        elif kind == b"n":
            zeros = styles.get(int(written.get(b"s", b"0")), 0)
        if not rule and not zeros:
            return None
        place = _PLACE.fullmatch(written.get(b"r", b""))
        if place is None:
            raise BadFile(_LOST if rule else "does not say where its cells are: save it in a spreadsheet program")
        return Mark(int(place[2]), _column(place[1]), zeros, rule)

    def _part_of(self, sheet: str) -> str:
        """The part that a sheet is in; "" if there is none."""
        # A strict workbook has other namespaces.
        ids = [
            next((value for name, value in each.items() if name.endswith("}id")), None)
            for each in self._tree(_WORKBOOK).findall(".//{*}sheet")
            if each.get("name") == sheet
        ]
        for relation in self._tree(_RELATED):
            if ids and relation.get("Id") == ids[0]:
                part = posixpath.normpath(posixpath.join("/xl", relation.get("Target") or "")).lstrip("/")
                return part if part in self._zip.NameToInfo else ""
        return ""

    def _zeros(self) -> dict[int, int]:
        """The styles of cells that show numbers with leading zeros, and with how many digits."""
        tree = self._tree(_STYLES)
        formats = {each.get("numFmtId"): each.get("formatCode") or "" for each in tree.findall(".//{*}numFmt")}
        cells = tree.find("{*}cellXfs")
        digits = [
            len(code) if _ZEROS.fullmatch(code := formats.get(each.get("numFmtId"), "")) else 0
            for each in (cells if cells is not None else ())
        ]
        return {number: count for number, count in enumerate(digits) if count}

    def _tree(self, name: str) -> ElementTree.Element:
        if name not in self._zip.NameToInfo or self._zip.NameToInfo[name].file_size > _SMALL:
            return ElementTree.Element("none")
        try:
            return ElementTree.fromstring(b"".join(self._blocks(name)))  # noqa: S314 - see above
        except ElementTree.ParseError:
            raise BadFile("is damaged: it cannot be read") from None


def _reach(text: bytes, rows: int, columns: int) -> tuple[int, int]:
    """How far the cells of a sheet reach, with those of a piece of its text."""
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
