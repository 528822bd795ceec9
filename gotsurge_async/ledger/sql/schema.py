"""Makes an empty database a ledger, and brings a ledger of an older version to the current one.

``migrations/002.sql`` turns version 1 into version 2, and so on: named statements as in ledger.sql (see
gotsurge_async/database), executed in order. To add a migration, raise `VERSION` and change ledger.sql to match.
"""

from pathlib import Path

from gotsurge_async.database import Database, Kind, statements
from gotsurge_async.ledger.errors import RESCUE, LedgerError, LedgerUnusable

TEXT = Path(__file__).with_name("ledger.sql")
"""The file of the tables and statements."""

MIGRATIONS = Path(__file__).with_name("migrations")
"""The folder of the migrations. There is none yet: version 1 is the first."""

VERSION = 1
"""The version of the tables."""

ARCHIVE_OF = "archive_of"
"""In the ``ledger_meta`` of an archive: the id of the ledger that its runs are from."""

TABLES = frozenset(
    part.split(maxsplit=1)[0] for part in statements(TEXT, Kind.SQLITE)["schema"].split("CREATE TABLE ")[1:]
)


def prepare(db: Database, shown: str) -> bool:
    """Make a database a ledger of this program's version; returns whether it was a ledger before.

    This is part of the caller's transaction, which excludes other processes that do the same.
    """
    tables = {name for (name,) in db.rows("tables")}
    others = tables - TABLES if db.kind is not Kind.SQLITE else frozenset()
    if tables == others and (db.kind is not Kind.SQLITE or db.rows("page_count")[0][0] <= 1):
        # A file of one page is new: SQLite writes the first one when it begins the write-ahead log. In PostgreSQL there
        # may be tables of others: the tokens, the queue, whatever else is kept there.
        db.script("schema")
        db.script("view")
        db.change("remember", name="schema_version", value=VERSION)
        return False
    before = version_of(db, shown)
    for version in range(before + 1, VERSION + 1):
        db.scripts(MIGRATIONS / f"{version:03}.sql")
    if before < VERSION:
        db.script("view")
    # Written in any case: a ledger that cannot be written to must fail now, not when orders are on their way.
    db.change("remember", name="schema_version", value=VERSION)
    return True


def is_older(db: Database, shown: str) -> bool:
    """Whether a ledger is of an older version than this program's; errors as in `version_of`."""
    return version_of(db, shown) < VERSION


def version_of(db: Database, shown: str) -> int:
    """The version of a ledger's tables.

    Raises LedgerError if there is none, or a newer one; LedgerUnusable if the database is damaged.
    """
    tables = {name for (name,) in db.rows("tables")}
    if "ledger_meta" not in tables:
        why = f"is a database, but not a ledger: give the path of a ledger. If this was one, it is damaged. {RESCUE}"
        raise LedgerError(why, "E501", path=shown)
    meta: dict[str, object] = dict(db.rows("meta"))
    version = meta.get("schema_version")
    if not isinstance(version, int) or version < 1:
        raise LedgerUnusable(f"is damaged (table ledger_meta: the schema version is {version}). {RESCUE}", path=shown)
    if version > VERSION:
        raise LedgerError(
            f"was made by a newer version (schema {version}; this program knows {VERSION}): update gotsurge-async. "
            "Do not start another ledger: it would send everything again",
            "E506",
            path=shown,
        )
    missing = TABLES - tables
    if missing and version == VERSION:
        raise LedgerUnusable(f"is damaged (it has no table {min(missing)}). {RESCUE}", path=shown)
    return version
