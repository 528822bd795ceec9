"""Every column that a table of orders, or of their items, may have: its content, form, and an example.

Names, types, allowed values and requirements come from the models; meanings and examples are here.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from msgspec import Struct

from gotsurge_async.models.base import OpenEnum, fields_of
from gotsurge_async.models.tasks import Order
from gotsurge_async.money import Money
from gotsurge_async.tables.fields import ITEM_KEY, Column, ItemRow, columns_of, required_of

ITEMS = "Items"
"""The section of the columns of an items file."""


class ColumnInfo(Struct, frozen=True, kw_only=True):
    """The description of a column.

    Attributes:
        name: the field's dotted name, which is the column's unless a map says otherwise.
        section: the part of the order to which it belongs: the order itself, its pickup, its delivery, and so on.
        type: text, whole number, number, decimal, time, or one of ``allowed``.
        unit: the unit of a number, or the form of a text; "" if it has none.
        allowed: the values that are accepted; empty if any value is.
        required: yes, no, or under which condition.
        example: a value in the form of a cell.
        meaning: the content of the column.
        usual: whether most tables have it; a template has the usual columns.
    """

    name: str
    section: str
    type: str
    unit: str
    allowed: tuple[str, ...]
    required: str
    example: str
    meaning: str
    usual: bool


class _About(NamedTuple):
    """The description of a field beyond the models, which decide if ``required`` is "". Required columns are usual."""

    meaning: str
    example: str = ""
    unit: str = ""
    usual: bool = False
    required: str = ""


def _part(parent: str, fields: Mapping[str, _About], *usual: str) -> dict[str, _About]:
    """The columns of an object in the order, with the names of the usual ones."""
    return {f"{parent}.{name}": about._replace(usual=name in usual) for name, about in fields.items()}


_LATITUDE = _About("Latitude; with longitude, or not at all.", "1.3697", "degrees, -90 to 90")
_LONGITUDE = _About("Longitude; with latitude, or not at all.", "103.9707", "degrees, -180 to 180")
_STREET = _About("Street and number.", "7 Loyang Way")
_ZIP_CODE = _About("Postal code; text, so that a zero in front stays.", "508719")
_PICKUP_ADDRESS = {
    "street_address": _STREET,
    "building_name": _About("Building or warehouse.", "Cold Store 2"),
    "city": _About("City.", "Singapore"),
    "state": _About("State or province.", "Johor"),
    "country": _About("Country.", "Singapore"),
    "zip_code": _ZIP_CODE,
    "latitude": _LATITUDE,
    "longitude": _LONGITUDE,
    "altitude": _About("Height above the sea.", "5", "metres"),
}
_DELIVERY_ADDRESS = {
    **_PICKUP_ADDRESS,
    "street_address": _STREET._replace(example="37 Jurong Port Road"),
    "building_name": _About("Building, pier or terminal.", "Jurong Port"),
    "zip_code": _ZIP_CODE._replace(example="619110"),
    "latitude": _LATITUDE._replace(example="1.3062"),
    "longitude": _LONGITUDE._replace(example="103.7190"),
}
_CONTACT = {
    "name": _About("Whom to ask for.", "Tan Wei Ming"),
    "phone": _About("Phone, with country and without spaces.", "+6561234567", "E.164"),
    "email": _About("Email.", "ops@example.com"),
    "company_name": _About("Company.", "Lion Gate Marine"),
    "vessel_id": _About("The vessel's id at GotSurge.", "V-204"),
    "vessel_imo": _About("The vessel's IMO number; its last digit is checked.", "9074729", "7 digits"),
    "vessel_name": _About("The vessel.", "MV Example"),
    "lighter_boat_name": _About("The boat that brings it to the vessel.", "Teck Soon 11"),
    "lighter_company_name": _About("Whose boat that is.", "Harbour Lighters"),
    "vehicle_name": _About("A vehicle to look for.", "White van SGX 1234"),
    "berth_no": _About("Berth or anchorage.", "J07"),
}
_MONEY = "decimal of the currency, such as 48.50"
_ORDER = {
    "Order": {
        "tracking_id": _About(
            "Your own name of the order, unlike any other: it is never sent twice.", "CALL-7-ROPE", required="yes"
        ),
        "invoice_number": _About("Invoice.", "INV-2030-17", usual=True),
        "group_tag": _About("Orders of one tag belong together, such as those of a port call.", "CALL-7", usual=True),
        "org_id": _About("For which organization; platform partners.", "ORG-7"),
        "client_timezone": _About("The time zone in which it was made.", "Asia/Singapore", "IANA name"),
        "broadcast_preference": _About("Which drivers are asked.", "marine"),
        "vehicle_preference": _About("The vehicle that is needed.", "van_2.4m"),
        "service_type": _About("A full truck (ftl), or only the space needed (ltl).", "ftl"),
        "client_time_utc": _About(
            "When the order was made; a map may give the time of the push.", "2030-03-04T01:00:00Z"
        ),
    },
    "Pickup": {
        **_part("from_address", _PICKUP_ADDRESS, "street_address", "building_name", "zip_code"),
        "from_time_window.start_time_utc": _About("The pickup, not before.", "2030-03-05T09:00:00+08:00"),
        "from_time_window.end_time_utc": _About("The pickup, not after.", "2030-03-05T11:00:00+08:00"),
        **_part("from_contact", _CONTACT, "name", "phone"),
        "pickup_note_to_driver": _About(
            "What the driver should know at the pickup.", "Gate 3, ask for the storekeeper", usual=True
        ),
    },
    "Delivery": {
        **_part("to_address", _DELIVERY_ADDRESS, "street_address", "building_name", "zip_code"),
        "to_time_window.start_time_utc": _About(
            "The delivery, not before; after the end of the pickup.", "2030-03-05T12:00:00+08:00", usual=True
        ),
        "to_time_window.end_time_utc": _About("The delivery, not after.", "2030-03-05T14:00:00+08:00", usual=True),
        **_part("to_contact", _CONTACT, "name", "phone", "vessel_name", "vessel_imo", "berth_no"),
        "delivery_note_to_driver": _About(
            "What the driver should know at the delivery.", "Call the ship first", usual=True
        ),
    },
    "Officer": _part("officer_contact", _CONTACT),
    "Money": {
        "currency": _About(
            "The currency of all amounts.", "SGD", "ISO 4217, three capitals", usual=True, required="with an amount"
        ),
        "price": _About("What is paid for the delivery; 2.00 or more.", "48.50", _MONEY, usual=True),
        "min_price": _About("The least price.", "40.00", _MONEY),
        "max_price": _About("The greatest price.", "60.00", _MONEY),
        "increment": _About("By how much the price is raised.", "2.00", _MONEY),
        "admin_fee": _About("Fee.", "1.00", _MONEY),
    },
    "Cargo": {
        "cargo_net_quantity": _About("How many pieces.", "4", "pieces, 0 or more", usual=True),
        "total_item_weight": _About("Weight of all items.", "120.5", "see total_weight_unit"),
        "total_weight_unit": _About("Unit of the weight.", "kg"),
        "total_item_volume": _About("Volume of all items.", "0.8", "see total_volume_unit"),
        "total_volume_unit": _About("Unit of the volume.", "m3"),
        "total_item_quantity": _About("Quantity of all items.", "12", "see total_quantity_unit"),
        "total_quantity_unit": _About("Unit of the quantity.", "carton"),
    },
}
"""The columns of an order by their sections, in the order in which people think of them."""
_ITEM = {
    ITEM_KEY: _About("Of which order it is.", "CALL-7-ROPE"),
    "name": _About("What it is.", "Mooring rope", usual=True),
    "description": _About("What else is to be known of it.", "64 mm, 220 m", usual=True),
    "quantity": _About("How many.", "2", usual=True),
    "weight": _About("Weight.", "310", "see weight_unit", usual=True),
    "weight_unit": _About("Unit of the weight.", "kg", usual=True),
    "volume": _About("Volume.", "1.2", "see volume_unit"),
    "volume_unit": _About("Unit of the volume.", "m3"),
    "length": _About("Length.", "1.2", "as agreed with GotSurge"),
    "width": _About("Width.", "0.8", "as agreed with GotSurge"),
    "height": _About("Height.", "0.6", "as agreed with GotSurge"),
}
_TYPES = {str: "text", int: "whole number", float: "number", Money: "decimal", datetime: "time"}
_TIME = "with its zone, or in that of --timezone"
_OBJECTS = {field.name: field.inner for field in fields_of(Order)}
_PLACES = frozenset(("street_address", "building_name", "zip_code", "latitude", "longitude"))
"""The parts of an address, of which at least one is required."""


def order_columns() -> list[ColumnInfo]:
    """The columns of a table of orders, section by section."""
    columns = columns_of(Order)
    return [
        _info(columns[name], about, section, about.required or _required(columns[name]))
        for section, abouts in _ORDER.items()
        for name, about in abouts.items()
    ]


def item_columns() -> list[ColumnInfo]:
    """The columns of an items file."""
    columns, required = columns_of(ItemRow), required_of(ItemRow)
    return [_info(columns[name], about, ITEMS, "yes" if name in required else "no") for name, about in _ITEM.items()]


def all_columns() -> Iterator[ColumnInfo]:
    """The columns of the orders, then those of the items."""
    yield from order_columns()
    yield from item_columns()


def _required(column: Column) -> str:
    of_the_order = required_of(Order)
    if not column.parent:
        return "yes" if column.name in of_the_order else "no"
    if column.parent.endswith("_address"):
        return "one of these" if column.field in _PLACES else "no"
    if column.field not in required_of(_OBJECTS[column.parent]):
        return "no"
    return "yes" if column.parent in of_the_order else "both or neither"


def _info(column: Column, about: _About, section: str, required: str) -> ColumnInfo:
    kind: type = column.kind
    allowed = tuple(str(value) for value in kind) if issubclass(kind, OpenEnum) else ()
    return ColumnInfo(
        name=column.name,
        section=section,
        type="one of" if issubclass(kind, OpenEnum) else _TYPES[kind],
        unit=about.unit or (_TIME if kind is datetime else ""),
        allowed=allowed,
        required=required,
        example=about.example,
        meaning=about.meaning,
        usual=about.usual or required == "yes",
    )
