"""One good order as cells of a table and as an object, and strategies for any other."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from gotsurge_async.models.phones import is_international
from gotsurge_async.models.places import Address, Contact, TimeWindow
from gotsurge_async.models.tasks import BroadcastPreference, Item, Order, ServiceType, VehiclePreference
from gotsurge_async.money import Money
from gotsurge_async.tables.source import check_look

NOW = datetime(2030, 3, 4, 1, tzinfo=UTC)

CELLS = {
    "tracking_id": "SHS-1",
    "invoice_number": "INV-1",
    "broadcast_preference": "marine",
    "vehicle_preference": "van_1.7m",
    "service_type": "ftl",
    "currency": "SGD",
    "price": "48.50",
    "from_address.street_address": "7 Loyang Way 4",
    "from_address.latitude": "1.3697",
    "from_address.longitude": "103.9707",
    "from_time_window.start_time_utc": "2030-03-05T01:00:00Z",
    "from_time_window.end_time_utc": "2030-03-05T03:00:00Z",
    "from_contact.phone": "+6569411942",
    "to_address.zip_code": "619110",
    "to_time_window.start_time_utc": "2030-03-05T04:00:00Z",
    "to_time_window.end_time_utc": "2030-03-05T06:00:00Z",
    "to_contact.vessel_imo": "9074729",
    "cargo_net_quantity": "4",
    "client_time_utc": "2030-03-04T01:00:00Z",
}


def good_order(**changes: Any) -> Order:
    """An order that passes every check, with some fields changed."""
    day = datetime(2030, 3, 5, tzinfo=UTC)
    fields: dict[str, Any] = {
        "tracking_id": "SHS-1",
        "invoice_number": "INV-1",
        "broadcast_preference": "marine",
        "vehicle_preference": "van_1.7m",
        "service_type": "ftl",
        "price": Money.of("48.50", "SGD"),
        "from_address": Address(street_address="7 Loyang Way 4", latitude=1.3697, longitude=103.9707),
        "from_time_window": window(day, 1, 3),
        "from_contact": Contact(phone="+6569411942"),
        "to_address": Address(zip_code="619110"),
        "to_time_window": window(day, 4, 6),
        "to_contact": Contact(vessel_imo=9074729),
        "cargo_net_quantity": 4,
        "client_time_utc": NOW,
    }
    return Order(**{**fields, **changes})


def window(day: datetime, start: float, end: float) -> TimeWindow:
    """A time window from one hour of a day to another."""
    return TimeWindow(start_time_utc=day + timedelta(hours=start), end_time_utc=day + timedelta(hours=end))


# --- any order -------------------------------------------------------------------------------------------------------

# What a table can hold: no NUL, and no white space around the text, which a table's reader takes off.
texts = (
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20).map(str.strip).filter(bool)
)
_maybe_text = st.none() | texts
_measures = st.none() | st.floats(0, 1e9)
_degrees = st.tuples(st.floats(-90, 90), st.floats(-180, 180))
_phones = st.none() | st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True).filter(is_international)
_amounts = st.none() | st.integers(200_000, 100_000_000).map(lambda n: Money(millicents=n, currency="SGD"))


@st.composite
def addresses(draw: st.DrawFn) -> Address:
    """Any address that says where."""
    latitude, longitude = draw(st.just((None, None)) | _degrees)
    return Address(
        street_address=draw(texts),
        building_name=draw(_maybe_text),
        country=draw(_maybe_text),
        latitude=latitude,
        longitude=longitude,
        altitude=draw(st.none() | st.floats(-100, 9000)),
    )


@st.composite
def contacts(draw: st.DrawFn) -> Contact | None:
    """Any contact; none when it would say nothing, since a table cannot tell that from none."""
    imo = draw(st.sampled_from((None, 9074729, 9321483)))
    made = Contact(name=draw(_maybe_text), phone=draw(_phones), berth_no=draw(_maybe_text), vessel_imo=imo)
    return None if made == Contact() else made


def _looks_unique(key: str) -> bool:
    try:
        check_look(key)
    except ValueError:
        return False
    return True


_keys = (
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Zs", "Zl", "Zp")), min_size=1, max_size=20)
    .map(lambda text: f"K{text}")
    .filter(_looks_unique)
)
"""A key has no character that nobody sees, and no other key looks like it."""


@st.composite
def orders(draw: st.DrawFn) -> Order:
    """Any order without faults."""
    soonest = NOW.replace(tzinfo=None) + timedelta(hours=2)  # what ends sooner is warned of
    times = sorted(draw(st.lists(st.datetimes(soonest), min_size=4, max_size=4)))
    start, end, arrive, leave = (moment.replace(tzinfo=UTC) for moment in times)
    low, high = sorted((draw(st.integers(0, 100_000_000)), draw(st.integers(0, 100_000_000))))
    return Order(
        tracking_id=draw(_keys),
        invoice_number=draw(_maybe_text),
        broadcast_preference=draw(st.sampled_from(BroadcastPreference)),
        vehicle_preference=draw(st.sampled_from(VehiclePreference)),
        service_type=draw(st.sampled_from(ServiceType)),
        from_address=draw(addresses()),
        from_time_window=TimeWindow(start_time_utc=start, end_time_utc=end),
        from_contact=draw(contacts()),
        to_address=draw(addresses()),
        to_time_window=draw(st.none() | st.just(TimeWindow(start_time_utc=arrive, end_time_utc=leave))),
        officer_contact=draw(contacts()),
        pickup_note_to_driver=draw(_maybe_text),
        cargo_net_quantity=draw(st.none() | st.integers(0, 10**6)),
        currency="SGD",
        price=draw(_amounts),
        min_price=draw(st.none() | st.just(Money(millicents=low, currency="SGD"))),
        max_price=draw(st.none() | st.just(Money(millicents=high, currency="SGD"))),
        total_item_weight=draw(_measures),
        client_time_utc=draw(st.datetimes(timezones=st.just(UTC))),
        client_timezone=draw(st.sampled_from((None, "Asia/Singapore"))),
    )


@st.composite
def items(draw: st.DrawFn) -> Item:
    """Any item without faults."""
    return Item(name=draw(texts), description=draw(_maybe_text), quantity=draw(_measures), weight=draw(_measures))
