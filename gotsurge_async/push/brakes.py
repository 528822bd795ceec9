"""The limits that stop a push before its end: too many refusals, too many doubts, too much money."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import msgspec
from msgspec import Struct

from gotsurge_async.calls.create import Created, InDoubt, OrderResult, Refused
from gotsurge_async.errors import GotSurgeError
from gotsurge_async.ledger import LIVE, UNFINISHED, WAITING, OrderRow, OrderState, PendingOrder, Run
from gotsurge_async.ledger.errors import reading_payload
from gotsurge_async.ledger.segments import Prices, Tally
from gotsurge_async.ledger.sql.chunks import PLACES
from gotsurge_async.money import Money
from gotsurge_async.tables.checks.words import number_of

DOUBTS_IN_A_ROW = 5
REFUSALS_IN_A_ROW = 10
"""The number of successive refused chunks that stops a push by default."""


class LimitReached(GotSurgeError):
    """A limit stopped the push; the remaining orders were not sent."""


class Brakes(Struct, frozen=True, kw_only=True):
    """Limits of a push; None for none.

    Attributes:
        max_errors: refused orders.
        max_in_doubt: orders in doubt.
        doubts_in_a_row: successive chunks that are in doubt: the service, or the way to it, is down.
        refusals_in_a_row: successive chunks that were refused whole: something is wrong with all orders.
        max_spend: the sum of the prices of orders created or in doubt, in one currency, or in any if it has none.
        canary: the number of orders that are sent first; a read must confirm them before the rest is sent.
        elsewhere: counts that are added to those of the run: for a segment, those of the rest of its run.
    """

    max_errors: int | None = None
    max_in_doubt: int | None = None
    doubts_in_a_row: int | None = DOUBTS_IN_A_ROW
    refusals_in_a_row: int | None = REFUSALS_IN_A_ROW
    max_spend: Money | None = None
    canary: int = 0
    elsewhere: Tally = Tally()

    def for_workers(self) -> dict[str, Any]:
        """The limits as JSON, for workers that share them; the canary is sent before they start."""
        limits = {name: getattr(self, name) for name in _SHARED}
        spend = self.max_spend
        return limits | {"max_spend": None if spend is None else [spend.millicents, spend.currency]}

    @classmethod
    def of_worker(cls, limits: Mapping[str, Any], elsewhere: Tally) -> Self:
        """The limits from the result of `for_workers`, with the counts of the rest of the run."""
        spend = limits.get("max_spend")
        return cls(
            **{name: limits[name] for name in _SHARED if name in limits},
            max_spend=None if spend is None else Money(millicents=spend[0], currency=spend[1]),
            elsewhere=elsewhere,
        )


_SHARED = ("max_errors", "max_in_doubt", "doubts_in_a_row", "refusals_in_a_row")


class _Priced(msgspec.Struct):
    price: int = 0
    currency: str | None = None


_priced = msgspec.json.Decoder(_Priced)


def _price_of(path: str, order: PendingOrder | OrderRow) -> _Priced:
    with reading_payload(path, order):
        return _priced.decode(order.payload)


def _refuse_other_currency(limit: Money, order: PendingOrder | OrderRow, priced: _Priced) -> None:
    if limit.currency and priced.price and priced.currency != limit.currency:
        theirs = f"in {priced.currency}" if priced.currency else "without a currency"
        raise LimitReached(
            f"order {order.key} is priced {theirs}, but the limit is in {limit.currency}: "
            "its price cannot count towards the limit",
            "E602",
        )


async def prices_of(run: Run, limit: Money) -> Prices:
    """The prices of a run's orders, by chunk, for workers that share a limit."""
    waiting: Counter[int] = Counter()
    spent: Counter[int] = Counter()
    async for row in run.rows(LIVE):
        priced = _price_of(run.path, row)
        if row.state in UNFINISHED:
            _refuse_other_currency(limit, row, priced)
        (waiting if row.state in WAITING else spent)[row.id // PLACES] += priced.price
    return Prices(limit=limit.millicents, waiting=waiting, spent=spent)


class BrakeWatch:
    """Counts the results of a push against its `Brakes`."""

    def __init__(self, brakes: Brakes) -> None:
        self._brakes = brakes
        self._path = ""
        self._refused = 0
        self._in_doubt = 0
        self._spent = 0
        self._begun = 0
        self._prices: dict[int, dict[int, int]] = {}
        # Chunks are in a row in the order of their beginnings: those that fail are the quickest to end.
        self._ended: dict[int, frozenset[type]] = {}
        self._all_ended = 0
        self._looks_back = max(brakes.doubts_in_a_row or 0, brakes.refusals_in_a_row or 0)

    async def begin(self, run: Run) -> None:
        """Count the results of earlier processes in this run."""
        self._path = run.path
        counts = await run.counts()
        elsewhere = self._brakes.elsewhere
        self._refused = counts[OrderState.REFUSED] + elsewhere.refused
        self._in_doubt = counts[OrderState.IN_DOUBT] + elsewhere.in_doubt
        self._spent = elsewhere.spend
        if self._brakes.max_spend is not None:
            async for row in run.rows(LIVE - {OrderState.PENDING}):
                self._spent += _price_of(run.path, row).price

    @property
    def spent(self) -> int:
        """The prices of the run's orders that are created or in doubt; 0 if no limit needs them."""
        return self._spent - self._brakes.elsewhere.spend

    def enter(self, orders: Sequence[PendingOrder]) -> int:
        """Begin a chunk, and count its prices; returns its place among the chunks.

        Raises LimitReached if its prices would go beyond the limit: they are not counted, and it must not be sent.
        Raises LedgerUnusable if the price of an order cannot be read.
        """
        limit = self._brakes.max_spend
        if limit is not None:
            self._prices[self._begun] = self._reserve(limit, orders)
        self._begun += 1
        return self._begun - 1

    def leave(self, place: int, results: Sequence[OrderResult[PendingOrder]]) -> LimitReached | None:
        """End a chunk; returns the reason why the next ones should not be sent."""
        if prices := self._prices.pop(place, None):
            kept = {result.order.id for result in results if isinstance(result, Created | InDoubt)}
            self._spent -= sum(price for order_id, price in prices.items() if order_id not in kept)
        reached = self.count(results)
        self._ended[place] = frozenset(map(type, results))
        reached = reached or next(self._in_a_row_reached(place), None)
        while self._all_ended in self._ended:
            self._ended.pop(self._all_ended - self._looks_back, None)
            self._all_ended += 1
        return reached

    def count(self, results: Sequence[OrderResult[PendingOrder]]) -> LimitReached | None:
        """Count refusals and doubts, also of orders that an earlier process began; returns the exceeded limit."""
        kinds = Counter(map(type, results))
        self._refused += kinds[Refused]
        self._in_doubt += kinds[InDoubt]
        for count, limit, what in (
            (self._refused, self._brakes.max_errors, "refused"),
            (self._in_doubt, self._brakes.max_in_doubt, "in doubt"),
        ):
            if limit is not None and count > limit:
                why = f"{number_of(count, 'order is', 'orders are')} {what}, more than the limit of {limit}"
                return LimitReached(why, "E601")
        return None

    def _reserve(self, limit: Money, orders: Sequence[PendingOrder]) -> dict[int, int]:
        prices: dict[int, int] = {}
        for order in orders:
            priced = _price_of(self._path, order)
            _refuse_other_currency(limit, order, priced)
            prices[order.id] = priced.price
        total = self._spent + sum(prices.values())
        if total > limit.millicents:
            shown = f"{limit.currency} {limit.amount:,.2f}".strip()
            raise LimitReached(f"the next orders would bring the spend above the limit of {shown}", "E602")
        self._spent = total
        return prices

    def _in_a_row_reached(self, place: int) -> Iterator[LimitReached]:
        for counted, limit, what, advice in (
            (InDoubt, self._brakes.doubts_in_a_row, "in doubt", "GotSurge, or the connection to it, may be down"),
            (Refused, self._brakes.refusals_in_a_row, "refused", "check whether the orders share a fault"),
        ):
            if limit is not None and self._ended[place] <= {counted} and self._in_a_row(place, counted) >= limit:
                why = f"{number_of(limit, 'chunk is', 'chunks in a row are')} {what}, so the limit is reached: {advice}"
                yield LimitReached(why, "E601")

    def _in_a_row(self, place: int, counted: type) -> int:
        """The number of successive chunks around a place with the same result; unfinished chunks interrupt them."""
        number = int(bool(self._ended[place]))
        for step in (-1, 1):
            at = place + step
            while (kinds := self._ended.get(at)) is not None and kinds <= {counted}:
                number += int(bool(kinds))  # an empty one was not sent: it neither counts nor ends the row
                at += step
        return number
