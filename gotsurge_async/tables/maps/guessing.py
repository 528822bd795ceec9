"""Guesses which field a column of any table has, by the column's name."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from gotsurge_async.models.rules import nearest
from gotsurge_async.models.tasks import Order
from gotsurge_async.tables.fields import columns_of


class Guess(NamedTuple):
    """The probable field of a column, and whether it is sure."""

    field: str
    sure: bool


_SIDES = {
    "from": ("pick up", "pickup", "collection", "collect", "sender", "shipper", "origin", "from", "warehouse"),
    "to": ("delivery", "deliver", "deliver to", "shipping", "ship to", "recipient", "receiver", "consignee",
           "destination", "drop off", "dropoff", "customer", "to"),
}  # fmt: skip
_PARTS: Mapping[str, tuple[str, ...]] = {
    "{side}_address.street_address": (
        "address", "street", "street address", "address 1", "address1", "address line 1", "address 2", "address2",
        "address line 2", "address 1 2", "address 1and2",
    ),
    "{side}_address.building_name": ("building", "building name", "place", "terminal"),
    "{side}_address.city": ("city", "town"),
    "{side}_address.state": ("state", "province", "region", "state code", "province name"),
    "{side}_address.country": ("country", "country code"),
    "{side}_address.zip_code": ("zip", "zip code", "postcode", "post code", "postal code", "postal"),
    "{side}_address.latitude": ("latitude", "lat"),
    "{side}_address.longitude": ("longitude", "lng", "lon", "long"),
    "{side}_contact.name": ("name", "contact", "contact name", "contact person", "attention", "attn", "person"),
    "{side}_contact.phone": ("phone", "tel", "telephone", "mobile", "phone no", "phone number", "contact no", "hp"),
    "{side}_contact.email": ("email", "e mail", "mail"),
    "{side}_contact.company_name": ("company", "company name"),
    "{side}_contact.vessel_name": ("vessel", "vessel name", "ship", "ship name"),
    "{side}_contact.vessel_imo": ("imo", "vessel imo", "imo no", "imo number"),
    "{side}_contact.berth_no": ("berth", "berth no"),
    "{side}_contact.lighter_boat_name": ("lighter", "lighter boat", "launch", "boat"),
    "{side}_time_window.start_time_utc": (
        "start", "date", "time", "date time", "from", "earliest", "window start", "start time", "after", "begin",
        "time from",
    ),
    "{side}_time_window.end_time_utc": (
        "end", "until", "till", "latest", "window end", "end time", "by", "before", "time to", "to",
    ),
}  # fmt: skip
_NOTES = (
    *("note", "notes", "remark", "remarks", "instructions", "instruction", "note to driver", "comment", "method note"),
)
_ALONE: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "tracking_id": (
        ("order no", "order number", "order id", "order", "order ref", "job no", "job number", "tracking no",
         "tracking number", "tracking id", "do no"),
        ("name", "reference", "ref", "ref no", "no", "id", "number"),
    ),
    "invoice_number": (("invoice", "invoice no", "invoice number", "inv no"), ()),
    "group_tag": (("group", "group tag", "tag", "port call"), ("tags", "batch", "call")),
    "broadcast_preference": (("broadcast", "kind", "broadcast preference"), ("drivers", "fleet", "type")),
    "vehicle_preference": (("vehicle", "vehicle type", "truck", "vehicle size"), ()),
    "service_type": (("service", "service type"), ()),
    "currency": (("currency", "ccy", "order currency"), ()),
    "price": (("price", "fare", "delivery fee", "delivery price", "freight"), ("amount", "total", "shipping", "cost",
              "order shipping amount")),
    "cargo_net_quantity": (("qty", "quantity", "pieces", "pcs", "packages", "pallets", "cartons"), ("items", "count")),
    "total_item_weight": (("weight", "total weight", "gross weight"), ()),
    "total_item_volume": (("volume", "cbm", "total volume"), ()),
    "client_time_utc": (("ordered at", "created at", "order date", "order time"), ("date", "created")),
    "to_contact.vessel_name": (("vessel", "vessel name", "ship", "ship name"), ()),
    "to_contact.vessel_imo": (("imo", "imo no", "imo number", "vessel imo"), ()),
    "to_contact.berth_no": (("berth", "berth no"), ()),
    "to_contact.lighter_boat_name": (("lighter", "lighter boat", "launch", "supply boat"), ()),
    "to_contact.phone": ((), ("phone", "mobile", "tel")),
    "to_contact.email": ((), ("email",)),
    "delivery_note_to_driver": (("customer note",), _NOTES),
}  # fmt: skip

SEVERAL = ("street_address", "_time_utc", "_note_to_driver", "contact.name")
"""Ends of fields that several columns may form together: two lines of an address, a date and a time."""


def _shape(name: str) -> str:
    """The name of a column in small letters, with one space between two words."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return " ".join(re.sub(r"[^a-z0-9]+", " ", words.lower()).split())


def _all_names() -> dict[str, Guess]:
    known: dict[str, Guess] = {}
    for field, (sure, unsure) in _ALONE.items():
        known |= {name: Guess(field, True) for name in sure}
        known |= {name: Guess(field, False) for name in unsure if name not in known}
    for side, words in _SIDES.items():
        note = "pickup_note_to_driver" if side == "from" else "delivery_note_to_driver"
        for word in words:
            sided = {part: field.format(side=side) for field, parts in _PARTS.items() for part in parts}
            sided |= dict.fromkeys(_NOTES, note)
            known.setdefault(word, Guess(f"{side}_address.street_address", False))
            for part, field in sided.items():
                for name in (f"{word} {part}", f"{part} {word}"):
                    known.setdefault(name, Guess(field, True))
    known |= {_shape(field): Guess(field, True) for field in columns_of(Order)}
    return known


_NAMES = _all_names()


def guess(name: str) -> Guess | None:
    """The probable field of a column, None if its name is like no known one."""
    if name in columns_of(Order):
        return Guess(name, True)
    shape = _shape(name)
    if not shape:
        return None
    if shape in _NAMES:
        return _NAMES[shape]
    # `nearest` makes one word of several, and knows names by their last word.
    near = (nearest(shape, _NAMES) or "").replace("_", " ")
    return Guess(_NAMES[near].field, False) if near in _NAMES else None
