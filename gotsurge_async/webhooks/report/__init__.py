"""The report of a day: the deliveries to each vessel, their prices, and their proofs."""

from gotsurge_async.webhooks.report.day import Day, Line, Outcome, Sums, VesselDay, bounds, day_of
from gotsurge_async.webhooks.report.files import write_csv, write_html, write_xlsx

__all__ = [
    "Day",
    "Line",
    "Outcome",
    "Sums",
    "VesselDay",
    "bounds",
    "day_of",
    "write_csv",
    "write_html",
    "write_xlsx",
]
