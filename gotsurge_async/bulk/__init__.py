"""The bulk loader: files of orders, a ledger, and a push that neither loses nor doubles an order.

Needs the extra ``cli``: ``pip install "gotsurge-async[cli]"``.
"""

from typing import TYPE_CHECKING

from gotsurge_async.starting import Lazy, lazily

if TYPE_CHECKING:
    from gotsurge_async.after.reconcile import Reconciled, Reconciler
    from gotsurge_async.after.results import Summary, write_results
    from gotsurge_async.after.undo import Undo, Undone
    from gotsurge_async.ledger import Ledger, LedgerError, Mode, OrderState, Run, RunHeld, SecondLedger
    from gotsurge_async.models.rules import Finding, Severity, check_order
    from gotsurge_async.push.brakes import Brakes, LimitReached
    from gotsurge_async.push.chunks import OnRefusedChunk
    from gotsurge_async.push.desk.desk import Desk
    from gotsurge_async.push.desk.outcomes import Changed, OrderChanged, Outcome
    from gotsurge_async.push.desk.stream import DeskStream
    from gotsurge_async.push.load import UnusableSource, load_refused
    from gotsurge_async.push.push import Push, Sent
    from gotsurge_async.tables import Fault, FileMap, Source, SourceOptions, SourceReport, open_source

_HOMES = {
    "after.reconcile": "Reconciled Reconciler",
    "after.results": "Summary write_results",
    "after.undo": "Undo Undone",
    "ledger": "Ledger LedgerError Mode OrderState Run RunHeld SecondLedger",
    "models.rules": "Finding Severity check_order",
    "push.brakes": "Brakes LimitReached",
    "push.chunks": "OnRefusedChunk",
    "push.desk.desk": "Desk",
    "push.desk.outcomes": "Changed OrderChanged Outcome",
    "push.desk.stream": "DeskStream",
    "push.load": "UnusableSource load_refused",
    "push.push": "Push Sent",
    "tables": "Fault FileMap Source SourceOptions SourceReport open_source",
}
"""The public names by the module that defines them: each is imported on first use."""


__all__ = [
    "Brakes",
    "Changed",
    "Desk",
    "DeskStream",
    "Fault",
    "FileMap",
    "Finding",
    "Ledger",
    "LedgerError",
    "LimitReached",
    "Mode",
    "OnRefusedChunk",
    "OrderChanged",
    "OrderState",
    "Outcome",
    "Push",
    "Reconciled",
    "Reconciler",
    "Run",
    "RunHeld",
    "SecondLedger",
    "Sent",
    "Severity",
    "Source",
    "SourceOptions",
    "SourceReport",
    "Summary",
    "Undo",
    "Undone",
    "UnusableSource",
    "check_order",
    "load_refused",
    "open_source",
    "write_results",
]

__getattr__: Lazy = lazily(__name__, _HOMES)
