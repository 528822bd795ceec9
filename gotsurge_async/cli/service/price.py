"""``gotsurge price``: the price of a delivery."""

import re
from collections.abc import Sequence

import click

from gotsurge_async.cli.shared.connect import Target, call, takes_target
from gotsurge_async.cli.shared.options import json_option, option
from gotsurge_async.cli.shared.output import print_one, shown
from gotsurge_async.models.places import Address
from gotsurge_async.models.prices import PriceVehicle, Stop

_POINT = re.compile(r"\s*([+-]?\d+(?:\.\d+)?)\s*,\s*([+-]?\d+(?:\.\d+)?)\s*")


def place(text: str) -> Stop:
    """A place in a text such as ``1.2966,103.7764`` (latitude, longitude in degrees), or an address."""
    point = _POINT.fullmatch(text)
    if point is None:
        if not text.strip():
            raise click.BadParameter("say where: LATITUDE,LONGITUDE or an address")
        return Stop(address=Address(street_address=text.strip()))
    latitude, longitude = map(float, point.groups())
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise click.BadParameter(f"{text!r} is not on the globe: the latitude comes first, then the longitude")
    return Stop(latitude=latitude, longitude=longitude)


@click.command()
@option("--from PLACE", "Where the goods are picked up.", name="pickup", type=place, required=True)
@option(
    "--to PLACE",
    "Where they are delivered; give it once for each delivery, up to 10 times.",
    name="deliveries",
    type=place,
    required=True,
    multiple=True,
)
@option(
    "--vehicle",
    "The vehicle that is needed.  [default: as GotSurge sees fit]",
    type=click.Choice([vehicle.value for vehicle in PriceVehicle]),
)
@takes_target
@json_option
def price(target: Target, pickup: Stop, deliveries: Sequence[Stop], vehicle: str | None) -> None:
    """Ask what a delivery should cost.

    A PLACE is LATITUDE,LONGITUDE in degrees, or an address. Of more than 10 deliveries the service prices only the 10
    farthest; a warning says so.

    \b
    gotsurge price --from 1.2966,103.7764 --to 1.2700,103.8600 --vehicle car --simulate
    """
    service_type = None if vehicle is None else PriceVehicle(vehicle)
    quote = call(target, lambda gs: gs.prices.recommend(stops=[pickup, *deliveries], service_type=service_type))
    print_one(
        quote,
        [
            ("total fee", quote.total_fee),
            ("average fee", quote.average_fee),
            ("deliveries priced", quote.total_waypoint),
            ("distance", ", ".join(f"{name} {shown(value)}" for name, value in (quote.distance or {}).items())),
            ("partial", "yes: only the 10 farthest deliveries" if quote.partial else None),
        ],
    )
