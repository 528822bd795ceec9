"""The bulk loader: files of orders, a ledger, and a push that neither loses nor doubles an order.

Needs the extra ``cli``: ``pip install "gotsurge-async[cli]"``.
"""

from gotsurge_async.bulk.brakes import Brakes, LimitReached
from gotsurge_async.bulk.checks import Finding, Severity, check_order
from gotsurge_async.bulk.evidence import Doubt, Evidence, Findings, RecordedTasks, Sighting, TaskList
from gotsurge_async.bulk.ledger import Ledger, LedgerError, Mode, OrderState, Run, RunHeld
from gotsurge_async.bulk.loading import UnusableSource
from gotsurge_async.bulk.plan import Plan, Planner, check_plan
from gotsurge_async.bulk.push import Push, Sent
from gotsurge_async.bulk.reconcile import Absent, Orphan, Reconciled, Reconciler, Settled, Unsettled, find_orphans
from gotsurge_async.bulk.refusals import OnRefusedChunk
from gotsurge_async.bulk.results import Summary, Verdict, write_results
from gotsurge_async.bulk.retry import load_refused
from gotsurge_async.bulk.sources import Fault, FileMap, Source, SourceOptions, SourceReport, open_source
from gotsurge_async.bulk.undo import Undo, Undoing, Undone

__all__ = [
    "Absent",
    "Brakes",
    "Doubt",
    "Evidence",
    "Fault",
    "FileMap",
    "Finding",
    "Findings",
    "Ledger",
    "LedgerError",
    "LimitReached",
    "Mode",
    "OnRefusedChunk",
    "OrderState",
    "Orphan",
    "Plan",
    "Planner",
    "Push",
    "Reconciled",
    "Reconciler",
    "RecordedTasks",
    "Run",
    "RunHeld",
    "Sent",
    "Settled",
    "Severity",
    "Sighting",
    "Source",
    "SourceOptions",
    "SourceReport",
    "Summary",
    "TaskList",
    "Undo",
    "Undoing",
    "Undone",
    "Unsettled",
    "UnusableSource",
    "Verdict",
    "check_order",
    "check_plan",
    "find_orphans",
    "load_refused",
    "open_source",
    "write_results",
]
