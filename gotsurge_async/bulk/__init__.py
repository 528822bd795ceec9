"""The bulk loader: files of orders, a ledger, and a push that neither loses nor doubles an order.

Needs the extra ``cli``: ``pip install "gotsurge-async[cli]"``.
"""

from gotsurge_async.bulk.brakes import Brakes, LimitReached
from gotsurge_async.bulk.checks import Finding, Severity, check_order
from gotsurge_async.bulk.ledger import Ledger, LedgerError, Mode, OrderState, Run, RunHeld
from gotsurge_async.bulk.loading import UnusableSource
from gotsurge_async.bulk.push import Push, Sent
from gotsurge_async.bulk.refusals import OnRefusedChunk
from gotsurge_async.bulk.results import Summary, Verdict, write_results
from gotsurge_async.bulk.sources import Fault, FileMap, Source, SourceOptions, SourceReport, open_source

__all__ = [
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
    "Run",
    "RunHeld",
    "Sent",
    "Severity",
    "Source",
    "SourceOptions",
    "SourceReport",
    "Summary",
    "UnusableSource",
    "Verdict",
    "check_order",
    "open_source",
    "write_results",
]
