"""The rules for a task (sections "Create & Broadcast Tasks" and "Update Task").

A good task costs one pass of msgspec over its bytes. Only a bad one is checked field by field, so that a refusal can
name every wrong field. No value is coerced, and null does not leave a field out.
"""

from collections.abc import Iterator
from typing import Any, TypeVar, get_type_hints

import msgspec
from msgspec import UNSET

from gotsurge_async.simulator.replies import Problem, RefusedError, invalid
from gotsurge_async.simulator.state.written import TaskShape

T = TypeVar("T")

MIN_PRICE = 200_000
"""SGD 2.00, in thousandths of a cent."""
MAX_BATCH = 20

REQUIRED = frozenset(TaskShape.__struct_fields__[: -len(TaskShape.__struct_defaults__)])
"""The required fields of a task."""


_PICKUP_TEXT = "The pickup start time must be earlier than the end time"


def check_task(task: TaskShape, index: int | None) -> list[Problem]:
    """Problems between the fields of a task whose shape is right: money, and the order of its windows."""
    problems: list[Problem] = []
    # An empty currency is one: it sets the price to 0.
    if task.price is not UNSET and task.currency is UNSET:
        problems.append(Problem(index, "currency", "Enter the currency of the price (ISO 4217)"))
    pickup, delivery = task.from_time_window, task.to_time_window
    if pickup.start_time_utc > pickup.end_time_utc:
        problems.append(Problem(index, "from_time_window.start_time_utc", _PICKUP_TEXT))
    if delivery is not UNSET:
        text = "The pickup time must be earlier than the delivery time"
        if pickup.end_time_utc > delivery.start_time_utc:
            problems.append(Problem(index, "from_time_window.end_time_utc", text))
        if delivery.start_time_utc > delivery.end_time_utc:
            problems.append(Problem(index, "to_time_window.start_time_utc", text))
    return problems


def check_new_task(task: TaskShape, index: int, latest_pickup: float) -> list[Problem]:
    """Problems that only a new task can have: an update need not keep to the least price, nor to the latest pickup.

    ``latest_pickup`` is when a pickup ends at the latest, in seconds since the epoch.
    """
    problems: list[Problem] = []
    if task.price is not UNSET and task.price < MIN_PRICE:
        problems.append(Problem(index, "price", "Enter a minimum price from SGD 2.00 (Format: 200000)"))
    if task.from_time_window.end_time_utc.timestamp() > latest_pickup:
        # The document's own text for this, word for word, though it is that of another rule.
        problems.append(Problem(index, "from_time_window.end_time_utc", _PICKUP_TEXT))
    return problems


def clear_price(content: dict[str, Any]) -> bool:
    """Set the price to 0 if the currency is empty ("will be set as 0"); returns whether that changed it."""
    if content.get("currency") != "" or not content.get("price"):
        return False
    content["price"] = 0
    return True


_FIELD_TYPES = get_type_hints(TaskShape, include_extras=True)


def read_task(raw: msgspec.Raw | bytes, index: int | None) -> tuple[dict[str, Any], TaskShape | None, list[Problem]]:
    """A task from its JSON: as an object (empty if it is none), as a shape (None if it does not fit), its problems."""
    try:
        content = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return {}, None, [Problem(index, "", f"is not JSON: {error}")]
    if not isinstance(content, dict):
        return {}, None, [Problem(index, "", "a task is an object")]
    try:
        task = msgspec.convert(content, TaskShape)
    except msgspec.ValidationError:
        return content, None, list(_shape_problems(content, index))
    return content, task, check_task(task, index)


def _shape_problems(content: dict[str, Any], index: int | None) -> Iterator[Problem]:
    for name, kind in _FIELD_TYPES.items():
        if name not in content:
            if name in REQUIRED:
                yield Problem(index, name, "is required")
            continue
        try:
            msgspec.convert(content[name], kind)
        except msgspec.ValidationError as error:
            message, _, path = str(error).partition(" - at `$")
            yield Problem(index, name + path.rstrip("`"), message)


def read_body(body: bytes, kind: type[T]) -> T:
    """Read the body of a call as a shape; refuses another shape (422), and a body that is not JSON (400)."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        raise invalid(Problem(None, path.rstrip("`").lstrip("."), message)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError(400, "malformed", f"the body is not JSON: {error}") from None
