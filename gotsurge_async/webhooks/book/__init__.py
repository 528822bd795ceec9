"""The order book: where each task stands, its history, and the changes that a program has not acknowledged yet."""

from gotsurge_async.webhooks.book.book import AGES, OTHER, Book
from gotsurge_async.webhooks.book.doubles import Double
from gotsurge_async.webhooks.book.history import Step
from gotsurge_async.webhooks.book.observing import Source
from gotsurge_async.webhooks.book.records import BookOrder, Change, Only, Standing, account_named, account_of

__all__ = [
    "AGES",
    "OTHER",
    "Book",
    "BookOrder",
    "Change",
    "Double",
    "Only",
    "Source",
    "Standing",
    "Step",
    "account_named",
    "account_of",
]
