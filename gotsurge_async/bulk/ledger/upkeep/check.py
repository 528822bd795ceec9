"""Whether a ledger is sound: `gotsurge ledger check`, and what refuses one in time."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from attrs import evolve, frozen

from gotsurge_async.bulk.ledger.errors import Flaw, LedgerError, LedgerOlder, LedgerUnusable
from gotsurge_async.bulk.ledger.sql.reading import size
from gotsurge_async.bulk.ledger.sql.runs import MANY
from gotsurge_async.bulk.ledger.sql.schema import is_older
from gotsurge_async.bulk.ledger.sql.sqlite import BROKEN
from gotsurge_async.bulk.ledger.sql.store import Backend, place
from gotsurge_async.bulk.ledger.states import Clock, utc_now
from gotsurge_async.bulk.ledger.upkeep.counter import Keeper, identity_of
from gotsurge_async.bulk.ledger.upkeep.integrity import describe_shared, look_over, look_through
from gotsurge_async.clock import to_microseconds
from gotsurge_async.database import Database, Kind, Place

MOST = 100
"""How many flaws of a table are listed."""


@frozen(kw_only=True)
class Health:
    """What a look through a ledger found.

    Attributes:
        path: the file, or the URL without a password.
        flaws: what is wrong, of each table the first hundred; empty in a sound ledger.
        runs: how many it has; 0 if that cannot be read.
        orders: likewise.
        ledger_id: which ledger it is; "" if it is from before it had an id.
        counter: how many admissions and claims it counts.
        to_look_at: orders that are no damage, and that a person or a read must settle: two have one task.
        older: whether it is an older copy of what was here, which is one of the flaws.
    """

    path: str
    flaws: tuple[Flaw, ...] = ()
    runs: int = 0
    orders: int = 0
    ledger_id: str = ""
    counter: int = 0
    to_look_at: tuple[str, ...] = ()
    older: bool = False

    @property
    def damaged(self) -> bool:
        """Whether anything is wrong but that it is older."""
        return len(self.flaws) > self.older


def check(where: str | Path | Place, *, is_copy: bool = False) -> Health:
    """Look a whole ledger through; nothing is written, and a push may go on meanwhile. It reads every page once.

    Args:
        is_copy: it was just copied: the ledger itself may count on meanwhile, so being older is not a flaw.

    Raises:
        LedgerError: there is none, or it is of another version.
        LedgerUnusable: a server cannot be reached.
    """
    where = place(where)
    health, keeper = Health(path=str(where)), Keeper(where)
    try:
        kept = keeper.kept()
        with looking(where, damaged_too=True) as db:
            health = evolve(health, flaws=tuple(look_through(db, MOST, whole=True)))
            health = evolve(health, runs=len(db.rows("newest_runs", most=MANY)), orders=size(db).orders)
            if not health.flaws:
                health = evolve(health, to_look_at=tuple(describe_shared(db)))
            identity = identity_of(db)
            if identity is not None:
                health = evolve(health, ledger_id=identity.name, counter=identity.counter)
            if not is_copy:
                keeper.refuse_older(kept, identity, db, looking=True)
    except LedgerOlder as error:
        return evolve(health, flaws=(*health.flaws, Flaw("", "", error.words)), older=True)
    except LedgerUnusable as error:
        if where.kind is not Kind.SQLITE:
            raise
        return evolve(health, flaws=health.flaws or (Flaw("", "", str(error)),))
    return health


def refuse_unfit(where: str | Path | Place, clock: Clock = utc_now) -> None:
    """Refuse a ledger that would be refused where it is opened for writing; nothing is written.

    Raises:
        LedgerUnusable: it is damaged.
        LedgerOlder: it is an older copy of what was here.
    """
    where = place(where)
    keeper = Keeper(where)
    kept = keeper.kept()
    with looking(where) as db:
        look_over(db, str(where), to_microseconds(clock()))
        keeper.refuse_older(kept, identity_of(db), db, looking=True)


@contextmanager
def looking(where: Place, *, damaged_too: bool = False) -> Iterator[Database]:
    """A connection that reads a ledger of this program's version.

    Args:
        damaged_too: also one that is so damaged that its version cannot be told.

    Raises:
        LedgerError: there is none, or it is of another version.
        LedgerUnusable: it is damaged, or cannot be read.
    """
    backend = Backend(where)
    with backend.translated(), closing(backend.reading()) as db:
        try:
            older = is_older(db, backend.shown)
        except (LedgerUnusable, *BROKEN):
            if not damaged_too:
                raise
            older = False
        if older:
            raise LedgerError("is of an older version: `gotsurge runs` brings it up to date", path=backend.shown)
        yield db
