"""A day of invented orders around Singapore, each in its present state: the same for the same seed."""

from datetime import UTC, datetime
from random import Random
from typing import Any

import msgspec

from gotsurge_async.simulator.operations.creates import new_record
from gotsurge_async.simulator.state.accounts import Account
from gotsurge_async.simulator.state.life import Life
from gotsurge_async.simulator.state.service import Service
from gotsurge_async.simulator.state.tasks import BROADCASTING, PENDING_BROADCAST, TaskRecord
from gotsurge_async.simulator.state.written import TaskShape

QUARTER = 900.0
HOUR = 3600.0
A_BUSY_LIFE = Life(accepting=0.9, cancelling=0.04, late=0.25, failing=0.08)
"""More problems than on most days, so that every status occurs."""

VESSELS = (
    "Amber Strait", "Borealis Grace", "Celestial Tide", "Dunlin Spirit", "Eastern Lotus", "Formosa Jade", "Golden Raja",
    "Harbour Kite", "Indigo Monsoon", "Johor Breeze", "Kestrel Point", "Lombok Trader", "Malacca Pearl", "Nusa Indah",
)  # fmt: skip
SENDERS = (
    ("18 Tuas Avenue 9", "Tuas Bonded Stores", 1.3187, 103.6460),
    ("26 Loyang Crescent", "Loyang Supply Base", 1.3783, 103.9750),
    ("5 Penjuru Close", "Penjuru Chandlers", 1.3093, 103.7340),
    ("101 Pandan Loop", "Pandan Cold Store", 1.3031, 103.7560),
    ("40 Gul Crescent", "Gul Ropes and Wires", 1.3130, 103.6660),
    ("7 Airline Road", "Changi Spares", 1.3700, 103.9990),
)
BERTHS = (
    ("Marina South Pier", "MSP 4", 1.2712, 103.8630),
    ("West Coast Pier", "WCP 2", 1.2925, 103.7640),
    ("Jurong Port", "J14", 1.3080, 103.7160),
    ("Pasir Panjang Terminal", "P27", 1.2760, 103.7880),
    ("Keppel Terminal", "K9", 1.2690, 103.8400),
    ("Eastern Anchorage", "AEPA", 1.2830, 103.9400),
    ("Western Anchorage", "AWPA", 1.2370, 103.7420),
    ("Tuas Port", "T5", 1.2420, 103.6200),
)
GOODS = (
    ("Fresh provisions, chilled", 12.0, "ctn"), ("Mooring rope, 8 strand", 126.0, "coil"), ("Oil", 24.0, "pail"),
    ("Engine room spares", 40.0, "box"), ("Paint, marine grey", 28.0, "drum"), ("Charts and papers", 2.0, "parcel"),
    ("Life raft after service", 180.0, "unit"), ("Filters", 6.0, "box"),
)  # fmt: skip
PEOPLE = (
    "R. Santos", "A. Kumar", "Tan Wei Jie", "M. Okafor", "L. Petrov", "S. Widodo", "H. Lindqvist", "Nguyen Van An",
)  # fmt: skip
VEHICLES = ("motorcycle", "car", "mpv", "van_1.7m", "van_2.4m", "lorry_10ft", "lorry_14ft")


def seed_a_day(service: Service, orders: int, account: Account) -> int:
    """Add orders of an account in their present states; returns the number of all tasks."""
    service.seeding = True  # their past is not sent to the webhook
    try:
        first = len(service.tasks.all())
        for number in range(first, first + orders):
            record = _task(service, number, account)
            service.tasks.add(record, listed=True)
            _live_until(service, record, service.clock.now())
    finally:
        service.seeding = False
    return len(service.tasks.all())


def _task(service: Service, number: int, account: Account) -> TaskRecord:
    draws = Random(f"{service.options.seed}/{number}")  # noqa: S311 - repeatable on purpose, no secret
    now = service.clock.now()
    # Most of a day lies behind, and some of it ahead.
    pickup = (now // QUARTER) * QUARTER + round(draws.triangular(-9, 7, -1) * 4) * QUARTER
    ends = pickup + draws.choice((2, 3, 4, 6)) * QUARTER
    delivery = ends + draws.choice((1, 2, 4)) * QUARTER
    created = min(now - draws.uniform(60, HOUR), pickup - draws.uniform(1.5, 5) * HOUR)
    content = _content(draws, number, (pickup, ends, delivery, delivery + draws.choice((4, 6, 8)) * QUARTER), created)
    draft = pickup > now + HOUR and draws.random() < 0.35
    history = ((PENDING_BROADCAST if draft else BROADCASTING, float(round(created))),)
    task = msgspec.convert(content, TaskShape)
    return new_record(service, account.name, msgspec.json.encode(content), task, history, service.tasks.new_group())


def _live_until(service: Service, record: TaskRecord, now: float) -> None:
    """Apply to a task everything that happens to it until now."""
    while True:
        at, status, note = service.lives.next_step(record, A_BUSY_LIFE)
        if at > now:
            return
        service.tasks.enter(record, status, at, note)


def _content(draws: Random, number: int, windows: tuple[float, float, float, float], created: float) -> dict[str, Any]:
    vessel = draws.randrange(len(VESSELS))
    street, sender, *point = draws.choice(SENDERS)
    berth, berth_no, *target = draws.choice(BERTHS)
    price = draws.randrange(18, 220) * 100_000
    times = [datetime.fromtimestamp(edge, UTC).isoformat().replace("+00:00", "Z") for edge in windows]
    day = datetime.fromtimestamp(windows[0], UTC)
    return {
        "tracking_id": f"GS-{24101 + 7 * number}",
        "invoice_number": f"INV-{day:%y%m}-{4000 + number}",
        "group_tag": f"{day:%b%d}-{'ABCDE'[vessel % 5]}".upper(),
        "from_address": {"street_address": street, "country": "SG", "latitude": point[0], "longitude": point[1]},
        "from_time_window": {"start_time_utc": times[0], "end_time_utc": times[1]},
        "from_contact": {"name": draws.choice(PEOPLE), "phone": "+6560000000", "company_name": sender},
        "to_address": {"street_address": berth, "country": "SG", "latitude": target[0], "longitude": target[1]},
        "to_time_window": {"start_time_utc": times[2], "end_time_utc": times[3]},
        "to_contact": {
            "name": draws.choice(PEOPLE),
            "phone": "+6580000000",
            "vessel_name": VESSELS[vessel],
            "vessel_imo": _imo(931_207 + 4_733 * vessel),
            "berth_no": berth_no,
        },
        "broadcast_preference": draws.choice(("squad", "squad", "all", "all", "marine")),
        "pickup_note_to_driver": "Ask for the store keeper",
        "price": price,
        "currency": "SGD",
        "min_price": price,
        "max_price": price + 1_000_000,
        "increment": 250_000,
        "items": [
            {
                "name": name,
                "quantity": draws.randrange(1, 9),
                "weight": weight,
                "weight_unit": "kg",
                "description": unit,
            }
            for name, weight, unit in draws.sample(GOODS, draws.randrange(1, 4))
        ],
        "client_time_utc": datetime.fromtimestamp(round(created), UTC).isoformat().replace("+00:00", "Z"),
        "client_timezone": "Asia/Singapore",
        "vehicle_preference": draws.choice(VEHICLES),
        "service_type": "ftl",
    }


def _imo(first_six: int) -> int:
    """An IMO number with these first six digits; the seventh is a check digit."""
    digits = [int(digit) for digit in str(first_six)]
    return first_six * 10 + sum(digit * factor for digit, factor in zip(digits, range(7, 1, -1), strict=True)) % 10
