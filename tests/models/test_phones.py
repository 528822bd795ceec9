"""Phone numbers in international form: which zeros they may have, and what is proposed instead."""

import pytest

from gotsurge_async.models.phones import (
    BRACKETED_ZERO,
    LEADING_ZERO,
    NOT_E164,
    is_international,
    keeps_zero,
    meant_by,
    problem_of,
)

FAULTS = [
    ("+44 (0)20 7946 0958", BRACKETED_ZERO, "+442079460958"),
    ("+44(0)2079460958", BRACKETED_ZERO, "+442079460958"),
    ("(+44) (0) 20 7946 0958", BRACKETED_ZERO, "+442079460958"),
    ("0044 (0)20 7946 0958", BRACKETED_ZERO, "+442079460958"),
    ("+49-(0)171-1234567", BRACKETED_ZERO, "+491711234567"),
    ("+39 (0)6 698 12345", BRACKETED_ZERO, None),  # Italy's numbers keep their zero
    ("+225 (0)7 07 12 34 56", BRACKETED_ZERO, None),
    ("+4402079460958", LEADING_ZERO, "+442079460958"),
    ("+44 020 7946 0958", LEADING_ZERO, "+442079460958"),
    ("+4901711234567", LEADING_ZERO, "+491711234567"),
    ("0049 0171 1234567", LEADING_ZERO, "+491711234567"),
    ("+81 090 1234 5678", LEADING_ZERO, "+819012345678"),
    ("+65 0091755010", LEADING_ZERO, None),
    ("+650091755010", LEADING_ZERO, None),
    ("+65 091755010", LEADING_ZERO, None),  # Singapore has no trunk zero: a digit may be mistyped
    ("+10212555010", LEADING_ZERO, None),
    ("+49 00171 1234567", LEADING_ZERO, None),
    ("+65 1234", NOT_E164, None),
    ("0065 12345678", NOT_E164, None),
    ("0091755010", NOT_E164, None),
    ("00 39 06 698 12345", NOT_E164, "+390669812345"),
    ("+44 20 7946 0958", NOT_E164, "+442079460958"),
    ("(020) 7946 0958", NOT_E164, None),
    ("call Mei (0)", NOT_E164, None),
]


@pytest.mark.parametrize(("text", "problem", "meant"), FAULTS)
def test_what_is_wrong_and_what_is_meant(text: str, problem: str, meant: str | None) -> None:
    """A zero that is not part of the number is a fault, and no number is proposed that cannot be."""
    assert not is_international(text)
    assert (problem_of(text), meant_by(text)) == (problem, meant)
    assert meant is None or is_international(meant)


@pytest.mark.parametrize(
    "number",
    [
        *("+442079460958", "+6591755010", "+390669812345", "+2250707123456", "+2290197123456", "+24106123456"),
        *("+4702000", "+81007712345678", "+62007803123456", "+3780549886377", "+380441234567", "+12125550100"),
    ],
)
def test_zeros_that_belong_to_a_number(number: str) -> None:
    """Italy, Ivory Coast, Benin, San Marino and others keep a zero, and +380 ends with one."""
    assert is_international(number)


def test_whose_numbers_may_begin_with_a_zero() -> None:
    """Only countries that are known not to have such numbers lose it."""
    assert [keeps_zero(country) for country in ("44", "65", "81", "39", "225", "999")] == [False] * 3 + [True] * 3
