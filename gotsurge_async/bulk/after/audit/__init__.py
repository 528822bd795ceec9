"""Comparing a ledger with what GotSurge has; its notes are in a file of their own."""

from gotsurge_async.bulk.after.audit.comparing import FRESH, MOST_READS, REPAIRABLE, Audit, Finding, Kind

__all__ = ["FRESH", "MOST_READS", "REPAIRABLE", "Audit", "Finding", "Kind"]
