"""What the service would recommend as the price of many orders: each distinct route is asked for once."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import attrs
import msgspec

from gotsurge_async import codec
from gotsurge_async.bulk.checks.windows import Planned, point_of
from gotsurge_async.calls.create import stops_all
from gotsurge_async.calls.stream import Batcher
from gotsurge_async.client import GotSurge
from gotsurge_async.errors import CallError
from gotsurge_async.models.places import Address
from gotsurge_async.models.prices import PriceVehicle, Stop
from gotsurge_async.money import Money

_REASONS = 10


@attrs.frozen(kw_only=True)
class Quotes:
    """Recommended prices of a file.

    Attributes:
        routes: distinct ones: pickup, delivery and vehicle.
        orders: orders that have a recommended price.
        total: the sum of these prices by currency, as decimals.
        without_quote: orders that have none, and ``reasons`` why.
    """

    routes: int
    orders: int
    total: dict[str, str]
    without_quote: int = 0
    reasons: tuple[str, ...] = ()


class _Route(NamedTuple):
    vehicle: str
    start: bytes
    end: bytes


class Routes:
    """The distinct routes of orders, and how many orders take each."""

    def __init__(self) -> None:
        self._counts: Counter[_Route] = Counter()

    def add(self, order: Planned) -> None:
        """Count an order."""
        self._counts[_Route(order.vehicle_preference, _place(order.from_address), _place(order.to_address))] += 1

    async def quote(self, gs: GotSurge) -> Quotes:
        """Ask for the price of each route.

        Raises:
            CallError: one that every other route would meet too.
        """
        total: Counter[str] = Counter()
        orders = 0
        without: Counter[str] = Counter()

        async def ask(routes: Sequence[_Route]) -> None:
            nonlocal orders
            for route in routes:
                count = self._counts[route]
                vehicle = PriceVehicle(route.vehicle)
                if not vehicle.known:
                    without[f"there are no prices for the vehicle {vehicle}"] += count
                    continue
                try:
                    quote = await gs.prices.recommend(
                        stops=[_stop(route.start), _stop(route.end)], service_type=vehicle
                    )
                except CallError as error:
                    if stops_all(error):
                        raise
                    without[str(error)] += count
                    continue
                fee = quote.total_fee if quote.total_fee is not None else quote.average_fee
                if fee is not None:
                    total[fee.currency] += count * fee.millicents
                    orders += count

        async with Batcher(list(self._counts), ask, size=1, concurrency=gs.limits.concurrency) as asked:
            async for _ in asked:
                pass
        return Quotes(
            routes=len(self._counts),
            orders=orders,
            total=decimals(total),
            without_quote=without.total(),
            reasons=tuple(f"{reason} ({count:,} orders)" for reason, count in without.most_common(_REASONS)),
        )


def decimals(amounts: Mapping[str, int]) -> dict[str, str]:
    """Sums in thousandths of a cent, by currency, as decimals."""
    return {
        currency: str(Money(millicents=millicents, currency="")).removeprefix("? ")
        for currency, millicents in sorted(amounts.items())
    }


def _place(address: msgspec.Raw) -> bytes:
    """What of an address makes a route: its coordinates if it has them, else all of it."""
    point = point_of(address)
    return bytes(address) if point is None else msgspec.json.encode({"latitude": point[0], "longitude": point[1]})


def _stop(place: bytes) -> Stop:
    address = codec.decode(place, Address)
    if address.latitude is not None and address.longitude is not None:
        return Stop(latitude=address.latitude, longitude=address.longitude)
    return Stop(address=address)
