"""What an .xlsx says of its cells beyond their values: numbers that are shown with leading zeros, and broken formulas.

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

_DAMAGES = (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError, zlib.error)
_BLOCK = 1 << 20
_SMALL = 64 << 20
_OVERLAP = 32
_ODD = re.compile(rb't="e"|<f|value-type="error"')
_ZEROS = re.compile(r"0{2,20}")
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_WORKBOOK, _RELATED, _STYLES = "xl/workbook.xml", "xl/_rels/workbook.xml.rels", "xl/styles.xml"
_CONTENT = "content.xml"  # the part of an .ods that has the cells
_ERROR = re.compile(rb'^[^>]*\bt="e"')
_BROKEN = (
    rb'<c r="([A-Z]{1,3})(\d{1,7})"(?:[^>]*\bt="e"[^>]*>'
    rb'|(?![^>]*\bt="str")[^>]*><f[^>]*(?:/>|>[^<]*</f>)(?:<v ?/>|<v></v>)?</c>)'
)

ERROR = "is an error of the spreadsheet, such as #N/A: mend its formula"
UNKNOWN = "is a formula whose value was not saved: open the workbook in a spreadsheet program, and save it there"


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
        total = 0
        for name in self._zip.namelist():
            before = b""
            for block in self._blocks(name):
                total += len(block)
                if total > MOST_UNPACKED:
                    raise BadFile(f"expands to more than {MOST_UNPACKED:,} bytes")
                if _ODD.search(before + block):
                    self._odd.add(name)
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
        part = self._part_of(sheet)
        styles = self._zeros()
        shown = b"|".join(b"%d" % number for number in styles)
        kinds = [_BROKEN] if part in self._odd else []
        if shown:
            kinds.append(rb'<c r="([A-Z]{1,3})(\d{1,7})"(?=[^>]*\bs="(' + shown + rb')")(?![^>]*\bt="(?!n"))[^>]*>')
        if part and kinds:
            yield from self._search(part, re.compile(b"|".join(kinds)), styles)

    def _search(self, part: str, pattern: re.Pattern[bytes], styles: Mapping[int, int]) -> Iterator[Mark]:
        rest = b""
        for block in self._blocks(part):
            text = rest + block
            end = text.rfind(b"</c>") + len(b"</c>")
            if end < len(b"</c>"):  # no whole cell in it
                rest = text
                continue
            for found in pattern.finditer(text, 0, end):
                groups = [group for group in found.groups() if group is not None]
                column, row, style = groups[0], int(groups[1]), groups[2] if len(groups) > 2 else b""
                rule = "" if style else ERROR if _ERROR.search(found[0]) else UNKNOWN
                yield Mark(row, _column(column), styles[int(style)] if style else 0, rule)
            rest = text[end:]

    def _part_of(self, sheet: str) -> str:
        """The part that a sheet is in; "" if there is none."""
        ids = [
            each.get(f"{{{_RELATIONS}}}id")
            for each in self._tree(_WORKBOOK).iter(f"{{{_MAIN}}}sheet")
            if each.get("name") == sheet
        ]
        for relation in self._tree(_RELATED):
            if ids and relation.get("Id") == ids[0]:
                return posixpath.normpath(posixpath.join("/xl", relation.get("Target") or "")).lstrip("/")
        return ""

    def _zeros(self) -> dict[int, int]:
        """The styles of cells that show numbers with leading zeros, and with how many digits."""
        tree = self._tree(_STYLES)
        formats = {each.get("numFmtId"): each.get("formatCode") or "" for each in tree.iter(f"{{{_MAIN}}}numFmt")}
        cells = tree.find(f"{{{_MAIN}}}cellXfs")
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


def _column(letters: bytes) -> int:
    """A column from 0 by its letters."""
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number - 1
