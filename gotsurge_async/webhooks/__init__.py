"""Orders after the push: events, the order book, alerts, and reports.

Needs the extra ``cli``, as the ledger does: ``pip install "gotsurge-async[cli]"``.
"""

from gotsurge_async.webhooks.book import Book, BookOrder, Change, Only
from gotsurge_async.webhooks.event import Event, EventState, MalformedEvent, read_event
from gotsurge_async.webhooks.follow import Follower, changes
from gotsurge_async.webhooks.inbox import Inbox
from gotsurge_async.webhooks.receive import Receiver
from gotsurge_async.webhooks.store import StoreError, beside

__all__ = [
    "Book",
    "BookOrder",
    "Change",
    "Event",
    "EventState",
    "Follower",
    "Inbox",
    "MalformedEvent",
    "Only",
    "Receiver",
    "StoreError",
    "beside",
    "changes",
    "read_event",
]
