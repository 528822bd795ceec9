"""The order book: the status of each task, its history, and changes that a program has not acknowledged yet."""

from gotsurge_async.webhooks.book.book import AGES, Book
from gotsurge_async.webhooks.book.doubles import Double
from gotsurge_async.webhooks.book.history import Step
from gotsurge_async.webhooks.book.records import BookOrder, Change, Only

__all__ = [
    "AGES",
    "Book",
    "BookOrder",
    "Change",
    "Double",
    "Only",
    "Step",
]
