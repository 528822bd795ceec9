"""The fast way of a row that is right: from its cells to what is sent, without the objects between.

A header is made into one straight function, which takes the cells of a row and gives the order, or the item, as msgspec
structs; they are checked as they are, and written. Whatever is not plainly right (a cell that cannot be read, something
required that is empty) raises, and the row is read as `Layout.read` and the models do, which tell what is wrong. For a
row that is right both ways give the same bytes; tests hold that they do.
"""

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NoReturn, cast

from gotsurge_async.bulk.sources.cells import (
    Parse,
    parse_float,
    parse_int,
    parse_millicents,
    parse_money,
    shortened_by_spreadsheet,
)
from gotsurge_async.bulk.sources.layout import Layout, Slots
from gotsurge_async.codec.wires import writing_wire
from gotsurge_async.models.base import Model
from gotsurge_async.money import Money

Quick = Callable[[Sequence[str]], tuple[str, Any]]
"""The cells of a row -> its key, and a struct of what it gives; ValueError for a row that is not plainly right."""

_REMEMBERED = 4096
_PARSERS: Mapping[Parse, Parse] = {parse_money: parse_millicents, parse_float: parse_float, parse_int: parse_int}
"""How values of a struct are read, each remembered: few cells of a file are the only ones of their text."""


def quick_reader(layout: Layout, model: type[Model], forbidden: str) -> Quick | None:
    """Generate the function that reads the rows below a header; None if the header alone is not right.

    Args:
        model: the class of what a row is about.
        forbidden: the ``gs_status`` with which a row is not plainly right.
    """
    if not layout.complete or not all(group.complete for group in layout.groups):
        return None
    if any(slots.doubled for slots in (layout.slots, *(group.slots for group in layout.groups))):
        return None
    scope: dict[str, Any] = {"strip": str.strip, "key": _key, "missing": _missing, "forbidden": forbidden}
    values = _values(layout.slots, layout.required, "constant", scope)
    for group in layout.groups:
        made = _made(group.make, _values(group.slots, group.needs, f"constant_{group.field}", scope), scope)
        if not group.slots.constants:
            some = " or ".join(f"cell{place}" for place in group.slots.places)
            made = f"({made} if {some} else {'missing()' if group.required else None})"
        values[group.field] = made
    lines = [
        "def read(cells):",
        f"    {''.join(f'cell{place}, ' for place in range(len(layout.names)))} = map(strip, cells)",
        *([] if layout.status is None else [f"    if cell{layout.status} == forbidden: missing()"]),
        f"    return key(cell{layout.key}), {_made(model, values, scope)}",
    ]
    exec("\n".join(lines), scope)  # noqa: S102 - made of numbers, and of the field names of our own classes
    return cast("Quick", scope["read"])


def _made(cls: Any, values: Mapping[str, str], scope: dict[str, Any]) -> str:
    """The expression that makes the struct of ``cls`` of the expressions of its fields."""
    struct = writing_wire(cls)
    scope[struct.__name__] = struct
    arguments = [values.get(name, "None") for name in struct.__struct_fields__]
    return f"{struct.__name__}({', '.join(arguments)})"  # by place: a third faster than by name


def _values(slots: Slots, needs: Collection[str], prefix: str, scope: dict[str, Any]) -> dict[str, str]:
    """The expression of each field; without a text no cell that is needed can be read."""
    values: dict[str, str] = {}
    for place, field in slots.texts:
        values[field] = f"cell{place} or {'missing()' if field in needs else None}"
    for place, field, parse, _ in slots.parsed:
        quick = _PARSERS.get(parse)
        scope[f"parse{place}"] = parse if quick is None else functools.lru_cache(_REMEMBERED)(quick)
        read = f"parse{place}(cell{place})"
        values[field] = read if field in needs else f"{read} if cell{place} else None"
    for field, value in slots.constants.items():
        scope[f"{prefix}_{field}"] = value.millicents if isinstance(value, Money) else value
        values[field] = f"{prefix}_{field}"
    return values


def _key(text: str) -> str:
    if not text or shortened_by_spreadsheet(text):
        _missing()
    return text


def _missing() -> NoReturn:
    raise ValueError("something required is missing, or is to be told")
