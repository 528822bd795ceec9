"""After an older copy was accepted: orders that need no look-up, and orders that differ from those of a lost run."""

from collections.abc import Sequence
from typing import Any, Self

import msgspec
from msgspec import Struct

from gotsurge_async.database import Database
from gotsurge_async.ledger.sql import runs
from gotsurge_async.ledger.sql.chunks import Chunk
from gotsurge_async.ledger.sql.pages import Owner
from gotsurge_async.ledger.sql.runs import MANY, Held
from gotsurge_async.ledger.states import WAITING

ACCEPTED_AT = "older_accepted_at"
"""In ``ledger_meta``: when an older copy was accepted; 0 since a person confirmed that all lost runs are known."""
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


def other_row(db: Database, run: Held, chunk: Chunk, place: int, owner: Owner) -> str:
    """The reason why an order differs from one of a lost run, of which only the row is known; "" if it does not."""
    mine = _record(chunk, place, runs.one(db, run.id).columns)
    theirs = _record(owner.chunk, owner.place, owner.run.columns)
    fields = [name for name in {**mine, **theirs} if mine.get(name, "") != theirs.get(name, "")]
    if not (fields := [field for field in fields if field != "client_time_utc"]):
        return ""
    return (
        f"pushed by run {owner.run.id}, and differs from the row in its result file: {', '.join(fields)}; "
        "--replace-changed cannot change its task: take the order back (gotsurge undo), and push this again"
    )


def _record(chunk: Chunk, place: int, columns: Sequence[str] | None) -> dict[str, Any]:
    """The row of an order by its columns, or fields; the order itself if it has no row."""
    row = next(row or text for at, _, text, row in chunk.orders() if at == place)
    try:
        if columns is None:
            return msgspec.json.decode(row, type=dict[str, Any])
        cells = msgspec.json.decode(row, type=list[str | list[str]])  # a number is a list of its text
    except ValueError:
        return {"its row": row}  # the same if it is the same text
    return dict(zip(columns, ["".join(cell).strip() for cell in cells], strict=False))
