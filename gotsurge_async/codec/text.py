"""JSON text to models and back. msgspec reads and writes the text; the converters do the rest."""

import functools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import msgspec

from gotsurge_async.codec.compiled import Structs
from gotsurge_async.codec.converters import (
    OWN,
    READING,
    USUAL,
    Unfit,
    checking,
    converter,
    id_of,
    says_nothing,
    task_list,
    writing,
)
from gotsurge_async.codec.given import each_made, has_currency, misfits
from gotsurge_async.errors import Coded, InvalidData, Problem, UnreadableAnswer
from gotsurge_async.models.base import NO_PATHS, JsonForm, Model, fields_of, is_model
from gotsurge_async.models.tasks import Order, Receipt, TaskBatch, TaskChanges, TaskStatus
from gotsurge_async.money import Money
from gotsurge_async.starting import pattern

if TYPE_CHECKING:
    import cattrs

T = TypeVar("T")

MOST_LEARNED = 32
"""The number of undocumented fields of a class that are read as quickly as the documented ones."""

MOST_DIGITS = 1000
"""A longer whole number is read as text: Python is slow with such numbers, and refuses still longer ones."""
_ESCAPE = pattern(r"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)", re.DOTALL)
"""An escape in JSON; group 1 is half of a surrogate pair, which no text can contain."""

_PLAIN_NAME = pattern(r"[\w.:-]+")
_NAMES_FIRST = pattern(rb'\{"tracking_id":"([^"\\]+)","invoice_number":"([^"\\]+)"')
"""The beginning of most orders: the names come first, and the rest need not be read."""


class _Head(msgspec.Struct, gc=False):
    id: str | None = None
    tracking_id: str | None = None
    invoice_number: str | None = None
    current_status: TaskStatus | None = None


class _Heads(msgspec.Struct):
    tasks: list[_Head]


class _Names(msgspec.Struct, gc=False):
    tracking_id: str | None = None
    invoice_number: str | None = None


class _Batch(msgspec.Struct):
    tasks: list[_Names]


class _Texts(msgspec.Struct):
    tasks: list[msgspec.Raw]


def _text_of(value: Any) -> Any:
    """The text of a message with an error code, which msgspec does not know; anything else is refused as by msgspec."""
    return str(value) if isinstance(value, Coded) else msgspec.to_builtins(value)


_BATCH_START, _BATCH_END = b'{"tasks":[', b"]}"
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(enc_hook=_text_of).encode
_heads = msgspec.json.Decoder(_Heads).decode
_batch = msgspec.json.Decoder(_Batch).decode
_head = msgspec.json.Decoder(_Head).decode
_texts = msgspec.json.Decoder(_Texts).decode


class Receipts(list[Receipt]):
    """The receipts of one answer; not ``whole`` if a task was left out: then the place proves nothing.

    ``denials`` are items that deny an order, and have no task of it: receipts without an id.
    """

    whole: bool = True
    denials: Sequence[Receipt] = ()


class Codec:
    """Reads the answers of one service, and learns which fields it has besides the documented ones.

    Since every answer of a service has the same fields, later answers are read as quickly as if the API document
    named these fields. The result is the same.

    Attributes:
        reading: the converter.
    """

    def __init__(self) -> None:
        self._structs = USUAL
        self.reading: cattrs.Converter = READING
        self._learned: Mapping[Any, frozenset[str]] = {}

    def decode(self, body: bytes, cls: type[T]) -> T:
        """Read JSON text as a model. A value that does not fit stays in ``extra``, see `unreadable`.

        Raises:
            UnreadableAnswer: ``body`` is not JSON, or the identity of an object cannot be read; ``problems`` lists
                every fault with its path.
        """
        try:
            return self.reading.structure(self._structs.decoder(cls)(body), cls)
        except (ValueError, TypeError, RecursionError):
            pass  # not a usual answer
        what = "the answer cannot be read"
        answer = self._structured(decode_plain(body, what), cls, what)
        self._learn(answer)
        return answer

    def decode_receipts(self, body: bytes, denies: Callable[[Mapping[str, Any]], bool] | None = None) -> Receipts:
        """Read the answer of a create into small receipts, in the order of the answer; each keeps its task's JSON text.

        Args:
            denies: whether an item says no to its order; such items need no task. Unless given, each item needs one.

        Raises:
            UnreadableAnswer: the body is not JSON, has no ``tasks``, or no task can be read.
        """
        hook = self.reading.get_structure_hook(Receipt)
        try:
            heads = _heads(body).tasks
        except (ValueError, RecursionError):
            heads = [_Head()]  # not a usual answer
        ids = [head.id or "" for head in heads]
        if {"", *NO_PATHS}.isdisjoint(ids) and not any(map(str.isspace, ids)):
            text = _TaskTexts(body).text
            return Receipts([hook((head, (text, number)), Receipt) for number, head in enumerate(heads)])
        what = "the answer to a create call cannot be read"
        tree = decode_plain(body, what)
        if type(tree) is dict:
            tree["tasks"] = task_list(tree.get("tasks"), named=True)
        denials: list[Any] = []
        if denies is not None and type(tree) is dict and type(tree["tasks"]) is list:
            denials = [
                item for item in tree["tasks"] if type(item) is dict and id_of(item.get("id")) is None and denies(item)
            ]
            tree["tasks"] = [item for item in tree["tasks"] if item not in denials]
        from gotsurge_async.models.answers import CreatedTasks  # most answers are read as receipts

        answer = self._structured(tree, CreatedTasks, what)
        if tree["tasks"] is None:
            raise UnreadableAnswer(f"{what}: it names no tasks")
        left = list(map(id, answer.extra.get("tasks", ())))
        raw = [_encode(task) for task in tree["tasks"] if id(task) not in left]
        receipts = Receipts(hook(pair, Receipt) for pair in zip(answer.tasks, raw, strict=True))
        receipts.whole = not (left or denials)
        receipts.denials = [
            Receipt(
                id="",
                tracking_id=id_of(item.get("tracking_id")),
                invoice_number=id_of(item.get("invoice_number")),
                raw=_encode(item),
            )
            for item in denials
        ]
        return receipts

    def _structured(self, plain: Any, cls: type[T], otherwise: str) -> T:
        try:
            return self.reading.structure(plain, cls)
        except Unfit as error:
            raise UnreadableAnswer(otherwise, error.problems) from None
        except RecursionError:
            raise UnreadableAnswer(f"{otherwise}: nested too deeply") from None

    def _learn(self, answer: Any) -> None:
        learned = dict(self._learned)
        for model in _models_in(answer):
            known = learned.get(type(model), frozenset())
            unknown = model.extra.keys() - {field.name for field in fields_of(type(model))}
            names = known | set(filter(_PLAIN_NAME.fullmatch, unknown))
            if known < names and len(names) <= MOST_LEARNED:  # beyond that they are no fixed set
                learned[type(model)] = frozenset(names)
        if learned != self._learned:
            self._learned = learned
            self._structs = Structs(learned)
            self.reading = converter(self._structs, strict=False)


class _TaskTexts:
    """The texts of an answer's tasks. They are cut out when the first one is used, since that takes another pass."""

    __slots__ = ("_body", "_tasks")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._tasks: list[msgspec.Raw] | None = None

    def text(self, number: int) -> bytes:
        if self._tasks is None:
            self._tasks = _texts(self._body).tasks
        return bytes(self._tasks[number])


def _models_in(model: Model) -> Iterator[Model]:
    """A model, and all models in it."""
    yield model
    cls: Any = type(model)
    for name, many in _inner_models(cls):
        value = getattr(model, name)
        for inner in value if many else (value,):
            if isinstance(inner, Model):
                yield from _models_in(inner)


@functools.cache
def _inner_models(cls: Any) -> list[tuple[str, bool]]:
    return [(field.name, field.many) for field in fields_of(cls) if is_model(field.inner)]


def unreadable(model: Model) -> dict[str, str]:
    """The values of an answer that could not be read: path -> reason.

    An example is ``items[0].weight`` -> ``expected a number, not '2 kg'``. The values are in ``extra`` of the object
    that has the field, as they came. null, ``{}`` and ``[]`` are no values, and are not reported; nor is an id that
    came as a whole number, since it is read as text.
    """
    why: list[Problem] = []
    for field in fields_of(type(model)):
        name, value, came = field.name, getattr(model, field.name), model.extra.get(field.name)
        if came is not None and not says_nothing(came) and not (field.is_id and type(came) is int):
            try:
                checking.structure(came, field.hint)
            except Unfit as error:
                why += error.below(name, field)
        for number, inner in enumerate(value if field.many else (value,)):
            if isinstance(inner, Model):
                step = f"{name}[{number}]" if field.many else name
                why += [Problem(f"{step}.{path}", reason) for path, reason in unreadable(inner).items()]
    return {problem.path: problem.message for problem in why}


def decode_plain(body: bytes, otherwise: str = "") -> Any:
    """Read JSON text as plain values. A part that Python has no value for, such as half a surrogate pair, stays text.

    Raises:
        UnreadableAnswer: it is not JSON, or nested too deeply; ``otherwise`` begins the message.
    """
    what = f"{otherwise}: " if otherwise else ""
    if not body.strip():
        raise UnreadableAnswer(f"{what}empty, not JSON")
    why = ""
    try:
        try:
            return _decode(body)
        except ValueError as error:  # as all of msgspec's errors are
            why = str(error).removeprefix("JSON is malformed: ")
        return _lawful(body)
    except ValueError:
        raise UnreadableAnswer(f"{what}not JSON: {why}") from None
    except RecursionError:
        raise UnreadableAnswer(f"{what}the JSON is nested too deeply") from None


def _lawful(body: bytes) -> Any:
    """Read JSON that msgspec refuses because Python has no value for a part of it."""
    text = body.decode("utf-8-sig")
    if "\\u" in text:  # else none of what may be millions of escapes is half a pair
        text = _ESCAPE.sub(lambda match: f"\\{match[0]}" if match[1] else match[0], text)
    return json.loads(text, parse_int=_whole, parse_float=_number, parse_constant=_no_constant)


def _whole(digits: str) -> int | str:
    return int(digits) if len(digits) <= MOST_DIGITS else digits


def _number(digits: str) -> float | str:
    value = float(digits)
    return value if math.isfinite(value) else digits


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def is_json(body: bytes) -> bool:
    """Whether ``body`` is one whole JSON value."""
    try:
        decode_plain(body)
    except UnreadableAnswer:
        return False
    return True


def decode(body: bytes, cls: type[T]) -> T:
    """Read JSON text as a model, as `Codec.decode`, without learning fields."""
    return Codec().decode(body, cls)


def structure(tree: Any, cls: type[T], by: "cattrs.Converter" = checking) -> T:
    """Make a model from a user's plain values: dicts, lists, text, numbers.

    Raises:
        InvalidData: ``problems`` lists every fault with its path.
    """
    try:
        return by.structure(tree, cls)
    except Unfit as error:
        raise InvalidData("", error.problems) from None
    except RecursionError:
        raise InvalidData(Coded("the values are nested too deeply", "E237")) from None


def parse(text: bytes, cls: type[T]) -> T:
    """Read our own JSON text, such as an order in the ledger, with the errors of `structure`.

    A time that has no zone is in UTC: a ledger of an earlier version may contain such times.
    """
    return structure(decode_plain(text), cls, OWN)


def encode(value: Any) -> bytes:
    """Write a model, or plain values, as JSON text.

    Raises:
        InvalidData: JSON has no form for a value, in ``extra`` for instance.
    """
    return encode_order(value)[0]


def encode_order(order: Any) -> tuple[bytes, Any]:
    """The JSON text of an order, as `encode`, and the written value: a struct, or with ``extra`` a dict."""
    try:
        plain = writing.unstructure(order) if isinstance(order, Model | Money) else order
        return _encode(plain), plain
    except (AttributeError, TypeError, ValueError, OverflowError, RecursionError) as error:
        problems = misfits(order) if isinstance(order, Model) else []
        raise InvalidData("" if problems else Coded(f"cannot be written as JSON ({error})", "E237"), problems) from None


def written_batch(values: Sequence[Any]) -> tuple[tuple[Order, ...], bytes]:
    """The orders of one create, and its body.

    Raises InvalidData with every fault and its path, such as ``orders[2].price``.
    """
    if all(type(order) is Order and has_currency(order) for order in values):
        try:
            return tuple(values), encode(TaskBatch(tasks=tuple(values)))
        except InvalidData:
            pass  # a dict where an object belongs, or a fault
    orders = each_made(values, lambda _: Order, "orders")
    return orders, encode(TaskBatch(tasks=orders))


def encode_batch(tasks: Sequence[bytes]) -> bytes:
    """Join orders that are JSON text already, by `encode`, to the body of a create."""
    return _BATCH_START + b",".join(tasks) + _BATCH_END


def joined_in(batch: bytes) -> bytes:
    """The orders of an `encode_batch`, with commas between them."""
    return batch[len(_BATCH_START) : -len(_BATCH_END)]


def decode_names(order: bytes) -> tuple[str | None, str | None]:
    """The tracking id and the invoice number of an order that is JSON text already."""
    match = _NAMES_FIRST.match(order)
    if match is not None:
        return match[1].decode(), match[2].decode()
    head = _head(order)
    return head.tracking_id, head.invoice_number


def decode_names_of_batch(body: bytes) -> list[tuple[str | None, str | None]]:
    """The names, as `decode_names`, of each order in an `encode_batch`.

    Raises:
        ValueError: it is not JSON, or has no orders.
    """
    return [(head.tracking_id, head.invoice_number) for head in _batch(body).tasks]


def unstructure(value: Any) -> Any:
    """Make plain values from a model: None left out, money in thousandths of a cent, ``extra`` written back.

    Raises:
        ValueError, TypeError: a number field has no finite number.
    """
    return checking.unstructure(value) if isinstance(value, Model | Money) else value


def unstructure_changes(changes: TaskChanges) -> dict[str, Any]:
    """Make plain values from an update's changes; None stays, and clears a field.

    The currency of its amounts is written, too.

    Raises:
        InvalidData: amounts in two currencies.
    """
    plain = {
        name: [unstructure(item) for item in value] if isinstance(value, list | tuple) else unstructure(value)
        for name, value in changes.items()
    }
    currencies = {value.currency for value in changes.values() if isinstance(value, Money)}
    if len(currencies) > 1:
        why = Coded(f"one update contains amounts in {' and '.join(sorted(currencies))}: use one currency", "E413")
        raise InvalidData("", [Problem("currency", why)])
    if currencies:
        plain["currency"] = currencies.pop()
    return plain


_WRITTEN = ("Order", "Address", "Contact", "TimeWindow", "Item", "Stop")
"""Classes that programs write: they are strictly made from plain values, even if answers contain them, too."""


def _from_plain(plain: Any, cls: type[Any]) -> Any:
    if not any(base.__name__ in _WRITTEN for base in cls.__mro__):
        return structure(plain, cls, READING)
    made = structure(plain, cls)
    if problems := misfits(made):  # numbers that JSON has no form for
        raise InvalidData("", problems)
    return made


Model.JSON_FORM = JsonForm(encode, _from_plain)
