"""Files of orders: `open_source` reads tables and JSON Lines, one good order after another, and reports every fault."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from gotsurge_async.errors import ConfigError
from gotsurge_async.tables.checks.faults import Fault, SourceReport
from gotsurge_async.tables.formats.grid import CsvGrid, Grid
from gotsurge_async.tables.formats.lines import Digested, Form
from gotsurge_async.tables.maps.column_map import ColumnMap, Dialect
from gotsurge_async.tables.options import ENDINGS, FileMap, Query, SourceOptions
from gotsurge_async.tables.source import Source

__all__ = [
    "STDIN",
    "ColumnMap",
    "Fault",
    "FileMap",
    "Form",
    "Query",
    "Source",
    "SourceOptions",
    "SourceReport",
    "open_grid",
    "open_source",
]

STDIN = "-"
STDIN_NAME = "<stdin>"
"""The name of standard input in messages."""

_PACKED = ".gz"

# Imported where it is needed is what reads one of the formats: a push reads one file.


def open_source(
    path_or_stream: Path | str | BinaryIO,
    *,
    options: SourceOptions,
    report: SourceReport | None = None,
    name: str | None = None,
) -> Source:
    """Open a file of orders for reading.

    Args:
        path_or_stream: a path, "-" for standard input, or a binary stream, which stays open.
        options: how to read it; if they have a query, a database is read, and this is only its name.
        report: receives faults and warnings; a new one, ``source.report``, if None.
        name: the file's name in faults; its path if None.

    Raises:
        ConfigError: the file cannot be opened, its format is not known, a library for it is not installed, or options
            contradict each other.
    """
    report = SourceReport() if report is None else report
    with ExitStack() as undo:
        if options.query is not None:
            source = _table(name or options.query.name, _query_grid(options.query), options, report, undo)
            undo.pop_all()
            return source
        stream, own_name, owned = _stream(path_or_stream)
        if owned:
            undo.callback(stream.close)
        name = name or own_name
        format_ = options.format or _format(name, is_file=owned)
        if format_ == "jsonl":
            from gotsurge_async.tables.jsonl_source import JsonlSource

            _refuse_table_options(name, options)
            source = JsonlSource(name, stream, options, report)
        else:
            source = _table(name, _grid(stream, format_, options.dialect()), options, report, undo)
        if owned:
            source.close_at_end(stream)
        undo.pop_all()
        return source


@contextmanager
def open_grid(path_or_stream: Path | str | BinaryIO, *, options: SourceOptions) -> Iterator[Grid]:
    """Open a file as a table of texts, whatever its columns are.

    Raises:
        ConfigError: as `open_source`; or the file is JSON Lines.
    """
    with ExitStack() as at_end:
        if options.query is not None:
            yield _query_grid(options.query)
            return
        stream, name, owned = _stream(path_or_stream)
        if owned:
            at_end.callback(stream.close)
        format_ = options.format or _format(name, is_file=owned)
        if format_ == "jsonl":
            raise ConfigError(f"{name}: is JSON Lines, not a table", "E202")
        yield _grid(stream, format_, options.dialect())


def _table(name: str, grid: Grid, options: SourceOptions, report: SourceReport, undo: ExitStack) -> Source:
    from gotsurge_async.tables.table_source import TableSource

    if options.items is None:
        return TableSource(name, grid, options, report)
    stream = undo.enter_context(_open(options.items))
    items = _grid(stream, _format(str(options.items), is_file=True), options.items_dialect())
    source = TableSource(name, grid, options, report, items)
    source.close_at_end(stream)
    return source


def _query_grid(query: Query) -> Grid:
    from gotsurge_async.tables.formats.typed import QueryGrid

    return QueryGrid(query)


def _grid(stream: BinaryIO, format_: str, dialect: Dialect) -> Grid:
    """A stream as a table."""
    digested = Digested(stream)
    if format_ in ("csv", "tsv"):
        return CsvGrid(digested, dialect.encoding, dialect.delimiter, "\t" if format_ == "tsv" else ",")
    if format_ == "parquet":
        from gotsurge_async.tables.formats.typed import ParquetGrid

        return ParquetGrid(digested)
    from gotsurge_async.tables.formats.workbook import WorkbookGrid

    return WorkbookGrid(digested, format_, dialect.sheet)


def _stream(path_or_stream: Path | str | BinaryIO) -> tuple[BinaryIO, str, bool]:
    """The stream, its name, and whether the caller must close it."""
    if path_or_stream == STDIN:
        return sys.stdin.buffer, STDIN_NAME, False
    if isinstance(path_or_stream, str | Path):
        return _open(Path(path_or_stream)), str(path_or_stream), True
    name = getattr(path_or_stream, "name", None)
    return path_or_stream, name if isinstance(name, str) else "<stream>", False


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", "E201") from None


def _refuse_table_options(name: str, options: SourceOptions) -> None:
    if options.items is not None:
        raise ConfigError(f"{name}: orders in JSON Lines contain their items: leave out the items file", "E202")
    table_options = options.delimiter, options.sheet, options.header_row
    if options.file_map != FileMap() or any(value is not None for value in table_options):
        why = f"{name}: a map, a delimiter, a sheet and a header row are only for tables, and this file is JSON Lines"
        raise ConfigError(why, "E202")


def _format(name: str, *, is_file: bool) -> str:
    """The format of a file by its ending; a stream without a known ending in its name is CSV."""
    format_ = ENDINGS.get(Path(name.lower().removesuffix(_PACKED)).suffix)
    if format_ is None and is_file:
        raise ConfigError(
            f"{name}: the file's extension does not show its format: pass --format csv, xlsx, jsonl …", "E202"
        )
    return format_ or "csv"
