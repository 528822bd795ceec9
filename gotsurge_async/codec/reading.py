"""Reading: bytes, plain values, models."""

from typing import Any, TypeVar, cast

import msgspec

from gotsurge_async.codec.shapes import fold, money_from_wire
from gotsurge_async.codec.tasks import reader
from gotsurge_async.errors import InvalidData, UnreadableAnswer

T = TypeVar("T")


def decode(body: bytes, cls: type[T]) -> T:
    """Read JSON text as a model.

    Raises:
        UnreadableAnswer: ``body`` is no JSON, or not the JSON of ``cls``; ``problems`` lists every fault.
    """
    kind: Any = cls
    read = reader(kind)
    if read is not None:
        try:
            return cast("T", read(body))
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
            pass  # unusual, or wrong: the general way finds out
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
    fold(tree, cls)
    try:
        return msgspec.convert(tree, cls, strict=True, dec_hook=money_from_wire)
    except msgspec.ValidationError:
        # Imported here: cattrs costs a tenth of the package's import, and is needed only for what is wrong.
        from gotsurge_async.codec.converting import structure_slowly

        return structure_slowly(tree, cls)


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
