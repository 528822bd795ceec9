"""The rules that an order must keep before it is sent."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gotsurge_async.models.phones import NOT_E164, problem_of
from gotsurge_async.models.places import Address, Contact, TimeWindow
from gotsurge_async.models.rules import Finding, Severity, check_order, imo_check_digit, nearest
from gotsurge_async.models.tasks import CargoDetail, Item, Order
from gotsurge_async.money import Money
from tests.support.order_forms import NOW, good_order, orders, window

DAY = datetime(2030, 3, 5, tzinfo=UTC)


def check(**changes: Any) -> list[Finding]:
    return check_order(good_order(**changes), now=NOW)


def the_fault(**changes: Any) -> Finding:
    (finding,) = check(**changes)
    assert finding.severity is Severity.FAULT
    return finding


def test_a_good_order_has_no_findings() -> None:
    """An order that keeps every rule gives an empty list."""
    assert check() == []


@given(orders())
@settings(deadline=None)
def test_orders_made_to_the_rules_have_no_findings(order: Order) -> None:
    """Whatever the values are, an order within the rules is not complained about."""
    assert check_order(order, now=NOW) == []


@pytest.mark.parametrize(
    ("field", "value", "meant"),
    [
        ("broadcast_preference", "squads", "squad"),
        ("vehicle_preference", "lory_10ft", "lorry_10ft"),
        ("service_type", "", ""),
    ],
)
def test_an_unknown_enum_value_is_a_fault_that_offers_the_nearest(field: str, value: str, meant: str) -> None:
    """An enumeration takes only what the document lists; what is only near to it is no proposal."""
    finding = the_fault(**{field: value})
    assert (finding.path, finding.value) == (field, value)
    assert (f'did you mean "{meant}"' in finding.message) == bool(meant)
    assert finding.proposal is None


@pytest.mark.parametrize("value", ["VAN_1.7M", " Van 1.7m", "van-1.7M"])
def test_the_shape_of_an_enum_value_is_proposed(value: str) -> None:
    """What differs from a known value in capitals, spaces and dashes alone was certainly meant to be it."""
    finding = the_fault(vehicle_preference=value)
    assert finding.proposal == "van_1.7m"
    assert "did you mean" not in finding.message


def degrees(**given: float) -> dict[str, Any]:
    """A delivery to a place."""
    return {"to_address": Address(zip_code="018956", **given)}


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        (degrees(latitude=90.5, longitude=1.0), "to_address.latitude"),
        (degrees(latitude=1.0, longitude=-181.0), "to_address.longitude"),
        (degrees(latitude=float("nan"), longitude=1.0), "to_address.latitude"),
        (degrees(latitude=1.0), "to_address.longitude"),
        (degrees(longitude=1.0), "to_address.latitude"),
        (degrees(altitude=float("inf")), "to_address.altitude"),
        ({"from_address": Address(country="Singapore")}, "from_address"),  # which says nothing to a driver
        *(
            ({"to_contact": Contact(vessel_imo=imo)}, "to_contact.vessel_imo")
            for imo in (9074728, 123456, 90747290, -9074729)
        ),
        ({"cargo_net_quantity": -1}, "cargo_net_quantity"),
        ({"total_item_weight": -0.5}, "total_item_weight"),
        ({"total_item_volume": float("nan")}, "total_item_volume"),
        ({"items": [Item(), Item(weight=-1.0)]}, "items[1].weight"),
        ({"cargo_details": [CargoDetail(height=float("inf"))]}, "cargo_details[0].height"),
    ],
)
def test_a_value_that_cannot_be_is_a_fault(changes: dict[str, Any], path: str) -> None:
    """A place is on this earth, with both coordinates or neither; measures are numbers from 0."""
    assert the_fault(**changes).path == path


@pytest.mark.parametrize(
    ("code", "country", "severity", "proposal"),
    [
        ("018956", None, None, None),
        ("18956", None, Severity.FAULT, "018956"),
        ("18956.0", "SG", Severity.FAULT, "018956"),
        ("'018956", "Singapore", Severity.FAULT, "018956"),
        ("S(018956)", None, Severity.FAULT, "018956"),
        ("018 956", None, Severity.FAULT, "018956"),
        ("01895", None, Severity.WARNING, None),
        ("18956", "Republic of Singapore", Severity.FAULT, "018956"),
        ("Singapore 018956", "sg", Severity.FAULT, "018956"),
        ("1895", "SGP", Severity.FAULT, None),
        ("1895", None, Severity.WARNING, None),
        ("SW1A 1AA", None, Severity.WARNING, None),
        ("SW1A 1AA", "SG", Severity.FAULT, None),
        ("81100", "MY", None, None),
        ("SW1A 1AA", "GB", None, None),
        ("٠١٨٩٥٦", "SG", Severity.FAULT, None),
    ],
)
def test_a_postal_code_of_singapore_has_six_digits(
    code: str, country: str | None, severity: Severity | None, proposal: str | None
) -> None:
    """A code that lost its zero is a fault, as is any other in Singapore; another country's is not checked."""
    findings = check(to_address=Address(zip_code=code, country=country))
    assert [(finding.path, finding.severity, finding.proposal) for finding in findings] == (
        [] if severity is None else [("to_address.zip_code", severity, proposal)]
    )


@pytest.mark.parametrize(
    ("phone", "proposal"),
    [
        ("+65 6941-1942", "+6569411942"),
        ("(+65) 6941 1942", "+6569411942"),
        ("006569411942", "+6569411942"),
        ("6569411942", "+6569411942"),
        ("65 9175 5010", "+6591755010"),
        ("6512345678", None),
        ("69411942", None),
        ("6.59E+09", None),
        ("+0569411942", None),
        ("+65694119421942194", None),
    ],
)
def test_a_phone_number_is_e164_and_the_fault_proposes_the_right_one(phone: str, proposal: str | None) -> None:
    """Only + and digits are taken; where the meaning is clear the right form is proposed."""
    finding = the_fault(officer_contact=Contact(phone=phone))
    assert finding.path == "officer_contact.phone"
    assert finding.message == problem_of(phone)
    assert (finding.message == NOT_E164) == (proposal is not None)
    assert finding.proposal == proposal


@given(st.integers(100_000, 999_999))
@settings(deadline=None)
def test_exactly_one_last_digit_makes_an_imo_number(six: int) -> None:
    """Of the ten numbers with the same six digits one passes."""
    passing = [six * 10 + last for last in range(10) if not check(to_contact=Contact(vessel_imo=six * 10 + last))]
    assert passing == [six * 10 + imo_check_digit(six * 10)]


@pytest.mark.parametrize(
    ("pickup", "delivery", "path", "other"),
    [
        ((3, 1), (4, 6), "from_time_window.end_time_utc", "from_time_window.start_time_utc is 2030-03-05 03:00Z"),
        ((1, 5), (4, 6), "to_time_window.start_time_utc", "from_time_window.end_time_utc is 2030-03-05 05:00Z"),
        ((1, 3), (6, 4), "to_time_window.end_time_utc", "to_time_window.start_time_utc is 2030-03-05 06:00Z"),
    ],
)
def test_windows_out_of_order_name_both_times(
    pickup: tuple[int, int], delivery: tuple[int, int], path: str, other: str
) -> None:
    """Pickup start, pickup end, delivery start and delivery end follow each other."""
    finding = the_fault(from_time_window=window(DAY, *pickup), to_time_window=window(DAY, *delivery))
    assert finding.path == path
    assert other in finding.message


def test_windows_may_touch_and_the_delivery_window_may_be_missing() -> None:
    """Equal times are in order."""
    assert check(from_time_window=window(DAY, 3, 3), to_time_window=window(DAY, 3, 3)) == []
    assert check(to_time_window=None) == []


def test_messages_show_times_in_the_users_zone() -> None:
    """A person reads the times of the zone in which they were written."""
    order = good_order(from_time_window=window(DAY, 3, 1))
    (finding,) = check_order(order, now=NOW, zone=ZoneInfo("Asia/Singapore"))
    assert finding.value == "2030-03-05 09:00+08:00"
    assert "2030-03-05 11:00+08:00" in finding.message


@pytest.mark.parametrize(("year", "zone"), [(1, "America/New_York"), (9999, "Asia/Singapore")])
def test_the_ends_of_the_calendar_can_be_told_in_any_zone(year: int, zone: str) -> None:
    """A time that has no counterpart in the user's zone is shown as its day."""
    edge = datetime(1, 1, 1, tzinfo=UTC) if year == 1 else datetime(year, 12, 31, 23, tzinfo=UTC)
    order = good_order(from_time_window=TimeWindow(start_time_utc=edge, end_time_utc=edge))
    found = check_order(order, now=NOW, zone=ZoneInfo(zone))
    assert [finding.path for finding in found] == [
        "from_time_window.end_time_utc" if year == 1 else "to_time_window.start_time_utc"
    ]
    assert all(finding.message for finding in found)


END = good_order().from_time_window.end_time_utc
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("preference", "now", "words"),
    [
        ("marine", END + MINUTE, "the pickup has already ended (the time is now 2030-03-05 03:01Z)"),
        ("squad", END + MINUTE, "the pickup has already ended"),
        ("all", END, "the pickup ends soon: drivers have 0 minutes to take it"),
        ("marine", END - 59 * MINUTE, "drivers have 59 minutes to take it"),
        ("all", END - 60 * MINUTE, None),
        ("squad", END - 91 * MINUTE, None),
        ("squad", END - 45 * MINUTE, "until 30 minutes before the pickup ends: drivers have 15 minutes to take it"),
        (
            "squad",
            END - 20 * MINUTE,
            "drivers could take it only until 2030-03-05 02:30Z (the time is now 2030-03-05 02:40Z)",
        ),
    ],
)
def test_a_pickup_too_soon_is_a_warning(preference: str, now: datetime, words: str | None) -> None:
    """Less than an hour to find a driver is told, by the cut-off of the broadcast; it may be meant, so it is sent."""
    findings = check_order(good_order(broadcast_preference=preference), now=now)
    if words is None:
        assert findings == []
        return
    (finding,) = findings
    assert finding.severity is Severity.WARNING
    assert finding.path == "from_time_window.end_time_utc"
    assert words in finding.message


def test_the_currency_is_proposed_in_capitals() -> None:
    """A currency in small letters has one meaning."""
    assert the_fault(price=None, currency="sgd").proposal == "SGD"
    assert the_fault(price=None, currency="S$").proposal is None


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"price": Money.of("1.99999", "SGD")}, "price", "below the lowest price, SGD 2.00"),
        ({"price": Money.of("0", "SGD")}, "price", "below the lowest price"),
        ({"price": Money.of("1000.01", "SGD")}, "price", "above the limit of SGD 1000.00"),
        ({"admin_fee": Money.of("-1", "SGD")}, "admin_fee", "negative"),
        ({"price": None, "increment": Money(millicents=1, currency="")}, "increment", "has no currency"),
        ({"price": None, "currency": "sgd"}, "currency", "three capital letters"),
        ({"min_price": Money.of("9", "SGD"), "max_price": Money.of("8", "SGD")}, "max_price", "below min_price"),
    ],
)
def test_money_out_of_bounds_is_a_fault(changes: dict[str, Any], path: str, words: str) -> None:
    """Prices have a least, a most, an order and a currency."""
    finding = the_fault(**changes)
    assert finding.path == path
    assert words in finding.message


def test_the_least_and_the_greatest_price_pass() -> None:
    """SGD 2.00 and SGD 1,000.00 are inside the bounds."""
    assert check(price=Money.of("2.00", "SGD")) == []
    assert check(price=Money.of("1000", "SGD")) == []


@pytest.mark.parametrize(
    ("limit", "passes"),
    [
        (Money.of("5000", "SGD"), True),
        (Money(millicents=500_000_000, currency=""), True),
        (Money.of("5000", "USD"), False),
        (Money.of("1499.99", "SGD"), False),
    ],
)
def test_the_limit_of_the_price_is_the_users(limit: Money, passes: bool) -> None:
    """A limit holds for its own currency, or for every currency if it names none."""
    findings = check_order(good_order(price=Money.of("1500", "SGD")), now=NOW, max_price=limit)
    assert (findings == []) is passes


def test_every_fault_of_an_order_is_found() -> None:
    """One fault does not hide another."""
    findings = check(service_type="x", price=Money.of("1", "SGD"), to_contact=Contact(phone="1", vessel_imo=1))
    assert {finding.path for finding in findings} == {
        "service_type",
        "price",
        "to_contact.phone",
        "to_contact.vessel_imo",
    }


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("street adress", "from_address.street_address"),
        ("From_Adress.City", "from_address.city"),
        ("zzz", None),
    ],
)
def test_the_nearest_name_is_found_in_other_spellings(name: str, meant: str | None) -> None:
    """Case, blanks and the object in front do not matter; what is far from everything has no nearest."""
    assert nearest(name, ["from_address.street_address", "from_address.city", "price"]) == meant
