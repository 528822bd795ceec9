"""Files of orders: `open_source` reads CSV and JSON Lines, one good order after another, and reports every fault."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from gotsurge_async.bulk.checks.faults import Fault, SourceReport
from gotsurge_async.bulk.sources.options import ColumnMap, FileMap, SourceOptions
from gotsurge_async.bulk.sources.source import Form, Source
from gotsurge_async.errors import ConfigError

__all__ = ["STDIN", "ColumnMap", "Fault", "FileMap", "Form", "Source", "SourceOptions", "SourceReport", "open_source"]

STDIN = "-"

_ENDINGS = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


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
        options: how to read it.
        report: where faults and warnings go; a new one, ``source.report``, if None.
        name: how faults name the file; its path if None.

    Raises:
        ConfigError: the file cannot be opened, its format is not known, or options contradict each other.
    """
    report = SourceReport() if report is None else report
    with ExitStack() as undo:
        stream, own_name, owned = _stream(path_or_stream)
        if owned:
            undo.callback(stream.close)
        name = name or own_name
        source: Source
        # Imported here: a push reads one file, in one of the two formats.
        if _format(name, options, is_file=owned) == "jsonl":
            from gotsurge_async.bulk.sources.jsonl_source import JsonlSource

            _refuse_csv_options(name, options)
            source = JsonlSource(name, stream, options, report, owned=owned)
        else:
            from gotsurge_async.bulk.sources.table_source import TableSource

            items = None if options.items is None else undo.enter_context(_open(options.items))
            source = TableSource(name, stream, options, report, items, owned=owned)
        undo.pop_all()
        return source


def _stream(path_or_stream: Path | str | BinaryIO) -> tuple[BinaryIO, str, bool]:
    """The stream, its name, and whether it is ours to close."""
    if path_or_stream == STDIN:
        return sys.stdin.buffer, "<stdin>", False
    if isinstance(path_or_stream, str | Path):
        return _open(Path(path_or_stream)), str(path_or_stream), True
    name = getattr(path_or_stream, "name", None)
    return path_or_stream, name if isinstance(name, str) else "<stream>", False


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _refuse_csv_options(name: str, options: SourceOptions) -> None:
    if options.items is not None:
        raise ConfigError(f"{name}: an order in JSON Lines has its items inside: give no items file")
    if options.file_map != FileMap() or options.delimiter is not None:
        raise ConfigError(f"{name}: a map and a delimiter are for CSV, and this is JSON Lines")


def _format(name: str, options: SourceOptions, *, is_file: bool) -> str:
    known = options.format or _ENDINGS.get(Path(name).suffix.lower())
    if known is None and is_file:
        raise ConfigError(f"{name}: its ending does not tell its format: say --format csv or --format jsonl")
    return known or "csv"
