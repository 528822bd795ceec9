"""The orders that need no look-up before they are sent, after an older copy of the ledger was accepted."""

from typing import Self

from msgspec import Struct

from gotsurge_async.database import Database
from gotsurge_async.ledger.sql import runs
from gotsurge_async.ledger.sql.pages import Owner
from gotsurge_async.ledger.sql.runs import MANY, Held
from gotsurge_async.ledger.states import WAITING

ACCEPTED_AFTER = "older_accepted_after"
"""In ``ledger_meta``: the number of the newest run of the copy when it was accepted."""
READ_IN = "read_in_from"
"""The option of a lost run that was read in from its result files: it looked up none of its orders."""


class Since(Struct, frozen=True):
    """The runs of an account since an older copy was accepted: they looked up their orders on its Task List.

    Runs count by their numbers, whatever the clock was.
    """

    after: int
    account: str

    @classmethod
    def read(cls, db: Database, run: Held) -> Self:
        """The runs whose look-ups count for a run."""
        meta: dict[str, int] = dict(db.rows("meta"))
        return cls(meta.get(ACCEPTED_AFTER, MANY), run.account)

    def knows(self, owner: Owner | None) -> bool:
        """Whether an order need not be looked up, because of the order that has its key, or had it last.

        One that GotSurge has, or may have, is not sent again. One that waits, or that has lost its key, is.
        """
        if owner is None:
            return False
        if owner.live and owner.state not in WAITING:
            return True
        info = owner.run
        is_since = info.number > self.after and READ_IN not in info.options
        return is_since and runs.account_of(info) == self.account


def accept_after(db: Database) -> None:
    """Note that an older copy is accepted now: only later runs look up their orders."""
    newest = runs.newest(db, 1)
    db.change("remember", name=ACCEPTED_AFTER, value=newest[0].number if newest else 0)
