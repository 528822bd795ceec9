"""Orders, windows and answers as objects."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from gotsurge_async import Address, Contact, Item, Money, Order, TimeWindow
from gotsurge_async.transports.base import Response

NOW = datetime(2026, 1, 1, tzinfo=UTC)
"""When the `ManualClock` of a test starts, too."""


def window(after: timedelta, hours: int = 2) -> TimeWindow:
    """A time window that begins some time after `NOW`."""
    return TimeWindow(start_time_utc=NOW + after, end_time_utc=NOW + after + timedelta(hours=hours))


def order(tracking_id: str | None = "T-1", **changes: Any) -> Order:
    """An order that GotSurge takes, with some fields changed."""
    fields: dict[str, Any] = {
        "tracking_id": tracking_id,
        "from_address": Address(street_address="1 Pioneer Rd", country="SG", latitude=1.3, longitude=103.7),
        "from_time_window": window(timedelta(days=1)),
        "from_contact": Contact(name="Ng", phone="+6581234567"),
        "to_address": Address(street_address="Marina South Pier", country="SG", latitude=1.27, longitude=103.86),
        "to_time_window": window(timedelta(days=1, hours=3)),
        "to_contact": Contact(name="Master", vessel_name="MV EXAMPLE", vessel_imo=9074729),
        "broadcast_preference": "all",
        "vehicle_preference": "van_1.7m",
        "service_type": "ftl",
        "client_time_utc": NOW,
        "client_timezone": "Asia/Singapore",
        "price": Money.of("5.00", "SGD"),
        "items": [Item(name="Rope", quantity=2, weight=12.5, weight_unit="kg")],
    }
    return Order(**(fields | changes))


WIRE: dict[str, Any] = {
    "tracking_id": "T-1",
    "from_address": {"street_address": "1 Pioneer Rd", "country": "SG", "latitude": 1.3, "longitude": 103.7},
    "from_time_window": {"start_time_utc": "2026-01-02T00:00:00Z", "end_time_utc": "2026-01-02T02:00:00Z"},
    "from_contact": {"name": "Ng", "phone": "+6581234567"},
    "to_address": {"street_address": "Marina South Pier", "country": "SG", "latitude": 1.27, "longitude": 103.86},
    "to_time_window": {"start_time_utc": "2026-01-02T03:00:00Z", "end_time_utc": "2026-01-02T05:00:00Z"},
    "to_contact": {"name": "Master", "vessel_imo": 9074729, "vessel_name": "MV EXAMPLE"},
    "broadcast_preference": "all",
    "vehicle_preference": "van_1.7m",
    "service_type": "ftl",
    "currency": "SGD",
    "price": 500_000,
    "items": [{"name": "Rope", "quantity": 2, "weight": 12.5, "weight_unit": "kg"}],
    "client_time_utc": "2026-01-01T00:00:00Z",
    "client_timezone": "Asia/Singapore",
}
"""What `order()` is on the wire."""


def orders(count: int, prefix: str = "T-") -> list[Order]:
    """Orders with tracking ids of their own."""
    return [order(f"{prefix}{number}") for number in range(count)]


def answer(content: Any = None, status: int = 200, **headers: str) -> Response:
    """An answer with a JSON body; bytes are taken as they are. Header names are written with underscores."""
    body = b"" if content is None else content if isinstance(content, bytes) else msgspec.json.encode(content)
    return Response(
        status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=body
    )
