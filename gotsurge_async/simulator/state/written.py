"""The shapes of a task as it is written: the simulator's own, it shares none with the client."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

Text = str | UnsetType
Count = Annotated[int, Meta(ge=0)] | UnsetType
Amount = Annotated[int, Meta(ge=0)] | UnsetType
Number = float | UnsetType
Latitude = Annotated[float, Meta(ge=-90, le=90)] | UnsetType
Longitude = Annotated[float, Meta(ge=-180, le=180)] | UnsetType
Instant = Annotated[datetime, Meta(tz=True)]
Vehicle = Literal[
    "ltl", "motorcycle", "car", "mpv", "van_1.7m", "van_2.4m",
    "lorry_10ft", "lorry_14ft", "lorry_20ft", "lorry_24ft", "lorry_40ft",
]  # fmt: skip
Currency = Annotated[str, Meta(pattern="^([A-Z]{3})?$")] | UnsetType


class Address(Struct, gc=False):
    """An address."""

    street_address: Text = UNSET
    building_name: Text = UNSET
    city: Text = UNSET
    state: Text = UNSET
    country: Text = UNSET
    zip_code: Text = UNSET
    latitude: Latitude = UNSET
    longitude: Longitude = UNSET
    altitude: Number = UNSET

    @property
    def point(self) -> tuple[float, float] | None:
        """Latitude and longitude in degrees; None without both."""
        if self.latitude is UNSET or self.longitude is UNSET:
            return None
        return self.latitude, self.longitude


class Window(Struct, gc=False):
    """A time window."""

    start_time_utc: Instant
    end_time_utc: Instant

    @property
    def edges(self) -> tuple[float, float]:
        """Start and end in seconds since the epoch."""
        return self.start_time_utc.timestamp(), self.end_time_utc.timestamp()


class Contact(Struct, gc=False):
    """A contact, also of an officer."""

    name: Text = UNSET
    phone: Text = UNSET
    email: Text = UNSET
    company_name: Text = UNSET
    vessel_id: Text = UNSET
    vessel_imo: Annotated[int, Meta(ge=1_000_000, le=9_999_999)] | UnsetType = UNSET
    vessel_name: Text = UNSET
    lighter_boat_name: Text = UNSET
    lighter_company_name: Text = UNSET
    vehicle_name: Text = UNSET
    berth_no: Text = UNSET


class Item(Struct, gc=False):
    """An item or a cargo detail."""

    name: Text = UNSET
    description: Text = UNSET
    quantity: Number = UNSET
    weight: Number = UNSET
    weight_unit: Text = UNSET
    volume: Number = UNSET
    volume_unit: Text = UNSET
    length: Number = UNSET
    width: Number = UNSET
    height: Number = UNSET


class TaskShape(Struct, kw_only=True, gc=False):
    """A task as it is written. Fields that are not named here are kept, unchecked."""

    from_address: Address
    from_time_window: Window
    to_address: Address
    broadcast_preference: Literal["marine", "squad", "all"]
    client_time_utc: Instant
    vehicle_preference: Vehicle
    service_type: Literal["ftl", "ltl"]
    tracking_id: Text = UNSET
    invoice_number: Text = UNSET
    from_contact: Contact | UnsetType = UNSET
    to_time_window: Window | UnsetType = UNSET
    to_contact: Contact = msgspec.field(default_factory=Contact)
    officer_contact: Contact | UnsetType = UNSET
    group_tag: Text = UNSET
    pickup_note_to_driver: Text = UNSET
    delivery_note_to_driver: Text = UNSET
    cargo_net_quantity: Count = UNSET
    price: Amount = UNSET
    currency: Currency = UNSET
    items: list[Item] | UnsetType = UNSET
    cargo_details: list[Item] | UnsetType = UNSET
    org_id: Text = UNSET
    total_item_weight: Number = UNSET
    total_weight_unit: Text = UNSET
    total_item_volume: Number = UNSET
    total_volume_unit: Text = UNSET
    total_item_quantity: Number = UNSET
    total_quantity_unit: Text = UNSET
    min_price: Amount = UNSET
    max_price: Amount = UNSET
    increment: Amount = UNSET
    admin_fee: Amount = UNSET
    client_timezone: Text = UNSET
    epod: dict[str, Any] | UnsetType = UNSET
