"""A file with faults, mended: its faulty rows in a file of their own, and the values that faults propose put in.

A `FaultFile` and `Fixes` are told every fault as it is found (`SourceReport.told`), and hold none of them in memory.
"""

import codecs
import csv
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

import attrs
import msgspec

from gotsurge_async.bulk.after.writing import Rows, WholeFile, csv_line, ending_of, rows_of
from gotsurge_async.bulk.checks.faults import Fault, Original, SourceReport
from gotsurge_async.bulk.sources import Form, Source
from gotsurge_async.bulk.sources.fields import FEEDBACK, INCOMPLETE
from gotsurge_async.bulk.sources.lines import MARKS, Digested, Text, unwrapped
from gotsurge_async.bulk.sources.source import IN_DOUBT, Left
from gotsurge_async.errors import ConfigError
from gotsurge_async.system import files

FAULTY = "faulty"
"""The ``gs_status`` of a row that has faults."""

_STATUS = FEEDBACK[1]
_MOST_TEXT = 10_000
"""Characters of the faults of one row: a cell of a spreadsheet holds 32,767."""


class FaultFile:
    """The rows of a file that have faults, each as it was read, with its faults in ``gs_error``.

    It can be mended where it is, and pushed. Mode 0600; it appears whole, or not at all.

    Args:
        path: where.
        ruled: whether a map has samples by which text is read: a number of a workbook must not become text then.

    Attributes:
        rows: how many it has.
        source: what is read; it is written likewise. Faults of its items file are left out, since they are no orders.

    Raises:
        ConfigError: it cannot be written.
    """

    def __init__(self, path: Path, *, ruled: bool = False) -> None:
        self.path = path
        self._ruled = ruled
        self.rows: int = 0
        self.source: Source | None = None
        self._at_end = ExitStack()
        if path.suffix.lower() == ".xlsx" and find_spec("xlsxwriter") is None:
            raise ConfigError(f'{path}: a workbook needs the extra: pip install "gotsurge-async[excel]"')
        try:
            self._file = WholeFile(path, self._at_end)
        except OSError as error:
            raise _unwritable(path, error) from None
        self._names: Sequence[str] = ()
        self._kept: list[int] = []
        self._rows: Rows | None = None
        self._line: int | None = None
        self._original = Original((), ())
        self._errors: list[str] = []
        self._partial = False
        self._format = "jsonl"
        self._in_place = False

    def __call__(self, fault: Fault, original: Original | None) -> None:
        """Take in a fault, and its row.

        Raises:
            ConfigError: it cannot be written.
        """
        if original is None or self.source is None or fault.file != self.source.name:
            return
        if fault.line != self._line:
            try:
                self._flush()
            except OSError as error:
                raise _unwritable(self.path, error) from None
            self._line, self._original = fault.line, original._replace(row=original.row[:])
        what = f"{fault.rule}{fault.hint('; ')}"
        self._partial = self._partial or original.partial
        self._errors.append(f"{fault.column}: {what}" if fault.column else what)

    def keep(self, rows: int) -> Left:
        """Put the file in its place because these rows are left out, and the others go on.

        Raises:
            ConfigError: it cannot be written.
        """
        self.finish()
        report = SourceReport() if self.source is None else self.source.report
        return Left(rows=rows, report=report, file=str(self.path), format=self._format)

    def finish(self) -> int:
        """Put the file in its place, unless there is no row to write; how many there are is returned.

        It is on the disk then, whatever happens.

        Raises:
            ConfigError: it cannot be written.
        """
        try:
            self._flush()
            if self._rows is not None:
                self._rows.end()
            if self.rows and not self._in_place:
                self._file.stream.flush()
                files.sync(self._file.stream.fileno())
                self._file.put_in_place(new=True)  # that of another push may be there by now
                files.sync_folder(self.path.parent)
                self._in_place = True
        except OSError as error:
            raise _unwritable(self.path, error) from None
        return self.rows

    def close(self) -> None:
        """Leave nothing behind that is not whole."""
        with suppress(OSError):  # what could not be written is given up, and that was told
            self._at_end.close()

    def _flush(self) -> None:
        if not self._errors:
            return
        error = f"line {self._line}: {'; '.join(self._errors)}"[:_MOST_TEXT]
        row, names, _ = self._original
        if isinstance(row, bytes):
            self._file.stream.write(_json_line(row, error))
        else:
            self._write(row, names, error)
        self.rows += 1
        self._errors, self._partial = [], False

    def _write(self, row: Sequence[str], names: Sequence[str], error: str) -> None:
        if names != self._names:
            self._names, self._kept = names, [place for place, name in enumerate(names) if name not in FEEDBACK]
        if self._rows is None:
            form = self._form()
            self._format = ending_of(form)
            self._rows = rows_of(form, self._file.stream)
            self._at_end.callback(self._rows.end)
            self._rows.put([[*(names[place] for place in self._kept), *FEEDBACK]])
        cells = [row[place] if place < len(row) else "" for place in self._kept]
        # What stands beyond the last column is not lost: it is often the rest of a value that lacks its quotes.
        if beyond := row[len(names) :]:
            error = f"{error}; beyond the last column: {','.join(beyond)}"
        status = INCOMPLETE if self._partial else FAULTY
        if (IN_DOUBT, _STATUS) in ((cell.strip(), name) for cell, name in zip(row, names, strict=False)):
            status = IN_DOUBT  # of an earlier push; by another word it would be sent
        self._rows.put([[*cells, "", status, error]])

    def _form(self) -> Form:
        """As the source is written, where the file's ending allows it; a table of another kind is a CSV."""
        form = Form() if self.source is None else self.source.form
        if self.path.suffix.lower() == ".xlsx":
            return Form(format="xlsx", sheet=form.sheet)
        if form.format == "csv":
            return attrs.evolve(form, packed=False)
        if self._ruled:
            raise ConfigError(
                f"{self.path}: in a CSV the map would read numbers and dates as text, and perhaps as others: "
                f"name a workbook, such as {self.path.with_suffix('.xlsx')}"
            )
        return Form()


def _json_line(row: bytes, error: str) -> bytes:
    try:
        tree = msgspec.json.decode(row, type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError):
        tree = {"gs_row": msgspec.Raw(msgspec.json.encode(row.decode(errors="replace")))}
    # What an earlier push left in doubt stays so: by another word it would be sent.
    status = IN_DOUBT if msgspec.json.decode(tree.get(_STATUS, b"null")) == IN_DOUBT else FAULTY
    told = zip(FEEDBACK, ("", status, error), strict=True)
    return msgspec.json.encode({**tree, **dict(told)}) + b"\n"


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"cannot write {path}: {error.strerror or error}")


# --- values that are put in ------------------------------------------------------------------------------------------


class Fix(NamedTuple):
    """One value of a file, and what it was certainly meant to be."""

    line: int
    place: int
    column: str
    old: str
    new: str


_SHOWN = 3
_IN_MEMORY = 1 << 20


class Fixes:
    """The values that the faults of one file propose, in the order of the file.

    Attributes:
        count: how many there are.
        first: the first of each column, and how many there are of it.
    """

    def __init__(self, name: str) -> None:
        self.count: int = 0
        self.first: dict[str, tuple[int, list[Fix]]] = {}
        self._name = name
        self._spool = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, mode="w+b")  # noqa: SIM115 - see close

    def __call__(self, fault: Fault, original: Original | None) -> None:
        """Take in a fault, if it proposes a value."""
        if original is None or fault.proposal is None or fault.place is None or fault.line is None:
            return
        if fault.file != self._name:
            return
        old = str(original.row[fault.place])
        fix = Fix(fault.line, fault.place, fault.column or "", old, fault.proposal)
        count, shown = self.first.get(fix.column, (0, []))
        self.first[fix.column] = count + 1, [*shown, fix] if len(shown) < _SHOWN else shown
        self.count += 1
        self._spool.write(msgspec.json.encode(fix) + b"\n")

    def __iter__(self) -> Iterator[Fix]:
        self._spool.seek(0)
        return (msgspec.json.decode(line, type=Fix) for line in self._spool)

    def close(self) -> None:
        """Forget them."""
        self._spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def mend_table(path: Path, fixes: Fixes, form: Form) -> Path:
    """Put the values into a file of text; all other rows stay as they are, byte for byte.

    The file as it was is kept beside it, under a name that no file had; where, is returned.

    Args:
        form: how it is written; a packed file is not mended.

    Raises:
        ConfigError: it cannot be written, or has changed since the values were found.
    """
    path = path.resolve()  # a symbolic link stays one
    try:
        with ExitStack() as at_end:
            made = WholeFile(path, at_end)
            shutil.copymode(path, made.temporary)
            with path.open("rb") as stream:
                for record in _mended(stream, iter(fixes), form, path):
                    made.stream.write(record)
            made.stream.flush()
            files.sync(made.stream.fileno())
            names = (path.with_name(f"{path.name}.before-fix{n or ''}") for n in count())
            kept = next(name for name in names if not name.exists())
            shutil.copy2(path, kept)
            made.put_in_place()
    except OSError as error:
        raise _unwritable(path, error) from None
    return kept


def _mended(stream: BinaryIO, fixes: Iterator[Fix], form: Form, path: Path) -> Iterator[bytes]:
    """The records of a file, each as it stands there unless a value of it is put in."""
    held: list[str] = []
    file, same = Digested(stream), hashlib.sha256()
    first = file.start()
    mark, encoding = next((each for each in MARKS if first.startswith(each[0])), (b"", form.encoding))
    as_it_was, mended = (codecs.getincrementalencoder(encoding)().encode for _ in range(2))

    def lines() -> Iterator[str]:
        for raw in Text(file, form.encoding).lines():
            if raw is None:
                raise csv.Error
            held.append(raw.decode())
            yield held[-1]

    same.update(mark)
    yield mark
    reader = csv.reader(lines(), delimiter=form.delimiter, strict=True)
    number, fix = 1, next(fixes, None)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            break
        except (csv.Error, UnicodeDecodeError):
            raise ConfigError(f"{path}:{number}: this row cannot be read: mend it first, nothing was changed") from None
        start, text = number, "".join(held)
        number += len(held)
        held.clear()
        try:
            same.update(as_it_was(text))
            if fix is None or fix.line != start:
                yield mended(text)
                continue
            fix = _put_in(cells, fix, fixes, path)
            row = csv_line(cells, form.delimiter).decode().removesuffix("\r\n")
            yield mended(row + text[len(text.rstrip("\r\n")) :])
        except UnicodeEncodeError:
            raise _unlike(path, form) from None
    if fix is not None:
        raise _changed(path, fix.line)
    if same.digest() != file.digest.digest():  # an encoding in which one text can be written in several ways
        raise _unlike(path, form)


def _put_in(cells: list[str], fix: Fix, fixes: Iterator[Fix], path: Path) -> Fix | None:
    """Put a value into a row, and the next ones that are of the same row; the one after these."""
    line = fix.line
    following: Fix | None = fix
    while following is not None and following.line == line:
        if following.place >= len(cells) or unwrapped(cells[following.place]) != following.old:
            raise _changed(path, line)
        cells[following.place] = following.new
        following = next(fixes, None)
    return following


def _unlike(path: Path, form: Form) -> ConfigError:
    return ConfigError(
        f"{path}: what is not mended could not be written as it was, in {form.encoding}: nothing was changed; "
        "mend the file by hand, or save it as CSV UTF-8"
    )


def _changed(path: Path, line: int) -> ConfigError:
    return ConfigError(f"{path}:{line}: the file has changed since it was read: nothing was changed")
