"""The tables, in SQLAlchemy Core, and how an older ledger becomes a newer one.

Orders are cut in two: ``orders`` holds what changes, in narrow rows, and ``payloads`` what changes only with a task
that was changed at the service. A mark then rewrites one page of the file for a whole chunk instead of one for every
second order.
"""

from collections.abc import Callable, Iterable, Sequence

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    ColumnElement,
    Connection,
    ForeignKey,
    FromClause,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    case,
    false,
    func,
    inspect,
    literal_column,
    select,
    update,
)

from gotsurge_async.bulk.ledger.errors import RESCUE, LedgerError, LedgerUnusable
from gotsurge_async.bulk.ledger.states import LIVE, OrderState

metadata: MetaData = MetaData()

FIRST_VALUES = (("last_order_id", 0), ("counter", 0))
"""What a new ledger's `meta` holds besides its version."""

# SQLite numbers rows by itself only where the type is spelled INTEGER.
_Id = BigInteger().with_variant(Integer, "sqlite")

meta: Table = Table(
    "ledger_meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""``schema_version``, ``last_order_id``, ``counter``, which every admission and every claim raises, and more."""

runs: Table = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("created_at", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("source_sha256", Text),
    Column("columns", JSON(none_as_null=True)),
    Column("options", JSON(none_as_null=True)),
    Column("holder_pid", BigInteger),
    Column("holder_host", Text),
    Column("holder_since", BigInteger),
    Column("finished_at", BigInteger),
    # Raised by whoever takes the run into its hands: what an earlier holder writes after that is refused.
    Column("epoch", BigInteger, nullable=False, server_default="0"),
)


def quoted(words: Iterable[str]) -> str:
    """Words as SQL writes them in a list: ``'a', 'b'``."""
    return ", ".join(f"'{word!s}'" for word in sorted(words))


LIVE_FOLLOWS_STATE = f"live = CASE WHEN state IN ({quoted(LIVE)}) THEN 1 ELSE 0 END"


orders: Table = Table(
    "orders",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=False),
    Column("run_id", Text, ForeignKey("runs.id"), nullable=False),
    Column("line", BigInteger, nullable=False),
    Column("environment", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("state", Text, nullable=False),
    # Whether the row owns its key. It follows from the state, but an index over it is left alone by every
    # mark that keeps the key owned, where an index over the state would be rewritten by each.
    Column("live", SmallInteger, nullable=False),
    Column("task_id", Text),
    Column("status", Text),
    Column("error", Text),
    Column("fingerprint", LargeBinary),
    Column("claimed_at", BigInteger),
    Column("updated_at", BigInteger, nullable=False),
    # The epoch of the run under which it was claimed.
    Column("epoch", BigInteger, nullable=False, server_default="0"),
    # How many drafts may exist of it besides its own; those whose ids are known stand in ``unused_drafts``.
    Column("lost_drafts", SmallInteger, nullable=False, server_default="0"),
    CheckConstraint(LIVE_FOLLOWS_STATE, name="live_follows_state"),
)
Index("orders_of_run", orders.c.run_id, orders.c.line, orders.c.id)


LIVE_TASK = "orders_live_task"
"""The index that holds that a task is recorded for one live order: an answer may come from a cache, or be another's."""


def _partial(name: str, *columns: Column[object], unique: bool, where: str) -> None:
    # Each database has an argument of its own for this, and to name one loads its whole dialect: 17 ms at the start.
    Index(name, *columns, unique=unique, sqlite_where=literal_column(where))


_partial("orders_live_key", orders.c.environment, orders.c.key, unique=True, where="live = 1")
_partial(LIVE_TASK, orders.c.environment, orders.c.task_id, unique=True, where="live = 1 AND task_id IS NOT NULL")
_partial("orders_live_fingerprint", orders.c.fingerprint, unique=False, where="live = 1 AND fingerprint IS NOT NULL")

payloads: Table = Table(
    "payloads",
    metadata,
    Column("order_id", _Id, ForeignKey("orders.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("payload", LargeBinary, nullable=False),
    Column("source_row", LargeBinary),
)

unused_drafts: Table = Table(
    "unused_drafts",
    metadata,
    Column("task_id", Text, primary_key=True),
    Column("run_id", Text, ForeignKey("runs.id"), nullable=False),
    Column("key", Text, nullable=False),
    Column("noted_at", BigInteger, nullable=False),
    Column("cancelled_at", BigInteger),
)
"""Drafts that no order will be broadcast by: no driver knows of them, and they may be cancelled."""
Index("unused_drafts_of_run", unused_drafts.c.run_id)

decisions: Table = Table(
    "decisions",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("run_id", Text, ForeignKey("runs.id"), nullable=False),
    Column("order_id", _Id, ForeignKey("orders.id"), nullable=False),
    Column("key", Text, nullable=False),
    Column("created", SmallInteger, nullable=False),
    Column("task_id", Text),
    Column("decided_by", Text, nullable=False),
    Column("decided_at", BigInteger, nullable=False),
)
Index("decisions_of_run", decisions.c.run_id, decisions.c.id)


def in_states(column: ColumnElement[str], states: Iterable[OrderState]) -> ColumnElement[bool]:
    """``column IN ('…', …)`` with the names written out, so that one statement serves an executemany as it stands."""
    names: list[ColumnElement[str]] = [literal_column(f"'{state.value}'") for state in sorted(states)]
    return column.in_(names) if names else false()


def is_live(column: ColumnElement[int]) -> ColumnElement[bool]:
    """``column = 1`` written out: a planner matches a partial index only to a constant, never to a parameter."""
    return column == literal_column("1")


def lost_drafts(order: FromClause) -> ColumnElement[int]:
    """How many drafts may exist of an order whose ids nobody knows: all but those that its run noted as unused."""
    noted = (
        select(func.count())
        .where(unused_drafts.c.run_id == order.c.run_id, unused_drafts.c.key == order.c.key)
        .correlate(order)
        .scalar_subquery()
    )
    return case((order.c.lost_drafts > noted, order.c.lost_drafts - noted), else_=literal_column("0"))


_FIRST_TABLES = frozenset({"ledger_meta", "runs", "orders", "payloads", "decisions"})
"""Those that a ledger of any version has."""

Migration = Callable[[Connection], None]


def _fence(connection: Connection) -> None:
    """1 → 2: epochs, drafts that nobody uses, and the counter."""
    for change in (
        "ALTER TABLE runs ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE orders ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE orders ADD COLUMN lost_drafts SMALLINT NOT NULL DEFAULT 0",
    ):
        connection.exec_driver_sql(change)
    unused_drafts.create(connection)
    connection.execute(meta.insert(), {"name": "counter", "value": 0})
    # What the first version recorded for two orders is the first one's, if it is anybody's.
    twin = orders.alias("twin")
    connection.execute(
        update(orders)
        .where(
            is_live(orders.c.live),
            twin.c.environment == orders.c.environment,
            twin.c.task_id == orders.c.task_id,
            is_live(twin.c.live),
            twin.c.id < orders.c.id,
        )
        .values(task_id=None, state=OrderState.IN_DOUBT.value, error="its task is recorded for another order")
    )
    next(index for index in orders.indexes if index.name == LIVE_TASK).create(connection)


MIGRATIONS: Sequence[Migration] = (_fence,)
"""``MIGRATIONS[n]`` turns a ledger of version n + 1 into one of version n + 2."""


def prepare(connection: Connection, path: str, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Make an empty database a ledger, or bring an older ledger up to date; inside the caller's transaction."""
    newest = 1 + len(migrations)
    tables = set(inspect(connection).get_table_names())
    # A file of one page is new: SQLite writes the first one when it begins the write-ahead log.
    if not tables and connection.exec_driver_sql("PRAGMA page_count").scalar_one() <= 1:
        metadata.create_all(connection, checkfirst=False)
        connection.execute(
            meta.insert(),
            [{"name": name, "value": value} for name, value in (("schema_version", newest), *FIRST_VALUES)],
        )
        return
    found = version_of(connection, path, newest)
    for migration in migrations[found - 1 :]:
        migration(connection)
    # Written in any case: a ledger that cannot be written to must be told now, not when orders are on their way.
    connection.execute(update(meta).where(meta.c.name == "schema_version").values(value=newest))


def version_of(connection: Connection, path: str, newest: int = 1 + len(MIGRATIONS)) -> int:
    """The schema's version that a ledger says it has, 1 to ``newest``.

    Raises:
        LedgerError: it is no ledger, or one of a newer version.
        LedgerUnusable: it is damaged.
    """
    missing = _FIRST_TABLES - set(inspect(connection).get_table_names())
    if meta.name in missing:
        raise LedgerError(
            f"is a database, but not a ledger: name the ledger. If it was one, it is damaged. {RESCUE}", path=path
        )
    if missing:
        raise LedgerUnusable(f"is damaged (it has no table {min(missing)}). {RESCUE}", path=path)
    found = connection.scalar(select(meta.c.value).where(meta.c.name == "schema_version"))
    if not isinstance(found, int) or found < 1:
        raise LedgerUnusable(f"is damaged (table ledger_meta: the schema version is {found}). {RESCUE}", path=path)
    if found > newest:
        raise LedgerError(
            f"is of a newer version (schema {found}, this program knows {newest}); use a newer gotsurge-async. "
            "Begin no other ledger: it would know of nothing that was sent",
            path=path,
        )
    return found
