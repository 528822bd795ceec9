"""Many machines, one push: a thin adapter between a queue, which wakes workers up, and the ledger, which decides.

Needs the extra ``fleet``: ``pip install "gotsurge-async[fleet]"``.
"""

from gotsurge_async.fleet.queue import enqueue, upgrade, work

__all__ = ["enqueue", "upgrade", "work"]
