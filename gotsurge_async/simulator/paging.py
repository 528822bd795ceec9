"""Lists in pages (sections "Associated Organization List" and "Task List")."""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from attrs import frozen

from gotsurge_async.simulator.options import SimulatorOptions
from gotsurge_async.simulator.replies import Call, Problem, invalid

T = TypeVar("T")
DEFAULT_PER_PAGE = 200


@frozen
class Page(Generic[T]):
    """What is on a page, and what the answer says about it."""

    rows: Sequence[T]
    meta: dict[str, Any]


def page_of(rows: Sequence[T], call: Call, options: SimulatorOptions, *, ordered: bool = False) -> Page[T]:
    """The page that a call asks for; ``ordered`` says whether the operation takes ``order``."""
    page = _positive(call, "page", 1)
    per_page = min(_positive(call, "per_page", DEFAULT_PER_PAGE), options.per_page_limit)
    order = call.query.get("order", "asc") if ordered else "asc"
    if order not in ("asc", "desc"):
        raise invalid(Problem(None, "order", "is asc or desc"))
    start, stop = (page - 1) * per_page, page * per_page
    if order == "desc":
        # Slices of the end: a page must not cost a copy of a hundred thousand rows.
        count = len(rows)
        found = rows[max(count - stop, 0) : max(count - start, 0)][::-1]
    else:
        found = rows[start:stop]
    meta = {"page": page, "per_page": per_page}
    if options.meta_total:
        meta["total"] = len(rows)
    return Page(found, meta)


def _positive(call: Call, name: str, default: int) -> int:
    text = call.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= 1):
        raise invalid(Problem(None, name, "is a whole number from 1"))
    return int(text)
