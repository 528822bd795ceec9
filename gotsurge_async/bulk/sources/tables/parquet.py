"""A Parquet file, by DuckDB."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from gotsurge_async.bulk.sources.lines import BadFile, Digested, Record, Unreadable
from gotsurge_async.bulk.sources.source import Form
from gotsurge_async.bulk.sources.tables.packed import on_disk
from gotsurge_async.bulk.sources.tables.typed import Typed
from gotsurge_async.errors import ConfigError

_BLOCK = 1_000
_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "1GB",
    "threads": "1",
    "autoinstall_known_extensions": "false",  # nothing is downloaded
    "autoload_known_extensions": "false",
}


class ParquetGrid:
    """A Parquet file. Its header has the line 0, and its rows those from 1 on.

    Raises:
        ConfigError: DuckDB is not there.
    """

    def __init__(self, stream: Digested) -> None:
        try:
            import duckdb
        except ImportError:
            raise ConfigError('a Parquet file needs duckdb: pip install "gotsurge-async[parquet]"') from None
        self.stopped: bool = False
        self._duckdb = duckdb
        self._stream = stream

    @property
    def form(self) -> Form:
        """See `Grid`."""
        return Form(format="parquet")

    @property
    def digest(self) -> Any:
        """See `Grid`."""
        return self._stream.digest

    def records(self, unreadable: Unreadable) -> Iterator[Record]:
        """See `Grid`."""
        typed = Typed()
        with on_disk(self._stream) as file, _named(file) as name:
            try:
                with self._duckdb.connect(":memory:", config=_SETTINGS) as database:
                    found = database.execute("FROM read_parquet(?)", [name])
                    yield Record(0, [str(column[0]) for column in found.description or ()], False, 0)
                    line = 0
                    while rows := found.fetchmany(_BLOCK):
                        for line, row in enumerate(rows, start=line + 1):  # noqa: B020
                            if record := typed.record(line, row, unreadable):
                                yield record
            except self._duckdb.Error as error:
                raise BadFile(f"is damaged, or no Parquet file: {str(error).splitlines()[0]}") from None


_DESCRIPTORS = Path("/dev/fd")


@contextmanager
def _named(file: IO[bytes]) -> Iterator[str]:
    """A name for an open file: no part of it is taken for a pattern, and no other file can take its place.

    Where descriptors have no names, on Windows, it is the name of a copy that lives as long as the block.
    """
    if _DESCRIPTORS.is_dir():
        yield str(_DESCRIPTORS / str(file.fileno()))
        return
    with tempfile.TemporaryDirectory(prefix="gotsurge-") as folder:
        copy = Path(folder, "orders.parquet")
        with copy.open("wb") as target:
            shutil.copyfileobj(file, target)
        yield str(copy)
