"""The orders that every peer sends, in the form that each of them starts from."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from gotsurge_async import Order, codec

SEED = 7
_EXAMPLE = Path(__file__).parent.parent / "examples" / "generate_orders.py"

_DIFFERENT = 1000

LEFT_OUT = (
    *("group_tag", "from_address.building_name", "from_address.city", "from_contact.company_name"),
    *("to_address.building_name", "to_address.city", "to_contact.berth_no", "to_contact.lighter_boat_name"),
    *("delivery_note_to_driver", "cargo_net_quantity"),
)
"""Columns of the example that the CSV of 30 columns does without."""


def example() -> ModuleType:
    """The script that invents orders: examples/generate_orders.py."""
    name = "generate_orders"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, _EXAMPLE)
        if spec is None or spec.loader is None:
            raise SystemExit(f"{_EXAMPLE} is missing: run the benchmarks in a checkout of the project")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


def rows(count: int) -> Iterator[dict[str, str]]:
    """Orders as rows of a CSV with 30 columns, without items."""
    for row in example().orders(count, SEED):
        yield {name: text for name, text in row.items() if name not in LEFT_OUT}


def columns() -> list[str]:
    """The 30 columns of `rows`."""
    return [name for name in example().ORDER_COLUMNS if name not in LEFT_OUT]


def dicts(count: int, *, from_rows: bool = False) -> list[dict[str, Any]]:
    """Orders as plain values in the API's shape; those of `rows` on demand."""
    tasks: list[dict[str, Any]] = [msgspec.json.decode(text) for text in texts(count)]
    if from_rows:
        for task in tasks:
            del task["items"]
            for name in LEFT_OUT:
                parent, _, field = name.rpartition(".")
                (task[parent] if parent else task).pop(field, None)
    return tasks


def models(count: int) -> list[Order]:
    """Orders as our own objects."""
    return [codec.structure(task, Order) for task in dicts(count)]


def texts(count: int) -> list[bytes]:
    """Orders as JSON text, as a client writes them: a thousand different ones, and then those under other ids."""
    some = [msgspec.json.encode(example().task_of(order)) for order in example().orders(min(count, _DIFFERENT), SEED)]
    more = (
        some[number % _DIFFERENT].replace(b"SHS07-", b"SHS%02d-" % (7 + number // _DIFFERENT), 1)
        for number in range(_DIFFERENT, count)
    )
    return [*some, *more]


def endless_models(count: int) -> Iterator[Order]:
    """Any number of orders, each made when it is asked for: a few contents under new tracking ids, cheap to make."""
    import attrs

    some = models(200)
    for number in range(count):
        yield attrs.evolve(some[number % len(some)], tracking_id=f"M-{number:08d}")
