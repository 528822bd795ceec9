"""The objects of the API as pydantic models, as one would write them."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict


class Base(BaseModel):
    """Keeps what it does not name, as ours does."""

    model_config = ConfigDict(extra="allow")


class Address(Base):
    street_address: str | None = None
    building_name: str | None = None
    city: str | None = None
    state: str | None = None
    country: str | None = None
    zip_code: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    altitude: float | None = None


class Contact(Base):
    name: str | None = None
    phone: str | None = None
    email: str | None = None
    company_name: str | None = None
    vessel_id: str | None = None
    vessel_imo: int | None = None
    vessel_name: str | None = None
    lighter_boat_name: str | None = None
    berth_no: str | None = None


class Window(Base):
    start_time_utc: datetime
    end_time_utc: datetime


class Item(Base):
    name: str | None = None
    description: str | None = None
    quantity: float | None = None
    weight: float | None = None
    weight_unit: str | None = None
    volume: float | None = None
    volume_unit: str | None = None


class Order(Base):
    tracking_id: str | None = None
    invoice_number: str | None = None
    group_tag: str | None = None
    from_address: Address
    from_time_window: Window
    from_contact: Contact | None = None
    to_address: Address
    to_time_window: Window | None = None
    to_contact: Contact | None = None
    broadcast_preference: str
    vehicle_preference: str
    service_type: str
    pickup_note_to_driver: str | None = None
    delivery_note_to_driver: str | None = None
    cargo_net_quantity: int | None = None
    currency: str | None = None
    price: int | None = None
    items: list[Item] = []
    client_time_utc: datetime
    client_timezone: str | None = None


class StatusEntry(Base):
    status: str
    updated_at: datetime | None = None


class Task(Order):
    id: str
    org_id: str | None = None
    epod: dict[str, Any] | None = None
    server_time: datetime | None = None
    updated_at: datetime | None = None
    current_status: str | None = None
    statuses: list[StatusEntry] = []
    driver: dict[str, Any] | None = None
    distance_in_meters: float | None = None
    is_urgent: bool | None = None
    task_creation_group: str | None = None
    attachments: list[Any] = []
    org_transporter: dict[str, Any] | None = None
    platform_id: str | None = None
    vehicle_emissions_type: str | None = None
    vehicle_emissions: dict[str, Any] | None = None
    client: dict[str, Any] | None = None


class Batch(BaseModel):
    """Body of a create."""

    tasks: list[Order]


class Created(BaseModel):
    """Answer of a create, in full."""

    tasks: list[Task]


class Receipt(BaseModel):
    """The same, to the depth of our receipts."""

    model_config = ConfigDict(extra="ignore")

    id: str
    tracking_id: str | None = None
    current_status: str | None = None


class Receipts(BaseModel):
    """Answer of a create, to the depth of our receipts."""

    tasks: list[Receipt]


class Page(BaseModel):
    """A page of tasks."""

    tasks: list[Task]


class Small(Base):
    """The small task of a single GET."""

    id: str
    tracking_id: str | None = None
    current_status: str | None = None
    price: int | None = None
    currency: str | None = None
    server_time: datetime | None = None
