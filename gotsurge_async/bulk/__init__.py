"""The bulk loader: files of orders, a ledger, and a push that neither loses nor doubles an order.

Needs the extra ``cli``: ``pip install "gotsurge-async[cli]"``.
"""

from gotsurge_async.bulk.after.reconcile import Absent, Reconciled, Reconciler
from gotsurge_async.bulk.after.results import Summary, write_results
from gotsurge_async.bulk.after.undo import Undo, Undone
from gotsurge_async.bulk.ledger import Ledger, LedgerError, Mode, OrderState, Run, RunHeld, SecondLedger
from gotsurge_async.bulk.push import Push, Sent
from gotsurge_async.bulk.send.brakes import Brakes, LimitReached
from gotsurge_async.bulk.send.chunks import OnRefusedChunk
from gotsurge_async.bulk.send.load import UnusableSource, load_refused
from gotsurge_async.bulk.sources import Fault, FileMap, Source, SourceOptions, SourceReport, open_source
from gotsurge_async.models.rules import Finding, Severity, check_order

__all__ = [
    "Absent",
    "Brakes",
    "Fault",
    "FileMap",
    "Finding",
    "Ledger",
    "LedgerError",
    "LimitReached",
    "Mode",
    "OnRefusedChunk",
    "OrderState",
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
