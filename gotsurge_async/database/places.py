"""Places of databases: a file of SQLite, or the URL of PostgreSQL."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from attrs import field, frozen

from gotsurge_async.errors import ConfigError
from gotsurge_async.starting import pattern


class Kind(StrEnum):
    """A database."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


_UNREADABLE = (
    "this URL cannot be read: give postgresql://USER@HOST:PORT/NAME; "
    "in a password, write % as %25, @ as %40, / as %2F, # as %23"
)
_SHOWN = frozenset({"host", "hostaddr", "port", "dbname", "user", "service", "sslmode", "sslrootcert", "options"})
"""Settings of a URL that decide its destination, and that hold no secret."""
_MEANT_OTHERWISE = pattern(r"(postgres\w*|mysql|sqlite\w*|file)(\+\w+)?:|:memory:|~", re.IGNORECASE)
"""The beginning of text that was meant as a URL, or as a path that a shell should have expanded."""
_SETTINGS = pattern(r"\b(host|hostaddr|port|dbname|user|password|service)\s*=")
"""Settings in the form that PostgreSQL's own tools accept."""


def _absolute(path: Path) -> Path:
    return path.absolute()


@frozen
class Place:
    """The place of a database: an absolute path for SQLite, or a URL for PostgreSQL, which may hold a password."""

    kind: Kind
    path: Path = field(default=Path("/"), converter=_absolute)
    url: str = field(default="", repr=False)

    def __str__(self) -> str:
        """The place for people: without a password, and without settings that may hold one."""
        if self.kind is Kind.SQLITE:
            return str(self.path)
        parts = urlsplit(self.url)
        who, _, server = parts.netloc.rpartition("@")
        user = f"{who.partition(':')[0]}@" if who.partition(":")[0] else ""
        shown = [setting for setting in parts.query.split("&") if setting.partition("=")[0] in _SHOWN]
        return f"postgresql://{user}{server}{parts.path}{'?' if shown else ''}{'&'.join(shown)}"


def is_text(value: Any) -> bool:
    """Whether a value is text that every database can hold: it has no NUL, and nothing that UTF-8 cannot encode."""
    return isinstance(value, str) and "\0" not in value and value.encode(errors="ignore").decode() == value


def _file(path: str | Path) -> Place:
    if not is_text(str(path)):
        raise ConfigError("this path contains a NUL character, or bytes that are not UTF-8: give another one", "E502")
    return Place(Kind.SQLITE, Path(path))


def place_of(where: str | Path) -> Place:
    """The place that a path or a URL names: ``PATH``, ``sqlite:///PATH`` or ``postgresql://USER@HOST/NAME``.

    A driver that is named in a URL (``sqlite+aiosqlite:``) is ignored. Raises ConfigError for any other text.
    """
    if isinstance(where, Path):
        return _file(where)
    if "://" not in where:
        if not where.strip() or _MEANT_OTHERWISE.match(where) or _SETTINGS.search(where):
            # As a file's name it would begin a ledger of its own, with a password in its name.
            raise ConfigError("this is neither a path nor a full URL: give PATH or postgresql://USER@HOST/NAME", "E502")
        return _file(where)
    scheme, _, rest = where.partition("://")
    name = scheme.partition("+")[0]
    if name == "sqlite":
        path = unquote(rest.removeprefix("/").partition("?")[0])
        if not rest.startswith("/") or path in ("", ":memory:"):
            raise ConfigError("a database in memory is not kept: name a file, as in sqlite:///PATH", "E502")
        return _file(path)
    if name not in ("postgresql", "postgres"):
        why = f"{name} is not supported" if name else "this URL cannot be read"
        raise ConfigError(f"{why}: give the path of a file, or postgresql://USER@HOST/NAME", "E502")
    try:
        parts = urlsplit(f"postgresql://{rest}")
        _ = parts.port
    except ValueError:
        raise ConfigError(_UNREADABLE, "E502") from None
    if not is_text(unquote(rest)) or parts.netloc.count("@") > 1 or "@" in parts.path + parts.query or parts.fragment:
        # Signs of a password; the driver would take what follows them for the host's name, and quote it in its errors.
        raise ConfigError(_UNREADABLE, "E502")
    return Place(Kind.POSTGRESQL, url=f"postgresql://{rest}")


def driver_of(place: Place) -> Any:
    """Load the module of a database's driver; ConfigError if the driver is not installed, or cannot read the URL."""
    if place.kind is Kind.SQLITE:
        import sqlite3

        return sqlite3
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:
        raise ConfigError('PostgreSQL needs an extra: pip install "gotsurge-async[postgresql]"', "E108") from None
    try:
        conninfo_to_dict(place.url)
    except psycopg.Error:
        raise ConfigError(_UNREADABLE, "E502") from None  # the driver quotes what it cannot read, maybe the password
    return psycopg
