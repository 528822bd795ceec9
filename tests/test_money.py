"""`gotsurge_async.money`: whole thousandths of a cent, never a float."""

import ast
import copy
import decimal
import pickle
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async import money
from gotsurge_async.errors import InvalidData
from gotsurge_async.money import MILLICENTS_PER_UNIT, Money
from tests.support.orders import order

CURRENCIES = st.sampled_from(["SGD", "MYR", "USD"])
MILLICENTS = st.integers(-(10**20), 10**20)


def sgd(millicents: int) -> Money:
    return Money(millicents=millicents, currency="SGD")


@pytest.mark.parametrize(
    ("amount", "millicents"),
    [
        ("2.00", 200_000),
        ("1.20", 120_000),
        ("0.00001", 1),
        ("-3.5", -350_000),
        (" 48.50 ", 4_850_000),
        ("+1", 100_000),
        (".5", 50_000),
        ("5.", 500_000),
        ("2.0000000000000000", 200_000),
        (2, 200_000),
        (Decimal("2.00"), 200_000),
        (Decimal("2E+1"), 2_000_000),
    ],
)
def test_an_amount_is_read_as_units_of_its_currency(amount: Any, millicents: int) -> None:
    """One unit of a currency is 100 000 thousandths of a cent, as the document's 120000 for 120 cents has it."""
    assert Money.of(amount, "SGD").millicents == millicents


@pytest.mark.parametrize(
    "amount",
    [
        *("", "2,00", "1,000.00", "1_000", "1e3", "SGD 2", "2.00 SGD", "NaN", "Infinity", "١٢", "2.000001", "--2"),
        *("9" * 40, "10000000000000000000.0000000001"),  # no digit is lost to rounding, however many stand before it
    ],
)
def test_text_that_is_no_plain_amount_is_refused(amount: str) -> None:
    """What a person would not write as an amount of money is an error that shows it."""
    with pytest.raises(ValueError, match=r"is not a decimal amount|more than five decimals"):
        Money.of(amount, "SGD")


@pytest.mark.parametrize("amount", [2.0, True, None, 2 + 0j, b"2"])
def test_a_float_is_never_taken_for_money(amount: Any) -> None:
    """Only text, Decimal and int make an amount; a bool is no int here."""
    with pytest.raises(TypeError, match="an amount of money must be text, a Decimal or an int"):
        Money.of(amount, "SGD")


@pytest.mark.parametrize("number", [2.0, "200000", True, Decimal(200_000)])
def test_millicents_are_a_whole_number(number: Any) -> None:
    """The constructor takes an int and nothing that merely looks like one."""
    with pytest.raises(TypeError, match=r"millicents \(thousandths of a cent\) must be a whole number"):
        Money(millicents=number, currency="SGD")


def test_a_bare_number_does_not_say_its_unit() -> None:
    """Neither the constructor by position nor an order takes a number without its unit."""
    with pytest.raises(TypeError):
        Money(200_000, "SGD")  # type: ignore[call-arg]
    with pytest.raises(InvalidData, match=r'price: must be money: give Money\.of\("2\.00", "SGD"\)'):
        order(price=500_000)


@pytest.mark.parametrize("currency", ["sgd", "SG", "SGDX", "S$D", "   "])
def test_a_currency_is_three_capital_letters(currency: str) -> None:
    """What is not shaped like an ISO 4217 code is refused."""
    with pytest.raises(ValueError, match="three capital letters"):
        Money.of("2.00", currency)


def test_a_currency_of_the_service_is_taken_as_it_came() -> None:
    """`in_currency` keeps the number and takes any text."""
    assert sgd(5).in_currency("s$") == sgd(5).in_currency("s$")
    assert sgd(5).in_currency("s$").currency == "s$"
    assert sgd(5).in_currency("MYR") == Money(millicents=5, currency="MYR")


@given(MILLICENTS, CURRENCIES)
def test_amount_and_of_are_inverse(millicents: int, currency: str) -> None:
    """The amount of money, as Decimal and as text, makes the same money again."""
    whole = Money(millicents=millicents, currency=currency)
    assert Money.of(whole.amount, currency) == whole
    assert Money.of(str(whole.amount), currency) == whole
    assert Money.of(str(whole).removeprefix(f"{currency} "), currency) == whole


@given(MILLICENTS, MILLICENTS, st.integers(-1000, 1000), CURRENCIES)
def test_arithmetic_is_that_of_whole_numbers(left: int, right: int, times: int, currency: str) -> None:
    """Sums, differences, multiples and comparisons are exactly those of the thousandths."""
    a, b = Money(millicents=left, currency=currency), Money(millicents=right, currency=currency)
    assert (a + b).millicents == left + right
    assert (a - b).millicents == left - right
    assert (a * times).millicents == (times * a).millicents == left * times
    assert (-a).millicents == -left
    assert bool(a) == bool(left)
    assert (a < b, a <= b, a == b, a >= b) == (left < right, left <= right, left == right, left >= right)
    assert {(a + b).currency, (a - b).currency, (a * 2).currency, (-a).currency} == {currency}


@given(st.integers(-(10**12), 10**12), st.integers(1, 8))
def test_the_decimal_context_of_the_program_changes_nothing(millicents: int, precision: int) -> None:
    """An amount is exact also where the program around has set decimals to a few digits."""
    with decimal.localcontext() as context:
        context.prec = precision
        whole = sgd(millicents)
        assert Money.of(str(whole).removeprefix("SGD "), "SGD") == whole
        assert Money.of(whole.amount, "SGD") == whole


@pytest.mark.parametrize("do", [lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a < b])
def test_two_currencies_do_not_mix(do: Any) -> None:
    """Adding, subtracting and ordering amounts of two currencies is an error that names both."""
    with pytest.raises(ValueError, match="SGD and MYR"):
        do(sgd(1), Money(millicents=1, currency="MYR"))
    with pytest.raises(TypeError, match="Money and int"):
        do(sgd(1), 1)


@pytest.mark.parametrize("times", [1.5, True, Decimal(2), sgd(2)])
def test_money_is_multiplied_by_whole_numbers(times: Any) -> None:
    """A product with anything but an int is refused."""
    with pytest.raises(TypeError, match="whole numbers"):
        _ = sgd(1) * times


def test_amounts_of_two_currencies_are_not_equal() -> None:
    """Equality asks for the currency too, and money equals no number."""
    assert sgd(1) != Money(millicents=1, currency="MYR")
    assert sgd(1) != 1
    assert len({sgd(1), sgd(1), sgd(2)}) == 2


def test_money_does_not_change() -> None:
    """An attribute cannot be set, and copies and pickles are equal."""
    whole = sgd(123_456)
    with pytest.raises(AttributeError, match="immutable"):
        whole.millicents = 1
    assert copy.deepcopy(whole) == pickle.loads(pickle.dumps(whole)) == whole  # noqa: S301
    odd = whole.in_currency("s$")
    assert pickle.loads(pickle.dumps(odd)) == odd  # noqa: S301


@pytest.mark.parametrize(
    ("millicents", "text"),
    [(200_000, "SGD 2.00"), (123_456, "SGD 1.23456"), (-5_000, "SGD -0.05"), (150_000, "SGD 1.50"), (0, "SGD 0.00")],
)
def test_money_shows_as_people_write_it(millicents: int, text: str) -> None:
    """At least two decimals, at most five; the repr makes the same money again."""
    assert str(sgd(millicents)) == text
    assert repr(sgd(millicents)) == f"Money(millicents={millicents}, currency='SGD')"
    assert str(sgd(millicents).in_currency("")) == text.replace("SGD", "?")


def test_no_float_is_in_the_module() -> None:
    """The module writes no float and calls none."""
    nodes = list(ast.walk(ast.parse(Path(money.__file__).read_text(encoding="utf-8"))))
    assert not [node for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, float)]
    assert not [node for node in nodes if isinstance(node, ast.Name) and node.id in ("float", "round")]
    assert not [node for node in nodes if isinstance(node, ast.Div)]
    assert MILLICENTS_PER_UNIT == 100_000
