"""Phone numbers in international form (E.164): the problem of a number, and its certain meaning.

The library phonenumbers knows the numbering plans of all countries: how long numbers are, and which digits people dial
only within the country, such as the zero of London's 020 7946 0958, which is +442079460958. A number is good if it is
possible in its country, not only if it is in use: the installed library may be older than a country's plan.
"""

import functools
import re
from collections.abc import Iterator

import phonenumbers
from phonenumbers import PhoneMetadata, PhoneNumber, PhoneNumberDesc, ValidationResult

NOT_E164 = "is not in E.164 format: write + and the country code, then only digits, such as +6561234567"
NO_COUNTRY = "has no country code: write + and the country code before the number, such as +6561234567"
BRACKETED_ZERO = "has a zero in brackets: write the number as it is dialled from abroad, such as +442079460958"
LEADING_ZERO = "has a zero after the country code, but this country's numbers never do: remove the zero"
NOT_ONLY_DIGITS = "contains something other than one phone number: write the number only, such as +6561234567"
NO_SUCH_COUNTRY = "starts with a country code that does not exist: write + and the country code, such as +6561234567"
NOT_A_LENGTH = "has too few or too many digits for a phone number"
AMBIGUOUS = "does not show whether it begins with its country code: write + and the country code before the number"

_MOST_CHARACTERS = 60
_REMEMBERED = 4096
_SINGAPORES_CODE = 65
_CODE = re.compile(r"\+(1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|[2-9][0-9]{2})", re.ASCII)
_FORM = re.compile(r"\+[1-9][0-9]{4,14}", re.ASCII)
_SINGAPORE = re.compile(r"65[3689][0-9]{7}", re.ASCII)
"""A number of Singapore without its +, as spreadsheets drop it."""
_INVISIBLE = re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2060\ufeff]")
"""Invisible characters that phones and address books put around a number that is copied from them."""
_WRITTEN = re.compile(r"\(?\s*[+\uff0b]?[\d\s().\-/\u2010-\u2015\u2212]*\d[\s)]*")
_TWO_LINES = re.compile(r"/\s*\d{1,3}\s*$|^(?:\D*\d){7,}\D*/")
"""Two numbers, of which the second may be only its end: 6123 4567/8."""
_DECORATION = re.compile(r"[\s().\-/\u2010-\u2015\u2212]+")
_BRACKETED = re.compile(r"\(\s*0\s*\)")
_OF_A_NUMBER_CELL = re.compile(r"([0-9]+)\.0+", re.ASCII)
_ROUNDED = re.compile(r"\+?[0-9](?:[.,][0-9]+)?[eE]\+?[0-9]{1,3}", re.ASCII)


def is_international(text: str) -> bool:
    """Whether the text is a possible number in E.164, without digits that are dialled only within its country."""
    code = _CODE.match(text)
    if code is None or _FORM.fullmatch(text) is None:
        return False
    form = _plain_form(code[1])
    return form is not None and (form.fullmatch(text, code.end()) is not None or _is_whole(text))


def calling_code(text: str) -> str | None:
    """The country's part of a number in E.164, such as +65; None if it begins with the code of no country."""
    code = _CODE.match(text)
    return code and code[0]


def region_of(sample: str) -> str | None:
    """The two letters of the main country of the code with which a number begins; None if there is no such country."""
    number = _parsed(sample)
    return phonenumbers.region_code_for_country_code(number.country_code or 0) if number else None


def names_country(text: str) -> bool:
    """Whether a number begins with + or 00, and so with the code of a country."""
    return _with_plus(text).startswith("+")


def meant_by(text: str, region: str | None = None) -> str | None:
    """The number that a text certainly means, in international form; None if that is not certain.

    ``region`` is the two letters of the country of numbers that name none. Without it only those of Singapore that
    begin with 65 are certain.
    """
    meanings = _meanings(text, region)
    return meanings[0] if len(meanings) == 1 else None


def problem_of(text: str, region: str | None = None) -> str:
    """The problem of a number that is not `is_international`, or that `meant_by` does not understand."""
    if _ROUNDED.fullmatch(text):
        digits = len(re.sub(r"[eE].*|\D", "", text))
        return (
            f"a spreadsheet has rounded this number to {digits} digits: format the column as text, and enter the "
            "number again"
        )
    if _cleaned(text) is None:
        return NOT_ONLY_DIGITS
    meanings, plain = _meanings(text, region), _with_plus(text)
    if len(meanings) > 1:
        return AMBIGUOUS
    if code := _CODE.match(plain):
        if _BRACKETED.search(text):
            return BRACKETED_ZERO
        if plain[code.end() :].startswith("0") and plain not in meanings and not _keeps_zero(int(code[1])):
            return LEADING_ZERO
    if meanings:
        return NOT_E164
    if plain.startswith("+"):
        number = _parsed(plain)
        return _why_impossible(number) if number else NOT_A_LENGTH if _is_of_country(plain) else NO_SUCH_COUNTRY
    number = _parsed(plain, region) if region else None
    return _why_impossible(number) if number else NOT_A_LENGTH if region else NO_COUNTRY


def _why_impossible(number: PhoneNumber) -> str:
    """The reason why a number is impossible: its length, or its digits."""
    code = number.country_code or 0
    place = "Singapore" if code == _SINGAPORES_CODE else f"the country code +{code}"
    reason = phonenumbers.is_possible_number_with_reason(number)
    if reason == ValidationResult.IS_POSSIBLE:
        return f"is not a phone number of {place}: a digit may be mistyped"
    digits, lengths = len(phonenumbers.national_significant_number(number)), _usual_lengths(code)
    known = " or ".join(map(str, lengths)) if len(lengths) < 3 else f"{lengths[0]} to {lengths[-1]}"
    what = "too long" if digits > lengths[-1] else "too short" if digits < lengths[0] else "of the wrong length"
    return f"is {what} for {place}: {digits} digits instead of {known}"


def _usual_lengths(code: int) -> list[int]:
    """The lengths of a country's landline and mobile numbers, without the code; of a service, those of all."""
    plan = _plan(code)
    if plan is None:
        return []
    return sorted({*_lengths(plan.fixed_line), *_lengths(plan.mobile)} or _lengths(plan.general_desc))


def _lengths(kind: PhoneNumberDesc | None) -> list[int]:
    return [length for length in kind.possible_length if length > 0] if kind else []


def _keeps_zero(code: int) -> bool:
    """Whether numbers of a country begin with a zero, as in Italy; also True if there is no such country."""
    plan = _plan(code)
    kinds = (plan.fixed_line, plan.mobile) if plan else ()
    return plan is None or any(kind and (kind.example_number or "").startswith("0") for kind in kinds)


def _is_of_country(plain: str) -> bool:
    code = _CODE.match(plain)
    return code is not None and _plan(int(code[1])) is not None


@functools.lru_cache(maxsize=_REMEMBERED)
def _is_whole(text: str) -> bool:
    """Whether a text in the form of E.164 is one possible number, and nothing else."""
    number = _parsed(text)
    if number is None or _e164(number) != text or not _is_possible(number):
        return False
    return number.country_code != _SINGAPORES_CODE or _is_in_plan(number)


@functools.lru_cache(maxsize=_REMEMBERED)
def _meanings(text: str, region: str | None) -> tuple[str, ...]:
    """The numbers in E.164 that a text may mean, each valid in its country's plan."""
    numbers = [number for number in _readings(text, region) if _is_in_plan(number) and _is_possible(number)]
    if len(set(map(_e164, numbers))) > 1:
        numbers = list(filter(phonenumbers.is_valid_number, numbers)) or numbers
    return tuple(dict.fromkeys(map(_e164, numbers)))


def _readings(text: str, region: str | None) -> Iterator[PhoneNumber]:
    cleaned = _cleaned(text)
    if cleaned is None:
        return
    number = _international(text)
    if number is not None:
        yield number
        if _BRACKETED.search(cleaned) and (shorter := _international(_BRACKETED.sub("", cleaned, count=1))):
            yield shorter
        yield from _by_other_exit_codes(cleaned, region)
        return
    if _with_plus(text).startswith("+"):
        return
    digits = _DECORATION.sub("", cleaned)
    with_code = _parsed(f"+{digits}")
    if region is None:
        if with_code is not None and _SINGAPORE.fullmatch(digits):
            yield with_code
        return
    code = phonenumbers.country_code_for_region(region)
    plan = _plan(code)
    # Where any digits may be an exit code, as 018 in Singapore, those of another country are not meant without + or 00.
    exits = plan is not None and (plan.international_prefix or "").isdigit()
    national = _parsed(cleaned, region)
    if national is not None and (exits or national.country_code == code):
        yield national
    if with_code is not None and with_code.country_code == code:
        yield with_code


def _by_other_exit_codes(cleaned: str, region: str | None) -> Iterator[PhoneNumber]:
    """The meanings of a number that begins with 00 in regions where people dial another exit code.

    In Hong Kong that is 001, and in Australia 0011, so that 001 65 6234 5678 is no number of +1.
    """
    digits = _DECORATION.sub("", cleaned)
    if not digits.startswith("00"):
        return
    others = [_parsed(cleaned, region)] if region else [_parsed(f"+{digits[length:]}") for length in (3, 4)]
    yield from (number for number in others if number is not None and (region or digits.startswith("001")))


def _cleaned(text: str) -> str | None:
    """The text without invisible characters and a spreadsheet's decimals; None if it is not a single phone number."""
    if len(text) > _MOST_CHARACTERS:
        return None
    plain = _INVISIBLE.sub("", text).strip()
    if cell := _OF_A_NUMBER_CELL.fullmatch(plain):
        plain = cell[1]
    return plain if _WRITTEN.fullmatch(plain) and not _TWO_LINES.search(plain) else None


def _with_plus(text: str) -> str:
    """The digits of a text, with + in front if the text begins with + or 00."""
    plain = _DECORATION.sub("", _cleaned(text) or "").replace("\uff0b", "+")
    return f"+{plain[2:]}" if plain.startswith("00") else plain


def _international(text: str) -> PhoneNumber | None:
    """The number of a text that begins with + or 00; None if it is not a number of any country."""
    plain = _with_plus(text)
    return _parsed(plain) if plain.startswith("+") else None


def _parsed(text: str, region: str | None = None) -> PhoneNumber | None:
    try:
        return phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None


def _e164(number: PhoneNumber) -> str:
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _is_possible(number: PhoneNumber) -> bool:
    """Whether a number has a length of its country, and leading zeros only where the plan has them."""
    if phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        return False  # also a number that lacks its area code
    return not number.italian_leading_zero or _is_in_plan(number)


def _is_in_plan(number: PhoneNumber) -> bool:
    """Whether the plan of a country with the number's code has such numbers, in use or not."""
    code, national = number.country_code or 0, phonenumbers.national_significant_number(number)
    regions = phonenumbers.region_codes_for_country_code(code)
    plans = [_plan(code), *(PhoneMetadata.metadata_for_region(region, None) for region in regions)]
    return any(plan is not None and _has(plan, national) for plan in plans)


def _has(plan: PhoneMetadata, national: str) -> bool:
    pattern = plan.general_desc.national_number_pattern if plan.general_desc else None
    return pattern is not None and re.fullmatch(pattern, national) is not None


def _plan(code: int) -> PhoneMetadata | None:
    """The numbering plan of the main country of a code, or of a service such as Inmarsat; None for no code."""
    region = phonenumbers.region_code_for_country_code(code)
    return PhoneMetadata.metadata_for_region_or_calling_code(code, region)


@functools.cache
def _plain_form(code: str) -> re.Pattern[str] | None:
    """The pattern of digits after a country code that are valid without a parse; None for a code of no country.

    A match takes a twentieth of the time of a parse, so that a table of good numbers is checked quickly.
    """
    plan = _plan(int(code))
    if plan is None:
        return None
    if int(code) == _SINGAPORES_CODE:  # most numbers are from there, so that they are compared with the plan
        return re.compile("[3689][0-9]{7}", re.ASCII)
    lengths = "|".join(f"[0-9]{{{length}}}" for length in _lengths(plan.general_desc))
    prefix = plan.national_prefix_for_parsing
    return re.compile(rf"(?!0{f'|(?:{prefix})' if prefix else ''})(?:{lengths})", re.ASCII)
