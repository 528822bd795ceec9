"""What stops a push before its end."""

from collections.abc import Sequence
from random import Random

import pytest

from gotsurge_async import Money
from gotsurge_async.bulk.ledger import LedgerUnusable, PendingOrder
from gotsurge_async.bulk.send.brakes import Brakes, BrakeWatch
from gotsurge_async.calls.create import Created, InDoubt, OrderResult, Refused
from gotsurge_async.errors import BadRequest, OutcomeUnknown
from gotsurge_async.models.tasks import Receipt

ORDER = PendingOrder(1, 1, "T-1", b"{}")
CREATED: OrderResult[PendingOrder] = Created(order=ORDER, receipt=Receipt(id="task"))
LOST: OrderResult[PendingOrder] = InDoubt(order=ORDER, error=OutcomeUnknown("lost"))
REFUSED: OrderResult[PendingOrder] = Refused(order=ORDER, error=BadRequest("no"))


def stopped(watch: BrakeWatch, chunks: Sequence[Sequence[OrderResult[PendingOrder]]], ending: Sequence[int]) -> str:
    """Begin chunks in their order, and end them in another; what stops the push, or ""."""
    places = [watch.enter([ORDER]) for _ in chunks]
    told = [watch.leave(places[index], chunks[index]) for index in ending]
    return next((str(each) for each in told if each), "")


@pytest.mark.parametrize(
    ("result", "most", "words"),
    [(LOST, 5, "5 chunks in a row are in doubt"), (REFUSED, 10, "10 chunks in a row are refused")],
)
def test_so_many_in_a_row_stop_it(result: OrderResult[PendingOrder], most: int, words: str) -> None:
    """One chunk less does not, nor as many with a good one, or one of which something is known, between them."""
    for chunks, says in (
        ([[result]] * most, words),
        ([[result]] * (most - 1), ""),
        ([[result]] * (most - 1) + [[CREATED]] + [[result]] * (most - 1), ""),
        ([[result]] * (most - 1) + [[result, CREATED]] + [[result]] * (most - 1), ""),
        ([[result]] * (most - 1) + [[]] + [[result]], words),
    ):
        assert stopped(BrakeWatch(Brakes()), chunks, range(len(chunks))).startswith(says)
        assert bool(stopped(BrakeWatch(Brakes()), chunks, range(len(chunks)))) is bool(says)


def test_a_row_is_of_those_begun_not_of_those_ended() -> None:
    """Lost answers, which are the quickest to end, are not in a row when good ones were begun between them."""
    chunks = [[LOST], [CREATED]] * 20
    lost_first = sorted(range(len(chunks)), key=lambda index: index % 2)
    assert not stopped(BrakeWatch(Brakes()), chunks, lost_first)
    shuffled = list(range(9))
    Random(1).shuffle(shuffled)
    assert stopped(BrakeWatch(Brakes()), [[CREATED], *[[LOST]] * 8], shuffled)


def test_a_chunk_that_hangs_does_not_hold_the_brakes_off() -> None:
    """Those begun after a chunk that has no end yet are counted without it: a service that is down may do both."""
    watch = BrakeWatch(Brakes())
    chunks = [[CREATED], *[[LOST]] * 5]
    assert stopped(watch, chunks, range(1, 6)).startswith("5 chunks in a row are in doubt")
    # Its end joins those on both sides of it.
    assert not stopped(BrakeWatch(Brakes()), [[LOST]] * 5, (0, 1, 3, 4))
    assert stopped(BrakeWatch(Brakes()), [[LOST]] * 5, (0, 1, 3, 4, 2))


def test_what_was_counted_is_forgotten() -> None:
    """A push of any length keeps no more of its chunks than the limits look back."""
    watch = BrakeWatch(Brakes())
    stopped(watch, [[CREATED]] * 500, range(500))
    assert len(watch._ended) <= 10


def test_a_price_that_cannot_be_read_is_told_as_damage() -> None:
    """An order of the ledger whose price is no number is named, and not sent."""
    watch = BrakeWatch(Brakes(max_spend=Money.of(60, "SGD")))
    with pytest.raises(LedgerUnusable, match="key T-1"):
        watch.enter([PendingOrder(1, 1, "T-1", b'{"price":"much"}')])


def test_the_limits_can_be_lifted() -> None:
    """None never stops."""
    brakes = Brakes(doubts_in_a_row=None, refusals_in_a_row=None)
    assert not stopped(BrakeWatch(brakes), [[LOST]] * 50 + [[REFUSED]] * 50, range(100))
