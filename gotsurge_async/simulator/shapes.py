"""Answers of another shape: points that the document leaves open, and values that may be empty, missing or additional.

An operation answers in the usual shape; where the options ask for another, the answer is decoded, changed, and encoded
again. So the operations know nothing of other shapes, and an ordinary answer costs nothing more.
"""

from binascii import crc32
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any

import msgspec
from attrs import define, evolve

from gotsurge_async.simulator.faults import CREATES
from gotsurge_async.simulator.options import SWITCHES, SimulatorOptions
from gotsurge_async.simulator.replies import JSON, Reply
from gotsurge_async.simulator.state.tasks import BROADCASTING

_Object = dict[str, Any]

UNKNOWN_STATUS = "offered_to_drivers"
"""A status that the document does not list."""

_FEW = frozenset(("id", "tracking_id", "invoice_number", "current_status", "version_rev", "_rev", "rev"))

_MEASURES = ("distance_in_meters", "total_item_weight", "total_item_volume", "total_item_quantity")
_MEASURES_WITHIN: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("items", "cargo_details"), ("quantity", "weight", "volume", "length", "width", "height")),
    **dict.fromkeys(("from_address", "to_address"), ("latitude", "longitude", "altitude")),
}

_UNNAMED: _Object = {
    "org_transporter": {
        "id": 17,
        "name": "Harbour Trucks",
        "fleet": [{"plate": "GBA 1234 X", "tonnes": 1.5}],
        "of": None,
    },
    "vehicle_emissions": {"co2": {"value": 1.25, "unit": "kg"}, "since": None},
    "client": {"id": 4, "tags": [], "organization": {"name": "ABC Merchant"}},
    "epod": {"photos": [{"url": "https://example.com/1.jpg"}], "signature": None, "count": 1},
}
"""Objects whose fields the document does not show, filled."""
_ADDRESS = {**dict.fromkeys(("building_name", "city", "state", "country", "zip_code"), ""), "altitude": None}
_COMPANY = ("email", "company_name", "vessel_id", "vessel_name", "lighter_boat_name", "vehicle_name", "berth_no")
_CONTACT = {**dict.fromkeys(_COMPANY, ""), "vessel_imo": None}
_OBJECTS = ("from_contact", "to_contact", "officer_contact", "driver", *_UNNAMED)
_LISTS = ("items", "cargo_details", "attachments")
_TEXTS = ("tracking_id", "invoice_number", "group_tag", "pickup_note_to_driver", "delivery_note_to_driver", "currency")
_MORE_TEXTS = ("total_weight_unit", "platform_id", "vehicle_emissions_type")
# There is no empty window, and no empty number.
_NEITHER = ("to_time_window", "cargo_net_quantity", "total_item_weight", "min_price", "max_price")
_BLANKS: Mapping[str, Any] = {
    **{name: {} for name in _OBJECTS},
    **{name: [] for name in _LISTS},
    **dict.fromkeys((*_TEXTS, *_MORE_TEXTS), ""),
    **dict.fromkeys(_NEITHER, None),
}
"""The values that a task may lack, with the form of each when it is empty; None for values that are never empty."""
_BLANKS_WITHIN: Mapping[str, Mapping[str, Any]] = {
    "from_address": _ADDRESS,
    "to_address": _ADDRESS,
    "from_contact": _CONTACT,
    "to_contact": _CONTACT,
}
_BLANKS_OF_OTHERS: Mapping[str, Any] = {
    **dict.fromkeys(("webhook_url", "updated_by", "squad_code"), ""),
    "fleet_types": [],
}
"""The values that a partner or an organization may lack, in the same form."""

_ATTACHMENTS: _Object = {
    "objects": [{"id": 1, "url": "https://example.com/1.pdf", "size": None}, {}],
    "links": ["https://example.com/1.pdf"],
    "ids": [1, 2],
    "null": None,
}
_MISFITS: Mapping[str, tuple[Any, tuple[str, ...]]] = {
    "numbers": (
        17,
        ("task_creation_group", "platform_id", "org_id", "pickup_note_to_driver", "vehicle_emissions_type"),
    ),
    "texts": ("some", ("distance_in_meters", "is_urgent", "cargo_net_quantity", "total_item_weight")),
    "lists": ([{"id": 1}], ("epod", "org_transporter", "vehicle_emissions", "client", "driver", "from_contact")),
    "objects": ({"first": {"name": "Rope"}}, ("attachments", "cargo_details")),
    "windows": ({"start_time_utc": None, "end_time_utc": ""}, ("to_time_window",)),
    "times": (1_767_225_600, ("updated_at",)),
}
"""A value of the wrong type, and the fields of a task that get it, by style."""
_MORE: _Object = {"x_number": 7, "x_nothing": None, "x_object": {"id": 1, "list": [{}, [], ""]}, "x_list": []}


@define
class _Answer:
    """The content of an answer, and the tasks in it, which the changes below alter in place."""

    content: _Object
    operation: str
    tasks: list[_Object]


def reshapes(options: SimulatorOptions) -> bool:
    """Whether any switch requires another shape than the usual one."""
    return any(getattr(options, name) != SWITCHES[name].default for name in _CHANGES)


def reshaped(reply: Reply, operation: str, options: SimulatorOptions) -> Reply:
    """A successful reply in the shape that the switches require; refusals have a switch of their own."""
    if reply.status >= 300 or not reply.body or reply.content_type != JSON:
        return reply
    content = msgspec.json.decode(reply.body)
    answer = _Answer(content, operation, _tasks_in(content))
    for name, change in _CHANGES.items():
        value = getattr(options, name)
        if value != SWITCHES[name].default:
            change(answer, value)
    return evolve(reply, body=msgspec.json.encode(content))


def _tasks_in(content: _Object) -> list[_Object]:
    if "task_creation_group" in content:
        return [content]
    tasks: Any = content.get("tasks", content.get("updated_tasks", ()))
    if isinstance(tasks, dict):
        tasks = (tasks,) if "task_creation_group" in tasks else tasks.values()
    return [task for task in tasks if isinstance(task, dict) and "task_creation_group" in task]


def _in_tasks(change: Callable[[_Object, Any], None]) -> Callable[[_Answer, Any], None]:
    """A function that makes the same change in each task of an answer."""

    def change_all(answer: _Answer, style: Any) -> None:
        for task in answer.tasks:
            change(task, style)

    return change_all


def _replace(holder: _Object, name: str, style: str) -> None:
    """Replace a value by an odd one, or remove it, by the style; do nothing if it is missing."""
    if name not in holder:
        return
    if style == "absent":
        del holder[name]
    else:
        holder[name] = {"empty": {}, "list": [1], "null": None}[style]


def _blanks(answer: _Answer, style: str) -> None:
    for task in answer.tasks:
        _blank(task, _BLANKS, style)
        for name, within in _BLANKS_WITHIN.items():
            if task.get(name):
                _blank(task[name], within, style)
    content = answer.content
    organizations = content.get("organizations", [content["organization"]] if "organization" in content else [])
    for holder in (*organizations, *([content] if "webhook_url" in content else ())):
        _blank(holder, {name: empty for name, empty in _BLANKS_OF_OTHERS.items() if name in holder}, style)


def _blank(holder: _Object, names: Mapping[str, Any], style: str) -> None:
    """Show missing values as null, as the empty value of their type, or not at all. 0 and false are values."""
    for name, empty in names.items():
        if holder.get(name) not in (None, "", [], {}):
            continue
        if style == "absent":
            holder.pop(name, None)
        elif style == "null":
            holder[name] = None
        elif empty is not None:
            holder[name] = deepcopy(empty)


def _envelope(answer: _Answer, style: str) -> None:
    for holder in (answer.content, *answer.tasks):
        for name in ("server_time", "total_tasks"):
            _replace(holder, name, style)


def _sso_user(answer: _Answer, style: str) -> None:
    if answer.operation != "platform.sso.exchange":
        return
    if style == "objects":
        user = answer.content["user"]
        user["roles"] = [{"id": 1, "name": name} for name in user["roles"]]
    else:
        _replace(answer.content, "user", style)


def _quote_fields(answer: _Answer, style: str) -> None:
    content = answer.content
    if answer.operation != "prices.recommend" or content.get("code") != "success":
        return
    content["code"] = "Success"
    for name in ("average_fee", "distance", "total_waypoint", *(("code",) if style == "absent" else ())):
        _replace(content, name, style)


def _created_fields(answer: _Answer, _: str) -> None:
    if answer.operation in CREATES:
        for task in answer.tasks:
            for name in task.keys() - _FEW:
                del task[name]


def _more_fields(answer: _Answer, where: str) -> None:
    if where == "everywhere":
        _add_everywhere(answer.content)
        return
    for task in answer.tasks:
        task.update(deepcopy(_MORE))


def _add_everywhere(value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _add_everywhere(item)
    elif isinstance(value, dict):
        keyed = value.get("tasks")
        for name, item in value.items():
            if name == "tasks" and isinstance(keyed, dict) and "id" not in keyed:
                _add_everywhere(list(keyed.values()))  # an object by ids: another name in it would be another task
            else:
                _add_everywhere(item)
        value.update(deepcopy(_MORE))


def _unknown_statuses(task: _Object, _: bool) -> None:
    if task["current_status"] == BROADCASTING:
        task["current_status"] = UNKNOWN_STATUS
    first = task["statuses"][0]
    task["statuses"].insert(0, {"status": "received", "updated_at": first["updated_at"], "by": {"id": 1}})


def _status_history(task: _Object, style: str) -> None:
    if style == "absent":
        del task["statuses"]
    elif style == "bare":
        task["statuses"] = [{"status": entry["status"], "updated_at": None} for entry in task["statuses"]]
    else:
        task["statuses"] = [] if style == "empty" else None


def _unnamed_objects(task: _Object, style: str) -> None:
    for name, value in _UNNAMED.items():
        task[name] = task.get(name) or deepcopy([value] if style == "lists" else value)


def _references(task: _Object, _: str) -> None:
    for holder, name in ((task, "org_id"), (task, "task_creation_group"), (task.get("driver") or {}, "id")):
        if holder.get(name):
            holder[name] = crc32(holder[name].encode())


def _attachments(task: _Object, style: str) -> None:
    task["attachments"] = deepcopy(_ATTACHMENTS[style])


def _measures(task: _Object, style: str) -> None:
    _write_numbers(task, _MEASURES, style)
    for name, within in _MEASURES_WITHIN.items():
        holders = task.get(name) or []
        for holder in holders if isinstance(holders, list) else [holders]:
            _write_numbers(holder, within, style)


def _write_numbers(holder: _Object, names: Iterable[str], style: str) -> None:
    for name in names:
        if name in holder:
            holder[name] = str(holder[name]) if style == "text" else float(holder[name])


def _misfits(task: _Object, style: str) -> None:
    value, names = _MISFITS[style]
    task.update({name: deepcopy(value) for name in names})


_CHANGES: Mapping[str, Callable[[_Answer, Any], None]] = {
    "unknown_statuses": _in_tasks(_unknown_statuses),
    "status_history": _in_tasks(_status_history),
    "unnamed_objects": _in_tasks(_unnamed_objects),
    "references": _in_tasks(_references),
    "attachments": _in_tasks(_attachments),
    "measures": _in_tasks(_measures),
    "blanks": _blanks,
    "meta": lambda answer, style: _replace(answer.content, "meta", style),
    "sso_user": _sso_user,
    "quote_fields": _quote_fields,
    "envelope": _envelope,
    "misfits": _in_tasks(_misfits),
    "created_fields": _created_fields,
    "more_fields": _more_fields,
}
"""The change for each switch, in the order in which they are made."""
