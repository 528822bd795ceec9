"""What JSON looks like before it is a model: unknown fields folded away, and open shapes brought to one."""

import functools
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from gotsurge_async.models.base import Model
from gotsurge_async.models.platform import UpdatedTasks
from gotsurge_async.models.tasks import CreatedTasks, Task
from gotsurge_async.money import Money

Tree = dict[str, Any]


@attrs.frozen
class _Shape:
    """What `fold` must know of a class."""

    adapt: Callable[[Tree], None] | None
    known: frozenset[str]
    nested: "tuple[tuple[str, _Shape, bool], ...]"  # field, shape of its class, whether there are many
    many: tuple[str, ...]  # fields that are lists: null is read as none


@functools.cache
def _shape(cls: Any) -> _Shape:
    hints = typing.get_type_hints(cls)
    nested, many, known = [], [], set()
    for field in attrs.fields(cls):
        if field.name == "extra":
            continue
        known.add(field.name)
        inner, is_many = inner_type(hints[field.name])
        if is_many:
            many.append(field.name)
        if is_model(inner):
            nested.append((field.name, _shape(inner), is_many))
    return _Shape(_ADAPTERS.get(cls), frozenset(known), tuple(nested), tuple(many))


def inner_type(hint: Any) -> tuple[Any, bool]:
    """The type inside ``X | None`` or ``tuple[X, ...]``, and whether it was the latter."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(arg for arg in typing.get_args(hint) if arg is not type(None))
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], True
    return hint, False


def is_model(cls: Any) -> bool:
    """Whether a type is a class of the API's objects."""
    return isinstance(cls, type) and issubclass(cls, Model)


def fold(tree: Any, cls: type) -> None:
    """Move what ``cls`` does not name into ``tree["extra"]``, here and below, and bring open shapes to one."""
    if attrs.has(cls):
        _fold(tree, _shape(cls))


def _fold(tree: Any, shape: _Shape) -> None:
    if type(tree) is not dict:
        return
    if shape.adapt is not None:
        shape.adapt(tree)
    if not tree.keys() <= shape.known:
        # In one order, whatever the hashes of the names: an order's text and its fingerprint are made of them.
        tree["extra"] = {name: tree.pop(name) for name in sorted(tree.keys() - shape.known)}
    for name in shape.many:
        if tree.get(name, ()) is None:
            del tree[name]
    for name, inner, many in shape.nested:
        value = tree.get(name)
        if value is None:
            continue
        if many:
            if type(value) is list:
                for each in value:
                    _fold(each, inner)
        else:
            _fold(value, inner)


def money_from_wire(cls: type, value: Any) -> Any:
    """What msgspec cannot make by itself: money, whose currency stands beside it and is filled in by the model."""
    if cls is Money:
        if type(value) is not int:
            raise ValueError(f"expected a whole number of thousandths of a cent, not {shown(value)}")
        return Money(millicents=value, currency="")
    raise NotImplementedError(cls)


def shown(value: Any) -> str:
    """A value for a message, its start if it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# --- what the document leaves open, brought to one shape ------------------------------------------------------------


def _tasks_to_list(tree: Tree) -> None:
    tasks = tree.get("tasks")
    if type(tasks) is dict:
        tree["tasks"] = list(_one_or_keyed(tasks).values()) if tasks else []
        for task_id, task in _one_or_keyed(tasks).items():
            if type(task) is dict:
                task.setdefault("id", task_id)


def _one_or_keyed(tasks: Mapping[str, Any]) -> Mapping[str, Any]:
    """``tasks`` as an object is one task if its own "id" is text, else a map from ids to tasks."""
    own_id = tasks.get("id")
    return {own_id: tasks} if isinstance(own_id, str) else tasks


def _ids_to_objects(tree: Tree) -> None:
    updated = tree.get("updated_tasks")
    if type(updated) is list:
        tree["updated_tasks"] = [{"id": each} if isinstance(each, str) else each for each in updated]


def _revision_names(tree: Tree) -> None:
    if tree.get("version_rev") is None:
        for name in ("_rev", "rev"):
            if isinstance(tree.get(name), str):
                tree["version_rev"] = tree.pop(name)
                return


_ADAPTERS: Mapping[type, Callable[[Tree], None]] = {
    CreatedTasks: _tasks_to_list,
    UpdatedTasks: _ids_to_objects,
    Task: _revision_names,
}
