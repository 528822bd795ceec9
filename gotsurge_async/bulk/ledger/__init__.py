"""The ledger of a push: every order is in it before anything is sent, and what became of it when that is known.

`Ledger.open` gives the ledger, `Ledger.begin` a `Run`: ``add`` its orders, ``admit`` them, then ``claim`` a chunk,
send it, ``record`` its outcomes, until ``pending`` is empty; ``finish`` and ``close``. After a crash: `Ledger.hold`,
``recover``, and on.
"""

from .errors import (
    IllegalTransition,
    LedgerBusy,
    LedgerClosed,
    LedgerError,
    LedgerUnusable,
    NoSuchRun,
    RunHeld,
)
from .ledger import Ledger
from .records import (
    Admission,
    Counts,
    Decision,
    Doubled,
    Holder,
    NewOrder,
    OrderRow,
    Outcome,
    PendingOrder,
    Remark,
    ResultRow,
    RunInfo,
    Similar,
)
from .run import Run
from .states import CLAIMED, LIVE, TRANSITIONS, Mode, OrderState, RunState

__all__ = [
    "CLAIMED",
    "LIVE",
    "TRANSITIONS",
    "Admission",
    "Counts",
    "Decision",
    "Doubled",
    "Holder",
    "IllegalTransition",
    "Ledger",
    "LedgerBusy",
    "LedgerClosed",
    "LedgerError",
    "LedgerUnusable",
    "Mode",
    "NewOrder",
    "NoSuchRun",
    "OrderRow",
    "OrderState",
    "Outcome",
    "PendingOrder",
    "Remark",
    "ResultRow",
    "Run",
    "RunHeld",
    "RunInfo",
    "RunState",
    "Similar",
]
