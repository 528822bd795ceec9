"""Phone numbers in international form: what is a number, what is wrong with others, and what is proposed instead."""

import re

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumber, PhoneNumberFormat, PhoneNumberType, ValidationResult

from gotsurge_async.models import phones
from gotsurge_async.models.phones import (
    AMBIGUOUS,
    BRACKETED_ZERO,
    LEADING_ZERO,
    NO_COUNTRY,
    NO_SUCH_COUNTRY,
    NOT_A_LENGTH,
    NOT_E164,
    NOT_ONLY_DIGITS,
    is_international,
    meant_by,
    problem_of,
    region_of,
)

MISTYPED = "is not a phone number of Singapore: a digit may be mistyped"
FAULTS = [
    ("+44 (0)20 7946 0958", BRACKETED_ZERO, "+442079460958"),
    ("+44(0)2079460958", BRACKETED_ZERO, "+442079460958"),
    ("(+44) (0) 20 7946 0958", BRACKETED_ZERO, "+442079460958"),
    ("0044 (0)20 7946 0958", BRACKETED_ZERO, "+442079460958"),
    ("+49-(0)171-1234567", BRACKETED_ZERO, "+491711234567"),
    ("+39 (0)6 698 12345", BRACKETED_ZERO, "+390669812345"),  # Italy's numbers keep their zero
    ("+225 (0)7 07 12 34 56", BRACKETED_ZERO, "+2250707123456"),
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
    ("+112125550100", NOT_E164, "+12125550100"),  # North America dials a 1 within the country
    ("+65 1234", "is too short for Singapore: 4 digits instead of 8", None),
    ("+656123456", "is too short for Singapore: 7 digits instead of 8", None),
    ("+65612345678", "is too long for Singapore: 9 digits instead of 8", None),
    ("+4420794609", "is too short for the country code +44: 8 digits instead of 9 or 10", None),
    ("+61 1234", "is too short for the country code +61: 4 digits instead of 9", None),
    ("+225 07 07", "is too short for the country code +225: 4 digits instead of 10", None),
    ("+999 0123456", NO_SUCH_COUNTRY, None),
    ("0065 12345678", MISTYPED, None),
    ("+0569411942", NO_SUCH_COUNTRY, None),
    ("+999 123456", NO_SUCH_COUNTRY, None),
    ("+65", NOT_A_LENGTH, None),
    ("+65" + "1" * 30, NOT_A_LENGTH, None),
    ("0091755010", "is too short for the country code +91: 6 digits instead of 10", None),
    ("00 39 06 698 12345", NOT_E164, "+390669812345"),
    ("+44 20 7946 0958", NOT_E164, "+442079460958"),
    ("+65 9175 5010", NOT_E164, "+6591755010"),
    ("\u202a+65 9175 5010\u202c", NOT_E164, "+6591755010"),  # copied from an address book
    ("\uff0b\uff16\uff15 9175 5010", NOT_E164, "+6591755010"),
    ("6591755010", NOT_E164, "+6591755010"),
    ("6591755010.0", NOT_E164, "+6591755010"),
    ("69411942", NO_COUNTRY, None),
    ("(020) 7946 0958", NO_COUNTRY, None),
    ("call Mei (0)", NOT_ONLY_DIGITS, None),
    ("+65 9175 5010 ext. 12", NOT_ONLY_DIGITS, None),
    ("+65 9175 5010, +65 9123 4567", NOT_ONLY_DIGITS, None),
    ("+65 9175 5010" + " " * 60, NOT_ONLY_DIGITS, None),
    ("-", NOT_ONLY_DIGITS, None),
]
NATIONAL = [
    ("9175 5010", "SG", "+6591755010"),
    ("91755010.0", "SG", "+6591755010"),
    ("6591755010", "SG", "+6591755010"),
    ("65123456", "SG", "+6565123456"),
    ("020 7946 0958", "GB", "+442079460958"),
    ("0171/1234567", "DE", "+491711234567"),
    ("1711234567.0", "DE", "+491711234567"),
    ("4901711234567", "DE", "+491711234567"),
    ("02 1234 56789", "IT", "+3902123456789"),
    ("8 (912) 345-67-89", "RU", "+79123456789"),
    ("011 44 20 7946 0958", "US", "+442079460958"),
    ("+44 (0)20 7946 0958", "SG", "+442079460958"),
]
NOT_NATIONAL = [
    ("6123456", "SG", "is too short for Singapore: 7 digits instead of 8"),
    ("91234567/97654321", "SG", NOT_ONLY_DIGITS),
    ("6123 4567/8", "SG", NOT_ONLY_DIGITS),
    ("040 36123-4/5", "DE", NOT_ONLY_DIGITS),
    ("030 123456 / 654321", "DE", NOT_ONLY_DIGITS),
    ("001 65 6234 5678", "HK", AMBIGUOUS),  # 001 is dialled there before the country
    ("0011 65 6234 5678", "AU", AMBIGUOUS),
    ("018956 91234567", "SG", "is not a phone number of the country code +95: a digit may be mistyped"),
    ("091755010", "SG", "is too long for Singapore: 9 digits instead of 8"),
    ("612345678", "SG", "is too long for Singapore: 9 digits instead of 8"),
    ("12345678", "SG", MISTYPED),
    ("491711234567", "DE", AMBIGUOUS),  # a mobile, or one of the area 04917
    ("+65 0091755010", "SG", LEADING_ZERO),
    ("1", "SG", NOT_A_LENGTH),
]


def examples() -> list[tuple[str, PhoneNumber]]:
    """An example of each kind of number of each region that the library knows."""
    kinds = [kind for kind in PhoneNumberType.values() if kind != PhoneNumberType.UNKNOWN]
    numbers = [
        (region, phonenumbers.example_number_for_type(region, kind))
        for region in sorted(phonenumbers.SUPPORTED_REGIONS)
        for kind in kinds
    ]
    return [
        (region, number)
        for region, number in numbers
        if number is not None
        # Canada's 310-1234 is not dialled from abroad.
        and phonenumbers.is_possible_number_with_reason(number) == ValidationResult.IS_POSSIBLE
    ]


EXAMPLES = examples()
assert len(EXAMPLES) > 1000


@pytest.mark.parametrize(("text", "problem", "meant"), FAULTS)
def test_what_is_wrong_and_what_is_meant(text: str, problem: str, meant: str | None) -> None:
    """A number in another form is a fault with its reason, and no number is proposed that is not certain."""
    assert not is_international(text)
    assert (problem_of(text), meant_by(text)) == (problem, meant)
    assert meant is None or is_international(meant)


@pytest.mark.parametrize(("text", "digits"), [("6.59E+09", 3), ("6,59175E+09", 6), ("+6.6e9", 2), ("7E+09", 1)])
@pytest.mark.parametrize("region", [None, "SG"])
def test_what_a_spreadsheet_has_rounded_is_lost(text: str, digits: int, region: str | None) -> None:
    """The reason gives the number of digits that are left, and no number is proposed."""
    assert problem_of(text, region).startswith(f"a spreadsheet has rounded this number to {digits} digits")
    assert meant_by(text, region) is None


@pytest.mark.parametrize(("text", "region", "meant"), NATIONAL)
def test_a_number_of_a_country_that_is_named(text: str, region: str, meant: str) -> None:
    """It is read as people of that country write it, with the digits that they dial only within the country."""
    assert meant_by(text, region) == meant


@pytest.mark.parametrize(("text", "region", "problem"), NOT_NATIONAL)
def test_what_is_no_number_of_a_country_that_is_named(text: str, region: str, problem: str) -> None:
    """The reason is of that country."""
    assert (meant_by(text, region), problem_of(text, region)) == (None, problem)


@pytest.mark.parametrize(
    "number",
    [
        *("+442079460958", "+6591755010", "+390669812345", "+2250707123456", "+2290197123456", "+24106123456"),
        *("+4702000", "+81007712345678", "+3780549886377", "+380441234567", "+12125550100", "+870773123456"),
        "+6580000000",  # possible, and not known to be in use
    ],
)
def test_zeros_that_belong_to_a_number(number: str) -> None:
    """Italy, Ivory Coast, Benin, San Marino and others keep a zero, and +380 ends with one."""
    assert is_international(number)


@pytest.mark.parametrize("number", ["+659123456789", "+6591234567890", "+6512345678"])
def test_what_singapore_does_not_have(number: str) -> None:
    """A number of Singapore is one of its plan, not only as long as some other number there."""
    assert not is_international(number)
    assert meant_by(number) is None


@given(st.sampled_from(EXAMPLES))
def test_every_form_of_a_number_is_read_as_the_same(example: tuple[str, PhoneNumber]) -> None:
    """E.164, the international form, and the national form in its country, of all regions."""
    region, number = example
    e164, international, national = (
        phonenumbers.format_number(number, form)
        for form in (PhoneNumberFormat.E164, PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.NATIONAL)
    )
    assert is_international(e164)
    assert meant_by(e164) == meant_by(international) == e164
    if number.country_code != 1:  # 001 is an exit code in Hong Kong and elsewhere
        assert meant_by(international.replace("+", "00", 1)) == e164
    assert meant_by(international, "SG") == meant_by(national, region) == e164


@given(st.sampled_from(EXAMPLES), st.text("0123456789", max_size=3), st.integers(0, 12))
def test_the_quick_look_says_what_the_library_says(example: tuple[str, PhoneNumber], digits: str, cut: int) -> None:
    """A number that needs no closer look is one that the library reads to its last digit, and finds possible."""
    _, number = example
    national = digits + phonenumbers.national_significant_number(number)[cut:]
    text = f"+{number.country_code}{national}"
    form = phones._plain_form(str(number.country_code))
    assert form is not None
    if form.fullmatch(national) and len(text) <= 16:
        assert phonenumbers.format_number(phonenumbers.parse(text), PhoneNumberFormat.E164) == text
        assert phonenumbers.is_possible_number(phonenumbers.parse(text))


@given(
    st.text(max_size=30) | st.from_regex(r"[+(]*[0-9 ()\-/.+eE]{1,24}", fullmatch=True),
    st.sampled_from([None, "SG", "DE", "IT"]),
)
def test_no_text_is_too_odd(text: str, region: str | None) -> None:
    """What is proposed is good, and is made of the text's own digits; there is a reason for all else."""
    meant = meant_by(text, region)
    assert problem_of(text, region)
    if meant is not None:
        assert is_international(meant)
        assert (
            re.sub(r"\D", "", meant)[-4:] in "".join(str(int(d)) for d in text if d.isdecimal()).removesuffix("0") + "0"
        )


@pytest.mark.parametrize(
    ("sample", "region"),
    [
        ("+65 61234567", "SG"),
        ("+44 7911123456", "GB"),
        ("+1 2125550100", "US"),
        ("+1 2425550100", "US"),
        ("+999 12345", None),
    ],
)
def test_the_country_of_a_sample(sample: str, region: str | None) -> None:
    """It is the main one of the code."""
    assert region_of(sample) == region
