"""A file of the rows of another file that have faults, which can be mended and pushed (``--faults``)."""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path

import msgspec
from msgspec import structs

from gotsurge_async.errors import ConfigError
from gotsurge_async.system import files
from gotsurge_async.tables import Form, Source
from gotsurge_async.tables.checks.faults import Fault, Original, SourceReport
from gotsurge_async.tables.fields import FEEDBACK, INCOMPLETE
from gotsurge_async.tables.source import IN_DOUBT, Left
from gotsurge_async.tables.writing import Rows, WholeFile, ending_of, rows_of

FAULTY = "faulty"
"""The ``gs_status`` of a row that has faults."""

_STATUS = FEEDBACK[1]
_MOST_TEXT = 10_000
"""The most characters for the faults of one row: a cell of a spreadsheet holds 32,767."""


class FaultFile:
    """The rows of a file that have faults, each as it was read, with its faults and proposals in ``gs_error``.

    It is called with each fault (`SourceReport.on_fault`), and keeps one row in memory. Mode 0600; the file appears
    whole, or not at all.

    Args:
        path: where to write.
        ruled: whether a map has samples by which text is read: then a number of a workbook must not become text.

    Attributes:
        rows: the number of rows so far.
        source: the source that is read; the file has its format. Faults of its items file are left out, since they are
            not orders.

    Raises:
        ConfigError: the file cannot be written; its methods raise this too.
    """

    def __init__(self, path: Path, *, ruled: bool = False) -> None:
        self.path = path
        self._ruled = ruled
        self.rows: int = 0
        self.source: Source | None = None
        self._at_end = ExitStack()
        if path.suffix.lower() == ".xlsx" and find_spec("xlsxwriter") is None:
            raise ConfigError(f'{path}: a workbook needs an extra: pip install "gotsurge-async[excel]"', "E108")
        try:
            self._file = WholeFile(path, self._at_end)
        except OSError as error:
            raise self._unwritable(error) from None
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
        """Add a fault to its row."""
        if original is None or self.source is None or fault.file != self.source.name:
            return
        if fault.line != self._line:
            try:
                self._flush()
            except OSError as error:
                raise self._unwritable(error) from None
            self._line, self._original = fault.line, original._replace(row=original.row[:])
        problem = f"{fault.rule}{fault.hint('; ')}"
        self._partial = self._partial or original.partial
        self._errors.append(f"{fault.column}: {problem}" if fault.column else problem)

    def keep(self, rows: int) -> Left:
        """Put the file in its place, when the rows in it are left out and the others are accepted."""
        self.finish()
        report = SourceReport() if self.source is None else self.source.report
        return Left(rows=rows, report=report, file=str(self.path), format=self._format)

    def finish(self) -> int:
        """Put the file in its place, on the disk, unless there is no row to write; returns the number of rows."""
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
            raise self._unwritable(error) from None
        return self.rows

    def close(self) -> None:
        """Remove the file if it is not whole."""
        with suppress(OSError):  # the error was reported when the file could not be written
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
            status = IN_DOUBT  # of an earlier push; with another status it would be sent
        self._rows.put([[*cells, "", status, error]])

    def _form(self) -> Form:
        """The form of the source if the file's ending allows it; another table becomes a CSV."""
        form = Form() if self.source is None else self.source.form
        if self.path.suffix.lower() == ".xlsx":
            return Form(format="xlsx", sheet=form.sheet)
        if form.format == "csv":
            return structs.replace(form, packed=False)
        if self._ruled:
            raise ConfigError(
                f"{self.path}: the map could misread numbers and dates in a CSV file: name a workbook instead, such as "
                f"{self.path.with_suffix('.xlsx')}",
                "E240",
            )
        return Form()

    def _unwritable(self, error: OSError) -> ConfigError:
        return ConfigError(f"cannot write {self.path}: {error.strerror or error}", "E109")


def _json_line(row: bytes, error: str) -> bytes:
    try:
        tree = msgspec.json.decode(row, type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError):
        tree = {"gs_row": msgspec.Raw(msgspec.json.encode(row.decode(errors="replace")))}
    # A row that an earlier push left in doubt keeps that status: with another one it would be sent.
    status = IN_DOUBT if msgspec.json.decode(tree.get(_STATUS, b"null")) == IN_DOUBT else FAULTY
    feedback = zip(FEEDBACK, ("", status, error), strict=True)
    return msgspec.json.encode({**tree, **dict(feedback)}) + b"\n"
