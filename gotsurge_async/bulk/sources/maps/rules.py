"""What a map says of how values are written, as what reads the cells of a field."""

import functools
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from gotsurge_async.bulk.sources.cells import Parse, parser
from gotsurge_async.bulk.sources.fields import Column, did_you_mean
from gotsurge_async.bulk.sources.maps import samples
from gotsurge_async.bulk.sources.options import ALL, ColumnMap
from gotsurge_async.money import Money

_NUMBERS = (int, float, Money)
_REMEMBERED = 4096
_SHOWN = 6

Step = Callable[[str], str]

CLEAN: Mapping[str, Step] = {
    "spaces": lambda text: " ".join(text.split()),
    "unquote": lambda text: text.removeprefix("'").strip(),  # some shops write '018956, to keep the zero
    "upper": str.upper,
    "lower": str.lower,
}
"""What `reading.CLEANING` names."""


def reader(column: Column, column_map: ColumnMap, zone: ZoneInfo | None) -> Parse | None:
    """What reads the cells of a field; None where the text is the value. It gives None where nothing is left."""

    def rule(rules: Mapping[str, Any], applies: bool) -> Any:
        return rules.get(column.name, rules.get(ALL) if applies else None)

    kind = column.kind
    steps: list[Step] = [CLEAN[step] for step in rule(column_map.clean, applies=True) or ()]
    if table := column_map.values.get(column.name):
        steps.append(_meant(table))
    if phone := rule(column_map.phones, column.field == "phone"):
        steps.append(samples.phone_style(phone))
    parse = parser(kind, zone)
    dates, number = rule(column_map.dates, kind is datetime), rule(column_map.numbers, kind in _NUMBERS)
    if dates and kind is datetime:
        parse = samples.dates_parser(dates, zone)
    elif number and kind in _NUMBERS and parse is not None:
        parse = samples.number_parser(number, parse, whole=kind is int)
    elif not steps:
        return parse

    def read(text: str) -> Any:
        for step in steps:
            text = step(text)
        if not text:
            return None
        return text if parse is None else parse(text)

    # By the type too: a number of a workbook is not read as one that people wrote.
    return functools.lru_cache(maxsize=_REMEMBERED, typed=True)(read)


def _meant(table: Mapping[str, str]) -> Step:
    """What finds a value in a table, whatever the case of its letters."""
    folded = {_folded(name): meant for name, meant in table.items() if name != ALL}
    known = {*table.values()}
    other = table.get(ALL)

    def meant(text: str) -> str:
        found = folded.get(_folded(text), other)
        if found is not None:
            return found
        if text in known:
            return text
        names = [name for name in table if name != ALL]
        hint = (
            did_you_mean(text, names) or f": it knows {', '.join(names[:_SHOWN])}{' …' if len(names) > _SHOWN else ''}"
        )
        raise ValueError(f"is none of the values that the map knows{hint}")

    return meant


def _folded(text: str) -> str:
    return re.sub(r"\s+", " ", text.strip()).casefold()
