"""What following asks of the book: what is known of many tasks, whose are due, and which are of no push."""

from datetime import timedelta

from gotsurge_async.webhooks.book import Book
from gotsurge_async.webhooks.book.book import OTHER
from tests.webhooks.book.kit import ACCOUNT, START, at, task


async def test_what_is_known_of_many(book: Book) -> None:
    """In the book, unknown to the service, or not asked for; what it did not know long ago may be asked for again."""
    await book.observe(ACCOUNT, task("T-1"))
    await book.not_found(ACCOUNT, "T-2", at(0))
    keys = [(ACCOUNT, name) for name in ("T-1", "T-2", "T-3")] + [("other", "T-1")]
    assert list((await book.known(keys)).values()) == [True, False, None, None]
    assert list((await book.known(keys, since=at(1))).values()) == [True, None, None, None]
    assert await book.known([(ACCOUNT, "T-2")]) == {(ACCOUNT, "T-2"): False}


async def test_whose_are_due(book: Book) -> None:
    """Only tasks of the accounts that are asked for."""
    for account in ("a", "b"):
        await book.observe(account, task("T-1"), at=START)
    ages = {OTHER: timedelta(seconds=1)}
    assert await book.due(at(1), ages, accounts=["b"]) == [("b", "T-1")]
    assert await book.due(at(1), ages, accounts=[]) == []
    assert len(await book.due(at(1), ages)) == 2


async def test_tasks_of_no_push(book: Book) -> None:
    """By tracking id or invoice number; by group tag only those that carry neither."""
    await book.observe(ACCOUNT, task("T-1", tracking_id="A", group_tag="G"))
    await book.observe(ACCOUNT, task("T-2", invoice_number="I"))
    await book.observe(ACCOUNT, task("T-3", group_tag="G"))
    await book.observe("other", task("T-4", tracking_id="A"))

    async def found(tracking: str = "", invoice: str = "", tag: str = "") -> list[str]:
        return await book.strangers(ACCOUNT, tracking_ids=[tracking], invoice_numbers=[invoice], group_tags=[tag])

    assert await found(tracking="A") == ["T-1"]
    assert await found(invoice="I") == ["T-2"]
    assert await found(tag="G") == ["T-3"]
    assert await found("A", "I", "G") == ["T-1", "T-2", "T-3"]
    assert await found() == []
