"""The one converter between models and JSON.

Reading goes bytes → plain values → model. The step to the model is done by msgspec, which is strict and fast; what
it refuses is given to the cattrs converter, which is as strict, and lists every fault with its path instead of the
first. Before that step, `_fold` moves the fields that a class does not name into its ``extra``, and the shapes that
the document leaves open are brought to one (`_ADAPTERS`).

Writing goes model → plain values → bytes. The first step is generated code, a function for each class: it leaves out
what is None, spells money as thousandths of a cent, and writes ``extra`` back.
"""

import functools
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn, TypeVar, cast

import attrs
import cattrs
import msgspec
from cattrs.gen import make_dict_structure_fn

from gotsurge_async.errors import InvalidData, Problem, UnreadableAnswer
from gotsurge_async.models.base import Model, OpenEnum, read_utc
from gotsurge_async.models.platform import UpdatedTasks
from gotsurge_async.models.tasks import CreatedTasks, Receipt, Task, TaskChanges, TaskStatus
from gotsurge_async.money import Money

T = TypeVar("T")
_Tree = dict[str, Any]


# --- reading -------------------------------------------------------------------------------------------------------


def decode(body: bytes, cls: type[T]) -> T:
    """Read JSON text as a model.

    Raises:
        UnreadableAnswer: ``body`` is no JSON, or not the JSON of ``cls``; ``problems`` lists every fault.
    """
    try:
        return structure(_plain(body), cls)
    except InvalidData as error:
        if isinstance(error, UnreadableAnswer):
            raise
        raise UnreadableAnswer("not the answer that was expected", error.problems) from None


def structure(tree: Any, cls: type[T]) -> T:
    """Make a model of plain values (dicts, lists, text, numbers), which are consumed: pass a copy to keep them.

    Raises:
        InvalidData: ``problems`` lists every fault with its path.
    """
    _fold(tree, cls)
    try:
        return msgspec.convert(tree, cls, strict=True, dec_hook=_from_wire)
    except msgspec.ValidationError:
        return _structure_slowly(tree, cls)


def is_json(body: bytes) -> bool:
    """Whether ``body`` is one whole JSON value."""
    try:
        _plain(body)
    except UnreadableAnswer:
        return False
    return True


def _plain(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableAnswer(f"not JSON: {error}") from None
    except RecursionError:
        raise UnreadableAnswer("not JSON that can be read: nested too deep") from None


def _from_wire(cls: type, value: Any) -> Any:
    """What msgspec cannot make by itself: money, whose currency stands beside it and is filled in by the model."""
    if cls is Money:
        if type(value) is not int:
            raise ValueError(f"expected a whole number of thousandths of a cent, not {_shown(value)}")
        return Money(millicents=value, currency="")
    raise NotImplementedError(cls)


@attrs.frozen
class _Shape:
    """What `_fold` must know of a class."""

    known: frozenset[str]
    nested: tuple[tuple[str, type, bool], ...]  # field, class, whether there are many
    many: tuple[str, ...]  # fields that are lists: null is read as none


@functools.cache
def _shape(cls: Any) -> _Shape:
    hints = typing.get_type_hints(cls)
    nested, many, known = [], [], set()
    for field in attrs.fields(cls):
        if field.name == "extra":
            continue
        known.add(field.name)
        inner, is_many = _inner(hints[field.name])
        if is_many:
            many.append(field.name)
        if isinstance(inner, type) and issubclass(inner, Model):
            nested.append((field.name, inner, is_many))
    return _Shape(frozenset(known), tuple(nested), tuple(many))


def _inner(hint: Any) -> tuple[Any, bool]:
    """The type inside ``X | None`` or ``tuple[X, ...]``, and whether it was the latter."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(arg for arg in typing.get_args(hint) if arg is not type(None))
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], True
    return hint, False


def _fold(tree: Any, cls: type) -> None:
    """Move what ``cls`` does not name into ``tree["extra"]``, here and below, and bring open shapes to one."""
    if type(tree) is not dict or not attrs.has(cls):
        return
    adapt = _ADAPTERS.get(cls)
    if adapt is not None:
        adapt(tree)
    shape = _shape(cls)
    if not tree.keys() <= shape.known:
        tree["extra"] = {name: tree.pop(name) for name in tree.keys() - shape.known}
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


# --- what the document leaves open, brought to one shape ------------------------------------------------------------


def _tasks_to_list(tree: _Tree) -> None:
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


def _ids_to_objects(tree: _Tree) -> None:
    updated = tree.get("updated_tasks")
    if type(updated) is list:
        tree["updated_tasks"] = [{"id": each} if isinstance(each, str) else each for each in updated]


def _revision_names(tree: _Tree) -> None:
    if tree.get("version_rev") is None:
        for name in ("_rev", "rev"):
            if isinstance(tree.get(name), str):
                tree["version_rev"] = tree.pop(name)
                return


_ADAPTERS: Mapping[type, Callable[[_Tree], None]] = {
    CreatedTasks: _tasks_to_list,
    UpdatedTasks: _ids_to_objects,
    Task: _revision_names,
}


# --- receipts ------------------------------------------------------------------------------------------------------


class _Receipts(msgspec.Struct):
    tasks: list[Receipt]


class _RawTasks(msgspec.Struct):
    tasks: list[msgspec.Raw]


class _OpenAnswer(msgspec.Struct):
    tasks: msgspec.Raw


class _TaskHead(msgspec.Struct):
    id: str | None = None
    tracking_id: str | None = None
    invoice_number: str | None = None
    current_status: TaskStatus | None = None


_receipts = msgspec.json.Decoder(_Receipts)
_raw_tasks = msgspec.json.Decoder(_RawTasks)
_open_answer = msgspec.json.Decoder(_OpenAnswer)
_raw_list = msgspec.json.Decoder(list[msgspec.Raw])
_raw_map = msgspec.json.Decoder(dict[str, msgspec.Raw])
_task_head = msgspec.json.Decoder(_TaskHead)


def decode_receipts(body: bytes) -> list[Receipt]:
    """Read the answer of a create into small receipts, in the order of the answer; each keeps its task's JSON text.

    Raises:
        UnreadableAnswer: no JSON, no ``tasks``, or a task without an id.
    """
    try:
        # The usual answer, a list of tasks: read twice by two decoders, which costs less than a call for each task.
        receipts = _receipts.decode(body).tasks
        raws = _raw_tasks.decode(body).tasks
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _open_receipts(body)
    for receipt, raw in zip(receipts, raws, strict=True):
        if not receipt.id:
            return _open_receipts(body)
        object.__setattr__(receipt, "raw", bytes(raw))
    return receipts


def _open_receipts(body: bytes) -> list[Receipt]:
    """The same for every shape that ``tasks`` may have; says what is wrong with the others."""
    try:
        tasks = _open_answer.decode(body).tasks
        if _starts_with(tasks, b"{"):
            keyed = _raw_map.decode(tasks)
            if "id" in keyed and _starts_with(keyed["id"], b'"'):
                return [_receipt(tasks)]
            return [_receipt(raw, task_id) for task_id, raw in keyed.items()]
        return [_receipt(raw) for raw in _raw_list.decode(tasks)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableAnswer(f"not the answer of a create: {error}") from None


def decode_names(order: bytes) -> tuple[str | None, str | None]:
    """The tracking id and the invoice number of an order that is JSON text already."""
    head = _task_head.decode(order)
    return head.tracking_id, head.invoice_number


def _starts_with(raw: msgspec.Raw, start: bytes) -> bool:
    return memoryview(raw)[:1] == start


def _receipt(raw: msgspec.Raw, key: str | None = None) -> Receipt:
    head = _task_head.decode(raw)
    if not head.id and key:
        return _receipt(msgspec.Raw(msgspec.json.encode(msgspec.json.decode(raw) | {"id": key})))
    if not head.id:
        raise UnreadableAnswer("not the answer of a create: a task without an id")
    return Receipt(
        id=head.id,
        tracking_id=head.tracking_id,
        invoice_number=head.invoice_number,
        current_status=head.current_status,
        raw=bytes(raw),
    )


# --- the cattrs converter: the reference, and the one that names every fault -----------------------------------------


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _strict(expected: str, *accepted: type) -> Callable[[Any, Any], Any]:
    def check(value: Any, _: Any) -> Any:
        if type(value) not in accepted:
            raise ValueError(f"expected {expected}, not {_shown(value)}")
        return value

    return check


def _structure_float(value: Any, _: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError(f"expected a number, not {_shown(value)}")
    return float(value)


def _structure_datetime(value: Any, _: Any) -> datetime:
    try:
        moment = msgspec.convert(value, datetime, strict=True)
    except msgspec.ValidationError:
        raise ValueError(f"expected an RFC 3339 time such as 2030-03-04T01:00:00Z, not {_shown(value)}") from None
    return read_utc(moment)


def _structure_enum(value: Any, cls: type[OpenEnum]) -> OpenEnum:
    return cls(_strict("text", str)(value, cls))


def _structure_list(cls: Any) -> Callable[[Any, Any], tuple[Any, ...]]:
    listed: Any = types.GenericAlias(list, typing.get_args(cls)[:1])

    def structure_list(value: Any, _: Any) -> tuple[Any, ...]:
        if type(value) not in (list, tuple):
            raise ValueError(f"expected a list, not {_shown(value)}")
        return tuple(converter.structure(value, listed))

    return structure_list


def _structure_model(cls: Any, made: cattrs.Converter) -> Callable[[Any, Any], Any]:
    structure_fields = make_dict_structure_fn(cls, made)

    def structure_model(value: Any, _: Any) -> Any:
        # The generated function only asks for names: of a class without required fields, text would make an empty one.
        return structure_fields(_strict("an object", dict)(value, cls), cls)

    return structure_model


def _origin(cls: Any) -> Any:
    return typing.get_origin(cls)


def _is_open_enum(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, OpenEnum)


def _is_model(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, Model)


def _make_converter() -> cattrs.Converter:
    made = cattrs.Converter(detailed_validation=True)
    made.register_structure_hook(str, _strict("text", str))
    made.register_structure_hook(int, _strict("a whole number", int))
    made.register_structure_hook(bool, _strict("true or false", bool))
    made.register_structure_hook(float, _structure_float)
    made.register_structure_hook(datetime, _structure_datetime)
    made.register_structure_hook(Money, lambda value, cls: _from_wire(cls, value))
    made.register_structure_hook_func(_is_open_enum, _structure_enum)
    made.register_structure_hook_factory(lambda cls: _origin(cls) is tuple, _structure_list)
    # The values inside are any JSON.
    made.register_structure_hook_func(lambda cls: _origin(cls) is dict, _strict("an object", dict))
    made.register_structure_hook_factory(_is_model, lambda cls: _structure_model(cls, made))
    made.register_unstructure_hook_factory(_is_model, lambda cls: _writer(cls))
    return made


converter: cattrs.Converter = _make_converter()
"""The cattrs converter. `structure` and `encode` are its fast way in and out, and behave the same."""


def _structure_slowly(tree: Any, cls: type[T]) -> T:
    try:
        return converter.structure(tree, cls)
    except cattrs.BaseValidationError as error:
        lines = cattrs.transform_error(error, path="$", format_exception=_told)
        raise InvalidData("", [_problem(line) for line in lines]) from None
    except (ValueError, TypeError) as error:
        raise InvalidData("", [Problem("", str(error))]) from None


def _told(error: BaseException, _: type | None) -> str:
    if isinstance(error, KeyError):
        return "is required and missing"
    return str(error)


def _problem(line: str) -> Problem:
    message, _, path = line.rpartition(" @ $")
    return Problem(path.removeprefix("."), message)


# --- writing -------------------------------------------------------------------------------------------------------

_encoder = msgspec.json.Encoder()


def encode(value: Any) -> bytes:
    """Write a model, or plain values, as JSON text.

    Raises:
        InvalidData: a value that JSON has no form for, in ``extra`` for instance.
    """
    try:
        return _encoder.encode(unstructure(value))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidData(f"cannot be written as JSON: {error}") from None


def encode_batch(tasks: Sequence[bytes]) -> bytes:
    """The body of a create from orders that are JSON text already (each the `encode` of an order)."""
    return b'{"tasks":[' + b",".join(tasks) + b"]}"


def unstructure(value: Any) -> Any:
    """Make plain values of a model: None left out, money in thousandths of a cent, ``extra`` written back.

    Raises:
        ValueError, TypeError: a number field that holds no finite number.
    """
    if isinstance(value, Model):
        cls: Any = type(value)
        return _writer(cls)(value)
    if isinstance(value, Money):
        return value.millicents
    return value


def unstructure_changes(changes: TaskChanges) -> dict[str, Any]:
    """Make plain values of what an update changes; None stays, and clears.

    The currency of its amounts is written beside them.

    Raises:
        InvalidData: amounts in two currencies.
    """
    plain = {name: _unstructure_any(value) for name, value in changes.items()}
    currencies = {value.currency for value in changes.values() if isinstance(value, Money)}
    if len(currencies) > 1:
        raise InvalidData("", [Problem("currency", f"amounts in {' and '.join(sorted(currencies))} in one update")])
    if currencies:
        plain["currency"] = currencies.pop()
    return plain


def _unstructure_any(value: Any) -> Any:
    return [unstructure(each) for each in value] if isinstance(value, list | tuple) else unstructure(value)


@functools.cache
def _writer(cls: Any) -> Callable[[Any], _Tree]:
    """Generate the function that makes plain values of a ``cls``.

    Straight code, one test a field: twice as fast as a loop over the fields, and this runs once for each order.
    """
    hints = typing.get_type_hints(cls)
    scope: dict[str, Any] = {"isfinite": math.isfinite, "no_number": _no_number}
    lines = ["def write(model):", "    plain = {}"]
    for field in attrs.fields(cls):
        name = field.name
        if name == "extra":
            continue
        inner, many = _inner(hints[name])
        value = "value"
        if _is_model(inner):
            scope[f"write_{name}"] = _writer(inner)
            value = f"[write_{name}(each) for each in value]" if many else f"write_{name}(value)"
        elif inner is Money:
            value = "value.millicents"
        elif inner is float:  # JSON has no such numbers, and the encoder would write null
            value = f"value if isfinite(value) else no_number({name!r}, value)"
        test = "if value:" if many and field.default is not attrs.NOTHING else "if value is not None:"
        lines += [f"    value = model.{name}", f"    {test} plain[{name!r}] = {value}"]
    lines.append("    return {**model.extra, **plain} if model.extra else plain")
    exec("\n".join(lines), scope)  # noqa: S102 - made of the field names of our own classes
    return cast("Callable[[Any], _Tree]", scope["write"])


def _no_number(name: str, value: float) -> NoReturn:
    raise ValueError(f"{name} is {value}, which JSON has no number for")
