"""Invented orders of ship supplies in Singapore: any number of them, the same every time for one seed.

    python examples/generate_orders.py --count 500 --seed 7 --out DIR                  DIR/orders.csv and DIR/items.csv
    python examples/generate_orders.py --count 500 --seed 7 --out DIR --format jsonl   DIR/orders.jsonl

Companies, people, vessels and boats are invented. The phone numbers are well formed but lie in blocks that Singapore
has not given to anybody, and the IMO numbers have a right check digit in a series (3xxxxxx) that we know no ship to
carry: a file that ends up in the wrong place rings at nobody's door.

Only the standard library is used, and an order is forgotten once it is written: a million need no more memory than ten.
"""

import argparse
import csv
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

Order = dict[str, str]
"""One row of orders.csv: a column (the API's field, nested ones dotted) -> its text, "" where nothing is known."""

Item = dict[str, str]
"""One row of items.csv: the same for one item; weight and volume are those of one piece."""

_ADDRESS = ("street_address", "building_name", "city", "country", "zip_code", "latitude", "longitude")
_WINDOW_COLUMNS = tuple(f"{end}_time_window.{at}_time_utc" for end in ("from", "to") for at in ("start", "end"))
_TO_CONTACT = ("name", "phone", "vessel_name", "vessel_imo", "berth_no", "lighter_boat_name")

ORDER_COLUMNS = (
    *("tracking_id", "invoice_number", "group_tag", "broadcast_preference", "vehicle_preference", "service_type"),
    *("currency", "price"),
    *(f"from_address.{field}" for field in _ADDRESS),
    *_WINDOW_COLUMNS[:2],
    *(f"from_contact.{field}" for field in ("name", "phone", "company_name")),
    *(f"to_address.{field}" for field in _ADDRESS),
    *_WINDOW_COLUMNS[2:],
    *(f"to_contact.{field}" for field in _TO_CONTACT),
    *("pickup_note_to_driver", "delivery_note_to_driver", "cargo_net_quantity", "client_time_utc", "client_timezone"),
)
ITEM_COLUMNS = ("tracking_id", "name", "description", "quantity", "weight", "weight_unit", "volume", "volume_unit")

_WHOLE_NUMBERS = frozenset({"cargo_net_quantity", "vessel_imo", "quantity"})
_NUMBERS = frozenset({"latitude", "longitude", "weight", "volume"})

# Far ahead, so that no pickup is over for years. 2030-03-04 is a Monday; it is 09:00 in Singapore.
CLIENT_TIME = datetime(2030, 3, 4, 1, tzinfo=UTC)
_MIDNIGHT = datetime(2030, 3, 3, 16, tzinfo=UTC)  # of that Monday, in Singapore


class Article(NamedTuple):
    """What a chandler sells; `load` is what one piece takes of a vehicle, in grams."""

    name: str
    description: str
    weight: str
    volume: str
    most: int
    load: int


# Bulky goods fill a vehicle before they weigh it down: a cubic metre counts for at least this much.
_KG_PER_M3 = 350


def _article(name: str, description: str, weight: str, volume: str, most: str) -> Article:
    load = int(1000 * max(Decimal(weight), _KG_PER_M3 * Decimal(volume)))
    return Article(name, description, weight, volume, int(most), load)


def _rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]


# trade | name | description | kg and m3 of one piece | the most pieces that an order asks for
_ARTICLES = _rows("""
coatings   | Anti-fouling paint, red      | 20 L pail; keep upright          | 33   | 0.024 | 160
coatings   | Epoxy primer, grey           | two parts, 16 L + 4 L            | 29.5 | 0.025 | 120
coatings   | Thinner No. 17               | 20 L drum, UN 1263, flammable    | 17.2 | 0.023 | 80
coatings   | Deck paint, green            | non-slip, 20 L pail              | 27.8 | 0.024 | 160
coatings   | Rust converter               | 5 L can                          | 6.1  | 0.007 | 40
rigging    | Mooring rope, 8 strands      | polypropylene, 56 mm x 220 m     | 304  | 0.9   | 12
rigging    | Wire rope, 6x36              | 24 mm x 200 m, on a drum         | 462  | 0.26  | 8
rigging    | Bow shackles                 | 1 1/4", galvanised, 12 t         | 4.9  | 0.002 | 60
rigging    | Chain block                  | 3 t, 6 m of lift                 | 31   | 0.04  | 10
rigging    | Fender, pneumatic            | Ø 1.0 m, 1.5 m long, with net    | 145  | 1.18  | 6
provisions | Rice, jasmine                | 25 kg sack                       | 25   | 0.032 | 120
provisions | Chicken, frozen              | carton of 10 kg, keep at -18 °C  | 10.6 | 0.02  | 200
provisions | Vegetables, mixed            | crate: cabbage, leeks, jalapeños | 12.4 | 0.045 | 90
provisions | Crème UHT                    | 12 x 1 L                         | 12.9 | 0.015 | 60
provisions | Eggs                         | tray of 30, fragile              | 2    | 0.01  | 90
safety     | Fire extinguisher, powder    | 9 kg, EN 3                       | 14.3 | 0.028 | 60
safety     | Life jacket, SOLAS           | adult, with light                | 1.3  | 0.022 | 120
safety     | Immersion suit               | size "universal"                 | 4.8  | 0.04  | 40
safety     | Fire hose                    | 2 1/2", 20 m, couplings fitted   | 9.7  | 0.03  | 40
safety     | Breathing apparatus          | 6 L, 300 bar, serviced           | 15.9 | 0.085 | 12
spares     | Ballast pump impeller        | bronze, Ø 310 mm                 | 21.5 | 0.022 | 6
spares     | Mechanical seal              | for the sea water pump, 65 mm    | 1.8  | 0.003 | 16
spares     | Fuel filter elements         | 10 µm, box of 6                  | 5.4  | 0.014 | 60
spares     | Piston rings                 | main engine, one set             | 42   | 0.06  | 12
spares     | Lube oil, SAE 40             | 208 L drum                       | 196  | 0.23  | 48
cabin      | Mattress, single             | 190 x 80 cm, flame retardant     | 11   | 0.19  | 30
cabin      | Detergent                    | 20 L can                         | 20.9 | 0.023 | 80
cabin      | Printer paper, A4            | 5 reams                          | 12.5 | 0.016 | 40
cabin      | Navigation charts            | sealed; for the 2nd officer only | 1.9  | 0.012 | 6
cabin      | LED tubes, 18 W              | box of 25                        | 6.2  | 0.032 | 40
""")

# street | building | zip code | latitude | longitude | company | trade | storekeeper | phone
_WAREHOUSES = _rows("""
21 Tuas Avenue 9, #01-08 | | 639178 | 1.3215 | 103.6512 | Tanjong Coatings Pte Ltd | coatings | Goh Wei Ming | 69410217
48 Pioneer Sector 1 | Halyard Yard | 628446 | 1.3139 | 103.6885 | Halyard & Sons | rigging | Arun Kumaran | 69410365
15 Pandan Crescent | Cold Store 2 | 128471 | 1.3121 | 103.7579 | Green Basket | provisions | Siti Aminah | 69411180
7 Loyang Way 4 | | 507612 | 1.3697 | 103.9707 | Lion Gate Marine Safety | safety | Lim Mei Ling | 69411942
102 Gul Circle | Block C | 629588 | 1.3155 | 103.6755 | Bukit Timur Engine Spares | spares | Arun Pillai | 69412506
30 Changi South Street 1, #03-05 | | 486771 | 1.3352 | 103.9633 | Merbok Cabin Stores | cabin | Chong Kok Wah | 69412873
9 Penjuru Lane | Food Hub | 609192 | 1.3073 | 103.7358 | Straits Larder, Pte. Ltd. | provisions | Noor H. | 69413304
66 Tuas South Avenue 8 | | 637134 | 1.2896 | 103.6290 | Kestrel Pumps & Parts | spares | Zoë Pereira | 69413658
5 Jurong Port Road, #04-11 | | 619093 | 1.3188 | 103.7174 | Red Buoy Fire & Rescue | safety | Tan Boon Huat | 69414021
12 Loyang Crescent | Block 204 | 509011 | 1.3813 | 103.9821 | Anchor Row Deck Stores | rigging | M. Faizal | 69414477
""")

# street | building | zip code | latitude | longitude | kind | how its berths are numbered
_PLACES = _rows("""
31 Marina Coastal Drive                 | Marina South Pier           | 018988 | 1.2709 | 103.8632 | pier      |
60 West Coast Ferry Road                | West Coast Pier             | 126978 | 1.2929 | 103.7641 | pier      |
25 Loyang Crescent                      | Loyang Offshore Supply Base | 508988 | 1.3784 | 103.9863 | berth     | L
1 Tuas South Boulevard                  | Tuas Megaport               | 639412 | 1.2432 | 103.6225 | berth     | T
7 Keppel Road                           | Keppel Terminal             | 089053 | 1.2678 | 103.8382 | berth     | K
3 Brani Terminal Avenue                 | Brani Terminal              | 098680 | 1.2593 | 103.8367 | berth     | B
33 Harbour Drive                        | Pasir Panjang Terminal      | 117606 | 1.2763 | 103.7879 | berth     | P
37 Jurong Port Road                     | Jurong Port                 | 619110 | 1.3062 | 103.7190 | berth     | J
West Coast Pier, then by lighter        | Western Anchorage           | 126978 | 1.2375 | 103.7483 | anchorage |
Marina South Pier, then by lighter      | Eastern Anchorage           | 018988 | 1.2833 | 103.9367 | anchorage |
""")

# In the order of their size, the first that takes the load is chartered: name | kg | cents | cents for a km.
_VEHICLES = _rows("""
motorcycle | 12    | 900   | 35
car        | 50    | 1500  | 45
mpv        | 120   | 2000  | 55
van_1.7m   | 400   | 2800  | 70
van_2.4m   | 900   | 3800  | 85
lorry_10ft | 1500  | 5500  | 110
lorry_14ft | 2500  | 8500  | 150
lorry_20ft | 5000  | 13000 | 190
lorry_24ft | 8000  | 18000 | 230
lorry_40ft | 24000 | 32000 | 300
""")

_CATALOGUE = {
    company: tuple(_article(*cells) for trade, *cells in _ARTICLES if trade == its_trade)
    for *_, company, its_trade, _, _ in _WAREHOUSES
}
_LINE_LOADS = (4, 10, 25, 60, 120, 250, 500, 1200, 4800)  # kg; five lines of the greatest fill the greatest vehicle
_MOST_BY_LTL = 2500  # kg

_FIRST_NAMES = ("Straits", "Ocean", "Coral", "Northern", "Jade", "Golden", "Sri", "Pacific", "Monsoon", "Étoile")
_SECOND_NAMES = ("Kestrel", "Meridian", "Harmony", "Tern", "Sampan", "Seraya", "Lantern", "Mariner", "Nilam", "Current")
_OFFICERS = (
    "Capt. Andrei Popescu",
    "Ch. Off. José Marañón",
    "Capt. Lee Chin Hock",
    "2/O Nguyễn Văn An",
    "Ch. Off. Ramon dela Cruz",
    "Capt. Søren Åkesson",
    "Ch. Eng. Oleh Kovalenko",
)
_LIGHTERS = ("Kim Hock 8", "Sri Laut 3", "Bumboat Lily", "Ocean Tender 2", "Swift Egret", "Teck Soon 11")

_PICKUP_NOTES = (
    "",
    "Report to the guardhouse, then loading bay 3",
    "Gate pass needed: show NRIC or work permit.\nReverse into bay 2; forklift on site.",
    'Ask for the "night store" key at the office',
    "Lunch break 12:00-13:00, nobody at the counter",
)
_BERTH_NOTES = (
    "",
    "Port pass and safety vest needed, PPE at the gate",
    "Drive to the wharf side of berth {berth}; the ship's crane takes the pallets",
    "Call the ship 30 minutes before.\nThe agent waits at the main gate, not at the berth.",
)
_LIGHTER_NOTES = (
    'Hand over to lighter "{lighter}" and keep the signed delivery order',
    'Lighter "{lighter}" waits at the pier.\nLast boat leaves half an hour before the window ends.',
    "Deliver to the boatman of {lighter}; the vessel is {vessel}",
)


class _Dice:
    """Draws that follow from the given words alone, in every Python: `random` promises that for its floats only."""

    def __init__(self, *words: object) -> None:
        # 512 bits; no order draws more than 100 of them.
        self._left = int.from_bytes(blake2b("/".join(map(str, words)).encode()).digest())

    def between(self, low: int, high: int) -> int:
        self._left, drawn = divmod(self._left, high - low + 1)
        return low + drawn

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.between(0, len(choices) - 1)]


def imo_number(n: int) -> int:
    """The IMO ship number (7 digits) whose first six digits are `n`: the last one checks the others.

    Raises ValueError unless `n` has six digits.
    """
    if not 100_000 <= n <= 999_999:
        raise ValueError(f"an IMO number is made from six digits: give 100000 to 999999, not {n}")
    weighted = sum(int(digit) * weight for digit, weight in zip(str(n), range(7, 1, -1), strict=True))
    return n * 10 + weighted % 10


def orders(count: int, seed: int) -> Iterator[Order]:
    """`count` orders, one at a time; the first ones of a greater count are those of a smaller. Keys: ORDER_COLUMNS."""
    pickups = [_pickup(cells) for cells in _WAREHOUSES]
    fleet = [_vessel(n, seed) for n in range(len(_FIRST_NAMES) * len(_SECOND_NAMES))]
    for number in range(1, count + 1):
        dice = _Dice(seed, "route", number)
        yield _order(number, seed, dice.pick(pickups), dice.pick(fleet))


def items_of(order: Order) -> list[Item]:
    """The 1 to 5 items of an order: they follow from its id and its warehouse's trade. Keys: ITEM_COLUMNS."""
    return [
        {
            "tracking_id": order["tracking_id"],
            "name": article.name,
            "description": article.description,
            "quantity": str(quantity),
            "weight": article.weight,
            "weight_unit": "kg",
            "volume": article.volume,
            "volume_unit": "m3",
        }
        for article, quantity in _lines(order["tracking_id"], order["from_contact.company_name"])
    ]


def task_of(order: Order) -> dict[str, Any]:
    """The order in the API's shape: nested, its items inside, the price in thousandths of a cent (1 SGD = 100000)."""
    task = _nested(order)
    dollars, cents = order["price"].split(".")
    task["price"] = (int(dollars) * 100 + int(cents)) * 1000
    task["items"] = [_nested({key: item[key] for key in ITEM_COLUMNS[1:]}) for item in items_of(order)]
    return task


def write_csv(folder: Path, count: int, seed: int) -> None:
    """Write orders.csv and items.csv (UTF-8, LF) into `folder`."""
    with (
        (folder / "orders.csv").open("w", encoding="utf-8", newline="") as orders_file,
        (folder / "items.csv").open("w", encoding="utf-8", newline="") as items_file,
    ):
        order_rows = csv.writer(orders_file, lineterminator="\n")
        item_rows = csv.writer(items_file, lineterminator="\n")
        order_rows.writerow(ORDER_COLUMNS)
        item_rows.writerow(ITEM_COLUMNS)
        for order in orders(count, seed):
            order_rows.writerow(order[column] for column in ORDER_COLUMNS)
            item_rows.writerows([item[column] for column in ITEM_COLUMNS] for item in items_of(order))


def write_jsonl(folder: Path, count: int, seed: int) -> None:
    """Write orders.jsonl (one task a line, UTF-8, LF) into `folder`."""
    with (folder / "orders.jsonl").open("w", encoding="utf-8", newline="") as file:
        for order in orders(count, seed):
            file.write(json.dumps(task_of(order), ensure_ascii=False) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; `arguments` are the process's own unless given."""
    parser = argparse.ArgumentParser(description="Write invented orders of ship supplies in Singapore.")
    parser.add_argument("--count", type=_not_negative, default=500, help="how many orders (500)")
    parser.add_argument("--seed", type=_not_negative, default=7, help="another seed makes other orders and ids (7)")
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="where to write (the current folder)")
    parser.add_argument("--format", choices=("csv", "jsonl"), default="csv", help="tables, or the API's shape (csv)")
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    write = write_csv if chosen.format == "csv" else write_jsonl
    write(chosen.out, chosen.count, chosen.seed)
    print(f"{chosen.count} orders written to {chosen.out / f'orders.{chosen.format}'}")


def _not_negative(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number} is below 0")
    return number


def _pickup(cells: Sequence[str]) -> Order:
    """The columns of an order that its warehouse fills."""
    *address, company, _, storekeeper, phone = cells
    contact = {"name": storekeeper, "phone": f"+65{phone}", "company_name": company}
    return _address("from_address", address) | {f"from_contact.{field}": text for field, text in contact.items()}


def _vessel(n: int, seed: int) -> Order:
    """The columns of an order that its vessel fills: who she is, where she takes her stores over, and how."""
    dice = _Dice(seed, "vessel", n)
    *address, kind, berths = dice.pick(_PLACES)
    first, second = divmod(n, len(_SECOND_NAMES))
    prefix = "MT" if kind == "anchorage" else "MV"  # tankers wait at anchor, the others come alongside
    contact = {
        "name": dice.pick(_OFFICERS),
        "phone": f"+65{dice.pick(('800', '990', '993', '997'))}{dice.between(0, 99_999):05d}",
        "vessel_name": f"{prefix} {_FIRST_NAMES[first]} {_SECOND_NAMES[second]}",
        "vessel_imo": str(imo_number(310_000 + 613 * n)),
        "berth_no": f"{berths}{dice.between(1, 40):02d}" if kind == "berth" else "",
        "lighter_boat_name": "" if kind == "berth" else dice.pick(_LIGHTERS),
    }
    return {
        "broadcast_preference": "marine" if kind == "anchorage" else dice.pick(("squad", "all")),
        **_address("to_address", address),
        **{f"to_contact.{field}": text for field, text in contact.items()},
    }


def _order(number: int, seed: int, pickup: Order, vessel: Order) -> Order:
    tracking_id = f"SHS{seed:02d}-{number:06d}"
    dice = _Dice(tracking_id, "order")
    windows = _windows(dice)
    lines = _lines(tracking_id, pickup["from_contact.company_name"])
    vehicle, service_type, cents = _charter(lines, _metres(pickup, vessel), dice)
    berth, lighter, name = (vessel[f"to_contact.{field}"] for field in ("berth_no", "lighter_boat_name", "vessel_name"))
    note = dice.pick(_BERTH_NOTES if berth else _LIGHTER_NOTES)
    order = {
        "tracking_id": tracking_id,
        "invoice_number": f"INV{seed:02d}-2030-{number:06d}",
        "group_tag": f"CALL-{vessel['to_contact.vessel_imo']}-{windows['from_time_window.start_time_utc'][5:10]}",
        "vehicle_preference": vehicle,
        "service_type": service_type,
        "currency": "SGD",
        "price": f"{cents // 100}.{cents % 100:02d}",
        "pickup_note_to_driver": dice.pick(_PICKUP_NOTES),
        "delivery_note_to_driver": note.format(berth=berth, lighter=lighter, vessel=name),
        "cargo_net_quantity": str(sum(quantity for _, quantity in lines)),
        "client_time_utc": f"{CLIENT_TIME:%Y-%m-%dT%H:%M:%SZ}",
        "client_timezone": "Asia/Singapore",
    }
    order |= pickup | vessel | windows
    return {column: order[column] for column in ORDER_COLUMNS}


def _address(prefix: str, cells: Sequence[str]) -> Order:
    street, building, *rest = cells
    values = (street, building, "Singapore", "Singapore", *rest)
    return {f"{prefix}.{field}": value for field, value in zip(_ADDRESS, values, strict=True)}


def _windows(dice: _Dice) -> Order:
    """A pickup by day, from Tuesday to Sunday, and the delivery after it."""
    pickup = _MIDNIGHT + timedelta(days=dice.between(1, 6), hours=7, minutes=15 * dice.between(0, 40))
    pickup_end = pickup + timedelta(minutes=30 * dice.between(2, 6))
    delivery = pickup_end + timedelta(minutes=15 * dice.between(0, 12))
    times = (pickup, pickup_end, delivery, delivery + timedelta(minutes=30 * dice.between(2, 8)))
    return {column: f"{at:%Y-%m-%dT%H:%M:%SZ}" for column, at in zip(_WINDOW_COLUMNS, times, strict=True)}


def _lines(tracking_id: str, company: str) -> list[tuple[Article, int]]:
    """What is ordered of a company, and how many pieces."""
    dice = _Dice(tracking_id, "items")
    line_load = dice.pick(_LINE_LOADS)
    left = list(_CATALOGUE[company])
    lines = []
    for _ in range(dice.between(1, 5)):
        article = left.pop(dice.between(0, len(left) - 1))
        grams = line_load * dice.between(500, 1000)
        lines.append((article, max(1, min(article.most, grams // article.load))))
    return lines


def _charter(lines: list[tuple[Article, int]], metres: int, dice: _Dice) -> tuple[str, str, int]:
    """Vehicle, service type and price in cents: at times a share of a truck, else the least vehicle for the load."""
    kilograms = -(-sum(article.load * quantity for article, quantity in lines) // 1000)
    vehicle, service_type, cents = "ltl", "ltl", 1200 + 6 * kilograms + metres * 30 // 1000
    if not 40 < kilograms <= _MOST_BY_LTL or dice.between(1, 3) > 1:
        vehicle, base, per_km = next((name, *price) for name, most, *price in _VEHICLES if kilograms <= int(most))
        service_type, cents = "ftl", int(base) + metres * int(per_km) // 1000
    return vehicle, service_type, cents // 50 * 50 + 50 * dice.between(0, 9)


def _metres(pickup: Order, vessel: Order) -> int:
    """Along the axes, as streets go: 0.0001 degree is 11 m in both directions, this near to the equator."""
    steps = 0
    for axis in ("latitude", "longitude"):
        start, end = (text.replace(".", "") for text in (pickup[f"from_address.{axis}"], vessel[f"to_address.{axis}"]))
        steps += abs(int(start) - int(end))
    return 11 * steps


def _nested(row: dict[str, str]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for column, text in row.items():
        if text:
            *parents, field = column.split(".")
            target = nested
            for parent in parents:
                target = target.setdefault(parent, {})
            target[field] = int(text) if field in _WHOLE_NUMBERS else float(text) if field in _NUMBERS else text
    return nested


if __name__ == "__main__":
    main()
