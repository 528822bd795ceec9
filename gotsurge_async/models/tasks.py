"""Tasks as they are written: GotSurge calls an order a task. `models.answers` has tasks as they are read."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Literal, Self, TypeAlias, TypedDict, TypeVar, cast

import attrs

from gotsurge_async.errors import Coded, InvalidData, Problem
from gotsurge_async.models.base import NOT_GIVEN, Model, OpenEnum, names_an_instant, optional_utc, several, utc_if_aware
from gotsurge_async.models.places import Address, Contact, TimeWindow
from gotsurge_async.models.words import folded
from gotsurge_async.money import Money

__all__ = [
    "BroadcastPreference",
    "CargoDetail",
    "Item",
    "Message",
    "Order",
    "Receipt",
    "ServiceType",
    "TaskChanges",
    "TaskFields",
    "TaskStatus",
    "VehiclePreference",
]

BroadcastName: TypeAlias = Literal["marine", "squad", "all"]
VehicleName: TypeAlias = Literal[
    "ltl",
    "motorcycle",
    "car",
    "mpv",
    "van_1.7m",
    "van_2.4m",
    "lorry_10ft",
    "lorry_14ft",
    "lorry_20ft",
    "lorry_24ft",
    "lorry_40ft",
]
ServiceName: TypeAlias = Literal["ftl", "ltl"]
StatusName: TypeAlias = Literal[
    "draft",
    "pending_broadcast",
    "broadcasting",
    "accepted",
    "pending_pickup",
    "pickup_arriving",
    "pending_delivery",
    "delivery_arriving",
    "complete",
    "cancelled",
    "expired",
    "unsuccessful_pickup",
    "unsuccessful_delivery",
]


class BroadcastPreference(OpenEnum):
    """The drivers that are asked."""

    MARINE = "marine"
    SQUAD = "squad"
    ALL = "all"


class VehiclePreference(OpenEnum):
    """The vehicle that a task asks for. Prices know another list: `PriceVehicle`."""

    LTL = "ltl"
    MOTORCYCLE = "motorcycle"
    CAR = "car"
    MPV = "mpv"
    VAN_1_7M = "van_1.7m"
    VAN_2_4M = "van_2.4m"
    LORRY_10FT = "lorry_10ft"
    LORRY_14FT = "lorry_14ft"
    LORRY_20FT = "lorry_20ft"
    LORRY_24FT = "lorry_24ft"
    LORRY_40FT = "lorry_40ft"


class ServiceType(OpenEnum):
    """A full truck (FTL), or only the space needed (LTL)."""

    FTL = "ftl"
    LTL = "ltl"


class TaskStatus(OpenEnum):
    """The status of a task (section "Order Statuses"). A known one may come in other capitals, or with spaces."""

    DRAFT = "draft"
    PENDING_BROADCAST = "pending_broadcast"
    BROADCASTING = "broadcasting"
    ACCEPTED = "accepted"
    PENDING_PICKUP = "pending_pickup"
    PICKUP_ARRIVING = "pickup_arriving"
    PENDING_DELIVERY = "pending_delivery"
    DELIVERY_ARRIVING = "delivery_arriving"
    COMPLETE = "complete"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    UNSUCCESSFUL_PICKUP = "unsuccessful_pickup"
    UNSUCCESSFUL_DELIVERY = "unsuccessful_delivery"

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        known = cls._value2member_map_.get(folded(value)) if isinstance(value, str) else None
        return cast("Self", known) if known is not None else super()._missing_(value)

    @property
    def is_draft(self) -> bool:
        """Whether no driver has been asked yet."""
        return self in (TaskStatus.DRAFT, TaskStatus.PENDING_BROADCAST)

    @property
    def is_past_draft(self) -> bool:
        """Whether the task is certainly not a draft any more; an unknown status proves nothing."""
        return self in _PAST_DRAFT

    @property
    def is_terminal(self) -> bool:
        """Whether nothing more will happen to the task."""
        return self in _TERMINAL


ENDED_EARLY = frozenset((TaskStatus.CANCELLED, TaskStatus.EXPIRED))
"""The statuses of a task that no driver will deliver."""
_NOT_PICKED_UP = frozenset(
    (
        TaskStatus.DRAFT,
        TaskStatus.PENDING_BROADCAST,
        TaskStatus.BROADCASTING,
        TaskStatus.ACCEPTED,
        TaskStatus.PENDING_PICKUP,
        TaskStatus.PICKUP_ARRIVING,
    )
)
_PAST_DRAFT = frozenset(TaskStatus.__members__.values()) - {TaskStatus.DRAFT, TaskStatus.PENDING_BROADCAST}
_TERMINAL = frozenset(
    (
        TaskStatus.COMPLETE,
        TaskStatus.CANCELLED,
        TaskStatus.EXPIRED,
        TaskStatus.UNSUCCESSFUL_PICKUP,
        TaskStatus.UNSUCCESSFUL_DELIVERY,
    )
)


_Time = TypeVar("_Time", datetime, float)


def late_windows(
    status: str | None, pickup_end: _Time | None, delivery_end: _Time | None, now: _Time
) -> tuple[_Time | None, _Time | None]:
    """The ends of the pickup and the delivery window of an order that is late for them; None if it is not.

    An order is late for its pickup until it is picked up, drafts included, and for its delivery until its own end.
    """
    late_pickup = status in _NOT_PICKED_UP and pickup_end is not None and pickup_end < now
    late_delivery = status not in _TERMINAL and delivery_end is not None and delivery_end < now
    return pickup_end if late_pickup else None, delivery_end if late_delivery else None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Item(Model):
    """A line of the goods of an order (objects ``item`` and ``cargo_detail``). Numbers are 0 or more.

    Attributes:
        quantity: the number of pieces.
        weight, volume: in the unit that ``weight_unit`` or ``volume_unit`` names, such as kg and m3.
        length, width, height: in the unit that you have agreed on with GotSurge; the API document names none.
    """

    name: str | None = None
    description: str | None = None
    quantity: float | None = None
    weight: float | None = None
    weight_unit: str | None = None
    volume: float | None = None
    volume_unit: str | None = None
    length: float | None = None
    width: float | None = None
    height: float | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class CargoDetail(Item):
    """A line of ``cargo_details``; in the API document it has the fields of an item."""


# The types that a type checker accepts: a documented text, or the class for any other value.
def _broadcast(value: BroadcastPreference | BroadcastName) -> BroadcastPreference:
    return BroadcastPreference(value)


def _vehicle(value: VehiclePreference | VehicleName) -> VehiclePreference:
    return VehiclePreference(value)


def _service(value: ServiceType | ServiceName) -> ServiceType:
    return ServiceType(value)


def _some_broadcast(value: BroadcastPreference | BroadcastName | None) -> BroadcastPreference | None:
    return None if value is None else BroadcastPreference(value)


def _some_vehicle(value: VehiclePreference | VehicleName | None) -> VehiclePreference | None:
    return None if value is None else VehiclePreference(value)


def _some_service(value: ServiceType | ServiceName | None) -> ServiceType | None:
    return None if value is None else ServiceType(value)


# Converters by name and type: mypy follows neither ``tuple`` nor a generic function as a converter.
def _items(items: Iterable[Item]) -> tuple[Item, ...]:
    return NOT_GIVEN if items is NOT_GIVEN else several(items, "items")


def _cargo_details(details: Iterable[CargoDetail]) -> tuple[CargoDetail, ...]:
    return NOT_GIVEN if details is NOT_GIVEN else several(details, "cargo_details")


def no_money(name: str, value: object) -> Problem:
    """The fault of an amount that is not `Money`."""
    why = f'must be money: give Money.of("2.00", "SGD"), not {value!r:.40} (a bare number has no unit)'
    return Problem(name, Coded(why, "E904"), value)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class TaskFields(Model):
    """The fields that `Order` and `Task` have in common (the list under section "Update Task").

    Times are aware and kept in UTC.

    Attributes:
        price, min_price, max_price, increment, admin_fee: `Money`, all in the one ``currency`` (ISO 4217).
        cargo_net_quantity: the number of pieces, 0 or more.
        total_item_weight, total_item_volume, total_item_quantity: 0 or more, in the unit that ``total_weight_unit``,
            ``total_volume_unit`` or ``total_quantity_unit`` names.
    """

    IDENTITY: ClassVar[frozenset[str]] = frozenset({"tracking_id", "invoice_number"})
    CURRENCY: ClassVar[str] = "currency"
    MONEY: ClassVar[tuple[str, ...]] = ("price", "min_price", "max_price", "increment", "admin_fee")

    tracking_id: str | None = None
    invoice_number: str | None = None
    group_tag: str | None = None
    from_address: Address | None = None
    from_time_window: TimeWindow | None = None
    from_contact: Contact | None = None
    to_address: Address | None = None
    to_time_window: TimeWindow | None = None
    to_contact: Contact | None = None
    officer_contact: Contact | None = None
    broadcast_preference: BroadcastPreference | None = attrs.field(default=None, converter=_some_broadcast)
    vehicle_preference: VehiclePreference | None = attrs.field(default=None, converter=_some_vehicle)
    service_type: ServiceType | None = attrs.field(default=None, converter=_some_service)
    pickup_note_to_driver: str | None = None
    delivery_note_to_driver: str | None = None
    cargo_net_quantity: int | None = None
    currency: str | None = None
    price: Money | None = None
    min_price: Money | None = None
    max_price: Money | None = None
    increment: Money | None = None
    admin_fee: Money | None = None
    items: tuple[Item, ...] = attrs.field(default=NOT_GIVEN, converter=_items)
    cargo_details: tuple[CargoDetail, ...] = attrs.field(default=NOT_GIVEN, converter=_cargo_details)
    org_id: str | None = None
    total_item_weight: float | None = None
    total_weight_unit: str | None = None
    total_item_volume: float | None = None
    total_volume_unit: str | None = None
    total_item_quantity: float | None = None
    total_quantity_unit: str | None = None
    client_time_utc: datetime | None = attrs.field(default=None, converter=optional_utc)
    client_timezone: str | None = None
    epod: dict[str, Any] | None = None

    def __attrs_post_init__(self) -> None:
        """Set the currency of every amount to the task's, or the task's currency to that of its amounts."""
        currency = self.currency
        problems: list[Problem] = []
        for name in self.MONEY:
            money = getattr(self, name)
            if money is None:
                continue
            if not isinstance(money, Money):
                problems.append(no_money(name, money))
                continue
            if not currency and money.currency:
                currency = money.currency
                object.__setattr__(self, "currency", currency)
            if currency and not money.currency:
                object.__setattr__(self, name, money.in_currency(currency))
            elif money.currency != (currency or ""):
                why = Coded(f"is in {money.currency}, but the task's currency is {currency}", "E904")
                problems.append(Problem(name, why, money))
        if problems:
            raise InvalidData("", problems)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Order(TaskFields):
    """An order as it is written in a create (section "Create & Broadcast Tasks").

    GotSurge requires the fields without a default. ``tracking_id`` is optional for the service, but it matches an
    answer to its order: use one that is yours alone.

    Raises:
        InvalidData: for a price that is not `Money`, a naive time, or amounts in two currencies.
    """

    from_address: Address = attrs.field()
    from_time_window: TimeWindow = attrs.field()
    to_address: Address = attrs.field()
    broadcast_preference: BroadcastPreference = attrs.field(converter=_broadcast)
    vehicle_preference: VehiclePreference = attrs.field(converter=_vehicle)
    service_type: ServiceType = attrs.field(converter=_service)
    client_time_utc: datetime = attrs.field(converter=utc_if_aware, validator=names_an_instant)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class TaskBatch(Model):
    """Body of every create: 1 to 20 orders."""

    tasks: tuple[Order, ...]


@attrs.frozen(kw_only=True)
class Receipt:
    """The few fields that a push keeps of each created task, and the task's JSON as it came.

    Attributes:
        id: the task's id at GotSurge.
        tracking_id, invoice_number: as the service echoed them, if it did.
        current_status: the status of the task.
        raw: the task's JSON text; `gotsurge_async.codec.decode(receipt.raw, Task)` reads it whole. It is cut out of the
            answer when it is first used, and not compared.
    """

    id: str
    tracking_id: str | None = None
    invoice_number: str | None = None
    current_status: TaskStatus | None = None
    _raw: bytes | tuple[Callable[[int], bytes], int] = attrs.field(default=b"", alias="raw", repr=False, eq=False)

    @property
    def raw(self) -> bytes:  # documented in the class, with the other attributes
        if isinstance(self._raw, bytes):
            return self._raw
        text, number = self._raw
        return text(number)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Cancellation(Model):
    """Body of Cancel Task."""

    reason: str


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Message(Model):
    """An answer that is only a sentence."""

    message: str | None = None


class TaskChanges(TypedDict, total=False):
    """Body of Update Task: only the fields in it are changed, and None clears. `version_rev` guards the update.

    An object may be a dict of its fields as the API writes them; it is the whole new value of its field. Numbers have
    the units of an `Order`.
    """

    tracking_id: str | None
    invoice_number: str | None
    from_address: Address | Mapping[str, Any] | None
    from_time_window: TimeWindow | Mapping[str, Any] | None
    from_contact: Contact | Mapping[str, Any] | None
    to_address: Address | Mapping[str, Any] | None
    to_time_window: TimeWindow | Mapping[str, Any] | None
    to_contact: Contact | Mapping[str, Any] | None
    officer_contact: Contact | Mapping[str, Any] | None
    broadcast_preference: BroadcastPreference | BroadcastName | None
    group_tag: str | None
    pickup_note_to_driver: str | None
    delivery_note_to_driver: str | None
    cargo_net_quantity: int | None
    cargo_details: Sequence[CargoDetail | Mapping[str, Any]] | None
    price: Money | None
    org_id: str | None
    total_item_weight: float | None
    total_weight_unit: str | None
    total_item_volume: float | None
    total_volume_unit: str | None
    total_item_quantity: float | None
    total_quantity_unit: str | None
    min_price: Money | None
    max_price: Money | None
    increment: Money | None
    admin_fee: Money | None
    client_time_utc: datetime | None
    client_timezone: str | None
    vehicle_preference: VehiclePreference | VehicleName | None
    service_type: ServiceType | ServiceName | None
    epod: dict[str, Any] | None
