"""Price recommendations (section "Get price recommendation")."""

from typing import Any, ClassVar, Literal, TypeAlias

import attrs
from attrs.converters import optional

from gotsurge_async.models.base import Model, OpenEnum
from gotsurge_async.models.places import Address
from gotsurge_async.money import Money

PriceVehicleName: TypeAlias = Literal[
    "motorcycle", "car", "mpv", "van_1.7m", "van_2.4m", "lorry_10ft", "lorry_14ft", "lorry_24ft", "lorry_40ft"
]


class PriceVehicle(OpenEnum):
    """The vehicles of price recommendations; a task's `VehiclePreference` has others."""

    MOTORCYCLE = "motorcycle"
    CAR = "car"
    MPV = "mpv"
    VAN_1_7M = "van_1.7m"
    VAN_2_4M = "van_2.4m"
    LORRY_10FT = "lorry_10ft"
    LORRY_14FT = "lorry_14ft"
    LORRY_24FT = "lorry_24ft"
    LORRY_40FT = "lorry_40ft"


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Stop(Model):
    """A place on the way: latitude and longitude in degrees, or an address."""

    latitude: float | None = None
    longitude: float | None = None
    address: Address | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class PriceRequest(Model):
    """Body of Get price recommendation: the first stop is the pickup, the others are deliveries."""

    service_type: PriceVehicle | None = attrs.field(default=None, converter=optional(PriceVehicle))
    stops: tuple[Stop, ...]


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Quote(Model):
    """Answer of Get price recommendation.

    Attributes:
        code: the service's word for the result: "success".
        average_fee, total_fee: `Money`, in the currency ``total_fee_currency`` (ISO 4217).
        total_waypoint: the number of stops that the service counted.
        distance: as the service returns it: the API document does not describe its content.
        partial: whether more than 10 deliveries were asked for, and the service priced only the 10 farthest.
    """

    CURRENCY: ClassVar[str] = "total_fee_currency"

    code: str | None = None
    average_fee: Money | None = None
    total_fee: Money | None = None
    total_fee_currency: str | None = None
    total_waypoint: int | None = None
    distance: dict[str, Any] | None = None
    partial: bool = False

    def __attrs_post_init__(self) -> None:
        for name in ("average_fee", "total_fee"):
            money = getattr(self, name)
            if money is not None and not money.currency and self.total_fee_currency:
                object.__setattr__(self, name, money.in_currency(self.total_fee_currency))
