"""`gs.prices`: price recommendations for deliveries (section "Price")."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import attrs
from msgspec import Struct

from gotsurge_async.api.endpoints import PRICES_RECOMMEND
from gotsurge_async.calls.outcome import request_id, service_message
from gotsurge_async.calls.session import Session
from gotsurge_async.codec import Codec, unreadable
from gotsurge_async.codec.given import each_made, made_of
from gotsurge_async.errors import BadRequest, Problem, UnreadableAnswer, UsageError
from gotsurge_async.models.base import Model, fields_of, several
from gotsurge_async.models.places import Address
from gotsurge_async.models.prices import PriceRequest, PriceVehicle, PriceVehicleName, Quote, Stop
from gotsurge_async.transports.base import Response

__all__ = ["Prices"]

StopLike: TypeAlias = Stop | Address | Mapping[str, Any]
"""A stop of a route, an address, or a dict of the fields of either as the API writes them."""

PRICED_DELIVERIES = 10
"""The most deliveries that the service prices: of more, it takes the 10 farthest."""
_SUCCESS = "success"


class Prices(Struct, frozen=True):
    """Ask for prices."""

    _session: Session

    async def recommend(
        self,
        *,
        stops: Iterable[StopLike],
        service_type: PriceVehicle | PriceVehicleName | None = None,
        timeout: float | None = None,
    ) -> Quote:
        """Ask what a route costs (section "Get price recommendation"). Safe to repeat.

        Args:
            stops: the pickup first, then 1 to 10 deliveries: each a `Stop` (latitude and longitude in degrees, or an
                address), an `Address`, or a dict of the fields of either as the API writes them.
            service_type: the vehicle, as prices call it: a `PriceVehicle`, which is not an order's
                `VehiclePreference`.
            timeout: seconds for the whole of it, see `GotSurge.with_options`.

        Returns:
            The quote; its fees are `Money`. With more than 10 deliveries the service prices only the 10 farthest: then
            a `UserWarning` is given, and ``quote.partial`` is True.

        Raises:
            UsageError: no delivery; nothing was sent.
            InvalidData: a value that is neither a stop nor an address; every fault with its path. Nothing was sent.
            BadRequest: there is no price for this route; also when the service says so in an answer with status 200.
        """
        places = stops_of(stops)
        if len(places) < 2:
            raise UsageError("a price needs at least two stops: the pickup first, then 1 to 10 deliveries", "E903")
        request = made_of({"service_type": service_type, "stops": places}, PriceRequest)
        partial = len(places) - 1 > PRICED_DELIVERIES
        if partial:
            warnings.warn(
                f"{len(places) - 1} deliveries: the service prices only the {PRICED_DELIVERIES} farthest", stacklevel=2
            )
        quote = await self._session.within(timeout).call(PRICES_RECOMMEND, body=request, read=_read)
        return attrs.evolve(quote, partial=partial)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class _Head(Model):
    """The field of an answer that shows whether the rest is a quote."""

    code: Any = None


def _read(codec: Codec, answer: Response) -> Quote:
    # The code first, whatever the status: with another one than "success" the rest need not be a quote.
    code = codec.decode(answer.body, _Head).code
    if code is not None and (not isinstance(code, str) or code.strip().lower() != _SUCCESS):
        raise BadRequest(
            "the service has no price for this route",
            operation=PRICES_RECOMMEND.name,
            status=answer.status,
            service_message=service_message(answer.body),
            request_id=request_id(answer.headers),
        )
    quote = codec.decode(answer.body, Quote)
    if quote.total_fee is None and quote.average_fee is None:
        problems = [Problem(path, why) for path, why in unreadable(quote).items()]
        raise UnreadableAnswer("the answer names no fee", problems)
    return quote


_OF_A_STOP = {"extra", *(field.name for field in fields_of(Stop))}


def stops_of(stops: Iterable[StopLike]) -> tuple[Stop, ...]:
    """The stops of a route. A dict that fits both is a stop: latitude and longitude are written alike in both."""

    def kind_of(place: Any) -> type[Stop | Address]:
        if isinstance(place, Mapping):
            return Stop if "address" in place or _OF_A_STOP.issuperset(place) else Address
        return Address if isinstance(place, Address) else Stop

    places = each_made(several(stops, "stops"), kind_of, "stops")
    return tuple(Stop(address=place) if isinstance(place, Address) else place for place in places)
