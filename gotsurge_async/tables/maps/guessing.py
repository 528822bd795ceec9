"""The meanings of column names, in the languages of ``headers.csv``.

The table has a line for each field, and its words in a column for each language. ``*`` in a field stands for both sides
of an order; the words of ``from`` and ``to`` decide which one, before or after the field's own. ``from place`` and ``to
place`` do not say it of times. ``#1`` and ``#2`` are parts that are joined. Names of ``none`` mean nothing.
"""

import csv
import functools
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

from gotsurge_async.models.tasks import Order
from gotsurge_async.money import Money
from gotsurge_async.tables.fields import columns_of

WINDOW = "_time_window"
"""The end of a meaning for a time of a pickup or delivery, if the name does not distinguish start and end."""

UNITS: Mapping[str, Mapping[str, str]] = {
    "weight": {"kg": "kg", "kgs": "kg", "公斤": "kg", "g": "g", "lb": "lb", "lbs": "lb"},
    "volume": {"m3": "m3", "cbm": "m3"},
}
"""Units as people write them, and in the form of an order."""
CURRENCIES: Mapping[str, str] = {
    "S$": "SGD",
    "SG$": "SGD",
    "US$": "USD",
    "HK$": "HKD",
    "NT$": "TWD",
    "A$": "AUD",
    "RM": "MYR",
    "€": "EUR",
    "£": "GBP",
    **{code: code for code in ("SGD", "USD", "EUR", "GBP", "HKD", "TWD", "AUD", "MYR", "CNY", "JPY", "IDR", "THB")},
    **{code: code for code in ("INR", "CHF", "KRW", "PHP", "VND", "NZD", "CAD")},
}
"""Signs and codes that mean exactly one currency."""

_FILE = Path(__file__).with_name("headers.csv")
_SMALL = frozenset(
    (
        *("of", "the", "s", "d", "l", "de", "du", "des", "der", "die"),
        *("das", "del", "la", "le", "les", "el", "los", "las"),
    )
)
"""Words that do not affect the meaning."""
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
_SIDES = ("from", "to")
_LONGEST = 100


class Meaning(NamedTuple):
    """A field that a column can contain, or a part of it: "1", "2", or "" for the whole."""

    field: str
    part: str = ""


def meanings(name: str) -> Sequence[Meaning]:
    """The possible meanings of a column by its name: none, one, or several."""
    if name in columns_of(Order):
        return [Meaning(name)]
    if len(name) > _LONGEST:
        return []
    words = _words(name)
    found = [*_known().get("".join(words), ())]
    if not found and (unit := _unit_in(words)):
        kinds = Money if unit in CURRENCIES.values() else float
        rest = "".join(word for word in words if word.upper() != unit and word not in _ALL_UNITS)
        found = [meaning for meaning in _known().get(rest, ()) if _kind(meaning) is kinds]
    return found


def unit_in(name: str) -> str | None:
    """The currency, or the unit, in the name of a column, such as "Weight (kg)"."""
    return _unit_in(_words(name))


_ALL_UNITS = {word: unit for units in UNITS.values() for word, unit in units.items()}


def _unit_in(words: Sequence[str]) -> str | None:
    codes = [CURRENCIES[word.upper()] for word in words if word.upper() in CURRENCIES]
    return next(iter([*codes, *(_ALL_UNITS[word] for word in words if word in _ALL_UNITS)]), None)


def _kind(meaning: Meaning) -> type | None:
    column = columns_of(Order).get(meaning.field)
    return None if column is None else column.kind


def _words(name: str) -> list[str]:
    """The words of a name: small letters without accents, ss for ß, narrow for full-width characters."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFKC", name)).casefold()
    plain = "".join(letter for letter in unicodedata.normalize("NFD", text) if not unicodedata.combining(letter))
    return [word for word in re.findall(r"[^\W_]+", plain.replace("的", "")) if word not in _SMALL]


@functools.cache
def _known() -> Mapping[str, Mapping[Meaning, None]]:
    """The meanings of every name, without the spaces between its words."""
    with _FILE.open(encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file)
    rows = {line[0]: [_spellings(cell) for cell in line[1:]] for line in lines}
    known: dict[str, dict[Meaning, None]] = {}
    for field, languages in rows.items():
        if field in ("none", *_SIDES) or field.endswith(" place"):
            continue
        for place in range(len(header) - 1):
            for key, meaning in _names_of(field, languages[place], rows, place):
                known.setdefault(key, {})[meaning] = None
    for field in columns_of(Order):
        known.setdefault("".join(_words(field)), {Meaning(field): None})
    return known | {key: {} for names in rows["none"] for key in names}


def _spellings(cell: str) -> list[str]:
    words = [word for word in cell.split("|") if word]
    return ["".join(_words(text)) for word in words for text in dict.fromkeys((word, word.translate(_UMLAUTS)))]


def _names_of(
    field: str, names: Sequence[str], rows: Mapping[str, Sequence[Sequence[str]]], place: int
) -> Iterator[tuple[str, Meaning]]:
    """Every name of a field in a language, with its meaning."""
    whole, _, part = field.partition("#")
    for side in _SIDES if whole.startswith("*") else ("",):
        meaning = Meaning(_of_side(whole, side), part)
        yield from ((name, meaning) for name in names)
        if side:
            sides = [*rows[side][place], *(() if WINDOW in whole else rows[f"{side} place"][place])]
            for name, word in product(names, sides):
                yield f"{word}{name}", meaning
                yield f"{name}{word}", meaning


def _of_side(field: str, side: str) -> str:
    if field == "*_note_to_driver":
        return "pickup_note_to_driver" if side == "from" else "delivery_note_to_driver"
    return field.replace("*", side)
