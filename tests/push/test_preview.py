"""The preview of a push: the first orders whole, and sums and counts over all of them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest

from gotsurge_async import codec
from gotsurge_async.models.places import Address, Contact, TimeWindow
from gotsurge_async.money import Money
from gotsurge_async.push.preview import FIRST, MOST_DAYS, MOST_LETTERS, Preview, Previewing
from tests.support.order_forms import good_order

SINGAPORE = ZoneInfo("Asia/Singapore")
EVENING = datetime(2030, 3, 4, 17, tzinfo=UTC)
"""Already the next day in Singapore."""


def window(start: datetime) -> TimeWindow:
    """A window of two hours."""
    return TimeWindow(start_time_utc=start, end_time_utc=start + timedelta(hours=2))


def previewed(*orders: object, zone: ZoneInfo | None = SINGAPORE) -> Preview:
    """The preview of some orders."""
    previewing = Previewing(zone)
    for order in orders:
        previewing.add(codec.encode_order(order)[0])  # type: ignore[arg-type]
    return previewing.done(["Remark"], ['the column "Remark" is new'])


def test_days_are_those_of_the_zone() -> None:
    """A pickup is counted on the day that it has where the orders are from, and its zone is named."""
    made = previewed(good_order(from_time_window=window(EVENING)))
    assert (made.pickups, made.zone) == ({"2030-03-05": 1}, "Asia/Singapore")


def test_amounts_are_summed_by_currency() -> None:
    """The least, the greatest and the sum of the prices, as decimals; orders without a price are in none of them."""
    made = previewed(
        *(
            good_order(price=Money.of(price, currency), currency=currency)
            for price, currency in (("48.50", "SGD"), ("2", "SGD"), ("9.10", "USD"))
        ),
        good_order(price=None, currency=None),
    )
    assert msgspec.to_builtins(made.prices) == {
        "SGD": {"least": "2.00", "greatest": "48.50", "sum": "50.50", "orders": 2},
        "USD": {"least": "9.10", "greatest": "9.10", "sum": "9.10", "orders": 1},
    }


@pytest.mark.parametrize(
    ("phone", "country"),
    [
        ("+6591755010", "+65"),
        ("+442079460958", "+44"),
        ("+12025550123", "+1"),
        ("+8613812345678", "+86"),
        ("+35312345678", "+353"),
    ],
)
def test_phones_are_counted_by_country(phone: str, country: str) -> None:
    """The country's part of a phone is cut where it ends."""
    assert previewed(good_order(from_contact=None, to_contact=Contact(phone=phone))).phones == {country: 1}


def test_postal_codes_are_counted_by_their_length() -> None:
    """A postal code that lost its zero is seen by its length; addresses without one are counted, too."""
    made = previewed(
        good_order(from_address=Address(street_address="A", zip_code="018956"), to_address=Address(street_address="B")),
        good_order(from_address=Address(zip_code="18956", country="MY"), to_address=Address(zip_code="117606")),
    )
    assert made.zip_codes == {"6": 2, "0": 1, "5": 1}


def test_the_first_orders_are_shown_whole() -> None:
    """Three orders, each with all its fields as a person writes them: amounts as decimals, times in the zone."""
    orders = [good_order(tracking_id=f"T-{number}", from_time_window=window(EVENING)) for number in range(5)]
    made = previewed(*orders)
    assert [order["tracking_id"] for order in made.first] == ["T-0", "T-1", "T-2"]
    lines = [*made.lines(SINGAPORE)]
    assert sum("as it would be sent" in line for line in lines) == FIRST
    assert "    from_time_window.start_time_utc: 2030-03-05 01:00+08:00" in lines
    assert "  columns that are not read: Remark" in lines
    assert '  the column "Remark" is new' in lines


def test_what_stands_in_a_cell_does_nothing_to_the_terminal() -> None:
    """Escape sequences and line breaks of the file are not printed, and a text of a megabyte is cut."""
    order = good_order(from_address=Address(street_address="A\x1b[2J\nB"), pickup_note_to_driver="x" * 1_000_000)
    lines = [*previewed(order).lines(SINGAPORE)]
    assert all(line.isprintable() and len(line) <= MOST_LETTERS + 1 for line in lines)
    assert "    from_address.street_address: A [2J B" in lines


def test_many_days_are_shortened() -> None:
    """A column of wrong dates does not fill the screen: the first and the last days, and how many are between."""
    starts = [EVENING + timedelta(days=number) for number in range(MOST_DAYS + 2)]
    made = previewed(*(good_order(from_time_window=window(start), to_time_window=None) for start in starts))
    assert len(made.pickups) == MOST_DAYS
    (line,) = (line for line in made.lines(SINGAPORE) if "pickups by day" in line)
    assert "… 993 more days …" in line
