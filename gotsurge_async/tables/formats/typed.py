"""Tables whose cells have types, as the text of a CSV: rows of any kind, Parquet files and queries."""

import re
import shutil
import struct
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from gotsurge_async.errors import ConfigError
from gotsurge_async.tables.cells import Broken, Exact, encode
from gotsurge_async.tables.formats.grid import Grid, Record, Unreadable
from gotsurge_async.tables.formats.lines import MAX_LINE, MOST_LINES, TOO_LONG_ROW, BadFile, Digested, Form, too_many
from gotsurge_async.tables.formats.sheet_reader.texts import duration_text, float_text
from gotsurge_async.tables.options import Query

_COPIED = 1 << 20
_NOT_FINITE = "is NaN or infinite, which is not a text: write null for a missing value"
_SINGLE = struct.Struct("f")


def _shortest(cell: Any) -> Any:
    """A number of single precision in its shortest form: 2908.9 where a double shows 2908.89990234375."""
    if type(cell) is not float or abs(cell) > 1e38:  # rounded, the greatest do not fit any more
        return cell
    numbers = (float(f"{cell:.{digits}g}") for digits in range(6, 10))
    return next((number for number in numbers if _SINGLE.pack(number) == _SINGLE.pack(cell)), cell)


def _iso_text(value: date | time) -> Exact:
    return Exact(value.isoformat())


def _number_text(number: float | Decimal) -> Exact:
    if _is_not_finite(number):
        raise KeyError  # for `record_of`: it is no text
    return Exact(float_text(number) if type(number) is float else f"{number:f}")


_TEXTS: dict[type, Callable[[Any], str]] = {
    type(None): lambda _: "",
    bool: lambda value: Exact("true" if value else "false"),
    int: Exact,
    float: _number_text,
    Decimal: _number_text,
    datetime: _iso_text,
    date: _iso_text,
    time: _iso_text,
    timedelta: lambda duration: Exact(duration_text(duration)),
    uuid.UUID: str,
}
"""The function that makes the text of a value, by the value's type."""


def record_of(line: int, row: Sequence[Any], unreadable: Unreadable) -> Record | None:
    """A row of typed values as a record; None if it is empty, or too long, when ``unreadable`` is called."""
    damaged, shown = False, None
    try:
        cells = [value if type(value) is str else _TEXTS[type(value)](value) for value in row]
    except KeyError:
        cells = [_text(value) for value in row]
        damaged = any(type(cell) is Broken for cell in cells)
        shown = {place: Broken(_NOT_FINITE) for place, value in enumerate(row) if _is_not_finite(value)}
    whole = "".join(cells)
    if not whole.strip():
        return None
    if len(whole) > MAX_LINE:
        unreadable(line, TOO_LONG_ROW)
        return None
    return Record(line, cells, damaged or "\0" in whole, line, shown)


def _is_not_finite(value: Any) -> bool:
    return not value.is_finite() if type(value) is Decimal else type(value) is float and not isfinite(value)


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    if _is_not_finite(value):
        return Exact(value)
    if type(value) not in _TEXTS:
        return Broken(f"holds a {type(value).__name__}, and a cell holds one text, number or time")
    return _TEXTS[type(value)](value)


@contextmanager
def on_disk(stream: Digested) -> Iterator[IO[bytes]]:
    """A stream as a file that can be read at any place, after all of it was added to the digest.

    A stream that is not such a file is copied into one without a name, readable only by its owner.
    """
    own = stream.file()
    with ExitStack() as at_end:
        try:
            file = at_end.enter_context(tempfile.TemporaryFile()) if own is None else own
            while block := stream.read(_COPIED):
                if own is None:
                    file.write(block)
            file.seek(0)
        except OSError as error:
            why = (
                f"cannot be copied to the folder of temporary files ({error.strerror or error}): free some space there"
            )
            raise BadFile(why, "E109") from None
        yield file


# --- Parquet ---------------------------------------------------------------------------------------------------------

_BLOCK = 1_000
_DESCRIPTORS = Path("/dev/fd")
_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "1GB",
    "threads": "1",
    "autoinstall_known_extensions": "false",  # nothing is downloaded
    "autoload_known_extensions": "false",
}


class ParquetGrid(Grid):
    """A Parquet file, read by DuckDB; ConfigError without it. Its header has the line 0, its rows those from 1 on."""

    def __init__(self, stream: Digested) -> None:
        super().__init__(Form(format="parquet"), stream.digest)
        try:
            import duckdb
        except ImportError:
            raise ConfigError('a Parquet file needs duckdb: pip install "gotsurge-async[parquet]"', "E108") from None
        self._duckdb = duckdb
        self._stream = stream

    def records(self, unreadable: Unreadable) -> Iterator[Record]:
        """Yield the records, see `Grid.records`."""
        with on_disk(self._stream) as file, _named(file) as name:
            try:
                with self._duckdb.connect(":memory:", config=_SETTINGS) as database:
                    count = database.execute("SELECT count(*) FROM read_parquet(?)", [name]).fetchall()[0][0]
                    if count > MOST_LINES:
                        raise too_many(f"{count:,} rows")
                    columns = database.execute("DESCRIBE FROM read_parquet(?)", [name]).fetchall()
                    singles = [place for place, (_, kind, *_) in enumerate(columns) if kind == "FLOAT"]
                    answer = database.execute("FROM read_parquet(?)", [name])
                    yield Record(0, [str(column[0]) for column in answer.description or ()], False, 0)
                    line = 0
                    while rows := answer.fetchmany(_BLOCK):
                        for line, typed in enumerate(rows, start=line + 1):  # noqa: B020
                            row = list(typed)
                            for place in singles:
                                row[place] = _shortest(row[place])
                            if record := record_of(line, row, unreadable):
                                yield record
            except self._duckdb.Error as error:
                raise BadFile(f"is damaged, or not a Parquet file: {str(error).splitlines()[0]}", "E207") from None


@contextmanager
def _named(file: IO[bytes]) -> Iterator[str]:
    """A name for an open file that DuckDB does not read as a pattern, and that no other file can get.

    On Windows, where descriptors have no names, it is that of a copy.
    """
    if _DESCRIPTORS.is_dir():
        yield str(_DESCRIPTORS / str(file.fileno()))
        return
    with tempfile.TemporaryDirectory(prefix="gotsurge-") as folder:
        copy = Path(folder, "orders.parquet")
        with copy.open("wb") as target:
            shutil.copyfileobj(file, target)
        yield str(copy)


# --- queries ---------------------------------------------------------------------------------------------------------

_ENDING = re.compile(r";\s*$")


class QueryGrid(Grid):
    """The answer of a database, read by SQLAlchemy. Its columns have the line 0, and its rows those from 1 on.

    The query runs in one transaction, which is rolled back, and which is read-only if the database supports that.
    ``digest`` is that of the answer. Raises ConfigError without SQLAlchemy or the driver, or if the URL is wrong.
    """

    def __init__(self, query: Query) -> None:
        super().__init__(Form(format="sql"), sha256())
        try:
            import sqlalchemy
            import sqlalchemy.exc
        except ImportError:
            raise ConfigError('--sql needs SQLAlchemy: pip install "gotsurge-async[sql]"', "E108") from None
        self._sql = sqlalchemy
        self._query = _ENDING.sub("", query.sql)
        try:
            url = sqlalchemy.make_url(query.url)
        except sqlalchemy.exc.ArgumentError:
            why = "--from must be a URL such as postgresql://USER@HOST/NAME or sqlite:///orders.db"
            raise ConfigError(why, "E208") from None
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg")  # the driver of the extra postgresql
        if url.get_backend_name() == "sqlite" and url.database:
            # For reading only: a database that does not exist is not made.
            url = url.set(database=f"file:{quote(url.database)}", query={"mode": "ro", "uri": "true"})
        self._secret = url.password
        try:
            self._engine = sqlalchemy.create_engine(url)
        except sqlalchemy.exc.NoSuchModuleError:
            why = f"--from: SQLAlchemy does not know this kind of database: {url.drivername}"
            raise ConfigError(why, "E208") from None
        except ImportError as error:
            why = f"--from: the driver for {url.drivername} is not installed: pip install {error.name}"
            raise ConfigError(why, "E108") from None

    def records(self, unreadable: Unreadable) -> Iterator[Record]:
        """Yield the records, see `Grid.records`."""
        query = self._sql.text(self._query.replace(":", "\\:"))  # a colon starts no parameter
        options = {"stream_results": True, "yield_per": _BLOCK}
        if self._engine.dialect.name == "postgresql":
            options["postgresql_readonly"] = True
        try:
            with self._engine.connect().execution_options(**options) as connection:
                answer = connection.execute(query)
                if not answer.returns_rows:
                    raise BadFile("the query does not return rows: give a SELECT statement", "E208")
                names = list(answer.keys())
                self.digest.update(encode(names))
                yield Record(0, names, False, 0)
                for line, row in enumerate(answer, start=1):
                    if line > MOST_LINES:
                        raise too_many(f"more than {MOST_LINES:,} rows")
                    record = record_of(line, row, unreadable)
                    if record is not None:
                        self.digest.update(encode(record.cells))
                        yield record
        except (self._sql.exc.SQLAlchemyError, UnicodeDecodeError) as error:
            raise BadFile(self._message(error), "E208") from None
        finally:
            self._engine.dispose()

    def _message(self, error: Exception) -> str:
        """The message of a database without the query, and without the password that some drivers repeat."""
        origin = getattr(error, "orig", None) or error
        text = str(origin).strip() or type(origin).__name__
        if self._secret:
            text = text.replace(str(self._secret), "***")
        return f"the database says: {text.splitlines()[0]}"
