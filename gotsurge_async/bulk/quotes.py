"""Recommended prices beside those that the orders of a file give: each distinct route is asked for once."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import attrs
import msgspec

from gotsurge_async import codec
from gotsurge_async.bulk.checks.windows import Planned, point_of
from gotsurge_async.bulk.checks.words import number_of
from gotsurge_async.calls.create import stops_all
from gotsurge_async.calls.stream import Batcher
from gotsurge_async.client import GotSurge
from gotsurge_async.errors import CallError
from gotsurge_async.models.places import Address
from gotsurge_async.models.prices import PriceVehicle, Stop
from gotsurge_async.money import Money

KEPT = 1000
"""How many of a kind of findings a plan lists; all are counted."""
_REASONS = 10


@attrs.frozen(kw_only=True)
class Quoted:
    """The recommended price of a route, beside what its orders give; amounts are decimals.

    Attributes:
        pickup, delivery, vehicle: the route.
        line: of the first order that takes it.
        orders: that take it; ``priced`` of them have a price in the currency of the recommended one.
        currency: of all amounts here.
        given: the sum of the prices of those.
        recommended: for one order.
        difference: by how much the prices given are above what is recommended for these orders; negative if below.
    """

    pickup: str
    delivery: str
    vehicle: str
    line: int
    orders: int
    priced: int
    currency: str
    given: str
    recommended: str
    difference: str


@attrs.frozen(kw_only=True)
class Quotes:
    """Recommended prices of a file.

    Attributes:
        routes: distinct ones: pickup, delivery and vehicle.
        orders: orders that have a recommended price.
        total: the sum of these prices by currency, as decimals.
        without_quote: orders that have none, and ``reasons`` why.
        compared: the first thousand routes, those first whose prices differ most from what is recommended.
        difference: by currency, by how much the prices given are above what is recommended for the same orders.
    """

    routes: int
    orders: int
    total: dict[str, str]
    without_quote: int = 0
    reasons: tuple[str, ...] = ()
    compared: tuple[Quoted, ...] = ()
    difference: dict[str, str] = attrs.field(factory=dict)


class Route(NamedTuple):
    """From where to where, by what vehicle."""

    vehicle: str
    start: bytes
    end: bytes


def route_of(order: Planned) -> Route:
    """The route of an order."""
    return Route(order.vehicle_preference, _place(order.from_address), _place(order.to_address))


class Given:
    """What the orders of a route give: the first line, how many there are, sum and number of prices by currency."""

    __slots__ = ("count", "line", "sums")

    def __init__(self) -> None:
        self.count: int = 0
        self.line: int = 0
        self.sums: dict[str, tuple[int, int]] = {}

    def take(self, order: Planned, line: int) -> None:
        """Count an order."""
        self.line = self.line or line
        self.count += 1
        if order.price is not None:
            total, number = self.sums.get(order.currency or "", (0, 0))
            self.sums[order.currency or ""] = total + order.price, number + 1


def _place(address: msgspec.Raw) -> bytes:
    """What of an address makes a route: its coordinates if it has them, else all of it."""
    point = point_of(address)
    return bytes(address) if point is None else msgspec.json.encode({"latitude": point[0], "longitude": point[1]})


async def quote(gs: GotSurge, routes: Mapping[Route, Given]) -> Quotes:
    """Ask for the price of each route.

    Raises:
        CallError: one that every other route would meet too.
    """
    total: Counter[str] = Counter()
    above: Counter[str] = Counter()
    orders = 0
    without: Counter[str] = Counter()
    compared: list[tuple[int, Route, Money]] = []

    async def ask(chunk: Sequence[Route]) -> tuple[Route, Money | str]:
        (route,) = chunk
        return route, await _recommended(gs, route)

    async with Batcher(routes, ask, size=1, concurrency=gs.session.limiter.at_most(None)) as asked:
        async for route, price in asked:
            given = routes[route]
            if isinstance(price, str):
                without[price] += given.count
                continue
            total[price.currency] += given.count * price.millicents
            orders += given.count
            paid, priced = given.sums.get(price.currency, (0, 0))
            if priced:
                above[price.currency] += paid - priced * price.millicents
            compared.append((paid - priced * price.millicents, route, price))
    compared.sort(key=lambda each: (-abs(each[0]), each[1]))
    return Quotes(
        routes=len(routes),
        orders=orders,
        total=decimals(total),
        without_quote=without.total(),
        reasons=tuple(f"{reason} ({number_of(count, 'order')})" for reason, count in without.most_common(_REASONS)),
        compared=tuple(_quoted(route, routes[route], price, above) for above, route, price in compared[:KEPT]),
        difference=decimals(above),
    )


def _quoted(route: Route, given: Given, price: Money, above: int) -> Quoted:
    paid, priced = given.sums.get(price.currency, (0, 0))
    return Quoted(
        pickup=_shown(route.start),
        delivery=_shown(route.end),
        vehicle=route.vehicle,
        line=given.line,
        orders=given.count,
        priced=priced,
        currency=price.currency,
        given=_decimal(paid),
        recommended=_decimal(price.millicents),
        difference=_decimal(above),
    )


def _shown(place: bytes) -> str:
    """A place in a few words."""
    address = codec.parse(place, Address)
    parts = [address.street_address or address.building_name, address.zip_code or address.city]
    if address.latitude is not None:
        parts = [f"{address.latitude:g}, {address.longitude:g}"]
    return ", ".join(filter(None, parts))


async def _recommended(gs: GotSurge, route: Route) -> Money | str:
    """The price of a route, or why there is none."""
    vehicle = PriceVehicle(route.vehicle)
    if not vehicle.known:
        return f"there are no prices for the vehicle {vehicle}"
    try:
        quote = await gs.prices.recommend(stops=[_stop(route.start), _stop(route.end)], service_type=vehicle)
    except CallError as error:
        if stops_all(error):
            raise
        return str(error)
    fee = quote.total_fee if quote.total_fee is not None else quote.average_fee
    return fee if fee is not None else "the answer names no price"


def _stop(place: bytes) -> Stop:
    address = codec.parse(place, Address)
    if address.latitude is not None and address.longitude is not None:
        return Stop(latitude=address.latitude, longitude=address.longitude)
    return Stop(address=address)


def decimals(amounts: Mapping[str, int]) -> dict[str, str]:
    """Sums in thousandths of a cent, by currency, as decimals."""
    return {currency: _decimal(millicents) for currency, millicents in sorted(amounts.items())}


def _decimal(millicents: int) -> str:
    """An amount in units of its currency."""
    return str(Money(millicents=millicents, currency="")).removeprefix("? ")
