"""Phone numbers in international form (E.164): what is wrong with a number, and what it certainly means.

In most countries people dial a zero before a number, the trunk zero, which the international form leaves out: London's
020 7946 0958 is +442079460958. Italy and some others keep it. The lists below have only country codes with clear
numbering plans; a number of any other country may begin with a zero.
"""

import re

NOT_E164 = "is not E.164: + and the country, then digits only, such as +6561234567"
BRACKETED_ZERO = "has a zero in brackets, which is not dialled from abroad: write the number without it"
LEADING_ZERO = "has a zero after the country code, where that country's numbers never have one: write it without"

_TRUNK_ZERO = (
    "20|27|31|32|33|40|41|43|44|46|49|54|57|58|60|61|63|64|84|86|90|92|93|94|95|98|211|212|213|218|233|249|251|254|255|"
    "256|260|261|263|264|353|355|358|373|374|380|381|382|385|386|387|389|421|855|856|880|886|961|962|963|964|966|967|"
    "970|971|972|976|977|994|995|996"
)
"""Country codes whose numbers people dial with a zero within the country, and none of which begins with one."""
_SPECIAL_ZEROS = "62|66|81|82|91|359"
"""The same, but a few service numbers begin with two zeros, such as +81 0077…"""
_NO_ZERO = "1|7|30|34|36|45|48|52|56|65|351|371|372|420|852|965|968|973"
"""Country codes without a trunk zero, or with another prefix, none of whose numbers begins with a zero."""

_OUTSIDE = re.compile(rf"\+(?:(?:{_TRUNK_ZERO}|{_NO_ZERO})0|(?:{_SPECIAL_ZEROS})0[1-9])")
_DROPPED = re.compile(rf"(\+(?:{_TRUNK_ZERO}|{_SPECIAL_ZEROS}))0(?=[1-9])")
_WITHOUT_ZERO = re.compile(f"{_TRUNK_ZERO}|{_SPECIAL_ZEROS}|{_NO_ZERO}")
_FORM = re.compile(rf"(?!{_OUTSIDE.pattern})\+[1-9][0-9]{{6,14}}", re.ASCII)
_DECORATION = re.compile(r"[\s().\-/]+")
_BRACKETED = re.compile(r"\(?(?:\+|00)[\d\s.\-/)]*\(\s*0\s*\)")
_SINGAPORE = re.compile(r"65[3689][0-9]{7}")
"""A number of Singapore without its +, which spreadsheets drop."""
_LENGTHS = re.compile(
    r"\+(?:1[2-9]\d{9}|44[1-9]\d{8,9}|65[3689]\d{7}|852[2-9]\d{7}|91[1-9]\d{9}|(?!1|44|65|852|91)\d+)", re.ASCII
)
"""The lengths of a proposal: a number that is too short or too long for its country was not certainly meant."""


def is_international(text: str) -> bool:
    """Whether the text is E.164, and has no zero after the country code where there can be none."""
    return _FORM.fullmatch(text) is not None


def has_bracketed_zero(text: str) -> bool:
    """Whether the text is an international number with a zero in brackets, such as +44 (0)20 7946 0958."""
    return _BRACKETED.match(text) is not None


def keeps_zero(country: str) -> bool:
    """Whether numbers of a country code may begin with a zero, so that a zero in front of them may be part of them."""
    return _WITHOUT_ZERO.fullmatch(country) is None


def digits_of(text: str) -> str:
    """The text without the spaces, brackets, dots, hyphens and slashes that people write into phone numbers."""
    return _DECORATION.sub("", text)


def problem_of(text: str) -> str:
    """What is wrong with a number that is not `is_international`."""
    if has_bracketed_zero(text):
        return BRACKETED_ZERO
    return LEADING_ZERO if _OUTSIDE.match(_with_plus(text)) else NOT_E164


def meant_by(text: str) -> str | None:
    """The number that a text certainly means, in international form; None where that is not certain."""
    plain = _DROPPED.sub(r"\1", _with_plus(text))
    if has_bracketed_zero(text) and plain == _with_plus(text):
        return None  # the zero may be a part of the number, as in Italy
    return plain if is_international(plain) and _LENGTHS.fullmatch(plain) else None


def _with_plus(text: str) -> str:
    plain = digits_of(text)
    if plain.startswith("00"):
        return f"+{plain[2:]}"
    return f"+{plain}" if _SINGAPORE.fullmatch(plain) else plain
