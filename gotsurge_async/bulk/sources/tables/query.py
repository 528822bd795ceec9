"""What a database answers to a query, by SQLAlchemy."""

import re
from collections.abc import Iterator
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from gotsurge_async.bulk.sources.lines import BadFile, Record, Unreadable
from gotsurge_async.bulk.sources.options import Query
from gotsurge_async.bulk.sources.source import Form, encode
from gotsurge_async.bulk.sources.tables.typed import Typed
from gotsurge_async.errors import ConfigError

_BLOCK = 1_000
_ENDING = re.compile(r";\s*$")


class QueryGrid:
    """The rows of a query, each with its number as its line; the names of its columns have the line 0.

    It is read in one transaction, which is rolled back, and which a database that can is told to hold for reading only.

    Args:
        query: which database, and what it is asked.

    Raises:
        ConfigError: SQLAlchemy or the driver is not there, or the URL is none.
    """

    def __init__(self, query: Query) -> None:
        try:
            import sqlalchemy
            import sqlalchemy.exc
        except ImportError:
            raise ConfigError('--sql needs SQLAlchemy: pip install "gotsurge-async[sql]"') from None
        self.stopped: bool = False
        self._sql = sqlalchemy
        self._query = _ENDING.sub("", query.sql)
        self._digest = sha256()
        try:
            made = sqlalchemy.make_url(query.url)
        except sqlalchemy.exc.ArgumentError:
            raise ConfigError("--from is a URL such as postgresql://USER@HOST/NAME or sqlite:///orders.db") from None
        if made.drivername in ("postgresql", "postgres"):
            made = made.set(drivername="postgresql+psycopg")  # the one that the extra postgresql brings
        if made.get_backend_name() == "sqlite" and made.database:
            # For reading only: one that is not there is not made.
            made = made.set(database=f"file:{quote(made.database)}", query={"mode": "ro", "uri": "true"})
        self._secret = made.password
        try:
            self._engine = sqlalchemy.create_engine(made)
        except sqlalchemy.exc.NoSuchModuleError:
            raise ConfigError(f"--from: SQLAlchemy knows no database {made.drivername}") from None
        except ImportError as error:
            raise ConfigError(f"--from: the driver of {made.drivername} is missing: pip install {error.name}") from None

    @property
    def form(self) -> Form:
        """See `Grid`."""
        return Form(format="sql")

    @property
    def digest(self) -> Any:
        """The SHA-256 of what was answered."""
        return self._digest

    def records(self, unreadable: Unreadable) -> Iterator[Record]:
        """See `Grid`."""
        typed = Typed()
        # Nothing in the query is a name to be filled in.
        query = self._sql.text(self._query.replace(":", "\\:"))
        options = {"stream_results": True, "yield_per": _BLOCK}
        if self._engine.dialect.name == "postgresql":
            options["postgresql_readonly"] = True
        try:
            with self._engine.connect().execution_options(**options) as connection:
                found = connection.execute(query)
                if not found.returns_rows:
                    raise BadFile("the query answers no rows: it is a SELECT")
                names = list(found.keys())
                self._digest.update(encode(names))
                yield Record(0, names, False, 0)
                for line, row in enumerate(found, start=1):
                    record = typed.record(line, row, unreadable)
                    if record is not None:
                        self._digest.update(encode(record.cells))
                        yield record
        except (self._sql.exc.SQLAlchemyError, UnicodeDecodeError) as error:
            raise BadFile(self._said(error)) from None
        finally:
            self._engine.dispose()

    def _said(self, error: Exception) -> str:
        """What a database said, without the query, and without the password that some drivers repeat."""
        origin = getattr(error, "orig", None) or error
        text = str(origin).strip() or type(origin).__name__
        if self._secret:
            text = text.replace(str(self._secret), "***")
        return f"the database says: {text.splitlines()[0]}"
